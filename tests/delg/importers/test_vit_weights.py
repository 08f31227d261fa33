"""Files of transformers: spellings, folders of several files, what is refused, and the command's work."""

import json
import re

import numpy as np
import pytest

import delg
from delg.common.errors import InputError
from delg.common.safetensors_file import write_safetensors
from delg.importers.detect import detect
from delg.importers.job import convert, read_source
from delg.importers.options import ConvertOptions
from delg.importers.strict import check, gather, shapes_of
from delg.importers.vit_weights import hub_name, is_for_satellite_images, our_paths
from delg.presets import PRESETS

DINOV2 = "dinov2(size=(12, 2, 3, 16, True), grid=2, registers=1)"
DINOV3 = "dinov3(size=(12, 1, 1, 24), registers=1)"
SIGLIP = "siglip(size=(12, 1, 3, 24), grid=2)"
NEW_NAMES = {  # of the modules in transformers 5
    r"attention\.attention\.(q|k|v)\w+": r"attention.\1_proj",
    r"attention\.output\.dense": "attention.o_proj",
    r"mlp\.weights_out": "mlp.down_proj",
    r"^layer\.": "model.layer.",
    r"^vision_model\.": "",
}


def model_of(backbone: str) -> delg.Delg:
    family = backbone.partition("(")[0]
    preset = next(name for name in PRESETS if name.startswith(family))
    pooling = {"pooling": "attention(heads=3, hidden=24)"} if family == "siglip" else {}
    return delg.create(preset, backbone=backbone, **pooling)


def hub_arrays(model: delg.Delg, family: str) -> dict[str, np.ndarray]:
    """The weights of a model as a file of the Hub has them."""
    arrays: dict[str, np.ndarray] = {}
    parts: dict[str, list[np.ndarray]] = {}
    for weight in model.weights:
        array, path = np.asarray(weight.numpy()), weight.path
        if path.endswith("/kernel"):
            array = np.moveaxis(array, (-1, -2), (0, 1))
        elif path.startswith("embedding/") or path == "pooling/probe":
            array = array if (path, family) == ("embedding/positions", "siglip") else array[None]
        name = hub_name(path, family)
        if family == "dinov2" and re.search("mlp/(gate|up)/", path):
            name = re.sub(r"mlp\.\w+", "mlp.weights_in", name)
        if family == "dinov2":
            name = name.replace("mlp.fc2", "mlp.weights_out")
        parts.setdefault(name.partition(" [")[0], []).append(array)
    for name, values in parts.items():
        arrays[name] = np.concatenate(values) if len(values) > 1 else values[0]
    if family != "siglip":
        arrays["embeddings.mask_token"] = np.zeros((1, 12), "f4")
    return arrays


@pytest.fixture(scope="module", params=[DINOV2, DINOV3, SIGLIP], ids=["dinov2", "dinov3", "siglip"])
def hub(request) -> tuple[str, delg.Delg, dict[str, np.ndarray]]:
    model = model_of(request.param)
    family = request.param.partition("(")[0]
    return family, model, hub_arrays(model, family)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 3}))
    return tmp_path


def source_of(folder, arrays, heads: int = 3):
    (folder / "config.json").write_text(json.dumps({"num_attention_heads": heads}))
    return read_source(ConvertOptions(str(write_safetensors(folder / "model.safetensors", arrays))))


def heads_of(model: delg.Delg) -> int:
    return model.backbone.get_layer("block0").architecture.heads


def same(model: delg.Delg, arrays: dict[str, np.ndarray]) -> None:
    assert set(arrays) == set(shapes_of(model))
    for weight in model.weights:
        np.testing.assert_array_equal(arrays[weight.path], weight.numpy(), err_msg=weight.path)


