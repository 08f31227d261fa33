"""Images that are described in one run of the network, and by several threads at once."""

from functools import cache

import numpy as np
import pytest

import delg
from extraction import batching
from extraction.batching import in_order
from extraction.config import ExtractionConfig
from extraction.describing import describe
from extraction.extractors import delg as delg_extractor
from extraction.extractors.base import select_heads
from extraction.extractors.delg import DelgExtractor
from extraction.features import Features
from extraction.images import BadImageError, ImageRef, list_images
from extraction.pipeline import extract
from extraction.runtimes.table import start
from tests.extraction.pictures import Counting, write_picture
from tests.tiny import BACKBONE

SIZES = [(60, 80), (70, 50), (60, 80), (60, 80), (60, 80), (50, 70), (60, 80)]
BAD = 2


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i, size in enumerate(SIZES):
        write_picture(folder / f"{i}.png", *size, seed=i)
    path = folder / "3.png"
    path.write_bytes(path.read_bytes()[:200])  # its head is whole
    (folder / f"{BAD}.png").write_text("no image")
    refs = list_images(folder)
    return [*refs, ImageRef("crop", refs[0].path, (10, 0, 60, 70)), ImageRef("out", refs[0].path, (90, 0, 99, 9))]


@pytest.fixture(scope="module")
def model():
    model = delg.create("delg_small", backbone=BACKBONE, embedding_dim=16, local_dim=8, attention_channels=8)
    model.inference_model = cache(model.inference_model)
    return model


def extractor(model, **options):
    return DelgExtractor(model, ExtractionConfig((0.5, 1.0, 1.5), (0, 1), **options))


def places(model, images, batch_size):
    return batching.batches(extractor(model), images, batch_size)


def test_which_images_share_a_run(model, images, monkeypatch):
    assert places(model, images, 1) == [[i] for i in range(9)]
    # The crop is 50 x 60 of a photo of 80 x 60; files without a head, and crops outside of theirs, are alone.
    assert places(model, images, 9) == [[0, 3, 4, 6], [1], [2], [5], [7], [8]]
    assert places(model, images, 3) == [[0, 3, 4], [1], [2], [5], [6], [7], [8]]
    monkeypatch.setattr(batching, "PIXELS", 2 * 60 * 80 + 1)
    assert places(model, images, 9) == [[0, 3], [1], [2], [4, 6], [5], [7], [8]]
    monkeypatch.setattr(batching, "PIXELS", 10)
    assert places(model, images, 9) == [[i] for i in range(9)]
    assert batching.batches(Counting(), images, 9) == [[i] for i in range(9)]


@pytest.mark.parametrize("runtime", ["tensorflow", "openvino", "onnxruntime"])
def test_the_store_does_not_depend_on_the_size_of_a_run(model, images, tmp_path, runtime):
    pytest.importorskip(runtime)
    one = extractor(model, runtime=runtime, max_feature_num=10**6)
    shapes, network = [], one.network
    one.network = lambda heads: lambda x: shapes.append(len(x)) or network(heads)(x)
    stores = [
        extract(one, images, tmp_path / str(size), progress=False, num_threads=threads, batch_size=size)
        for size, threads in ((1, 1), (2, 3), (9, 2))
    ]
    assert set(shapes) == {1, 2, 3}  # of the four of one size one is damaged
    first, *others = stores
    assert len(first) == 6 and {entry["name"] for entry in first.skipped} == {"2", "3", "out"}
    for store in others:
        assert (store.names, store.skipped, store.settings) == (first.names, first.skipped, first.settings)
        for i in range(len(first)):
            found, expected = store.features(i), first.features(i)
            np.testing.assert_allclose(found.global_descriptor, expected.global_descriptor, atol=1e-5)
            orders = [np.lexsort((*f.keypoints.T, f.scales)) for f in (found, expected)]
            for key in ("keypoints", "scales", "scores", "descriptors"):
                ours, theirs = (getattr(f, key)[order] for f, order in zip((found, expected), orders))
                np.testing.assert_allclose(ours, theirs, atol=1e-5, err_msg=key)


def test_a_part_of_the_features_is_described_together_too(model, images):
    one = select_heads(extractor(model), ("global",))
    (found,) = in_order(one, [images], 2, 9)
    expected = describe(extractor(model), images[4]).global_descriptor
    np.testing.assert_allclose(found[4].global_descriptor, expected, atol=1e-5)
    assert len(found[4]) == 0 and isinstance(found[BAD], BadImageError)


def test_the_extractor_learns_the_number_of_threads_and_their_end(images):
    class Recording(Counting):
        def __init__(self):
            super().__init__()
            self.said = []

        def share_cores(self, threads):
            self.said.append(threads)

    one = Recording()
    for found in in_order(one, [images[:2], images[4:]], 3):
        assert one.said == [3]
        assert isinstance(found[0], Features)
    assert one.said == [3, 1]


def test_openvino_shares_the_cores_with_the_same_result(model, images, monkeypatch):
    pytest.importorskip("openvino")
    built = []

    class Recorded:
        def __init__(self, *arguments):
            self.runtime = start(*arguments)

        def network(self, heads, at_once):
            built.append(at_once)
            return self.runtime.network(heads, at_once)

    monkeypatch.setattr(delg_extractor, "start", Recorded)
    one = extractor(model, runtime="openvino")
    alone = describe(one, images[0])
    one.share_cores(2)
    np.testing.assert_allclose(describe(one, images[0]).global_descriptor, alone.global_descriptor, atol=1e-6)
    one.share_cores(1)
    describe(one, images[0])
    assert sorted(built) == [1] * (len(built) // 2) + [2] * (len(built) // 2), "each network is built once"
    plain = extractor(model)
    plain.share_cores(2)
    assert plain.network(("global",)) and built[-1] == 1
