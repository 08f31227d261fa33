"""Features to and from the files of other programs, and the command delg-features."""

import weakref

import h5py
import numpy as np
import pytest

from delg.common.errors import InputError
from extraction.extractors.rootsift import RootSift
from extraction.formats.ames import AmesFile, AmesSink
from extraction.formats.base import FeatureSource
from extraction.formats.table import SINKS, convert, recognized
from extraction.images import list_images
from extraction.pipeline import extract
from extraction.store.reader import FeatureStore
from extraction.store.tools import info, merge, verify
from extraction.store.writer import StoreWriter
from tests.delg.importers.torch_writer import TorchFile, tensor
from tests.extraction.pictures import features, tree, write_picture
from tests.extraction.store.test_store import build, refs
from tests.processes import run

COUNTS = [5, 0, 3, 7, 2]
PARTS = ("global_descriptor", "keypoints", "descriptors", "scores", "scales")


@pytest.fixture
def store(tmp_path):
    return build(tmp_path / "store", COUNTS, skip=(1,))


@pytest.mark.parametrize("name", [name for name in SINKS if name != "store"])
def test_there_and_back(store, tmp_path, name):
    assert convert(store.folder, tmp_path / name, name) == 4
    assert recognized(tmp_path / name) == name
    assert convert(tmp_path / name, tmp_path / "back", "store") == 4
    back = FeatureStore.open(tmp_path / "back")
    assert sorted(back.names) == store.names == ["im0", "im2", "im3", "im4"]
    assert back.settings == store.settings
    for i, one in enumerate(store.names):
        expected, found = store.features(i), back.features(back.index_of(one))
        for key in PARTS:
            np.testing.assert_allclose(getattr(found, key), getattr(expected, key), rtol=1e-6, err_msg=key)
        if name != "official":  # which do not hold it
            assert found.image_size == expected.image_size
    assert convert(tmp_path / "back", tmp_path / "again", "store", local_dtype="uint8") == 4
    with pytest.raises(InputError, match="absent or empty"):
        convert(store.folder, tmp_path / name, name)


def test_the_layouts_are_those_of_hloc_and_ames(store, tmp_path):
    convert(store.folder, tmp_path / "hloc", "hloc")
    convert(store.folder, tmp_path / "ames", "ames")
    one = store.features(2)
    with h5py.File(tmp_path / "hloc" / "local.h5") as file, h5py.File(tmp_path / "hloc" / "global.h5") as vectors:
        group = file["im3"]
        assert (group["keypoints"].shape, group["descriptors"].shape, group["scores"].shape) == ((7, 2), (4, 7), (7,))
        assert group["image_size"][:].tolist() == list(one.image_size)
        np.testing.assert_array_equal(group["descriptors"][:].T, one.descriptors)
        np.testing.assert_array_equal(vectors["im3"]["global_descriptor"], one.global_descriptor)
    with h5py.File(tmp_path / "ames" / "local.hdf5") as file:
        rows = file["features"]
        assert (rows.shape, rows.dtype) == ((4, 7, 5 + 4), np.float32)
        assert rows[:, :, 3].sum(1).tolist() == [7 - count for count in (5, 3, 7, 2)]
        np.testing.assert_array_equal(rows[2, :, 5:], one.descriptors)
        np.testing.assert_array_equal(rows[2, :, :2], one.keypoints)
        np.testing.assert_array_equal(rows[2, :, 4], one.scores)
    vectors = np.fromfile(tmp_path / "ames" / "global.pt", "<f4")
    np.testing.assert_array_equal(vectors.reshape(4, -1), store.global_descriptors)


def test_ames_holds_an_image_at_a_time(store, tmp_path):
    class Alive(FeatureSource):
        """The store's features, of which no more than two images are in use at any time."""

        def __init__(self):
            super().__init__(store.folder, store.names, store.settings)
            self.given, self.most = [], 0

        def read(self, i):
            found = store.read(i)
            self.given.append(weakref.ref(found.keypoints))
            self.most = max(self.most, sum(one() is not None for one in self.given))
            return found

    source = Alive()
    (tmp_path / "ames").mkdir()
    AmesSink().write(source, tmp_path / "ames")
    assert len(source.given) == 8 and source.most <= 2


def test_ames_with_globals_that_torch_saved_and_with_others(store, tmp_path):
    convert(store.folder, tmp_path / "ames", "ames")
    path, vectors = tmp_path / "ames" / "global.pt", np.array(store.global_descriptors)
    TorchFile(tensor(vectors)).archive(path)
    np.testing.assert_array_equal(AmesFile(tmp_path / "ames").features(2).global_descriptor, vectors[2])
    TorchFile({"a": 1}).archive(path)
    with pytest.raises(InputError, match=r"expects a tensor \(4, D\)"):
        AmesFile(tmp_path / "ames")
    path.write_bytes(b"some bytes")
    with pytest.raises(InputError, match="expects float32 values for 4 images"):
        AmesFile(tmp_path / "ames")
    path.unlink()
    assert len(AmesFile(tmp_path / "ames").features(2).global_descriptor) == 0


