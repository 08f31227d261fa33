"""Questions and changes over HTTP."""

import errno
import io

import numpy as np
import pytest
from PIL import Image

from tests.extraction.pictures import picture, write_picture


def png(seed, height=120, width=160):
    buffer = io.BytesIO()
    Image.fromarray(picture(height, width, seed)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_search_by_a_file_and_by_a_name_is_that_of_the_collection(shared):
    expected = shared.collection.search("3.png", k=4)
    for answer in (shared.post("/search", png(3), k=4), shared.post("/search", name="3.png", k=4)):
        assert answer.status == 200
        found = answer.json()
        assert [one["path"] for one in found["results"]] == [one.path for one in expected]
        assert [one["inliers"] for one in found["results"]] == [one.inliers for one in expected]
        assert found["photos"] == 8
        assert np.allclose(found["results"][0]["transform"], expected[0].transform)
        assert str(shared.collection.folder) not in answer.body.decode()


def test_a_crop_and_no_second_stage(shared):
    canvas = np.zeros((220, 360, 3), np.uint8)
    canvas[80:200, 150:310] = picture(120, 160, 5)
    buffer = io.BytesIO()
    Image.fromarray(canvas).save(buffer, "PNG")
    answer = shared.post("/search", buffer.getvalue(), crop="150,80,310,200", k=1, rerank="none").json()
    assert answer["results"][0]["path"] == "5.png"
    assert answer["results"][0]["inliers"] is None


@pytest.mark.parametrize(
    "values",
    [
        {"k": 0},
        {"k": "many"},
        {"k": 10**9},
        {"verify": 0},
        {"crop": "1,2,3"},
        {"crop": "5,5,1,1"},
        {"crop": "nan,0,inf,9"},
        {"crop": "900,900,950,950"},
        {"rerank": "os:system('id')"},
        {"rerank": "ransac(top_k=9)"},
    ],
)
def test_a_wrong_value_is_one_sentence(shared, values):
    answer = shared.post("/search", png(3), **values)
    assert answer.status == 422
    assert answer.sentence


def test_a_search_needs_one_query(shared):
    assert shared.post("/search", k=3).status == 422
    assert shared.post("/search", png(3), name="3.png").status == 422
    assert shared.post("/search", name="absent.png").status == 404


def test_two_photos_are_matched_and_drawn(shared):
    found = shared.ask("GET", "/match?first=3.png&second=3.png").json()
    assert found["inliers"] == len(found["pairs"]) > 20
    assert np.allclose(found["transform"], np.eye(3), atol=0.05)
    assert shared.post("/match", png(3), photo="4.png").json()["inliers"] < 10
    for answer in (
        shared.ask("GET", "/overlay?first=3.png&second=album/6.png"),
        shared.post("/overlay", png(3), photo="3.png", crop="0,0,80,120"),
    ):
        assert answer.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(answer.body)).size == (328, 120)


def test_the_list_of_photos_has_pages(shared):
    assert shared.ask("GET", "/images?offset=5&limit=2").json() == {
        "total": 8,
        "offset": 5,
        "images": ["5.png", "album/6.png"],
    }
    assert shared.ask("GET", "/images?contains=ALBUM").json()["total"] == 2


def test_photos_are_shown_small_and_whole_and_only_once(shared):
    whole = shared.ask("GET", "/images/album/6.png")
    assert whole.body == (shared.collection.folder / "album/6.png").read_bytes()
    assert whole.headers["content-type"] == "image/png"
    small = shared.ask("GET", "/images/album/6.png?height=60")
    assert Image.open(io.BytesIO(small.body)).size == (80, 60)
    again = shared.ask("GET", "/images/album/6.png?height=60", headers={"If-None-Match": small.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_a_photo_that_browsers_do_not_know_is_sent_as_jpeg(service, photos):
    Image.fromarray(picture(60, 80, 3)).save(photos / "scan.tif")
    assert service.ask("POST", "/sync").json()["changes"]["added"] == ["scan.tif"]
    answer = service.ask("GET", "/images/scan.tif")
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.body)).size == (80, 60)


def test_photos_are_added_and_removed(service, photos):
    answer = service.post("/images", png(30), filename="new.png")
    assert (answer.status, answer.json()) == (201, {"path": "new.png"})
    assert (photos / "new.png").read_bytes() == png(30)
    assert service.post("/search", png(30), k=1).json()["results"][0]["path"] == "new.png"
    assert service.post("/images", png(31), filename="new.png").status == 409
    assert service.post("/images", png(31), path="trip/new.png").json()["path"] == "trip/new.png"
    assert service.ask("DELETE", "/images/new.png").status == 200
    assert (photos / "new.png").exists()
    assert service.ask("DELETE", "/images/trip/new.png?delete=true").status == 200
    assert not (photos / "trip/new.png").exists()
    assert service.ask("DELETE", "/images/new.png").status == 404
    assert service.ask("GET", "/images").json()["total"] == 8


def test_a_full_disk_is_one_sentence(service, photos, monkeypatch):
    def fails(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("collection.collection.shutil.copyfile", fails)
    answer = service.post("/images", png(30), filename="new.png")
    assert (answer.status, "space" in answer.sentence) == (503, True)
    assert not (photos / "new.png").exists()


def test_a_synchronisation_gives_its_changes(service, photos):
    write_picture(photos / "more.png", 50, 60, 40)
    (photos / "0.png").unlink()
    (photos / "broken.jpg").write_bytes(b"no image")
    run = service.ask("POST", "/sync").json()
    assert run["state"] == "done"
    assert run["changes"]["added"] == ["more.png"]
    assert run["changes"]["removed"] == ["0.png"]
    assert service.ask("GET", f"/sync/{run['run']}").json() == run
    assert service.ask("GET", "/sync/999").status == 404
    status = service.ask("GET", "/status").json()
    assert (status["photos"], list(status["failed"])) == (8, ["broken.jpg"])


def test_health_metrics_and_description(shared):
    assert shared.ask("GET", "/health").json() == {"status": "ok"}
    shared.ask("GET", "/nowhere/at/all")
    lines = shared.ask("GET", "/metrics").body.decode().splitlines()
    numbers = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert numbers["delg_photos"] == "8"
    assert int(numbers['delg_requests_total{method="GET",route="/health",status="200"}']) >= 1
    assert int(numbers['delg_requests_total{method="GET",route="other",status="404"}']) >= 1
    assert numbers['delg_request_seconds_bucket{route="/health",le="+Inf"}'] >= "1"
    paths = shared.ask("GET", "/openapi.json").json()["paths"]
    assert {"/search", "/images", "/images/{path}", "/sync", "/match", "/overlay"} <= paths.keys()
