"""The golden files in the released formats: their bytes come back, their arrays are those that were written."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from protos import arrays, local_features
from protos.box_pb2 import Boxes
from protos.datum_pb2 import DatumPairProto, DatumProto
from protos.feature_pb2 import DelfFeatures
from tests.golden.conftest import Measured, golden_path, largest_difference

MESSAGES = {"Datum": DatumProto, "DatumPair": DatumPairProto, "DelfFeatures": DelfFeatures, "Boxes": Boxes}
STAGE = "DELF files: {} / absolute"


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Path:
    return golden_path(request.config, "delf_files")


@pytest.fixture(scope="module")
def contents(folder: Path) -> dict[str, dict]:
    return json.loads((folder / "contents.json").read_text(encoding="utf-8"))


def of_type(contents: dict[str, dict], kind: str) -> dict[str, dict]:
    found = {name: entry for name, entry in contents.items() if entry["type"] == kind}
    assert found, f"no file of type {kind}"
    return found


def dtype_of(entry: dict) -> str:
    return entry["dtype"].split()[0]


def test_every_file_is_listed_and_whole(folder, contents):
    assert set(contents) == {path.name for path in folder.iterdir()} - {"contents.json"}
    assert {entry["type"] for entry in contents.values()} == set(MESSAGES)
    for name, entry in contents.items():
        data = (folder / name).read_bytes()
        assert zlib.crc32(data) == entry["crc32"] and len(data) == entry.get("bytes", len(data)), name


def test_what_is_parsed_serialises_to_the_same_bytes(folder, contents):
    for name, entry in contents.items():
        data = (folder / name).read_bytes()
        assert MESSAGES[entry["type"]].FromString(data).SerializeToString() == data, name


def test_arrays(folder, contents, tmp_path, measured: Measured):
    for name, entry in of_type(contents, "Datum").items():
        array = arrays.read_datum(folder / name)
        assert array.shape == tuple(entry["shape"]) and array.dtype == dtype_of(entry), name
        measured(STAGE.format("arrays"), largest_difference(array.ravel(), np.array(entry["values"])), 0.0)
        arrays.write_datum(tmp_path / name, array)
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name
        if name.endswith(".delg_global"):
            np.testing.assert_array_equal(arrays.read_global(folder / name), array)
            arrays.write_global(tmp_path / name, array.astype(np.float64))
            assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_pairs_of_arrays(folder, contents, tmp_path, measured: Measured):
    for name, entry in of_type(contents, "DatumPair").items():
        pair = arrays.read_pair(folder / name)
        for array, part in zip(pair, (entry["first"], entry["second"])):
            assert array.shape == tuple(part["shape"]) and array.dtype == dtype_of(part), name
            measured(STAGE.format("pairs"), largest_difference(array.ravel(), np.array(part["values"])), 0.0)
        arrays.write_pair(tmp_path / name, *pair)
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_local_features(folder, contents, tmp_path, measured: Measured):
    for name, entry in of_type(contents, "DelfFeatures").items():
        found = local_features.read_local(folder / name)
        assert len(found.locations) == entry["count"], name
        for field, array in found._asdict().items():
            expected = np.array(entry[field]).reshape(array.shape)
            measured(STAGE.format("local features"), largest_difference(array, expected), 0.0)
        parts = found._asdict()
        local_features.write_local(tmp_path / name, **parts)
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_boxes(folder, contents, tmp_path, measured: Measured):
    for name, entry in of_type(contents, "Boxes").items():
        found = local_features.read_boxes(folder / name)
        for field, array in found._asdict().items():
            expected = np.array(entry[field]).reshape(array.shape)
            measured(STAGE.format("boxes"), largest_difference(array, expected), 0.0)
        local_features.write_boxes(tmp_path / name, *found)
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name
