"""Services for the tests; without the extra ``serve`` there are no tests of it."""

import importlib.util
import shutil

import pytest

import delg
from tests.collection.conftest import MODEL
from tests.extraction.pictures import write_picture

if importlib.util.find_spec("fastapi") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from collection.serve.security import Access
    from tests.collection.serve.running import TOKEN, running


@pytest.fixture(scope="session")
def described(tmp_path_factory):
    """A described collection of eight photos, to be copied."""
    folder = tmp_path_factory.mktemp("described") / "photos"
    for seed in range(8):
        write_picture(folder / ("album" if seed > 5 else "") / f"{seed}.png", 120, 160, seed)
    with delg.Collection.open(folder, MODEL) as collection:
        collection.sync()
    return folder


@pytest.fixture
def photos(described, tmp_path):
    """A copy of it."""
    return shutil.copytree(described, tmp_path / "photos")


@pytest.fixture
def service(photos):
    with running(delg.Collection.open(photos, MODEL)) as service:
        yield service


@pytest.fixture(scope="module")
def shared(described, tmp_path_factory):
    """A service for tests that change nothing."""
    photos = shutil.copytree(described, tmp_path_factory.mktemp("shared") / "photos")
    with running(delg.Collection.open(photos, MODEL)) as service:
        yield service


@pytest.fixture(scope="module")
def guarded(described, tmp_path_factory):
    """A service with the token of :data:`TOKEN`, to be reached as ``photos.example``, too."""
    photos = shutil.copytree(described, tmp_path_factory.mktemp("guarded") / "photos")
    access = Access("0.0.0.0", TOKEN, ["photos.example"])
    with running(delg.Collection.open(photos, MODEL), access=access) as service:
        yield service