def test_names_of_the_hub_and_of_transformers_5(hub, folder):
    family, model, arrays = hub
    source = source_of(folder, arrays, heads_of(model))
    assert source.format == family
    same(model, gather(source, shapes_of(model)))
    renamed = {}
    for name, array in arrays.items():
        if "weights_in" in name:
            gate, up = np.split(array, 2)
            renamed |= {name.replace("weights_in", "gate_proj"): gate, name.replace("weights_in", "up_proj"): up}
        else:
            for old, new in NEW_NAMES.items():
                name = re.sub(old, new, name)  # noqa: PLW2901
            renamed[name] = array
    assert set(renamed) != set(arrays)
    same(model, gather(source_of(folder, renamed, heads_of(model)), shapes_of(model)))


def test_a_file_of_a_larger_model_and_several_files(hub, folder):
    family, model, arrays = hub
    more = {"classifier.weight": np.zeros((3, 24), "f4")}
    if family == "siglip":
        more = {
            "text_model.embeddings.token_embedding.weight": np.zeros((5, 12), "f4"),
            "logit_scale": np.zeros(1, "f4"),
        }
    prefix = "dinov2." if family == "dinov2" else ""
    whole = {f"{prefix}{name}": array.astype("f8") for name, array in arrays.items()} | more
    (folder / "config.json").write_text(json.dumps({"num_attention_heads": heads_of(model)}))
    names = sorted(whole)
    for i, part in enumerate((names[::2], names[1::2]), start=1):
        path = folder / f"model-0000{i}-of-00002.safetensors"
        write_safetensors(path, {name: whole[name] for name in part})
    assert detect(folder) == family
    source = read_source(ConvertOptions(str(folder)))
    assert len(source.files) == 2
    same(model, gather(source, shapes_of(model)))
    write_safetensors(folder / "more.safetensors", {names[0]: whole[names[0]]})
    with pytest.raises(InputError, match=re.escape(f"{names[0]} in two files")):
        read_source(ConvertOptions(str(folder)))


def test_what_does_not_fit_is_named(hub, folder):
    family, model, arrays = hub
    path, shapes = "block0/attention/projection/bias", shapes_of(model)
    name, norm = hub_name(path, family), hub_name("norm/gamma", family)
    broken = dict(arrays)
    broken["more"] = broken.pop(name)
    broken[norm] = np.zeros(7, "f4")
    with pytest.raises(InputError) as raised:
        check(source_of(folder, broken, heads_of(model)), shapes)
    lines = str(raised.value).splitlines()
    assert lines[0].endswith("1 missing, 1 unexpected, 1 of another shape.")
    assert {f"  {name}", "  more", f"  {norm} ((7,) where (12,) is expected)"} <= set(lines)
    first = hub_name("patch_embedding/kernel", family)
    without = {key: array for key, array in arrays.items() if key != first}
    with pytest.raises(InputError):
        source_of(folder, without, heads_of(model))
    with pytest.raises(InputError, match="under two names"):
        source_of(folder, arrays | {f"module.{norm}": arrays[norm]}, heads_of(model))


def test_what_is_missing_is_named_as_in_the_other_blocks(folder):
    model = model_of(DINOV2)
    arrays = hub_arrays(model, "dinov2")
    renamed = {re.sub(r"mlp\.weights_out", "mlp.down_proj", name): array for name, array in arrays.items()}
    for lacking, name in (
        (arrays, "encoder.layer.1.mlp.weights_out.bias"),
        (renamed, "encoder.layer.0.mlp.down_proj.bias"),
    ):
        rest = {key: array for key, array in lacking.items() if key != name}
        with pytest.raises(InputError, match=f"missing:\n  {re.escape(name)}$"):
            check(source_of(folder, rest), shapes_of(model))


def test_the_number_of_heads(folder):
    arrays = hub_arrays(model_of(DINOV2), "dinov2")
    for config, named in (
        ({"num_attention_heads": 5}, "5 heads"),
        ({"hidden_size": 12}, "None heads"),
        ({"num_attention_heads": 3, "layer_norm_eps": 1e-5}, "layer_norm_eps"),
        ({"num_attention_heads": 3, "hidden_act": "relu"}, "hidden_act"),
    ):
        path = write_safetensors(folder / "model.safetensors", arrays)
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(InputError, match=named):
            read_source(ConvertOptions(str(path)))
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"no config\.json"):
        read_source(ConvertOptions(str(path)))


