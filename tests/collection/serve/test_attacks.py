"""What a stranger may try, and what the service answers."""

import json
import socket
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

import delg
from collection.options import ServeOptions
from collection.serve import server
from collection.serve.limits import Limits
from collection.serve.server import access_of
from delg.common.errors import InputError
from tests.collection.conftest import MODEL
from tests.collection.serve.running import TOKEN, running
from tests.collection.serve.test_app import png
from tests.extraction.pictures import tree

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><script>alert(1)</script>"


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def bomb(width, height):
    """A PNG of a few bytes whose head promises so many pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "target",
    [
        "/images/../../secret.png",
        "/images/%2e%2e/secret.png",
        "/images/..%2fsecret.png",
        "/images/..%5csecret.png",
        "/images/album/../../secret.png",
        "/images//etc/passwd",
        "/images/%2fetc%2fpasswd",
        "/images/3.png%00.txt",
        "/images/.delg/collection.sqlite",
        "/images/.hidden.png",
        "/images/file:///etc/passwd",
        "/page/../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_no_path_leads_out_of_the_folder(shared, target, method):
    folder = shared.collection.folder
    Image.new("RGB", (9, 9)).save(folder.parent / "secret.png")
    Image.new("RGB", (9, 9)).save(folder / ".hidden.png")
    answer = shared.ask(method, target)
    assert answer.status in (404, 405)
    assert answer.sentence
    assert (folder.parent / "secret.png").exists() and (folder / ".hidden.png").exists()


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.png", ".delg/collection.sqlite", "3.png\0", "."])
def test_no_name_of_a_query_leads_out_of_the_folder(shared, name):
    Image.new("RGB", (9, 9)).save(shared.collection.folder.parent / "secret.png")
    for answer in (shared.post("/search", name=name), shared.post("/match", png(1), photo=name)):
        assert answer.status == 404
    absolute = str(shared.collection.folder / "3.png")
    assert shared.post("/search", name=absolute).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "../out.png",
        "/tmp/out.png",
        "album/../../out.png",
        "a//b.png",
        ".hidden/a.png",
        ".delg/a.png",
        "album/.a.png",
        "a\\..\\b.png",
        "C:\\a.png",
        "a.svg",
        "a.html",
        "a.png.php",
        "noname",
        "x" * 300 + ".png",
        "a\nb.png",
    ],
)
def test_no_photo_is_written_outside_of_the_folder_or_hidden(shared, path):
    before = tree(shared.collection.folder.parent).keys()
    assert shared.post("/images", png(50), path=path).status == 422
    if "\n" not in path and "\\" not in path:  # which mean something else in the head of a part
        assert shared.post("/images", png(50), filename=path).status == 422
    after = tree(shared.collection.folder.parent).keys()
    assert {name for name in after - before if not name.endswith(("-wal", "-shm"))} == set()


def test_links_out_of_the_folder_are_neither_read_nor_written(service, photos, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(png(60))
    (photos / "link.png").symlink_to(outside / "secret.png")
    (photos / "absolute").symlink_to(outside)
    (photos / "passwd.png").symlink_to("/etc/passwd")
    service.ask("POST", "/sync")
    for name in ("link.png", "absolute/secret.png", "passwd.png"):
        assert service.ask("GET", f"/images/{name}").status == 404
        assert service.ask("GET", f"/images/{name}?height=50").status == 404
        assert service.post("/search", name=name).status == 404
        assert service.ask("DELETE", f"/images/{name}?delete=true").status == 404
    assert service.post("/images", png(61), path="absolute/new.png").status == 422
    assert service.post("/images", png(61), path="link.png").status == 409
    assert [file.name for file in outside.iterdir()] == ["secret.png"]
    assert (outside / "secret.png").read_bytes() == png(60)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_two_gigabytes_is_refused_before_it_has_arrived(shared, chunked):
    """Its length is stated, or only seen while it arrives."""
    with socket.create_connection(("127.0.0.1", shared.port), timeout=60) as client:
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {2 << 30}"
        kind = "Content-Type: multipart/form-data; boundary=limit"
        client.sendall(f"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\n{kind}\r\n{length}\r\n\r\n".encode())
        part = b'--limit\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + b"x" * 150_000
        sent = 0
        try:
            for _ in range(4):
                client.sendall(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
                sent += len(part)
        except OSError:
            pass
        answer = client.recv(1 << 16)
    assert b" 413 " in answer.split(b"\r\n")[0]
    assert sent < 1_000_000


def test_a_bomb_of_many_pixels_is_refused_before_it_is_decoded(shared):
    data = bomb(20_000, 20_000)
    for answer in (shared.post("/search", data), shared.post("/images", data, filename="bomb.png")):
        assert (answer.status, "20000 x 20000" in answer.sentence) == (413, True)
    assert shared.post("/search", bomb(60_000, 60_000)).status == 413


def test_a_bomb_in_the_folder_is_not_decoded_for_its_picture(service, photos):
    Image.fromarray(np.zeros((400, 400, 3), np.uint8)).save(photos / "large.png")  # more than LIMITS has
    service.ask("POST", "/sync")
    for target in ("/images/large.png", "/images/large.png?height=40"):
        assert service.ask("GET", target).status == 413


@pytest.mark.parametrize(
    "data", [SVG, HTML, b"", b"GIF89a" + HTML, b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xff\xd8\xff" + HTML]
)
def test_what_is_no_photo_is_refused(shared, data):
    before = tree(shared.collection.folder).keys()
    for answer in (shared.post("/search", data), shared.post("/images", data, filename="a.png")):
        assert answer.status in (415, 422)
        assert answer.sentence
    assert tree(shared.collection.folder).keys() == before


def test_no_photo_is_sent_as_something_that_a_browser_runs(service, photos):
    (photos / "a.svg").write_bytes(SVG)
    (photos / "b.png").write_bytes(HTML)
    (photos / "c.png").write_bytes(png(70) + HTML)  # a photo with something at its end
    service.ask("POST", "/sync")
    assert service.ask("GET", "/images/a.svg").status == 404
    assert service.ask("GET", "/images/b.png").status == 404
    answer = service.ask("GET", "/images/c.png")
    assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == ("image/png", "nosniff")
    (photos / "3.png").write_bytes(SVG)  # changed since it was described
    assert service.ask("GET", "/images/3.png").status == 415


def test_a_script_in_a_name_stays_a_name(service):
    name = "<img src=x onerror=alert(1)>.png"
    assert service.post("/images", png(71), path=name).json() == {"path": name}
    found = service.post("/search", png(71), filename="<script>alert(2)</script>", k=1)
    assert found.headers["content-type"] == "application/json"
    assert found.json()["results"][0]["path"] == name
    page = service.ask("GET", "/")
    assert b"onerror" not in page.body
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy


def test_a_client_that_sends_its_body_slowly_gets_an_answer_and_others_are_served(shared):
    with socket.create_connection(("127.0.0.1", shared.port), timeout=60) as client:
        client.sendall(
            b"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
            b"Content-Type: multipart/form-data; boundary=limit\r\n\r\n--limit"
        )
        assert shared.ask("GET", "/images").status == 200
        start = time.monotonic()
        assert b" 408 " in client.recv(4096).split(b"\r\n")[0]
        assert time.monotonic() - start < 30


def test_a_client_that_sends_its_head_slowly_is_cut_off(shared, monkeypatch):
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.5)
    for head in (b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"):
        with socket.create_connection(("127.0.0.1", shared.port), timeout=60) as client:
            client.sendall(head)
            with suppress(ConnectionResetError):
                assert client.recv(10) == b""


def test_connections_beyond_the_limit_are_refused(shared, monkeypatch):
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    idle = [socket.create_connection(("127.0.0.1", shared.port)) for _ in range(3)]
    try:
        for client in idle:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            client.recv(1000)
        answer = shared.ask("GET", "/health")
        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
        assert answer.sentence
    finally:
        for client in idle:
            client.close()


def test_two_hundred_requests_at_once_are_answered_or_refused(shared):
    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda _: shared.post("/search", png(3), k=1), range(200)))
    statuses = {answer.status for answer in answers}
    assert 200 in statuses and statuses <= {200, 429, 503}
    assert statuses > {200}, "some had to be refused"
    assert all(answer.headers["retry-after"] for answer in answers if answer.status != 200)
    assert all(answer.sentence for answer in answers if answer.status != 200)
    assert shared.post("/search", png(3), k=1).status == 200


def test_a_request_that_takes_too_long_is_ended(photos, monkeypatch):
    with running(delg.Collection.open(photos, MODEL)) as service:
        monkeypatch.setattr(service.collection, "search", lambda *_, **__: time.sleep(1.5))
        with running(service.collection, limits=Limits(seconds=0.3)) as impatient:
            assert impatient.post("/search", png(3)).status == 503


def test_without_the_token_nothing_is_seen(guarded):
    for method, target in (
        ("GET", "/images"),
        ("GET", "/images/3.png"),
        ("GET", "/status"),
        ("GET", "/metrics"),
        ("GET", "/match?first=3.png&second=4.png"),
        ("POST", "/search"),
        ("POST", "/sync"),
        ("DELETE", "/images/3.png"),
        ("GET", "/absent"),
    ):
        for headers in (
            {},
            bearer("wrong"),
            bearer(""),
            {"Authorization": f"Basic {TOKEN}"},
            {"Cookie": "delg_session=a"},
        ):
            answer = guarded.ask(method, target, headers=headers)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert "3.png" not in answer.sentence
    assert guarded.ask("GET", "/health").status == 200
    assert guarded.ask("GET", "/images", headers=bearer(TOKEN)).json()["total"] == 8


def test_the_page_is_let_in_by_a_cookie_that_does_not_hold_the_token(guarded):
    assert guarded.ask("GET", "/").status == 200
    kind = {"Content-Type": "application/json"}
    assert guarded.ask("POST", "/session", b'{"token": "wrong"}', kind).status == 401
    answer = guarded.ask("POST", "/session", json.dumps({"token": TOKEN}).encode(), kind)
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie and "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert guarded.ask("GET", "/images/3.png", headers={"Cookie": cookie.split(";")[0]}).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "10.0.0.9", "", "a b", "[::1"]
)
def test_a_foreign_host_name_is_refused(shared, host):
    answer = shared.ask("GET", "/images", headers={"Host": host})
    assert answer.status == 421
    assert answer.sentence


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:9999", "[::1]:80"])
def test_names_of_this_machine_are_accepted(shared, host):
    assert shared.ask("GET", "/images", headers={"Host": host}).status == 200


@pytest.mark.parametrize("host, status", [("photos.example", 200), ("10.1.2.3:8000", 200), ("evil.example", 421)])
def test_names_of_a_service_for_others(guarded, host, status):
    assert guarded.ask("GET", "/images", headers={"Host": host, **bearer(TOKEN)}).status == status


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_requests_of_pages_of_other_sites_are_refused(shared, headers):
    before = shared.ask("GET", "/images").json()
    for answer in (
        shared.post("/images", png(80), filename="foreign.png", headers=headers),
        shared.ask("DELETE", "/images/3.png", headers=headers),
        shared.ask("POST", "/sync", headers=headers),
        shared.ask("GET", "/images/3.png", headers=headers),
    ):
        assert answer.status == 403
        assert answer.sentence
        assert "access-control-allow-origin" not in answer.headers
    assert shared.ask("OPTIONS", "/images", headers=headers).status == 403
    assert shared.ask("GET", "/images").json() == before


def test_the_own_page_and_a_link_to_it_are_accepted(shared):
    own = {"Origin": shared.url, "Sec-Fetch-Site": "same-origin"}
    assert shared.post("/search", png(3), headers=own).status == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert shared.ask("GET", "/", headers=link).status == 200


def test_another_address_needs_a_token_of_some_length(monkeypatch):
    monkeypatch.delenv("DELG_TOKEN", raising=False)
    for options in (
        ServeOptions(host="0.0.0.0"),
        ServeOptions(host="::"),
        ServeOptions(host="192.168.1.5"),
        ServeOptions(names=("photos.example",)),
        ServeOptions(host="0.0.0.0", token="short"),
    ):
        with pytest.raises(InputError):
            access_of(options)
    assert access_of(ServeOptions()).token is None
    assert access_of(ServeOptions(host="::1")).token is None
    monkeypatch.setenv("DELG_TOKEN", TOKEN)
    assert access_of(ServeOptions(host="0.0.0.0")).token == TOKEN


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
        b"GET /images\r\n\r\n",
        b"GET /images HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"GET /images HTTP/1.0\r\n\r\n",
        b"POST /sync HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_what_is_no_clean_request_is_refused(shared, request_):
    with socket.create_connection(("127.0.0.1", shared.port), timeout=60) as client:
        client.sendall(request_)
        assert client.recv(4096).split()[1] in (b"400", b"421")
    assert shared.ask("GET", "/health").status == 200
