"""The network of XFeat against plain NumPy, and the strict import of its file."""

import numpy as np
import pytest

from delg import xfeat
from delg.common.errors import InputError
from tests.delg.xfeat_file import PLAIN, UNITS, arrays, write_xfeat
from tests.extraction.pictures import picture

STRIDE_2 = {"block1": (1, 3), "block3": (0,), "block4": (0,), "block5": (0,)}


def convolved(x, kernel, stride=1):
    """``(C, H, W)`` by a kernel ``(O, C, k, k)``, padded alike on all sides."""
    margin = kernel.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[-2:], axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("chwij,ocij->ohw", windows, kernel)


def enlarged(x, factor):
    """Bilinear, half-pixel centres, the border repeated."""
    for axis in (1, 2):
        count = x.shape[axis]
        places = np.clip((np.arange(count * factor) + 0.5) / factor - 0.5, 0, count - 1)
        low = np.minimum(places.astype(int), max(count - 2, 0))
        share = (places - low).reshape([-1 if i == axis else 1 for i in range(3)])
        x = np.take(x, low, axis) * (1 - share) + np.take(x, np.minimum(low + 1, count - 1), axis) * share
    return x


def expected(image):
    """Descriptors, reliability and heat of an image, as the paper and the released code have them."""
    values = {name: array.astype(np.float64) for name, array in arrays().items()}

    def units(x, part):
        for i in range(len(UNITS[part])):
            name = f"{part}.{i}.layer"
            x = convolved(x, values[f"{name}.0.weight"], 2 if i in STRIDE_2.get(part, ()) else 1)
            mean, variance = (values[f"{name}.1.running_{kind}"][:, None, None] for kind in ("mean", "var"))
            x = np.maximum((x - mean) / np.sqrt(variance + 1e-5), 0)
        return x

    def plain(x, name):
        assert name in PLAIN
        return convolved(x, values[f"{name}.weight"]) + values[f"{name}.bias"][:, None, None]

    grey = image.astype(np.float64).mean(-1)[None] / 255
    grey = (grey - grey.mean()) / np.sqrt(grey.var() + 1e-5)
    height, width = grey.shape[1:]
    pooled = grey.reshape(1, height // 4, 4, width // 4, 4).mean((2, 4))
    level3 = units(units(units(grey, "block1") + plain(pooled, "skip1.1"), "block2"), "block3")
    level4 = units(level3, "block4")
    level5 = units(level4, "block5")
    maps = plain(units(level3 + enlarged(level4, 2) + enlarged(level5, 4), "block_fusion"), "block_fusion.2")
    reliability = 1 / (1 + np.exp(-plain(units(maps, "heatmap_head"), "heatmap_head.2")))
    cells = grey.reshape(height // 8, 8, width // 8, 8).transpose(1, 3, 0, 2).reshape(64, height // 8, width // 8)
    logits = plain(units(cells, "keypoint_head"), "keypoint_head.3")
    heat = np.exp(logits - logits.max(0))
    return {
        "descriptors": (maps / np.linalg.norm(maps, axis=0)).transpose(1, 2, 0),
        "reliability": reliability[0],
        "heat": (heat / heat.sum(0))[:64].transpose(1, 2, 0),
    }


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return xfeat.load(write_xfeat(tmp_path_factory.mktemp("xfeat") / "xfeat.pt"))


@pytest.mark.parametrize("size", [(64, 96), (32, 32), (160, 64)])
def test_the_network_is_that_of_the_paper_at_any_size(network, size):
    images = [picture(*size, seed) for seed in range(2)]
    outputs = network.predict_on_batch(np.stack(images).astype(np.float32))
    for i, image in enumerate(images):
        for name, values in expected(image).items():
            assert outputs[name][i].shape == values.shape, name
            np.testing.assert_allclose(outputs[name][i], values, atol=2e-5, err_msg=name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block3__0__layer__0__weight": None}, r"(?s)1 missing.*block3\.0\.layer\.0\.weight"),
        ({"block6__weight": np.zeros(3, np.float32)}, r"(?s)1 unexpected.*block6\.weight"),
        ({"skip1__1__bias": np.zeros(25, np.float32)}, r"skip1\.1\.bias \(\(25,\) where \(24,\)"),
        ({"skip1__1__bias": np.full(24, np.nan, np.float32)}, "skip1.1.bias holds values that are not finite"),
    ],
)
def test_a_file_of_other_weights_is_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        xfeat.load(write_xfeat(tmp_path / "xfeat.pt", **change))


def test_a_file_that_is_none_is_refused(tmp_path):
    path = tmp_path / "xfeat.pt"
    path.write_bytes(write_xfeat(tmp_path / "whole.pt").read_bytes()[:5000])
    with pytest.raises(InputError, match="cannot be read as a PyTorch file"):
        xfeat.load(path)
