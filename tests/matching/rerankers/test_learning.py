"""The weight of ``fused`` and the limit of ``gated``: photos that need inliers, photos that inliers spoil, or both."""

import numpy as np
import pytest

from delg.common.errors import InputError
from extraction.extractors.table import build_extractor
from extraction.images import list_images
from extraction.pipeline import extract
from matching.rerankers.learning import learn
from matching.rerankers.table import build_reranker
from matching.source import MemorySource
from tests import processes
from tests.extraction.pictures import write_picture
from tests.matching.helpers import local, scene, unit

CLASSES, PHOTOS = 6, 3


def collection(similarity, inliers, seed=0):
    """Photos of several things.

    Args:
      similarity: of two photos of one thing, 0 to 1; 0 is that of others.
      inliers: whether photos of one thing share local features; otherwise those of different things do.
    """
    rng = np.random.default_rng(seed)
    images, labels = [], []
    for thing in range(CLASSES):
        centre = unit(rng.normal(size=64))
        for photo in range(PHOTOS):
            keypoints, descriptors = scene(seed=thing if inliers else 100 + photo, n=20)
            vector = unit(similarity * centre + (1 - similarity) * unit(rng.normal(size=64)))
            images.append(local(keypoints, descriptors, f"{thing}/{photo}", vector))
            labels.append(thing)
    return MemorySource(images), labels


def test_inliers_that_tell_get_weight():
    learned = learn("fused(reranker='ransac')", *collection(similarity=0.1, inliers=True))
    assert learned.queries == CLASSES * PHOTOS
    assert learned.before < 60 < learned.after == learned.inner == 100
    assert build_reranker(learned.text).weight > 0.05


def test_inliers_that_mislead_get_none():
    for text in ("fused(reranker='ransac')", "gated(reranker='ransac')"):
        learned = learn(text, *collection(similarity=0.9, inliers=False))
        assert learned.inner < learned.after == learned.before == 100
        reranker = build_reranker(learned.text)
        assert (reranker.weight if "fused" in text else reranker.similarity or reranker.gap or 0) == 0


def test_a_gate_spares_the_queries_that_inliers_spoil():
    clear, unclear = collection(0.9, inliers=False), collection(0.3, inliers=True, seed=1)
    photos = MemorySource([*clear[0].images, *unclear[0].images])
    labels = [*(f"clear{label}" for label in clear[1]), *(f"unclear{label}" for label in unclear[1])]
    learned = learn("gated(reranker='ransac', gap=0.9)", photos, labels)
    assert learned.after == 100 > max(learned.before, learned.inner)
    assert 0 < build_reranker(learned.text).similarity < 0.9
    again = learn(learned.text, photos, labels)
    assert again == learned


def test_what_is_refused():
    photos, labels = collection(0.5, inliers=True)
    for text in ("ransac", "fused(reranker='ransac') | superglobal", "fused", "fused(weight=1)"):
        with pytest.raises(InputError, match="Expected fused"):
            learn(text, photos, labels)
    with pytest.raises(InputError, match="a label for each"):
        learn("fused(reranker='ransac')", photos, labels[1:])
    with pytest.raises(InputError, match="of one label"):
        learn("fused(reranker='ransac')", photos, range(len(labels)))


def test_the_command(tmp_path):
    for i in range(6):
        write_picture(tmp_path / "photos" / f"class{i % 3}" / f"{i}.png", 60, 80, seed=i % 3)
    extract(build_extractor("rootsift"), list_images(tmp_path / "photos"), tmp_path / "features", progress=False)
    command = ["calibrate", "--features_dir=features", "--rerank=fused(reranker='ransac')"]
    done = processes.run(*command, cwd=tmp_path)
    assert done.stdout.startswith("fused(reranker='ransac', weight="), done.stderr
    assert "6 photos" in done.stdout
    done = processes.run("calibrate", command[2], cwd=tmp_path)
    assert done.returncode == 1 and "--features_dir" in done.stderr
