import keras
import numpy as np
import pytest
from keras import ops

from delg.backbones.resnet import RELEASED, SMALL, SYMMETRIC, resnet
from delg.backbones.table import resnet_small
from delg.geometry import Window, cell_centres, smallest_side

RELEASED_STEM = [Window(7, 2, "same"), Window(3, 2, "valid")]


def test_centres_of_the_released_stem_by_hand():
    # odd side: 7x7/2 SAME pads 3 and 3, so cell i sits on pixel 2 i; the VALID pool moves it by one cell of two pixels
    np.testing.assert_array_equal(cell_centres(RELEASED_STEM, 9), [2, 6])
    # even side: SAME pads 2 before and 3 after, one pixel further
    np.testing.assert_array_equal(cell_centres(RELEASED_STEM, 10), [3, 7])


def test_symmetric_padding_centres_on_multiples_of_the_stride():
    np.testing.assert_array_equal(cell_centres([Window(7, 2, "symmetric"), Window(3, 2, "symmetric")], 10), [0, 4, 8])


@pytest.mark.parametrize("side", [97, 128, 193])
def test_released_map_sizes(side):
    local = cell_centres(
        [*RELEASED_STEM, Window(1, 1, "valid"), Window(1, 2, "valid"), Window(1, 2, "valid"), Window(1, 2, "valid")],
        side,
    )
    h = ((side + 1) // 2 - 3) // 2 + 1
    for _ in range(3):
        h = (h - 1) // 2 + 1
    assert len(local) == h
    assert local[0] == (2 if side % 2 else 3)
    assert np.diff(local).tolist() == [32] * (h - 1)


def test_smallest_side_of_the_released_net_is_five():
    assert smallest_side(RELEASED_STEM) == 5


@pytest.mark.parametrize("convention", [RELEASED, SYMMETRIC, SMALL])
@pytest.mark.parametrize("side", [128, 129])
def test_centres_are_the_middle_of_the_measured_receptive_field(convention, side):
    """The gradient of one cell with respect to the image is centred where the geometry says."""
    trunk = resnet((1, 1, 1, 1), (4, 4, 4, 4), convention, basic=convention is SMALL)
    for variable in trunk.model.weights:  # a linear network of positive weights: every path counts
        if variable.path.endswith("kernel"):
            variable.assign(ops.ones_like(variable) / np.prod(variable.shape[:-1]))
    centres = cell_centres(trunk.levels[trunk.local_level], side)
    cell = len(centres) // 2
    rng = np.random.default_rng(0)
    image = rng.uniform(1, 2, (1, side, side, 3)).astype("float32")
    changed = np.repeat(image, side + 1, axis=0)  # the last one stays as it is
    changed[np.arange(side), :, np.arange(side)] += 10
    maps = trunk.model.predict(changed, batch_size=43, verbose=0)[trunk.local_level]
    values = maps[:, cell, cell].sum(-1)
    reached = np.flatnonzero(values[:-1] > values[-1] + 1e-6 * abs(values[-1]))
    # with a max-pool in the chain the reach is wide, but symmetric about the centre
    assert reached[0] > 2
    assert reached[-1] < side - 3
    assert abs((reached[0] + reached[-1]) / 2 - centres[cell]) <= 1.0


def test_small_backbone_strides():
    trunk = resnet_small()
    maps = trunk.model(keras.ops.zeros((1, 64, 96, 3)), training=False)
    assert maps["block3"].shape[1:3] == (8, 12)
    assert maps["block4"].shape[1:3] == (4, 6)
