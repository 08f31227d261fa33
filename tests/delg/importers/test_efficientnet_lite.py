"""EfficientNet-Lite's files: the variant is recognised, and every key that does not fit is named."""

import json
from pathlib import Path

import numpy as np
import pytest

import delg
from delg.common.errors import InputError
from delg.common.torch_file import state_dict
from delg.importers.detect import detect
from delg.importers.efficientnet_lite import efficientnet_lite
from delg.importers.job import ConvertOptions, convert
from delg.importers.strict import assign, check, shapes_of
from delg.weights import UnavailableError
from delg.weights.catalogue import WEIGHTS
from tests.delg.importers.torch_writer import SavedStorage, TorchFile, zeros
from tests.published import published

LISTS = Path(__file__).parents[2] / "golden" / "data2" / "keys_efficientnet_lite.json"
KEYS = {name: entry["keys"] for name, entry in json.loads(LISTS.read_text()).items() if "keys" in entry}
NOTHING = SavedStorage(np.zeros(1_280_000, "f4"))


def written(path: Path, changes: dict, variant: str = "lite0") -> Path:
    """A file with the names and shapes of the published one, but for changes: a shape, or None for no such name."""
    shapes = {name: tuple(shape) for name, (shape, _) in KEYS[variant].items()} | changes
    return TorchFile({n: zeros(s, NOTHING) for n, s in shapes.items() if s is not None}).stream(path)


@pytest.fixture(scope="module")
def model():
    return delg.create("efficientnet_lite0", num_classes=3, embedding_dim=5)


@pytest.mark.parametrize("variant", [0, 2])
def test_the_variant_is_recognised(variant, tmp_path):
    path = written(tmp_path / "a.pth", {}, f"lite{variant}")
    assert detect(path) == "efficientnet_lite"
    assert efficientnet_lite(path).preset == f"efficientnet_lite{variant}"


def test_lite1_is_recognised_by_its_published_file():
    source = efficientnet_lite(published("efficientnet_lite1"))
    assert source.preset == "efficientnet_lite1"
    model = delg.create("efficientnet_lite1")
    assert assign(source, model) == len(model.weights)


def test_all_of_the_backbone_and_nothing_else_is_read(model, tmp_path):
    changes = {"_fc.weight": None, "_fc.bias": (7,)}  # of another classifier
    heads = {v.path: np.array(v) for v in model.weights if v.path.startswith(("embedding_layer", "classifier"))}
    assert len(heads) == 3
    count = assign(efficientnet_lite(written(tmp_path / "a.pth", changes)), model)
    assert count == len(model.weights) - 3
    for variable in model.weights:
        np.testing.assert_array_equal(np.array(variable), heads.get(variable.path, 0.0))


def test_a_local_head_without_weights_gives_local_features(tmp_path):
    path, head = written(tmp_path / "a.pth", {}), "tokens(score='norm')"
    convert(ConvertOptions(input=str(path), output_dir=str(tmp_path / "out"), local_head=head))
    assert delg.load(tmp_path / "out").head_names == ("global", "local")
    with pytest.raises(InputError, match="nothing_of_the_kind"):
        convert(ConvertOptions(input=str(path), output_dir=str(tmp_path / "o"), local_head="nothing_of_the_kind"))
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"_conv_stem.weight": None}, "missing:\n  _conv_stem.weight$"),
        (
            {"_blocks.0._bn2.bias": None, "_blocks.0._bn3.bias": (16,)},
            r"_bn2.bias\nunexpected:\n  _blocks.0._bn3.bias$",
        ),
        ({"_blocks.3._depthwise_conv.weight": (144, 1, 3, 3)}, r"_blocks.3._depthwise_conv.weight \(\(144, 1, 3, 3\)"),
        ({"_blocks.3._depthwise_conv.weight": (1, 144, 5, 5)}, r"\(144, 1, 5, 5\) is expected"),
        ({"_blocks.15._project_conv.weight": (352, 1152, 1, 1)}, "_blocks.15._project_conv.weight"),
        ({"_blocks.16._bn1.weight": (320,)}, "unexpected:\n  _blocks.16._bn1.weight$"),
    ],
)
def test_a_key_that_does_not_fit_is_named(changes, named, model, tmp_path):
    with pytest.raises(InputError, match=named):
        check(efficientnet_lite(written(tmp_path / "a.pth", changes)), shapes_of(model))


@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
def test_a_truncated_file_is_refused(share, tmp_path):
    path = written(tmp_path / "a.pth", {})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content)) - 1])
    with pytest.raises(InputError, match=r"a\.pth"):
        state_dict(path)


def test_presets_with_published_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("DELG_HOME", str(tmp_path))
    monkeypatch.setenv("DELG_OFFLINE", "1")
    for make in (delg.from_preset, delg.load):
        with pytest.raises(UnavailableError, match="efficientnet_lite1"):
            make("efficientnet_lite1")
    with pytest.raises(InputError, match="efficientnet_lite2"):
        delg.from_preset("delg_r50")
    file = str(written(tmp_path / "a.pth", {}, "lite2"))
    model = delg.from_preset("efficientnet_lite2", weights=file, num_classes=4, embedding_dim=8)
    assert model.embedding_dim == 8 and not np.any(np.array(model.backbone.get_layer("head_conv").kernel))
    with pytest.raises(InputError, match="holds no efficientnet_lite1"):
        delg.from_preset("efficientnet_lite1", weights=file)
    assert set(WEIGHTS) >= {f"efficientnet_lite{i}" for i in range(3)}
