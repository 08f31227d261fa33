"""The page of one search."""

import re

import numpy as np
import pytest
from PIL import Image

from evaluation.report import results
from extraction import images
from extraction.features import Features
from extraction.images import ImageRef, find_image
from matching.lookup import Result
from matching.rerankers.table import build_reranker
from matching.source import MemorySource
from tests.evaluation.report.test_report import Links
from tests.matching.helpers import scene, view


def paint(path, size=(60, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), 90, np.uint8)).save(path)
    return str(path)


@pytest.fixture
def photos(tmp_path):
    """A query and a database of three images, of which the last has no photo and the second shows the query."""
    keypoints, descriptors = scene()
    move = [[0.5, 0, 5], [0, 0.5, 9]]
    images = [view(keypoints, descriptors, move, n, name) for n, name in ((0, "a/ä<b>"), (30, "c.d"), (12, "lost"))]
    paint(tmp_path / "jpg" / "a" / "ä<b>.JPG")
    paint(tmp_path / "jpg" / "c.d.jPeg")
    query = view(keypoints, descriptors, [[1, 0, 0], [0, 1, 0]], 60, "q")
    return ImageRef("q<0>", paint(tmp_path / "q.png"), (10, 5, 50, 35)), query, MemorySource(images)


def rendered(tmp_path, photos, found, reranker=None, **changes):
    ref, query, store = photos
    given = {"searched": "3 images of store", "reranked": reranker is not None, "settings": {"model": "<m>"}} | changes
    verify = results.verifier(query, store, reranker)
    return results.render_search((ref, query), found, tmp_path / "jpg", verify=verify, **given)


@pytest.mark.parametrize(("exif", "upright"), [("apply", True), ("ignore", False)])
def test_all_photos_of_the_page_stand_as_the_store_was_read(tmp_path, photos, monkeypatch, exif, upright):
    seen = []
    load = images.load_shrunk

    def loaded(ref, reading, *others):
        seen.append(reading.exif == "apply")
        return load(ref, reading, *others)

    monkeypatch.setattr(images, "load_shrunk", loaded)
    found = [Result("c.d", 30.0, 1, 3)]
    rendered(tmp_path, photos, found, build_reranker("superglobal | ransac"), reading=images.Reading(exif))
    assert seen == [upright] * 4  # the query, the pair, the result


def test_results_with_ranks_inliers_and_missing_photos(tmp_path, photos):
    found = [Result("c.d", 30.0, 1, 3), Result("lost", 12.0, 2, 1), Result("a/ä<b>", 0.0, 0, 3)]
    page = rendered(tmp_path, photos, found, build_reranker("superglobal | ransac"))
    links = Links()
    links.feed(page)
    assert not links.open and not links.undescribed
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in links.loads)
    assert {link for link in links.loads if link[0] == "#"} == {
        *("#query", "#results", "#matches", "#settings", "#match-1", "#result-1")
    }
    assert all(f'id="{link[1:]}"' in page for link in links.loads if link[0] == "#")
    for outside in ("http://", "https://", "@import", "url(", "<script", "<0>", "<b>.", "<m>"):
        assert outside not in page
    assert "prefers-color-scheme: dark" in page and 'name="viewport"' in page
    words = re.sub(r"\s+", " ", re.sub(r"<style.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL))
    for part in (
        "The yellow box is the query",
        "The best 3 of 3 images of store.",
        "1 ▲ before reranking 3 c.d score 30 30 inliers",
        "photo missing or not readable 2 ▼ before reranking 1 lost score 12 12 inliers",
        "3 = before reranking 3 a/ä&lt;b&gt; score 0 0 inliers",
        "1 of the 3 photos cannot be shown; they were looked for in",
        "Result 1 , 30 inliers : c.d",
        "model &lt;m&gt;",
    ):
        assert part in words, part


def test_results_without_reranking(tmp_path, photos):
    page = rendered(tmp_path, photos, [Result("c.d", 0.8125, 1, 1)])
    assert "score 0.8125" in page and "similarity of global descriptors" in page
    for part in ("before reranking", "inlier", "cannot be shown", 'id="matches"'):
        assert part not in page.split("<body>")[1]
    assert "Nothing was found." in rendered(tmp_path, photos, [])
    ref, query, store = photos
    (tmp_path / "q.png").write_text("no image")
    assert ">no image<" in rendered(tmp_path, (ref, query, store), [])


def test_inliers_only_where_local_features_are_compared(photos):
    _, query, store = photos
    assert results.verifier(query, store, build_reranker("superglobal")) is None
    assert results.verifier(query, None, build_reranker("ransac")) is None
    assert results.verifier(Features("q", (1, 1)), store, build_reranker("ransac")) is None
    features, pairs = results.verifier(query, store, build_reranker("ransac"))(1)
    assert features.name == "c.d" and pairs.tolist() == [[i, i] for i in range(30)]


def test_pictures_of_the_first_matches_only(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(results, "MAX_PICTURES", 1)
    page = rendered(tmp_path, photos, [Result("c.d", 30.0, 1, 1)] * 2, build_reranker("ransac"))
    assert 'id="match-1"' in page and 'id="match-2"' not in page and "The first 1 results." in page


def test_photos_are_found_by_their_names(tmp_path):
    for name in ("a.jpg", "sub/b.c.PNG", "d.Webp", "e.jpg", "e.png", "text.txt", "x.jpg.jpg", "y.png"):
        paint(tmp_path / "x.png")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / "x.png").rename(tmp_path / name)
    for name, file in (
        ("a", "a.jpg"),
        ("sub/b.c", "sub/b.c.PNG"),
        ("d", "d.Webp"),
        ("e.png", "e.png"),
        ("x.jpg", "x.jpg.jpg"),
    ):
        assert find_image(tmp_path, name) == ImageRef(name, str(tmp_path / file)), name
    for name in ("none", "text", "sub/none", "nowhere/a", "e", "y.jpg"):  # e is one of two, of which nothing tells
        assert find_image(tmp_path, name) == ImageRef(name, str(tmp_path / name))


def test_photos_are_found_by_their_paths(tmp_path):
    """The file ``a.jpg.jpg`` is named ``a.jpg``, which is the name of another file."""
    for place in ("a.jpg", "a.jpg.jpg", "b/a.png", "b/a.jpg", "ü.jpg"):
        paint(tmp_path / place)
    for name, path in (("a", "a.jpg"), ("a.jpg", "a.jpg.jpg"), ("b/a", "b/a.png"), ("b/a", "b/a.jpg"), ("x", "ü.jpg")):
        assert find_image(tmp_path, name, path) == ImageRef(name, str(tmp_path / path))
    assert find_image(tmp_path, "a", "gone/a.jpg") == ImageRef("a", str(tmp_path / "gone/a.jpg"))
    assert find_image(tmp_path, "a.jpg") == ImageRef("a.jpg", str(tmp_path / "a.jpg.jpg"))  # as list_images names it
    assert find_image(tmp_path, "u\u0308", "u\u0308.jpg") == ImageRef("u\u0308", str(tmp_path / "ü.jpg"))
