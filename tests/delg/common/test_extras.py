"""The distribution's name and version in its metadata, and what is said of extras that are missing."""

import re
import subprocess
import sys
from email import message_from_string
from pathlib import Path

import pytest

import delg
from delg.common.distribution import NAME
from delg.common.extras import needs_extra
from delg.common.sources import PACKAGES

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    """What ``setup.py`` hands to an installer, made without a network."""
    folder = tmp_path_factory.mktemp("egg")
    command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (info,) = folder.glob("*.egg-info")
    return {path.name: path.read_text(encoding="utf-8") for path in info.glob("*.txt")} | {
        "PKG-INFO": (info / "PKG-INFO").read_text(encoding="utf-8")
    }


def test_name_version_module_and_commands(metadata):
    found = message_from_string(metadata["PKG-INFO"])
    assert (found["Name"], found["Version"]) == (NAME, delg.__version__)
    assert NAME != "delg", "on the package index another author's"
    assert "delg" in metadata["top_level.txt"].split()
    assert "delg-extract = delg.commands:main" in metadata["entry_points.txt"]


def test_every_message_names_an_extra_that_there_is(metadata):
    extras = set(message_from_string(metadata["PKG-INFO"]).get_all("Provides-Extra"))
    asked = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            asked |= set(re.findall(r'needs_extra\(.*, "(\w+)"\)', text))
            assert not re.search(r"delg\[", text), path
    assert asked == {"hub", "jax", "milvus", "onnx", "openvino", "ray", "serve"} <= extras
    found = str(needs_extra("It", "ray"))
    assert f"pip install '{NAME}[ray]'" in found and "pip install '.[ray]'" in found


def test_no_page_advises_the_other_author_s_package():
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        assert not re.search(r"pip install '?delg\b(?!-retrieval)", page.read_text(encoding="utf-8")), page
