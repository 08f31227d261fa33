"""The training of ELViS on features: what triplets are drawn, what is learned, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from delg.common.errors import InputError
from matching.rerankers.elvis import Elvis
from matching.source import MemorySource
from tests.matching.helpers import local, ranking, unit
from training.elvis import initial_weights
from training.options import TrainRerankerOptions
from training.reranker_job import classes_of, save, train
from training.triplets import Triplets

OPTIONS = TrainRerankerOptions(epochs=10, batch_size=8, features=12, initial_lr=5e-3, seed=1)


def photos(seed=0, classes=6, of_each=4, width=16):
    """Photos of a class share 3 local descriptors; any two share some of the 12 that photos of all seeds may have."""
    background, rng = unit(np.random.default_rng(99).normal(size=(12, width))), np.random.default_rng(seed)
    images = []
    for c in range(classes):
        own = unit(rng.normal(size=(3, width)))
        for i in range(of_each):
            rows = np.concatenate([own, background[rng.random(12) < 0.5]])
            rows = unit(rows + 0.05 * rng.normal(size=rows.shape))
            name = f"class{c}/{i}.jpg"
            images.append(local(rng.random((len(rows), 2)), rows, name, unit(1 + 0.3 * rng.normal(size=8))))
    return MemorySource(images)


def first_right(weights, source, path):
    """How often the votes alone put a photo of the same class first."""
    save(weights, path)
    n = len(source)
    before = ranking([[j for j in range(n) if j != i] for i in range(n)], [np.linspace(1, 0.5, n - 1)] * n)
    after = Elvis(str(path), weight=0, temperature=0.05)(source, source, before)
    classes = np.array(classes_of(source))
    return np.mean(classes[after.indices[:, 0]] == classes)


def test_triplets_are_of_near_photos():
    descriptors = unit([[1, 0, 0], [1, 0.1, 0], [1, 0.2, 0], [0.9, 0, 0.3], [-1, 0, 0.1]])
    triplets = Triplets.of(descriptors, ["a", "a", "b", "b", "a"])
    assert triplets.anchors.tolist() == [0, 1, 2, 3]
    rows, chances = triplets.negatives[0]
    assert sorted(rows.tolist()) == [2, 3] and chances.sum() == pytest.approx(1)
    similarities = descriptors[rows] @ descriptors[0]
    np.testing.assert_allclose(chances[0] / chances[1], (similarities[0] / similarities[1]) ** 3, rtol=1e-5)
    batches = list(triplets.batches(2, np.random.default_rng(0)))
    assert [batch.shape for batch in batches] == [(2, 3)] * 2
    assert sorted(np.concatenate(batches)[:, 0]) == [0, 1, 2, 3]
    labels = np.array(["a", "a", "b", "b", "a"])
    for anchor, positive, negative in np.concatenate(batches):
        assert labels[anchor] == labels[positive] != labels[negative] and anchor != positive


def test_without_near_photos_of_both_kinds_nothing_is_learned():
    for labels in (["a", "a", "a"], ["a", "b", "c"]):
        with pytest.raises(InputError):
            Triplets.of(unit(np.ones((3, 2))), labels)


def test_what_is_learned_reranks_photos_of_other_classes(tmp_path):
    source, epochs = photos(), []
    weights = train(source, classes_of(source), OPTIONS, epochs.append)
    assert [epoch.number for epoch in epochs] == list(range(1, OPTIONS.epochs + 1))
    assert epochs[-1].loss < 0.8 * epochs[0].loss
    start = initial_weights(np.zeros(16), OPTIONS.seed)
    before, after = (first_right(w, photos(seed=1), tmp_path / "elvis.safetensors") for w in (start, weights))
    assert before < 0.7 and after > 0.9


def test_the_start_is_of_the_seed_and_centred():
    mean = np.linspace(-1, 1, 16)
    first, again, other = (initial_weights(mean, seed) for seed in (3, 3, 4))
    projection = first["remap_local.0.weight"]
    np.testing.assert_array_equal(projection, again["remap_local.0.weight"])
    assert np.abs(projection - other["remap_local.0.weight"]).max() > 1e-3
    np.testing.assert_allclose(projection @ mean + first["remap_local.0.bias"], 0, atol=1e-5)


def test_features_without_classes_or_local_features_are_refused():
    source = photos(classes=2)
    with pytest.raises(InputError, match="loose"):
        classes_of(MemorySource([replace(source.images[0], name="loose.jpg")]))
    empty = MemorySource(
        [
            replace(
                image,
                keypoints=np.zeros((0, 2), "f4"),
                descriptors=np.zeros((0, 16), "f4"),
                scores=np.zeros(0, "f4"),
                scales=np.zeros(0, "f4"),
            )
            for image in source.images
        ]
    )
    with pytest.raises(InputError, match="local features"):
        train(empty, classes_of(empty), OPTIONS, lambda _: None)
