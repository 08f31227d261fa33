"""ELViS as a reranker: what its scores depend on, and files and features refused.

``tests/matching/data/elvis.safetensors`` holds a network that projects to 8 values, with the weights of the golden
files' rule.
"""

from pathlib import Path

import numpy as np
import pytest

from delg.common.errors import InputError
from delg.common.safetensors_file import read_safetensors, write_safetensors
from extraction.store.encoding import as_stored
from matching.rerankers.elvis import Elvis
from matching.rerankers.mixing import mixed
from matching.source import MemorySource
from tests.delg.importers.torch_writer import TorchFile, tensor
from tests.matching.helpers import DATA, local, ranking, scene, unit

WEIGHTS = str(DATA / "elvis.safetensors")


@pytest.fixture
def images():
    """Images of 3 to 12 features; the last one has none."""
    keypoints, descriptors = scene(n=40)
    rng = np.random.default_rng(3)
    rows = [rng.permutation(40)[:n] for n in (12, 3, 7, 9, 0)]
    return [local(keypoints[r], descriptors[r], f"image{i}", [1.0]) for i, r in enumerate(rows)]


def scores_of(reranker, query, database):
    before = ranking([np.arange(len(database))], [np.linspace(0.9, 0.1, len(database))])
    return next(iter(reranker.scores(MemorySource([query]), MemorySource(database), before)))


def votes_of(query, database, **arguments):
    """The sums of votes, from the scores of a mixing that does not saturate."""
    mixed_scores = scores_of(Elvis(WEIGHTS, weight=0, temperature=1e-2, **arguments), query, database)
    return -1e2 * np.log(1 / mixed_scores - 1)


def changed(change, path):
    """A file of other weights."""
    arrays = {name: stored.read() for name, stored in read_safetensors(Path(WEIGHTS)).items()}
    change(arrays)
    return str(write_safetensors(path, arrays))


def test_a_released_checkpoint_and_safetensors_are_the_same(images, tmp_path):
    arrays = {name: tensor(stored.read()) for name, stored in read_safetensors(Path(WEIGHTS)).items()}
    released = TorchFile({"state": arrays, "epoch": 9}).archive(tmp_path / "elvis.pt")
    expected = scores_of(Elvis(WEIGHTS), images[0], images)
    np.testing.assert_array_equal(scores_of(Elvis(str(released)), images[0], images), expected)


def test_global_similarity_and_votes_are_mixed(images):
    votes, before = votes_of(images[0], images), np.linspace(0.9, 0.1, 5, dtype=np.float32)
    expected = mixed(before, votes, 0.5, 0.5)
    np.testing.assert_allclose(scores_of(Elvis(WEIGHTS), images[0], images), expected, atol=1e-6)


def test_votes_depend_neither_on_the_other_candidates_nor_on_the_order_of_features(images):
    together = votes_of(images[0], images)
    for image, expected in zip(images, together):
        turned = local(image.keypoints[::-1], image.descriptors[::-1])
        np.testing.assert_allclose(votes_of(images[0], [turned]), expected, rtol=1e-5)


def test_an_image_without_features_and_a_query_without(images):
    votes = votes_of(images[0], images)
    assert np.isfinite(votes).all() and votes[4] == votes.min()
    assert not votes_of(images[4], images[:4]).any(), "the order of the first stage stays"


def test_padding_changes_scores_a_little(images):
    trimmed, padded = votes_of(images[0], images[:4]), votes_of(images[0], images[:4], features=14, padded=True)
    assert 1e-4 < np.abs(padded / trimmed - 1).max() < 0.1
    full = votes_of(images[0], images[:1], features=12, padded=True)
    np.testing.assert_allclose(full, votes_of(images[0], images[:1]), rtol=1e-6)


def test_signs_are_descriptors_too(images):
    bits = [as_stored(image, "binary") for image in images]
    signs = [local(image.keypoints, unit(np.sign(image.descriptors))) for image in images[:4]]
    np.testing.assert_allclose(votes_of(bits[0], bits[:4]), votes_of(signs[0], signs), rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda arrays: arrays.pop("f.1.bias"), "f.1.bias"),
        (lambda arrays: arrays.update({"f.9.bias": arrays.pop("f.3.bias")}), "f.9.bias"),
        (lambda arrays: arrays.update({"remap_local.1.bias": np.zeros(9, "f4")}), "remap_local.1.bias"),
        (lambda arrays: arrays.update({"dust_bin": np.array(np.nan, "f4")}), "dust_bin"),
    ],
    ids=["missing", "renamed", "another shape", "not finite"],
)
def test_weights_that_do_not_fit_are_named(change, named, tmp_path):
    with pytest.raises(InputError, match=named):
        Elvis(changed(change, tmp_path / "changed.safetensors"))


def test_files_and_features_that_do_not_fit(images, tmp_path):
    with pytest.raises(InputError, match="absent"):
        Elvis(str(tmp_path / "absent.pt"))
    short = local(np.zeros((3, 2)), unit(np.ones((3, 64))))
    with pytest.raises(InputError, match="128 values"):
        scores_of(Elvis(WEIGHTS), short, [short])
    for wrong in ({"weight": 1.5}, {"temperature": -1}, {"features": 0}, {"weights": 3}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            Elvis(**{"weights": WEIGHTS, **wrong})
