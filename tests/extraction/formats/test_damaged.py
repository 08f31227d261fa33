"""Features of other programs that are not whole, or laid out otherwise: each ends in a sentence, or is read right."""

import json
import shutil

import h5py
import numpy as np
import pytest

from delg.common.errors import InputError
from extraction.formats.official import OfficialFiles
from extraction.formats.official_writer import write_features
from extraction.formats.table import convert
from extraction.store.reader import FeatureStore
from protos.arrays import write_global
from tests.extraction.pictures import features
from tests.processes import run

WIDTH = 8  # of local descriptors; global ones have as many
COUNTS = {"a.jpg": 5, "b/c.png": 3, "d.jpg": 12}


def images(counts=None):
    """Datasets of some images, as hloc lays them out; scores decrease."""
    found = {}
    for seed, (name, count) in enumerate((COUNTS if counts is None else counts).items()):
        one = features(name, count, seed, dim=WIDTH, local_dim=WIDTH)
        found[name] = {
            "keypoints": one.keypoints,
            "descriptors": one.descriptors.T,
            "scores": np.ascontiguousarray(one.scores),
            "scales": one.scales,
            "image_size": np.array(one.image_size),
            "global_descriptor": one.global_descriptor,
        }
    return found


def write_hloc(folder, given):
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / "local.h5", "w") as local, h5py.File(folder / "global.h5", "w") as vectors:
        for name, values in given.items():
            for key, value in values.items():
                (vectors if key == "global_descriptor" else local).require_group(name)[key] = value
    return folder


def refused(folder, tmp_path, *parts):
    """The sentence that a conversion ends in; nothing is written."""
    with pytest.raises(InputError) as caught:
        convert(folder, tmp_path / "out", "csv")
    said = str(caught.value)
    assert "\n" not in said and all(part in said for part in parts), said
    assert not list((tmp_path / "out").glob("*.csv"))


def read(folder, tmp_path):
    convert(folder, tmp_path / "store", "store")
    return FeatureStore.open(tmp_path / "store")


def expect(store, given):
    assert store.names == list(given)
    for i, values in enumerate(given.values()):
        found = store.features(i)
        for key in ("keypoints", "scores", "scales", "global_descriptor"):
            np.testing.assert_array_equal(getattr(found, key), values[key])
        np.testing.assert_array_equal(found.descriptors, values["descriptors"].T)


def transposed(given):
    return {name: values | {"descriptors": values["descriptors"].T} for name, values in given.items()}


COUNTS_OF_LAYOUTS = [
    {"a": 5, "b": 3},  # fewer keypoints than values
    {"a": 20, "b": 13},
    {"a": 5, "b": 20, "c": 0},
    {"a": WIDTH, "b": 3},  # a square one and one that tells
    {"a": 30, "b": WIDTH, "c": WIDTH},
    {"a": WIDTH, "b": WIDTH},  # the norms tell
]


@pytest.mark.parametrize("counts", COUNTS_OF_LAYOUTS, ids=str)
def test_both_layouts_of_descriptors_are_told_apart(tmp_path, capsys, counts):
    given = images(counts)
    expect(read(write_hloc(tmp_path / "hloc", given), tmp_path), given)
    assert capsys.readouterr().err.count("(N, d)") == 0
    shutil.rmtree(tmp_path / "store")
    expect(read(write_hloc(tmp_path / "others", transposed(given)), tmp_path), given)
    assert capsys.readouterr().err.count("(N, d)") == 1


def test_square_descriptors_that_nothing_tells_of_are_read_as_hloc_writes_them(tmp_path):
    given = images({"a": WIDTH})
    given["a"]["descriptors"] = np.arange(WIDTH**2, dtype=np.float32).reshape(WIDTH, WIDTH)
    expect(read(write_hloc(tmp_path / "hloc", given), tmp_path), given)


def test_two_layouts_in_one_file_are_refused(tmp_path):
    given = images()
    given["d.jpg"]["descriptors"] = given["d.jpg"]["descriptors"].T
    refused(write_hloc(tmp_path / "hloc", given), tmp_path, "local.h5", "'a.jpg'", "'d.jpg'")


def test_scores_as_columns_and_rows_and_none(tmp_path):
    given = images()
    changed = {name: dict(values) for name, values in given.items()}
    changed["a.jpg"]["scores"] = given["a.jpg"]["scores"][:, None]
    changed["d.jpg"]["scales"] = given["d.jpg"]["scales"][None]
    for key in ("scores", "scales", "image_size"):
        del changed["b/c.png"][key]
    given["b/c.png"] |= {"scores": np.ones(3), "scales": np.ones(3)}
    expect(read(write_hloc(tmp_path / "hloc", changed), tmp_path), given)