def test_other_networks_and_files_are_refused(folder):
    with pytest.raises(InputError, match="dinov2, dinov3, siglip"):
        detect(write_safetensors(folder / "resnet.safetensors", {"conv1.weight": np.zeros((2, 2), "f4")}))
    (folder / "cut.safetensors").write_bytes(b"\x10")
    with pytest.raises(InputError, match=r"cut\.safetensors"):
        detect(folder / "cut.safetensors")
    with pytest.raises(InputError, match="no file"):
        (folder / "empty").mkdir()
        read_source(ConvertOptions(str(folder / "empty"), format="dinov2"))
    whole = hub_arrays(model_of(DINOV3), "dinov3")
    with pytest.raises(InputError, match="int64"):
        integers = {name: array.astype("i8") for name, array in whole.items()}
        gather(source_of(folder, integers, 1), shapes_of(model_of(DINOV3)))


def test_the_command_makes_a_folder_that_extracts(hub, folder):
    from extraction.extractors.delg import DelgExtractor

    family, model, arrays = hub
    source_of(folder, arrays, heads_of(model))
    lines = convert(ConvertOptions(str(folder / "model.safetensors"), str(folder / "made")))
    count = len(model.weights)
    assert f"{count} of {count} weights read." in lines[0]
    assert any("License" in line for line in lines) == (family == "dinov3")
    loaded = delg.load(folder / "made")
    same(loaded, {weight.path: weight.numpy() for weight in model.weights})
    extractor = DelgExtractor.from_folder(str(folder / "made"), max_image_size=64)
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3)).astype(np.uint8)
    features = extractor(image, "photo")
    patch = extractor.settings["side_multiple"]
    assert extractor.base_size((90, 60)) == {14: (70, 42), 16: (64, 48)}[patch]
    assert features.global_descriptor.shape == (12,) and features.descriptors.shape == (len(features.scores), 12)
    assert len(features.scores) == {14: 15, 16: 12}[patch]
    centres = np.unique(features.keypoints[:, 0])
    width = 90 / {14: 5, 16: 4}[patch]
    np.testing.assert_allclose(centres, width * (np.arange(len(centres)) + 0.5) - 0.5, rtol=1e-4)


def test_the_command_makes_a_model_with_another_pooling(hub, folder):
    family, model, arrays = hub
    source_of(folder, arrays, heads_of(model))
    pooling = "average" if family == "siglip" else "class_token_gem(p=2.0)"
    convert(ConvertOptions(str(folder / "model.safetensors"), str(folder / "made"), pooling=pooling))
    loaded = delg.load(folder / "made")
    assert loaded.config["pooling"] == pooling and loaded.embedding_dim == (12 if family == "siglip" else 24)
    expected = {weight.path: weight for weight in model.weights}
    assert len(loaded.weights) == sum(not path.startswith("pooling/") for path in expected)
    for weight in loaded.weights:
        np.testing.assert_array_equal(weight.numpy(), expected[weight.path].numpy(), err_msg=weight.path)


def test_every_path_has_a_name_of_the_hub():
    for text in (DINOV2, DINOV3, SIGLIP):
        family = text.partition("(")[0]
        for path in shapes_of(model_of(text)):
            assert path in our_paths(hub_name(path, family).partition(" [")[0])


def test_satellite_weights_are_known_by_the_processor_and_else_by_name(tmp_path):
    assert is_for_satellite_images(tmp_path / "vitl16-sat493m" / "model.safetensors")
    assert not is_for_satellite_images(tmp_path / "sat493m" / "vitl16" / "model.safetensors")
    for mean, expected in (([0.43, 0.411, 0.296], True), ([0.485, 0.456, 0.406], False)):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": mean}))
        assert is_for_satellite_images(tmp_path / "model.safetensors") == expected
        assert is_for_satellite_images(tmp_path / "dinov3-sat493m.safetensors") == expected
