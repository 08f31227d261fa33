"""The programs of docs/serve.md run as they stand, against a service."""

import http.client
import re
import shutil
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest
import uvicorn

from collection.serve.server import listen
from tests.collection.serve.test_app import png
from tests.extraction.pictures import write_picture

PAGE = (Path(__file__).parents[3] / "docs" / "serve.md").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_and_the_lines_of_python(service, photos, tmp_path, monkeypatch, capsys):
    write_picture(tmp_path / "query.jpg", 120, 160, 3)
    write_picture(tmp_path / "new.jpg", 120, 160, 30)
    for name in ("1.jpg", "2.jpg"):
        write_picture(photos / "album" / name, 240, 320, 40)
    assert service.ask("POST", "/sync").json()["state"] == "done"
    monkeypatch.chdir(tmp_path)
    (commands,) = re.findall(r"## Over HTTP\n\n```sh\n(.*?)```", PAGE, re.DOTALL)
    script = commands.replace("http://127.0.0.1:8000", service.url).replace("curl", "curl --fail --silent --show-error")
    subprocess.run(["sh", "-ec", script], check=True, capture_output=True)
    assert (tmp_path / "matches.jpg").read_bytes()[:2] == b"\xff\xd8"
    (code,) = re.findall(r"```python\n(import delg\n.*?)```", PAGE, re.DOTALL)
    exec(compile(code.replace("http://127.0.0.1:8000", service.url), "serve.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert (len(lines), lines[0].split()[0], lines[-1]) == (6, "3.png", "no changes")


def test_the_small_web_application(shared, monkeypatch):
    monkeypatch.setenv("PHOTOS", shared.url)
    (code,) = re.findall(r"`app.py`:\n\n```python\n(.*?)```", PAGE, re.DOTALL)
    module = types.ModuleType("app")
    monkeypatch.setitem(sys.modules, "app", module)
    exec(compile(code, "app.py", "exec"), module.__dict__)
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(module.app, log_level="error"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1], timeout=60)
        part = b'--limit\r\nContent-Disposition: form-data; name="image"; filename="q.png"\r\n\r\n'
        kind = {"Content-Type": "multipart/form-data; boundary=limit"}
        connection.request("POST", "/", part + png(3) + b"\r\n--limit--\r\n", kind)
        assert ": 3.png</p>" in connection.getresponse().read().decode()
        connection.close()
    finally:
        server.should_exit = True
        thread.join()