def test_images_without_keypoints(tmp_path):
    given = images()
    empty = {
        "keypoints": np.zeros(0),
        "descriptors": np.zeros((WIDTH, 0)),
        "scores": np.zeros(0),
        "scales": np.zeros(0),
    }
    store = read(write_hloc(tmp_path / "hloc", given | {"a.jpg": given["a.jpg"] | empty}), tmp_path)
    assert [len(store.features(i)) for i in range(3)] == [0, 3, 12]


def with_value(array, value):
    changed = np.array(array, np.float64, order="C")
    changed.ravel()[-1] = value
    return changed


HDF5 = {
    "40 scores": ({"scores": np.ones(10)}, "scores", "(10,)", "12 keypoints"),
    "more scales": ({"scales": np.ones(13)}, "scales", "(13,)"),
    "a table of scores": ({"scores": np.ones((12, 2))}, "scores", "(12, 2)"),
    "square scores": ({"scores": np.ones((3, 4))}, "scores", "(3, 4)"),
    "three coordinates": ({"keypoints": np.ones((12, 3))}, "keypoints", "(12, 3)"),
    "flat keypoints": ({"keypoints": np.ones(24)}, "keypoints", "(24,)"),
    "no descriptors": ({"descriptors": None}, "no descriptors"),
    "fewer descriptors": ({"descriptors": np.ones((WIDTH, 11))}, "descriptors", "(8, 11)"),
    "flat descriptors": ({"descriptors": np.ones(12)}, "descriptors", "(12,)"),
    "another width": ({"descriptors": np.ones((WIDTH + 1, 12))}, "descriptors", "9 values", "'a.jpg'"),
    "another global width": ({"global_descriptor": np.ones(WIDTH + 1)}, "global_descriptor", "9 values"),
    "a matrix": ({"global_descriptor": np.ones((1, WIDTH))}, "global_descriptor"),
    "texts": ({"scores": np.array([b"x"] * 12)}, "scores", "no numbers"),
    "a size of three": ({"image_size": np.ones(3)}, "image_size"),
    "a negative size": ({"image_size": np.array([-4, 3])}, "size"),
    "no size": ({"image_size": np.array([np.nan, 3])}, "image_size"),
    "a scale of zero": ({"scales": np.zeros(12)}, "scales", "above 0"),
    "float64 beyond float32": ({"scores": np.full(12, 1e300)}, "scores", "finite"),
}


@pytest.mark.parametrize("case", HDF5)
def test_hdf5_that_is_not_whole_is_refused(tmp_path, case):
    changes, *parts = HDF5[case]
    given = images()
    given["d.jpg"] = {key: value for key, value in (given["d.jpg"] | changes).items() if value is not None}
    refused(write_hloc(tmp_path / "hloc", given), tmp_path, "'d.jpg'", *parts)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("key", ["keypoints", "descriptors", "scores", "scales", "global_descriptor"])
def test_values_of_hdf5_that_are_not_finite_are_refused(tmp_path, key, value):
    given = images()
    given["b/c.png"][key] = with_value(given["b/c.png"][key], value)
    refused(write_hloc(tmp_path / "hloc", given), tmp_path, "'b/c.png'", key)


def test_two_files_of_different_images_are_refused(tmp_path):
    given = images()
    for key in ("global_descriptor", "keypoints"):
        changed = {name: dict(values) for name, values in given.items()}
        del changed["b/c.png"][key]
        refused(write_hloc(tmp_path / "hloc", changed), tmp_path, "'b/c.png'")


