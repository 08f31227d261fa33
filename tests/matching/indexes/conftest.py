"""Indexes of all kinds, and the folder of a plug-in as the current one."""

import contextlib
from pathlib import Path

import pytest

from matching.indexes.table import build_index
from tests.matching.indexes.index_helpers import THOROUGH, Store, clustered

PLUG_INS = Path(__file__).parent / "plug_ins"


@pytest.fixture(autouse=True)
def in_the_folder_of_the_plug_ins(monkeypatch):
    monkeypatch.chdir(PLUG_INS)


@pytest.fixture(scope="module")
def store():
    return Store(clustered())


@pytest.fixture(scope="module")
def queries():
    return clustered(seed=0)[::60] * 0.9 + clustered(seed=1)[::60] * 0.1


@pytest.fixture(scope="module")
def built(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("indexes")
    with contextlib.chdir(PLUG_INS):
        return {text: build_index(store, folder / str(i), text) for i, text in enumerate(THOROUGH)}
