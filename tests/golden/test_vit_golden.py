"""DINOv2, DINOv3 and SigLIP, imported from files with the rule's weights, against the published code."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import delg
from delg.backbones.vit import Rotation
from delg.common.safetensors_file import write_safetensors
from delg.importers.job import ConvertOptions, build, read_source
from delg.importers.source import WeightSource
from delg.importers.strict import assign, check, gather, shapes_of
from delg.importers.vit_weights import our_paths
from tests.delg.importers.safetensors_writer import write_shapes
from tests.delg.importers.torch_writer import SavedStorage, TorchFile, tensor, zeros
from tests.golden import rule
from tests.golden.conftest import SECOND, golden_path, largest_difference, load_golden, rms

FILES = {"dinov2": 3e-5, "dinov2_registers": 3e-5, "dinov3": 3e-5, "siglip": 4e-5}  # tolerance of tokens / RMS
ATTENTION, POOLED, ABSOLUTE = 3e-4, 2e-5, 5e-6
WHOLE = ("dinov2-small", "dinov3-vits16plus", "siglip2-base-patch16-256")  # small enough to be built
SAMPLES = {"hidden": 512, "map": 1024, "position": 1024}
TO_ORIGINAL = (  # patterns of names on the Hub and names in the original repositories
    (r"(encoder\.)?layer\.", "blocks."),
    (r"\.attention\.output\.dense|\.attention\.o_proj", ".attn.proj"),
    (r"\.layer_scale(\d)\.lambda1", r".ls\1.gamma"),
    (r"embeddings\.patch_embeddings(\.projection)?", "patch_embed.proj"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.", ""),
    (r"layernorm", "norm"),
    (r"weights_in", "w12"),
    (r"weights_out", "w3"),
)
OF_QUERY = {"query": ("query", "key", "value"), "q_proj": ("q_proj", "k_proj", "v_proj")}


Model = tuple[delg.Delg, WeightSource, keras.Model]


@pytest.fixture(scope="module")
def configurations(request) -> dict:
    text = golden_path(request.config, "vit.json", SECOND).read_text(encoding="utf-8")
    return json.loads(text)["configurations"]


@pytest.fixture(scope="module")
def models(configurations, salt2, tmp_path_factory) -> dict[str, Model]:
    """By configuration, made when it is first needed: the model, its file, and the backbone with what lies inside."""
    folder = tmp_path_factory.mktemp("vit")

    class Models(dict):
        def __missing__(self, name: str) -> Model:
            arrays = weights_of(configurations[name], salt2)
            path = write_safetensors(folder / f"{name}.safetensors", arrays)
            self[name] = imported(path, configurations[name])
            return self[name]

    return Models()


def weights_of(configuration: dict, salt: str) -> dict[str, np.ndarray]:
    return {name: rule.vit_weight(name, shape, salt) for name, shape in configuration["keys"].items()}


def imported(path: Path, configuration: dict) -> Model:
    """The model of a file, with a ``config.json`` beside it."""
    path.with_name("config.json").write_text(json.dumps(configuration["config"]))
    source = read_source(ConvertOptions(str(path)))
    model = build(source, 0)
    assert assign(source, model) == len(model.weights)
    return model, source, probe_of(model)


def original(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays as the original repository names and joins them; where DINOv3 has no bias of keys, with nonsense."""
    joined = {}
    for hub_name, array in arrays.items():
        name = hub_name
        if "embeddings.register_tokens" in name and "layer.0.attention.q_proj.weight" in arrays:
            name = "storage_tokens"
        gated = name.replace("up_proj", "gate_proj").replace("down_proj", "gate_proj") in arrays
        for theirs, ours in zip(("gate", "up", "down"), ("w1", "w2", "w3") if gated else ("", "fc1", "fc2")):
            name = name.replace(f"{theirs}_proj", ours)
        for pattern, text in TO_ORIGINAL:
            name = re.sub(pattern, text, name)
        part = re.search(r"\.(?:attention\.)+(query|key|value|[qkv]_proj)\.", name)
        if not part:
            joined[name] = array
        elif part[1][0] == "q":
            parts = [hub_name.replace(part[1], other) for other in OF_QUERY[part[1]]]
            absent = np.full_like(array, 1e3)
            whole = np.concatenate([arrays.get(other, absent) for other in parts])
            joined[name.replace(part[0], ".attn.qkv.")] = whole
    return joined


def pixels(image: str, model: delg.Delg) -> np.ndarray:
    """The network's input of ``img11_70x70`` or ``batch16_17_84x126``."""
    seeds, size = image.removeprefix("img").removeprefix("batch").rsplit("_", 1)
    height, width = map(int, size.split("x"))
    images = [rule.synthetic_image(int(seed), height, width) for seed in seeds.split("_")]
    return np.asarray(model.normalize(np.stack(images)))


def values_of(model, probe: keras.Model, image: str) -> dict[str, np.ndarray]:
    """The fields of an image by their names in the golden files."""
    inputs = pixels(image, model)
    values = {name: np.asarray(value) for name, value in probe(inputs, training=False).items()}
    values["map"] = values["patches"]
    if "tokens" in values:
        values |= {"cls": values["tokens"][:, 0], "registers": values["tokens"][:, 1:]}
        values["attn_last_cls"] = values["attention"].transpose(0, 3, 1, 2)
    else:
        values["pooled"] = np.asarray(model.pooling(values["patches"]))
    if "rotation" in values:
        values["rope_cos"], values["rope_sin"] = values["rotation"][:, -np.prod(values["map"].shape[1:3]) :]
    else:
        positions = model.backbone.get_layer("embedding").positions
        values["position"] = np.asarray(positions(*values["map"].shape[1:3]))
    return values


