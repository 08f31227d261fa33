"""AMES as a reranker: which features are seen, what the score does not depend on, and files and features refused.

``tests/matching/data/ames.pt`` holds a network of two layers, 8 wide, with the weights of the golden files' rule.
"""

import numpy as np
import pytest

from delg.common.errors import InputError
from delg.common.torch_file import state_dict
from extraction.store.encoding import packed
from matching.rerankers.ames import Ames
from matching.rerankers.mixing import mixed
from matching.source import MemorySource
from tests.delg.importers.torch_writer import TorchFile, tensor
from tests.matching.helpers import DATA, local, ranking, scene, unit

WEIGHTS = str(DATA / "ames.pt")


@pytest.fixture
def images():
    """Images of 3 to 12 features; the last one has none."""
    keypoints, descriptors = scene(n=40)
    rng = np.random.default_rng(3)
    rows = [rng.permutation(40)[:n] for n in (12, 3, 7, 9, 0)]
    return [local(keypoints[r], descriptors[r], f"image{i}", [1.0]) for i, r in enumerate(rows)]


def scores_of(reranker, query, database):
    n = len(database)
    before = ranking([np.arange(n)], [np.linspace(0.9, 0.1, n)])
    return next(iter(reranker.scores(MemorySource([query]), MemorySource(database), before)))


def changed(change, folder, name="changed.pt"):
    """The file with other weights."""
    arrays = {name: values.array() for name, values in state_dict(WEIGHTS).items()}
    change(arrays)
    return str(TorchFile({"state": {key: tensor(array) for key, array in arrays.items()}}).archive(folder / name))


def test_the_score_is_the_mix_of_the_ranking_and_the_network(images):
    raw = [scores_of(Ames(WEIGHTS, weight=0, temperature=1e-3), images[0], [image])[0] for image in images]
    logits = [-1e3 * np.log(1 / value - 1) for value in raw]
    reranker = Ames(WEIGHTS)
    assert (reranker.weight, reranker.temperature) == (0.55, 0.3)
    before = np.linspace(0.9, 0.1, 5, dtype=np.float32)
    np.testing.assert_allclose(
        scores_of(reranker, images[0], images), mixed(before, np.array(logits), 0.55, 0.3), atol=1e-6
    )


def test_the_published_numbers_of_the_binary_network(tmp_path):
    def signs(arrays):
        arrays["remap_local.0.W"] = arrays.pop("remap_local.0.weight").T
        arrays["remap_local.2.weight"], arrays["remap_local.2.bias"] = (
            arrays["remap_local.1.weight"],
            arrays["mtc_token"],
        )
        arrays["remap_local.1.bias"] = arrays.pop("remap_local.0.bias")
        arrays["remap_local.1.weight"] = np.eye(8, dtype=np.float32)

    reranker = Ames(changed(signs, tmp_path))
    assert reranker.network.binary
    assert (reranker.weight, reranker.temperature) == (0.35, 0.1)


def test_only_the_first_features_are_seen(images):
    few = Ames(WEIGHTS, query_features=5, image_features=2, weight=0)
    cut = scores_of(Ames(WEIGHTS, weight=0), images[0].top(5), [image.top(2) for image in images])
    np.testing.assert_array_equal(scores_of(few, images[0], images), cut)
    assert (scores_of(Ames(WEIGHTS, weight=0), images[0], images)[:4] != cut[:4]).all()


def test_neither_company_nor_order_of_features_changes_a_score(images):
    reranker = Ames(WEIGHTS, weight=0)
    together = scores_of(reranker, images[0], images)
    alone = [scores_of(reranker, images[0], [image])[0] for image in images]
    np.testing.assert_array_equal(together, alone)
    turned = [local(image.keypoints[::-1], image.descriptors[::-1], image.name, [1.0]) for image in images]
    np.testing.assert_allclose(scores_of(reranker, turned[0], turned), together, atol=1e-6)


def test_images_without_features_have_a_score(images):
    reranker = Ames(WEIGHTS, weight=0)
    assert np.isfinite(scores_of(reranker, images[4], images)).all()
    assert np.isfinite(scores_of(reranker, images[0], images)[4])


def test_a_file_that_is_no_such_network_is_refused_by_name(tmp_path):
    def renamed(arrays):
        arrays["decoder.layers.0.norm1.scale"] = arrays.pop("decoder.layers.0.norm1.weight")

    def shape(arrays):
        arrays["classifier.weight"] = np.zeros((2, 8), np.float32)

    def infinite(arrays):
        arrays["mtc_token"][3] = np.inf

    cases = [
        (lambda arrays: arrays.pop("decoder.layers.1.linear2.bias"), "decoder.layers.1.linear2.bias"),
        (renamed, "decoder.layers.0.norm1.weight\n.*\n.*decoder.layers.0.norm1.scale"),
        (shape, r"classifier.weight \(\(2, 8\) where \(1, 8\)"),
        (infinite, "mtc_token"),
    ]
    for change, message in cases:
        with pytest.raises(InputError, match=message):
            Ames(changed(change, tmp_path))
    with pytest.raises(InputError, match="absent"):
        Ames(str(tmp_path / "absent.pt"))
    with pytest.raises(InputError, match="temperature"):
        Ames(WEIGHTS, temperature=-1)


def test_features_of_another_kind_are_refused(images):
    reranker = Ames(WEIGHTS)
    keypoints, descriptors = scene(n=6)
    short = local(keypoints, unit(descriptors[:, :64]), "short", [1.0])
    bits = local(keypoints, descriptors, "bits", [1.0])
    object.__setattr__(bits, "descriptors", packed(descriptors))
    broken = local(keypoints, descriptors * np.nan, "broken", [1.0])
    for image in (short, bits, broken):
        for query, database in ((image, images), (images[0], [image])):
            with pytest.raises(InputError, match=image.name):
                scores_of(reranker, query, database)