def test_files_of_others(tmp_path):
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "global.h5", "w") as file:
        for name in ("db/1.jpg", "query/a/2.jpg"):
            file.create_group(name)["global_descriptor"] = rng.normal(size=8).astype(np.float16)
    convert(tmp_path, tmp_path / "out", "store")
    back = FeatureStore.open(tmp_path / "out")
    assert back.names == ["db/1.jpg", "query/a/2.jpg"] and back.settings["extractor"] == "unknown, hloc files"
    (tmp_path / "bad").mkdir()
    for name, data, said in (
        ("global.csv", "a,b\n1,2\n", "expects the columns name, width, height"),
        ("global.csv", "name,width,height,d0\nx,1,2\n", "line 2: 3 values; expected 4"),
        ("global.csv", "name,width,height,d0\nx,1,2,one\n", "cannot be read"),
    ):
        (tmp_path / "bad" / name).write_text(data)
        with pytest.raises(InputError, match=said):
            convert(tmp_path / "bad", tmp_path / "no", "store")
    (tmp_path / "bad" / "local.hdf5").write_bytes(b"no")
    with pytest.raises(InputError, match="HDF5 of this layout"):
        convert(tmp_path / "bad", tmp_path / "no", "store")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no features of a known format"):
        recognized(tmp_path / "empty")
    write_picture(tmp_path / "photos" / "a.png", 60, 80)
    never_negative = extract(RootSift(), list_images(tmp_path / "photos"), tmp_path / "sift", progress=False)
    with pytest.raises(InputError, match="never negative"):
        convert(never_negative.folder, tmp_path / "no", "store", local_dtype="binary")
    assert not (tmp_path / "no").exists()
    binary = build(tmp_path / "binary", [3], local_dtype="binary")
    with pytest.raises(InputError, match="binary"):
        convert(binary.folder, tmp_path / "no", "hloc")


def test_merge(tmp_path):
    left = build(tmp_path / "left", [2, 3, 1, 4], skip=(2,), local_dtype="float16")
    writer_refs = [ref for ref in refs(9) if ref.name in ("im7", "im8")]
    writer = StoreWriter(tmp_path / "right", {**left.settings}, writer_refs, local_dtype="float16", shard_size=3)
    writer.write(0, [features(ref.name, 2, 7) for ref in writer_refs], [])
    right = writer.finish()
    with pytest.raises(InputError, match="two stores or more"):
        merge([left.folder], tmp_path / "both")
    with pytest.raises(InputError, match="hold an image 'im0'"):
        merge([left.folder, left.folder], tmp_path / "both")
    other = build(tmp_path / "other", [1])
    with pytest.raises(InputError, match=r"local_dtype \('float16' and 'float32'\)"):
        merge([left.folder, other.folder], tmp_path / "both")
    both = merge([left.folder, right.folder], tmp_path / "both")
    assert both.names == ["im0", "im1", "im3", "im7", "im8"] and both.skipped == left.skipped
    for store in (left, right):
        for i, name in enumerate(store.names):
            row = both.index_of(name)
            np.testing.assert_array_equal(both.features(row).descriptors, store.features(i).descriptors)
            np.testing.assert_array_equal(both.global_descriptors[row], store.global_descriptors[i])
    with pytest.raises(InputError, match="absent or empty"):
        merge([left.folder, right.folder], tmp_path / "both")


def test_verify_names_what_is_damaged(store):
    verify(store)
    path = store.folder / "shard-00000" / "descriptors.npy"
    rows = np.load(path)
    np.save(path, 2 * rows)
    with pytest.raises(InputError, match="'im0' has descriptors that are not of unit norm"):
        verify(FeatureStore.open(store.folder))
    np.save(path, np.where(np.arange(len(rows))[:, None] == 6, np.nan, rows))
    with pytest.raises(InputError, match=r"'im2'.*finite"):
        verify(FeatureStore.open(store.folder))
    np.save(path, rows)
    verify(FeatureStore.open(store.folder))
    for name in ("keypoints", "global"):  # one bit, of a value that could be
        path = store.folder / "shard-00000" / f"{name}.npy"
        data = path.read_bytes()
        path.write_bytes(data[:-4] + bytes([data[-4] ^ 1]) + data[-3:])
        with pytest.raises(InputError, match=f"shard-00000/{name}.npy is not as it was written"):
            verify(FeatureStore.open(store.folder))
        path.write_bytes(data)
    matrix = np.lib.format.open_memmap(store.folder / "global.npy", mode="r+")
    opened = FeatureStore.open(store.folder)
    matrix[0, :2] *= -1
    matrix.flush()
    with pytest.raises(InputError, match=r"global\.npy is not that of shard-00000"):
        verify(opened)