def probe_of(model) -> keras.Model:
    """The backbone with what lies inside of it."""
    layers = [layer for layer in model.backbone.layers if re.fullmatch(r"block\d+", layer.name)]
    hidden = [model.backbone.get_layer("embedding").output, *(layer.output[0] for layer in layers)]
    outputs = model.backbone.output | {f"hidden{i}": output for i, output in enumerate(hidden)}
    rotations = [layer for layer in model.backbone.layers if isinstance(layer, Rotation)]
    outputs |= {layer.name: layer.output for layer in rotations}
    return keras.Model(model.backbone.input, outputs)


def compare(key: str, expected: np.ndarray, values: dict[str, np.ndarray], tolerance: float, measured) -> None:
    """One field: a sample, the shape, the moments, or the whole array."""
    family, _, field, *part = key.split("/")
    value = values[field]
    if part == ["shape"]:
        assert tuple(expected) == value.shape, key
        return
    if part == ["mean_std"]:
        value = np.array([value.mean(dtype=np.float64), value.std(dtype=np.float64)])
        measured("ViT: mean and deviation / RMS", largest_difference(value, expected) / rms(values[field]), tolerance)
        return
    if part:
        value = rule.sample(value, key, SAMPLES[re.sub(r"\d", "", field)])
    if field in ("position", "rope_cos", "rope_sin"):
        measured(f"ViT: {field}", largest_difference(value, expected), ABSOLUTE)
    else:
        limit = {"attn_last_cls": ATTENTION, "pooled": POOLED}.get(field, tolerance)
        name = "hidden" if field.startswith("hidden") else field
        measured(
            f"ViT: {family.split('_')[0]} {name} / RMS", largest_difference(value, expected) / rms(values[field]), limit
        )


@pytest.mark.parametrize("file", FILES)
def test_every_stage_equals_transformers(file, models, request, measured):
    golden = load_golden(request.config, file, SECOND)
    for name in sorted({key.split("/")[0] for key in golden}):
        model, _, probe = models[name]
        seen: dict[str, dict] = {}
        for key, expected in golden.items():
            own, image, field = key.split("/")[:3]
            if own == name and not field.startswith("hub_"):
                if image not in seen:
                    seen = {image: values_of(model, probe, image)}
                compare(key, expected, seen[image], FILES[file], measured)
        assert seen


def test_files_of_the_original_repositories(models, configurations, tmp_path, salt2, request, measured):
    """They have the same weights as those of the Hub; without registers, positions are resized in another way."""
    golden = load_golden(request.config, "dinov2", SECOND)
    for name, configuration in configurations.items():
        if configuration["family"] == "siglip":
            continue
        arrays = original(weights_of(configuration, salt2))
        assert not any("layer" in key or "embeddings" in key for key in arrays)
        path = TorchFile({key: tensor(array) for key, array in arrays.items()}).archive(tmp_path / f"{name}.pth")
        fields = {key: value for key, value in golden.items() if key.startswith(f"{name}/") and "/hub_" in key}
        if fields:
            model, source, probe = imported(path, configuration)
            seen: dict[str, dict] = {}
            for key, expected in fields.items():
                image = key.split("/")[1]
                if image not in seen:
                    seen = {image: values_of(model, probe, image)}
                compare(key.replace("hub_", ""), expected, seen[image], FILES["dinov2"], measured)
        model, of_hub, _ = models[name]
        path.with_name("config.json").write_text(json.dumps(configuration["config"]))
        source, expected = read_source(ConvertOptions(str(path))), gather(of_hub, shapes_of(model))
        assert (source.overrides == of_hub.overrides) == (not fields)
        for variable, array in gather(source, shapes_of(model)).items():
            np.testing.assert_array_equal(array, expected[variable], err_msg=variable)


@pytest.mark.parametrize("keys", ["keys_dinov2", "keys_dinov3", "keys_siglip2"])
def test_published_files_are_recognised_by_names_and_shapes(keys, tmp_path, request):
    listed = json.loads(golden_path(request.config, f"{keys}.json", SECOND).read_text(encoding="utf-8"))
    for name, entry in listed["models"].items():
        source = read_source(ConvertOptions(str(write_shapes(tmp_path / f"{name}.safetensors", entry["keys"]))))
        assert (source.preset, source.overrides) == (preset_of(name), {})
        if name in WHOLE:
            with keras.StatelessScope():  # shapes alone
                model = build(source, 0)
            assert len(check(source, shapes_of(model))) == len(model.weights)
    for part in ("hub", "original"):
        for name, entry in listed.get(part, {}).items():
            state = {key: zeros(tuple(shape), SavedStorage(np.zeros(1, "f4"))) for key, shape in entry["keys"].items()}
            source = read_source(ConvertOptions(str(TorchFile(state).archive(tmp_path / f"{name}.pth"))))
            assert source.preset == preset_of(name)
            offset = keys == "keys_dinov2" and "registers" not in name
            assert ["positions='offset'" in text for text in source.overrides.values()] == [True] * offset
            assert all(our_paths(key.split(" [")[0]) for key in source.stored)


def preset_of(name: str) -> str:
    """``siglip2-so400m-patch14-384`` to ``siglip2_so400m_p14_384``."""
    name = re.sub(r"dinov2-with-registers-(\w+)", r"dinov2-\1-registers", name).replace("-opt", "")
    return name.replace("-vit", "-").replace("patch", "p").replace("-", "_")
