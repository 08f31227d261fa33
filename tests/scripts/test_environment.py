"""What the scripts take for installed: an installation with all that they want, or with more."""

import os
import subprocess
from pathlib import Path

import pytest

SOURCE = (Path(__file__).parents[2] / "scripts" / "environment.sh").read_text(encoding="utf-8")
FUNCTION = SOURCE[SOURCE.index("installed() {") :].partition("\n}\n")[0] + "\n}\n"


@pytest.mark.parametrize(
    ("extras", "expected"),
    [("", True), ("[bench]", True), ("[ray,bench]", True), ("[ben]", False), ("[bench,onnx]", False)],
)
def test_an_installation_serves_what_wants_less(tmp_path, extras, expected):
    (tmp_path / ".venv").mkdir()
    for name in ("setup.py", "pyproject.toml"):
        (tmp_path / name).touch()

    def installed():
        code = f"set -eu; extras='{extras}'\n{FUNCTION}if installed; then echo yes; else echo no; fi"
        return subprocess.run(["sh", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert installed() == "no\n"
    stamp = tmp_path / ".venv" / "installed[bench,dev,ray]"
    stamp.touch()
    assert installed() == ("yes\n" if expected else "no\n")
    later = stamp.stat().st_mtime_ns + 10**9
    os.utime(tmp_path / "setup.py", ns=(later, later))
    assert installed() == "no\n", "the description changed since"
