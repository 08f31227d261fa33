"""EfficientNet-Lite: sizes, levels, and which variants there are; its values are compared in ``tests/golden``."""

import numpy as np
import pytest

from delg.backbones.efficientnet_lite import blocks_of
from delg.backbones.table import build_backbone
from delg.common.errors import InputError

CLASSIFIER = 1280 * 1000 + 1000


@pytest.mark.parametrize(("variant", "published", "widths"), [(0, 4_652_008, (112, 320)), (2, 6_092_072, (120, 352))])
def test_it_has_the_published_size_and_levels(variant, published, widths):
    trunk = build_backbone(f"efficientnet_lite(variant={variant})")
    assert sum(int(np.prod(v.shape)) for v in trunk.model.trainable_weights) + CLASSIFIER == published
    assert [trunk.stride(level) for level in trunk.levels] == [16, 32, 32]
    maps = trunk.model(np.zeros((1, 97, 130, 3), np.float32))
    assert [maps[level].shape[1:] for level in trunk.levels] == [
        (7, 9, widths[0]), (4, 5, widths[1]), (4, 5, 1280),
    ]  # fmt: skip
    assert trunk.min_side() == 1 and (trunk.global_level, trunk.local_level) == ("head", "stride16")


def test_stages_are_repeated_by_depth_but_for_the_first_and_the_last():
    counts = [[sum(b.stage == stage for b in blocks_of(variant)) for stage in range(1, 8)] for variant in range(3)]
    assert counts == [[1, 2, 2, 3, 3, 4, 1], [1, 3, 3, 4, 4, 5, 1], [1, 3, 3, 4, 4, 5, 1]]
    with pytest.raises(InputError, match="variant"):
        build_backbone("efficientnet_lite(variant=3)")
