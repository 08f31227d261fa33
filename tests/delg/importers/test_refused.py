"""Files that do not fit: the messages, and names that do not count."""

import re

import pytest

from delg.common.errors import InputError
from delg.importers.names import VALUE
from delg.importers.strict import check
from delg.importers.torch_weights import cvnet
from tests.delg.importers.keys import torch_keys
from tests.delg.importers.test_sources import official, released, torch_file

BREAKS = {
    "missing": ("1 missing.", "missing:\n  {a}"),
    "renamed": ("1 missing, 1 unexpected.", "missing:\n  {a}\nunexpected:\n  {new}"),
    "mis-shaped": ("1 of another shape.", "of another shape:\n  {b} ((5,) where {shape} is expected)"),
    "all": (
        "1 missing, 1 unexpected, 1 of another shape.",
        "missing:\n  {a}\nunexpected:\n  {new}\nof another shape:\n  {b} ((5,) where {shape} is expected)",
    ),
}


def refusal(kind: str, shapes: dict, a: str, b: str, new: str, end: str = "") -> str:
    """Breaks names and shapes in one way and gives what is said of it; ``end`` of the names is not shown."""
    counts, lists = BREAKS[kind]
    expected = f"{counts}\n{lists}".format(a=a, b=b, new=new, shape=tuple(shapes[b + end]))
    if kind in ("renamed", "all"):
        shapes[new + end] = shapes[a + end]
    if kind != "mis-shaped":
        del shapes[a + end]
    if kind in ("mis-shaped", "all"):
        shapes[b + end] = (5,)
    return re.escape(expected) + "$"


@pytest.mark.parametrize("kind", BREAKS)
def test_what_does_not_fit_a_cvnet_is_named(kind, tmp_path, cvnet_shapes):
    shapes, unit = dict(torch_keys("cvnet_r50")), "encoder_q.s3.b6.f.b_bn."
    message = refusal(kind, shapes, f"{unit}running_var", "encoder_q.head.fc.bias", f"{unit}variance")
    with pytest.raises(
        InputError,
        match=r"a\.pyth holds no cvnet_r50 in the format cvnet, so nothing of it is used: 268 expected, " + message,
    ):
        check(cvnet(torch_file(shapes, tmp_path / "a.pyth")), cvnet_shapes)


@pytest.mark.parametrize("kind", BREAKS)
@pytest.mark.parametrize("root", ["", "model/"])
def test_what_does_not_fit_a_released_delg_is_named(kind, root, delg_shapes):
    shapes = {root + key: tuple(shape) for key, shape in official("checkpoint_key").items()}
    unit = f"{root}backbone/l4f/bn2b/"
    message = refusal(kind, shapes, f"{unit}gamma", f"{root}backbone/conv1/bias", f"{unit}scale", VALUE)
    with pytest.raises(InputError, match="holds no delg_r50 .*" + message):
        check(released(shapes), delg_shapes)


@pytest.mark.parametrize("kept", [133, 134])
def test_a_file_that_lacks_most_weights_is_of_another_architecture(kept, tmp_path, cvnet_shapes):
    known = [name for name in torch_keys("cvnet_r50") if name.startswith("encoder_q.") and not name.endswith("tracked")]
    assert len(known) == 268
    names = {name if i < kept else f"encoder_q.other.{i}" for i, name in enumerate(known)}
    shapes = {name: torch_keys("cvnet_r50").get(name, (1,)) for name in sorted(names)}
    with pytest.raises(InputError) as raised:
        check(cvnet(torch_file(shapes, tmp_path / "a.pyth")), cvnet_shapes)
    first, *lines = str(raised.value).splitlines()
    assert ("cvnet, but another architecture or other names, so nothing" in first) == (kept == 133)
    assert first.endswith(f"nothing of it is used: 268 expected, {268 - kept} missing, {268 - kept} unexpected.")
    if kept == 133:
        assert len(lines) == 2 * 7 and lines[0] == "missing:" and lines[6] == "  ... and 130 more"
        assert lines[7:9] == ["unexpected:", "  encoder_q.other.133"]
    else:
        assert len(lines) == 2 * 135 and not any("more" in line for line in lines)


OUTSIDE = ["head/kernel", "backbone/conv1/kernel", "other_model/backbone/conv1/kernel"]


@pytest.mark.parametrize("root", ["model/", "_model/"])
@pytest.mark.parametrize("key", [*(f"{name}{VALUE}" for name in OUTSIDE), *OUTSIDE, "model/backbone/conv1/kernel"])
def test_what_lies_beside_the_model_is_unexpected(root, key, delg_shapes):
    whole = {root + key: shape for key, shape in official("checkpoint_key").items()}
    ignored = {
        f"optimizer/iter{VALUE}": [],
        f"step{VALUE}": [],
        "global_step": [],
        f"{root}.ATTRIBUTES/OBJECT_CONFIG_JSON": [],
        "other/.ATTRIBUTES/PY_STATE": [],
    }
    assert len(check(released(whole | ignored), delg_shapes)) == 335
    with pytest.raises(InputError, match=f"1 unexpected.\nunexpected:\n  {key.removesuffix(VALUE)}$"):
        check(released(whole | ignored | {key: [7, 7, 3, 64]}), delg_shapes)


def test_a_training_checkpoint_without_attention_is_not_a_global_model(delg_shapes):
    alone = {k: s for k, s in official("checkpoint_key").items() if not k.startswith(("attention/", "autoencoder/"))}
    source = released(alone)
    assert "local_head" not in source.overrides
    shapes = {path: shape for path, shape in delg_shapes.items() if "/autoencoder/" not in path}
    with pytest.raises(InputError, match=r"8 missing\.\nmissing:\n  attention/conv1/kernel\n"):
        check(source, shapes)