def test_one_file_alone(tmp_path):
    folder = write_hloc(tmp_path / "hloc", images())
    (folder / "local.h5").unlink()
    assert [len(read(folder, tmp_path).features(i)) for i in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("kept", [0, 100, 2000, -100])
def test_a_file_that_was_cut(tmp_path, kept):
    path = write_hloc(tmp_path / "hloc", images()) / "local.h5"
    path.write_bytes(path.read_bytes()[:kept])
    refused(tmp_path / "hloc", tmp_path, "local.h5")


def test_the_command_says_what_is_wrong(tmp_path):
    given = images()
    write_hloc(tmp_path / "others", transposed(given))
    done = run("features", "convert", "others", "--to=store", "--output_dir=out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "out: 3 images as store\n") and "(N, d)" in done.stderr
    given["a.jpg"]["scores"] = np.ones(4)
    write_hloc(tmp_path / "hloc", given)
    done = run("features", "convert", "hloc", "--to=store", "--output_dir=no", cwd=tmp_path)
    assert done.returncode != 0 and "Traceback" not in done.stderr and "'a.jpg'" in done.stderr


@pytest.fixture
def store(tmp_path):
    return read(write_hloc(tmp_path / "given", images()), tmp_path)


def ames_rows(path, change):
    with h5py.File(path / "local.hdf5", "r+") as file:
        rows = file["features"][:]
        change(rows)
        file["features"][:] = rows


def ames_set(name, value):
    def change(path):
        with h5py.File(path / "local.hdf5", "r+") as file:
            del file[name]
            file[name] = value

    return change


def at(index, value):
    """Puts a value into the rows of the image d.jpg."""

    def change(path):
        ames_rows(path, lambda rows: rows.__setitem__((2, *index), value))

    return change


TEXT = h5py.string_dtype()
AMES = {
    "x": (at((3, 0), np.nan), "'d.jpg'", "keypoints"),
    "weight": (at((3, 4), np.nan), "'d.jpg'", "scores"),
    "descriptor": (at((3, 6), np.inf), "'d.jpg'", "descriptors"),
    "mask": (at((3, 3), np.nan), "'d.jpg'", "mask"),
    "another mask": (at((3, 3), 0.5), "'d.jpg'", "mask"),
    "number of the scale": (at((3, 2), 99), "'d.jpg'", "scales"),
    "negative number": (at((3, 2), -1), "'d.jpg'", "scales"),
    "half a number": (at((3, 2), 0.5), "'d.jpg'", "scales"),
    "names twice": (ames_set("names", np.array(["a", "a", "b"], TEXT)), "'a' twice"),
    "fewer names": (ames_set("names", np.array(["a", "b"], TEXT)), "as many names"),
    "numbers for names": (ames_set("names", np.arange(3)), "HDF5 of this layout"),
    "fewer sizes": (ames_set("sizes", np.ones((2, 2))), "expects (images"),
    "sizes of three": (ames_set("sizes", np.ones((3, 3))), "expects (images"),
    "texts for sizes": (ames_set("sizes", np.array([["1", "2"]] * 3, TEXT)), "HDF5 of this layout"),
    "scales": (ames_set("scales", np.full(99, np.nan)), "HDF5 of this layout"),
    "flat features": (ames_set("features", np.ones((3, 13))), "expects (images"),
    "features of texts": (ames_set("features", np.full((3, 2, 13), "x", TEXT)), "expects (images"),
    "a group": (lambda path: ames_set("features", 0)(path) or ames_group(path), "HDF5 of this layout"),
    "global": (lambda path: global_pt(path, np.nan), "'d.jpg'", "global_descriptor"),
}


def ames_group(path):
    with h5py.File(path / "local.hdf5", "r+") as file:
        del file["features"]
        file.create_group("features")


def global_pt(path, value):
    vectors = np.fromfile(path / "global.pt", "<f4")
    vectors[-1] = value
    vectors.tofile(path / "global.pt")


@pytest.mark.parametrize("case", AMES)
def test_files_of_ames_that_are_not_whole_are_refused(store, tmp_path, case):
    change, *parts = AMES[case]
    convert(store.folder, tmp_path / "ames", "ames")
    change(tmp_path / "ames")
    refused(tmp_path / "ames", tmp_path, *parts)


def test_masked_rows_of_ames_may_hold_anything(store, tmp_path):
    convert(store.folder, tmp_path / "ames", "ames")
    ames_rows(tmp_path / "ames", lambda rows: rows.__setitem__((0, slice(5, None), [0, 1, 2, 4, 6]), np.nan))
    convert(tmp_path / "ames", tmp_path / "back", "store")
    np.testing.assert_allclose(
        FeatureStore.open(tmp_path / "back").features(0).descriptors, store.features(0).descriptors, rtol=1e-6
    )


def edited(name, line, column, value):
    def change(path):
        lines = (path / name).read_text().split("\n")
        cells = lines[line].split(",")
        cells[column] = value
        lines[line] = ",".join(cells)
        (path / name).write_text("\n".join(lines))

    return change


def added(name, line):
    return lambda path: (path / name).write_text((path / name).read_text() + line)


CSV = {
    "nan": (edited("global.csv", 3, 4, "nan"), "'d.jpg'", "global_descriptor"),
    "inf": (edited("local.csv", -2, 7, "inf"), "'d.jpg'", "descriptors"),
    "score": (edited("local.csv", -2, 4, "NaN"), "'d.jpg'", "scores"),
    "x": (edited("local.csv", -2, 1, "-Infinity"), "'d.jpg'", "keypoints"),
    "beyond float32": (edited("local.csv", -2, 2, "1e300"), "'d.jpg'", "keypoints"),
    "scale": (edited("local.csv", -2, 3, "0"), "'d.jpg'", "scales"),
    "half a pixel": (edited("global.csv", 3, 1, "80.5"), "'d.jpg'", "width"),
    "no width": (edited("global.csv", 3, 2, "nan"), "'d.jpg'", "width"),
    "negative width": (edited("global.csv", 3, 2, "-3"), "'d.jpg'", "size"),
    "nothing": (edited("global.csv", 3, 4, ""), "line 4"),
    "twice": (edited("global.csv", 3, 0, "a.jpg"), "'a.jpg' twice"),
    "an unknown image": (edited("local.csv", -2, 0, "zzz"), "zzz"),
    "a longer row": (added("local.csv", "d.jpg,1,2\n"), "line 22"),
    "no image": (lambda path: (path / "global.csv").write_text("name,width,height\n") and local_gone(path), "no image"),
    "a record of numbers": (lambda path: (path / "settings.json").write_text("[1]"), "settings.json"),
    "skipped without reasons": (lambda path: (path / "settings.json").write_text('{"skipped": [1]}'), "settings.json"),
    "paths of numbers": (lambda path: (path / "settings.json").write_text('{"paths": {"a": 1}}'), "settings.json"),
}


def local_gone(path):
    (path / "local.csv").unlink()


@pytest.mark.parametrize("case", CSV)
def test_csv_that_is_not_whole_is_refused(store, tmp_path, case):
    change, *parts = CSV[case]
    convert(store.folder, tmp_path / "csv", "csv")
    change(tmp_path / "csv")
    refused(tmp_path / "csv", tmp_path, *parts)


def replaced(**parts):
    """Writes the local features of the image d.jpg anew."""

    def change(path):
        one = features("d.jpg", 4, 2, dim=WIDTH, local_dim=parts.pop("width", WIDTH))
        for key, value in parts.items():
            getattr(one, key)[-1] = value
        write_features(path, one, ("local",))

    return change


OFFICIAL = {
    "global": (lambda path: write_global(path / "d.jpg.delg_global", np.full(WIDTH, np.nan)), "global_descriptor"),
    "shorter": (lambda path: write_global(path / "d.jpg.delg_global", np.ones(3)), "3 values"),
    "keypoints": (replaced(keypoints=np.nan), "keypoints"),
    "descriptors": (replaced(descriptors=-np.inf), "descriptors"),
    "scores": (replaced(scores=np.nan), "scores"),
    "scale": (replaced(scales=np.nan), "scales"),
    "scale of zero": (replaced(scales=0), "scales"),
    "another width": (replaced(width=WIDTH + 1), "9 values"),
    "cut": (lambda path: (path / "d.jpg.delg_local").write_bytes(b"\x0a\x30\x01"), "d.jpg.delg_local"),
    "absent": (lambda path: (path / "d.jpg.delg_local").unlink(), "delg_local"),
}


@pytest.mark.parametrize("case", OFFICIAL)
def test_official_files_that_are_not_whole_are_refused(store, tmp_path, case):
    change, *parts = OFFICIAL[case]
    convert(store.folder, tmp_path / "official", "official")
    change(tmp_path / "official")
    refused(tmp_path / "official", tmp_path, "d.jpg", *parts)
    with pytest.raises(InputError, match=r"d\.jpg"):  # a benchmark reads them without a conversion
        opened = OfficialFiles.open(tmp_path / "official", list(COUNTS))
        [opened.features(i) for i in range(3)]


@pytest.mark.parametrize("form", ["hloc", "ames", "csv", "official"])
@pytest.mark.parametrize("counts", [{"a": 0, "b": 3}, {"a": 3, "b": 0}, {"a": 0, "b": 0}], ids=str)
def test_images_without_local_features_in_every_format(tmp_path, form, counts):
    first = read(write_hloc(tmp_path / "given", images(counts)), tmp_path)
    convert(first.folder, tmp_path / form, form)
    convert(tmp_path / form, tmp_path / "again", "official")  # which holds no width of nothing
    convert(tmp_path / "again", tmp_path / f"{form}2", form)
    convert(tmp_path / f"{form}2", tmp_path / "back", "store")
    back = FeatureStore.open(tmp_path / "back")
    for i in range(2):
        expected, found = first.features(i), back.features(i)
        for key in ("global_descriptor", "keypoints", "scores", "scales"):
            np.testing.assert_allclose(getattr(found, key), getattr(expected, key), rtol=1e-6)
        assert len(found) == len(expected)
        if len(found):
            np.testing.assert_allclose(found.descriptors, expected.descriptors, rtol=1e-6)


def test_resized_coordinates_stay_in_official_files(store, tmp_path):
    convert(store.folder, tmp_path / "official", "official")
    place = tmp_path / "official" / "extraction.json"
    record = json.loads(place.read_text())
    record["settings"]["use_resized_coordinates"] = True
    place.write_text(json.dumps(record))
    refused(tmp_path / "official", tmp_path, "use_resized_coordinates")
