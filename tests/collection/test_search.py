"""Questions to a collection from Python."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import delg
from collection.searching import result_page
from collection.state import FILE
from delg.common.errors import InputError
from tests.collection.conftest import MODEL
from tests.extraction.pictures import picture, write_picture


@pytest.fixture
def collection(photos):
    with delg.Collection.open(photos, MODEL) as collection:
        collection.sync()
        yield collection


def test_every_kind_of_query_gives_the_same_answer(collection, photos, tmp_path):
    file = write_picture(tmp_path / "query.png", 120, 160, 3)
    answers = [
        collection.search(query, k=3) for query in (file, str(file), file.read_bytes(), picture(120, 160, 3), "3.png")
    ]
    for answer in answers:
        assert [one.path for one in answer] == [one.path for one in answers[0]]
        assert answer[0].path == "3.png"
        assert answer[0].similarity == pytest.approx(1, abs=1e-5)
        assert answer[0].inliers > 20
        assert answer[0].file == photos / "3.png"


def test_a_crop_is_in_pixels_of_the_query(collection, tmp_path):
    canvas = np.zeros((300, 400, 3), np.uint8)
    canvas[100:220, 200:360] = picture(120, 160, 5)
    best = collection.search(canvas, k=1, crop=(200, 100, 360, 220))[0]
    assert best.path == "5.png"
    assert best.transform @ [0, 0, 1] == pytest.approx([200, 100, 1], abs=1)


def test_a_photo_of_the_collection_is_certainly_the_same(collection, photos):
    (photos / "copy.png").write_bytes((photos / "3.png").read_bytes())
    collection.sync()
    answer = collection.search("3.png", k=3)
    assert (answer.verdict, answer.probability) == ("same", 1)
    assert [(one.path, one.verdict, one.probability) for one in answer][:2] == [
        ("3.png", "same", 1),
        ("copy.png", "same", 1),
    ]
    assert answer[2].probability < 0.5
    assert collection.search("3.png", k=1, crop=(0, 0, 160, 120)).probability < 1


def test_the_answer_can_be_printed_shown_and_sent(collection):
    answer = collection.search("3.png", k=2)
    assert "3.png" in str(answer)
    assert "data:image/jpeg" in answer._repr_html_()
    assert answer.as_dict()["results"][0]["path"] == "3.png"
    assert repr(collection).count("8 photos") == 1


def test_a_search_that_describes_its_candidates_answers_as_later_ones(photos):
    collection = delg.Collection.open(photos, MODEL)
    collection.sync(local=False)
    query = np.roll(picture(120, 160, 3), 7, axis=0)
    first, later = collection.search(query), collection.search(query)
    assert [vars(one) | {"transform": None} for one in first] == [vars(one) | {"transform": None} for one in later]


def test_many_queries_keep_their_order(collection):
    paths = collection.paths
    assert [answer[0].path for answer in collection.search_many(paths, k=1)] == paths


def test_another_reranker_and_none(collection):
    plain = collection.search("3.png", k=8, rerank=None)
    similarities = [one.similarity for one in plain]
    assert similarities == sorted(similarities, reverse=True)
    assert all(one.inliers is None for one in plain)
    assert collection.search("3.png", k=8, rerank="superglobal(m=8, k=2)")[0].path == "3.png"


def test_a_geometric_reranker_gives_inliers_transforms_and_verdicts(collection, tmp_path):
    query = picture(120, 160, 3)[4:, 6:]
    answer, usual = collection.search(query, k=2, rerank="ransac"), collection.search(query, k=2)
    assert [repr(one) for one in answer] == [repr(one) for one in usual]
    assert (answer.verdict, answer.probability) == (usual.verdict, usual.probability)
    assert answer[0].path == "3.png" and answer[0].inliers > 20 > answer[1].inliers
    assert answer[0].transform @ [6, 4, 1] == pytest.approx([0, 0, 1], abs=1.5)
    loose = collection.search(query, k=8, rerank="ransac(residual=20, mutual=False)")
    inliers = [one.inliers for one in loose]
    assert inliers == sorted(inliers, reverse=True) and inliers[1] > 0
    chain = collection.search(query, k=1, rerank="superglobal(m=8, k=2) | ransac(top_k=4)")[0]
    assert (chain.path, chain.inliers) == ("3.png", answer[0].inliers)


def test_the_page_shows_a_query_that_is_no_file(collection, photos):
    pages = []
    for query in (picture(120, 160, 3), (photos / "3.png").read_bytes(), photos / "3.png"):
        pages.append(result_page(collection, collection.search(query, k=2)))
    assert [page.count("data:image/jpeg") for page in pages] == [pages[-1].count("data:image/jpeg")] * 3
    assert pages[-1].count("data:image/jpeg") > 3


def test_two_photos_are_matched(collection, photos):
    same = collection.match(photos / "3.png", picture(120, 160, 3))
    assert same.inliers > 20
    assert same.transform == pytest.approx(np.eye(3), abs=0.05)
    assert collection.match("3.png", "4.png").inliers < 10
    left = collection.match("3.png", "3.png", crop=(0, 0, 80, 120))
    assert 5 < left.inliers < same.inliers
    assert left.pairs[:, 0].max() < 80


@pytest.mark.parametrize("query", [b"no image", b"", "absent.png", np.zeros((4, 4)), np.zeros((0, 4, 3), np.uint8)])
def test_a_query_that_is_no_image_is_one_sentence(collection, query):
    with pytest.raises(InputError):
        collection.search(query)


@pytest.mark.parametrize("options", [{"k": 0}, {"verify": 0}, {"crop": (1, 2, 3)}, {"rerank": "nothing"}])
def test_arguments_out_of_range(collection, options):
    with pytest.raises(InputError):
        collection.search("3.png", **options)


def test_a_collection_without_photos_says_what_to_do(photos):
    with pytest.raises(InputError, match="delg sync"):
        delg.Collection.open(photos, MODEL).search("3.png")


def test_another_model_is_refused_and_the_recorded_one_is_the_default(collection, photos):
    write_picture(photos / "new.png", 50, 50, 60)
    with pytest.raises(InputError, match="pair"):
        delg.Collection.open(photos, "rootsift").sync()
    assert list(delg.Collection.open(photos).sync().added) == ["new.png"]


def test_a_folder_that_cannot_be_written_needs_another_place(photos, tmp_path):
    if os.getuid() == 0:
        pytest.skip("root may write everywhere")
    photos.chmod(0o500)
    with pytest.raises(InputError, match="--collection"):
        delg.Collection.open(photos, MODEL)
    assert delg.Collection.open(photos, MODEL, state=tmp_path / "state").sync().described == 8


def test_a_damaged_state_is_one_sentence(collection, photos):
    collection.close()
    for file in (photos / ".delg").glob(f"{FILE}-*"):
        file.unlink()
    (photos / ".delg" / FILE).write_bytes(b"x" * 5000)
    with pytest.raises(InputError, match=FILE):
        delg.Collection.open(photos)


def test_nothing_heavy_is_imported_for_an_answer_about_known_photos(photos, collection):
    code = (
        "import sys, delg; c = delg.Collection.open(sys.argv[1]); print(c.search('3.png', k=1)[0].path);"
        "print([m for m in ('tensorflow', 'keras', 'jax', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(photos)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["3.png", "[]"]


def test_photos_with_orientation_are_searched_upright(photos, tmp_path):
    upright = Image.fromarray(picture(120, 160, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(photos / "turned.png", exif=exif)
    collection = delg.Collection.open(photos, MODEL)
    collection.sync()
    best = collection.search(np.asarray(upright), k=1)[0]
    assert best.path == "turned.png"
    assert best.similarity == pytest.approx(1, abs=1e-4)