def test_the_command(store, tmp_path):
    before = tree(store.folder)
    said = info(store)
    assert "images: 4, and 1 skipped" in said and "skipped: im1 (is bad)" in said and 'extractor: "test"' in said
    done = run("features", "info", "store", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, said + "\n")
    done = run("features", "convert", "store", "--to=csv", "--output_dir=csv", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "csv: 4 images as csv\n")
    done = run("features", "turn", "store", cwd=tmp_path)
    assert done.stderr == "delg-features: Expected one of info, verify, merge, convert, and folders. Received: 'turn'\n"
    assert tree(store.folder) == before


def others(folder, split, rows, vectors=None, lines=None):
    """Files as AMES, ELViS and LOCORE write them."""
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / f"dinov2_{split}_local.hdf5", "w") as file:
        file["features"] = rows
    if vectors is not None:
        vectors.astype("<f4").tofile(folder / f"dinov2_{split}_global.pt")
    if lines is not None:
        (folder / f"test_{split}.txt").write_text("".join(f"{line}\n" for line in lines))
    return folder / f"dinov2_{split}_local.hdf5"


def test_files_of_ames_elvis_and_locore(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2, 4, 5 + 16)).astype(np.float32)
    rows[:, :, 3] = 0
    rows[1, 2:, 3] = 1
    vectors = rng.normal(size=(2, 8))
    path = others(tmp_path / "ames", "gallery", rows, vectors, ["jpg/all_souls_1.jpg,640,480", "jpg/b.c.jpg,1,2"])
    assert run("features", "convert", str(path), "--to=store", "--output_dir=out", cwd=tmp_path).returncode == 0
    store = FeatureStore.open(tmp_path / "out")
    assert store.names == ["all_souls_1", "b.c"] and store.settings["extractor"] == "unknown, AMES files"
    np.testing.assert_allclose(store.global_descriptors, vectors, rtol=1e-6)
    found, best = store.features(1), int(np.argmax(rows[1, :2, 4]))
    assert len(found) == 2 and len(store.features(0)) == 4
    np.testing.assert_array_equal(found.keypoints[0], rows[1, best, :2])
    np.testing.assert_allclose(
        found.descriptors[0], rows[1, best, 5:] / np.linalg.norm(rows[1, best, 5:]), rtol=1e-5, atol=1e-7
    )

    records = np.zeros((2, 4), [("metadata", "f2", 5), ("descriptor", "u1", 2)])
    records["metadata"], records["descriptor"] = rows[:, :, :5], np.packbits(rows[:, :, 5:] > 0, axis=-1)
    binary = others(tmp_path / "elvis", "query", records)
    with h5py.File(tmp_path / "elvis" / "dinov2_query_cls.hdf5", "w") as file:
        file["features"] = vectors.astype(np.float16)
    assert convert(binary, tmp_path / "signs", "store", local_dtype="binary") == 2
    signs = FeatureStore.open(tmp_path / "signs")
    assert signs.names == ["0000000", "0000001"] and signs.global_descriptors.shape == (2, 8)
    np.testing.assert_array_equal(signs.features(1).descriptors[0], records["descriptor"][1, best])


def test_wrong_files_of_ames_end_in_a_sentence(tmp_path):
    rows = np.zeros((2, 4, 21), np.float32)
    with pytest.raises(InputError, match=r"Expected a folder or a file NAME_local\.hdf5"):
        (tmp_path / "x.hdf5").write_bytes(b"")
        convert(tmp_path / "x.hdf5", tmp_path / "no", "store")
    path = others(tmp_path / "a", "query", rows, np.zeros(5))
    with pytest.raises(InputError, match="float32 values for 2 images"):
        convert(path, tmp_path / "no", "store")
    path = others(tmp_path / "b", "query", rows, lines=["one.jpg"])
    with pytest.raises(InputError, match=r"test_query\.txt expects 2 different images"):
        convert(path, tmp_path / "no", "store")
    (tmp_path / "b" / "test_query.txt").write_bytes(b"\xe9.jpg\nb.jpg\n")
    with pytest.raises(InputError, match=r"test_query\.txt, line 1, byte 1"):
        convert(path, tmp_path / "no", "store")
    path = others(tmp_path / "c", "query", rows[:, :, :5])
    with pytest.raises(InputError, match=r"expects \(images, features, 5 \+ d\)"):
        convert(path, tmp_path / "no", "store")
