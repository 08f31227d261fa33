"""The contract of feature formats: every entry of the tables, and plug-ins in a file outside the package."""

import pickle
import sys

import numpy as np
import pytest

from delg.common.errors import InputError
from extraction.extractors.rootsift import RootSift
from extraction.formats.base import FeatureSink, FeatureSource
from extraction.formats.table import SINKS, SOURCES, convert, open_features, recognized
from extraction.images import list_images
from extraction.pipeline import extract
from tests.extraction.pictures import write_picture
from tests.extraction.store.test_store import build
from tests.processes import run

COUNTS = [5, 0, 3, 7, 2]
PARTS = ("global_descriptor", "keypoints", "descriptors", "scores", "scales")
PLUG_IN = """
from pathlib import Path

import numpy as np

from extraction.features import Features
from extraction.extractors.rootsift import RootSift
from extraction.formats.base import FeatureSink, FeatureSource


class NpzSink(FeatureSink):
    def __init__(self, suffix: str = ".npz"):
        self.suffix = suffix

    def write(self, source, folder):
        for one in self.images(source, folder):
            np.savez(folder / f"{one.name}{self.suffix}", **vars(one))


class NpzSource(FeatureSource):
    def __init__(self, folder, suffix=".npz"):
        self.files = sorted(folder.glob(f"*{suffix}"))
        super().__init__(folder, [path.stem for path in self.files], {"extractor": "unknown, npz"})

    @classmethod
    def open(cls, path, names=None, suffix=".npz"):
        return cls(Path(path), suffix)

    def local_files(self):
        return self.files

    def read(self, i):
        with np.load(self.files[i]) as file:
            arrays = {key: file[key] for key in file.files if key not in ("name", "image_size")}
            return Features(self.names[i], tuple(file["image_size"].tolist()), **arrays)


class Other:
    pass
"""
SINK = {name: name for name in SINKS} | {"plug-in": "own_formats:NpzSink"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("formats")
    (folder / "own_formats.py").write_text(PLUG_IN)
    build(folder / "given", COUNTS, skip=(1,))
    sys.path.append(str(folder))
    for name, sink in SINK.items():
        assert convert(folder / "given", folder / name, sink) == 4
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(params=SINK)
def source(request, place):
    if request.param == "plug-in":
        return open_features(f"own_formats:NpzSource(path={str(place / request.param)!r})")
    assert recognized(place / request.param) == request.param
    return open_features(place / request.param)


def test_each_format_is_read_and_written():
    assert set(SOURCES) == set(SINKS)


def test_a_source_keeps_the_contract(source, place):
    given = open_features(place / "given")
    assert isinstance(source, FeatureSource)
    assert sorted(source.names) == given.names and len(source) == 4
    for row, name in enumerate(source.names):
        one, expected = source.features(row), given.features(given.index_of(name))
        assert one.name == name and source.index_of(name) == row
        for key in PARTS:
            np.testing.assert_allclose(getattr(one, key), getattr(expected, key), rtol=1e-6, err_msg=key)
        np.testing.assert_array_equal(source.global_descriptors[row], one.global_descriptor)
        assert source.path_of(row) == ""
    assert source.global_descriptors.dtype == np.float32 and source.local_width() == 4
    for row in (-1, 4):
        with pytest.raises(IndexError):
            source.features(row)
    with pytest.raises(InputError, match="nobody"):
        source.index_of("nobody")
    assert all(path.is_file() for path in source.local_files())
    size = source.bytes_per_image()
    assert size["global"] == 32 and size["local"] > 4 * 17 / 4
    again = pickle.loads(pickle.dumps(source))
    assert again.names == source.names and again.identity() == source.identity()
    source.check_compatible(again)
    source.check_names()
    assert source.record()["settings"] == source.settings


def test_a_conversion_into_the_own_format_of_a_user_and_back(place, tmp_path):
    text = f"own_formats:NpzSource(path={str(place / 'plug-in')!r})"
    assert convert(text, tmp_path / "csv", "csv") == 4
    assert convert(tmp_path / "csv", tmp_path / "own", "own_formats:NpzSink(suffix='.zip.npz')") == 4
    assert len(list((tmp_path / "own").glob("*.zip.npz"))) == 4
    command = ["features", "convert", text, "--to=own_formats:NpzSink", "--output_dir", str(tmp_path / "command")]
    done = run(*command, cwd=place)
    assert done.returncode == 0 and len(list((tmp_path / "command").glob("*.npz"))) == 4, done.stderr


def test_a_search_opens_any_format(place, tmp_path):
    for i in range(4):
        write_picture(tmp_path / "photos" / f"{i}.png", 60, 80, seed=i)
    extract(RootSift(), list_images(tmp_path / "photos"), tmp_path / "features", progress=False)
    query = ["--query=photos/1.png", "--model=rootsift", "--rerank=ransac", "--top_k=2"]
    printed = []
    for name in ("features", "hloc", "ames", "csv"):
        if name != "features":
            convert(tmp_path / "features", tmp_path / name, name)
        done = run("search", *query, f"--features_dir={name}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert "1.png" in printed[0].splitlines()[1] and len(set(printed)) == 1
    own = convert(tmp_path / "features", tmp_path / "own", "own_formats:NpzSink")
    (tmp_path / "own_formats.py").write_text(PLUG_IN)
    done = run("index", "--features_dir=own_formats:NpzSource(path='own')", "--output_dir=index", cwd=tmp_path)
    assert done.returncode == 0 and own == 4, done.stderr


def test_damage_is_found_whatever_the_format(place):
    class Damaged(FeatureSource):
        def __init__(self, change, names=None):
            self.given, self.change = open_features(place / "given"), change
            super().__init__(self.given.folder, names or self.given.names, {"extractor": "x"})

        def read(self, i):
            one = self.given.read(i)
            self.change(one, i)
            return one

    def spoil(key, row, value):
        def change(one, i):
            if i == row:
                getattr(one, key)[..., :1] = value

        return change

    for key, value in (("keypoints", np.nan), ("descriptors", np.inf), ("scales", 0)):
        damaged = Damaged(spoil(key, 2, value))
        assert len(damaged.features(0)) == 5
        with pytest.raises(InputError, match=f"'im3'.*{key}"):
            damaged.features(2)
    with pytest.raises(InputError, match="'im0' twice"):
        Damaged(spoil("scales", 9, 0), ["im0", "im2", "im0", "im4"]).check_names()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere:Source(path='x')", "'nowhere' cannot be imported"),
        ("own_formats:Other(path='x')", "extraction.formats.base.FeatureSource"),
        ("own_formats:NpzSource(path='x', key=1)", "its arguments are path, suffix"),
        ("hlocs(path='x')", "store"),
        ("no/such/folder", "no features of a known format"),
    ],
)
def test_what_is_no_source_is_a_sentence(place, text, message):
    with pytest.raises(InputError, match=message):
        open_features(text)


def test_what_is_no_sink_is_a_sentence(place, tmp_path):
    for text, message in (
        ("own_formats:Other", f"{FeatureSink.__module__}.FeatureSink"),
        ("hlocs", "hloc"),
        ("csv(local_dtype='uint8')", "local_dtype"),
    ):
        with pytest.raises(InputError, match=message):
            convert(place / "given", tmp_path / "out", text)
    assert not (tmp_path / "out").exists()
