import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from delg.common.errors import InputError
from delg.common.files import atomic_path
from extraction.images import ImageRef
from extraction.store.image_lists import fingerprint
from extraction.store.reader import FeatureStore
from extraction.store.writer import StoreWriter
from tests.extraction.pictures import features, tree

SETTINGS = {"extractor": "test", "image_scales": (0.5, 1.0), "crop": False}


def refs(n):
    return [ImageRef(f"im{i}", f"absent/{i}.jpg") for i in range(n)]


def build(folder, counts, skip=(), settings=SETTINGS, **options):
    """A store with the given numbers of local features, some images skipped."""
    options = {"shard_size": 3} | options
    writer = StoreWriter(folder, settings, refs(len(counts)), **options)
    for shard in writer.missing():
        good, bad = [], []
        for ref in writer.shard_images(shard):
            i = int(ref.name[2:])
            if i in skip:
                bad.append({"name": ref.name, "reason": "is bad"})
            else:
                good.append(features(ref.name, counts[i], i))
        writer.write(shard, good, bad)
    return writer.finish()


def test_what_is_written_is_read(tmp_path):
    counts = [5, 0, 3, 1, 0, 7, 2]
    store = build(tmp_path / "s", counts, skip=(4,))
    assert store.names == ["im0", "im1", "im2", "im3", "im5", "im6"]
    assert len(store) == 6
    assert store.skipped == [{"name": "im4", "reason": "is bad"}]
    assert store.settings == {"extractor": "test", "image_scales": [0.5, 1.0], "crop": False}
    assert isinstance(store.global_descriptors, np.memmap)
    assert store.global_descriptors.dtype == np.float32
    for row, i in enumerate([0, 1, 2, 3, 5, 6]):
        expected, got = features(f"im{i}", counts[i], i), store.features(row)
        assert (got.name, got.image_size) == (expected.name, expected.image_size)
        for key in ("global_descriptor", "keypoints", "descriptors", "scores", "scales"):
            np.testing.assert_array_equal(getattr(got, key), getattr(expected, key), err_msg=key)
            assert getattr(got, key).dtype == np.float32
        np.testing.assert_array_equal(store.global_descriptors[row], expected.global_descriptor)
        assert store.index_of(f"im{i}") == row
    with pytest.raises(IndexError):
        store.features(6)
    with pytest.raises(IndexError):
        store.features(-1)
    with pytest.raises(InputError, match="no image 'im4'"):
        store.index_of("im4")


def test_bytes_per_image(tmp_path):
    store = build(tmp_path / "s", [4, 2])
    assert store.bytes_per_image() == {"global": 32.0, "local": 3 * (4 * 4 + 16)}
    half = build(tmp_path / "h", [4, 2], local_dtype="float16")
    assert half.bytes_per_image() == {"global": 32.0, "local": 3 * (4 * 2 + 16)}


def test_float16_descriptors_come_back_with_unit_norm(tmp_path):
    store = build(tmp_path / "s", [50], local_dtype="float16")
    got, expected = store.features(0), features("im0", 50, 0)
    assert got.descriptors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(got.descriptors, axis=1), 1, atol=1e-6)
    assert 0 < np.abs(got.descriptors - expected.descriptors).max() < 1e-3
    np.testing.assert_array_equal(got.keypoints, expected.keypoints)


def test_a_shard_without_good_images_and_one_without_features(tmp_path):
    store = build(tmp_path / "s", [0, 0, 0, 2, 2, 2, 1], skip=(3, 4, 5))
    assert store.names == ["im0", "im1", "im2", "im6"]
    assert len(store.features(1)) == 0
    assert len(store.features(3)) == 1
    assert store.global_descriptors.shape == (4, 8)


def test_it_can_be_sent_to_another_process(tmp_path):
    store = pickle.loads(pickle.dumps(build(tmp_path / "s", [2, 3])))
    assert len(store.features(1)) == 3


def test_missing_shards_are_continued_with_the_same_bytes(tmp_path):
    counts = [3, 1, 4, 1, 5, 9, 2, 6]
    build(tmp_path / "whole", counts)
    writer = StoreWriter(tmp_path / "part", SETTINGS, refs(8), shard_size=3)
    assert writer.missing() == [0, 1, 2]
    strays = []
    writer.write(1, [features(f"im{i}", counts[i], i) for i in (3, 4, 5)], [])
    again = StoreWriter(tmp_path / "part", SETTINGS, refs(8), shard_size=3)
    assert again.missing() == [0, 2]
    assert not again.complete
    with pytest.raises(InputError, match="not finished"):
        FeatureStore.open(tmp_path / "part")
    for name in ("shard-00002", "global.npy"):  # left by a run that was killed
        killed = atomic_path(tmp_path / "part" / name)
        place = killed.__enter__()
        place.mkdir() if name.startswith("shard") else place.write_bytes(b"half")
        strays.append((killed, place))
    assert all(place.exists() for _, place in strays)
    build(tmp_path / "part", counts)
    assert tree(tmp_path / "part") == tree(tmp_path / "whole")
    assert not list((tmp_path / "part").glob(".*"))
    assert StoreWriter(tmp_path / "part", SETTINGS, refs(8), shard_size=3).complete


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": SETTINGS | {"image_scales": [1.0]}}, r"image_scales \(\[0.5, 1.0\] and \[1.0\]\)"),
        ({"settings": SETTINGS | {"crop": True}}, r"crop \(False and True\)"),
        ({"settings": SETTINGS | {"new": 1}}, r"new \('absent' and 1\)"),
        ({"local_dtype": "float16"}, r"local_dtype \('float32' and 'float16'\)"),
        ({"counts": [1, 1, 1]}, r"images \(2 and 3\), 1 more"),
        ({"counts": [1]}, r": images \(2 and 1\), 1 fewer"),
    ],
)
def test_another_store_in_the_same_place_is_refused(tmp_path, change, said):
    build(tmp_path, [1, 1])
    before = tree(tmp_path)
    arguments = {"counts": [1, 1]} | change
    with pytest.raises(InputError, match=said) as error:
        build(tmp_path, arguments.pop("counts"), **arguments)
    assert "choose another folder" in str(error.value)
    assert tree(tmp_path) == before


def test_fingerprint_sees_names_crops_and_file_sizes(tmp_path):
    file = tmp_path / "a.jpg"
    file.write_bytes(b"123")
    one = [ImageRef("a", str(file))]
    assert fingerprint(one) == fingerprint([ImageRef("a", str(file))])
    others = [[ImageRef("b", str(file))], [ImageRef("a", str(file), (0, 0, 1, 1))], [ImageRef("a", "absent")]]
    assert len({fingerprint(o) for o in [one, *others]}) == 4
    before = fingerprint(one)
    file.write_bytes(b"1234")
    assert fingerprint(one) != before


def test_all_bad_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match=r"None of the 2 images .* im0 \(is bad\)"):
        build(tmp_path / "s", [1, 1], skip=(0, 1))
    assert tree(tmp_path / "s") == {}


def test_opening_what_is_no_store_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="not a feature store"):
        FeatureStore.open(tmp_path / "absent")
    (tmp_path / "manifest.json").write_text('{"format": "other"}')
    with pytest.raises(InputError, match="not the manifest of a feature store"):
        FeatureStore.open(tmp_path)
    (tmp_path / "manifest.json").write_text("[1]")
    with pytest.raises(InputError, match="not the manifest of a feature store"):
        FeatureStore.open(tmp_path)


def damage_manifest(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_damage_is_a_sentence(tmp_path):
    build(tmp_path / "a", [1, 1])
    damage_manifest(tmp_path / "a", version=99)
    with pytest.raises(InputError, match="version 99"):
        FeatureStore.open(tmp_path / "a")
    build(tmp_path / "b", [1, 1])
    damage_manifest(tmp_path / "b", names=["im0"])
    with pytest.raises(InputError, match="damaged"):
        FeatureStore.open(tmp_path / "b")
    build(tmp_path / "c", [1, 1])
    (tmp_path / "c" / "global.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="damaged"):
        FeatureStore.open(tmp_path / "c")
    store = build(tmp_path / "d", [1, 1])
    path = tmp_path / "d" / "shard-00000" / "descriptors.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match="shard-00000 is damaged"):
        store.features(0)
    store = build(tmp_path / "e", [1, 1])
    np.save(tmp_path / "e" / "shard-00000" / "scores.npy", np.ones(9, np.float32))
    with pytest.raises(InputError, match="do not fit"):
        store.features(0)
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "plan.json").write_text("[]")
    with pytest.raises(InputError, match="not the plan"):
        build(tmp_path / "f", [1])


def test_compatible_but_for_the_crop(tmp_path):
    database = build(tmp_path / "d", [1, 1])
    build(tmp_path / "q", [1], settings=SETTINGS | {"crop": True}).check_compatible(database)
    other = build(tmp_path / "o", [1], settings=SETTINGS | {"image_scales": [2.0], "more": 1})
    with pytest.raises(
        InputError, match=r"image_scales \(\[2.0\] and \[0.5, 1.0\]\); more \(1 and 'absent'\)\.$"
    ) as error:
        other.check_compatible(database)
    assert "extractor" not in str(error.value)
    other = build(tmp_path / "e", [1], settings=SETTINGS | {"extractor": "else", "more": 1})
    with pytest.raises(InputError, match=r": extractor \('else' and 'test'\)\.$"):
        other.check_compatible(database)


def test_bad_storage_options(tmp_path):
    with pytest.raises(InputError, match="float32, float16"):
        build(tmp_path, [1], local_dtype="int4")
    with pytest.raises(InputError, match="shard_size"):
        build(tmp_path, [1], shard_size=0)


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        build(tmp_path / "file", [1])
    with pytest.raises(InputError, match="cannot be written"):
        build(tmp_path / "file" / "below", [1])


def test_the_identity_is_of_all_features(tmp_path):
    """Local features of other values and the same sizes, names and global descriptors are others."""
    first, same = (build(tmp_path / name, [5, 0, 3, 1]) for name in "ab")
    assert first.identity() == same.identity()
    writer = StoreWriter(tmp_path / "c", SETTINGS, refs(4), shard_size=3)
    for shard in writer.missing():
        numbers = [int(ref.name[2:]) for ref in writer.shard_images(shard)]
        made = [features(f"im{i}", [5, 0, 3, 1][i], i) for i in numbers]
        made[-1] = replace(made[-1], descriptors=-made[-1].descriptors)
        writer.write(shard, made, [])
    other = writer.finish()
    assert other.bytes_per_image() == first.bytes_per_image()
    np.testing.assert_array_equal(other.global_descriptors, first.global_descriptors)
    assert other.identity() != first.identity()


def test_the_identity_sees_a_file_that_changed_after_its_hash_was_recorded(tmp_path):
    store = build(tmp_path / "a", [5, 2])
    before, scores = store.identity(), tmp_path / "a" / "shard-00000" / "scores.npy"
    np.save(scores, -np.load(scores))
    assert store.identity() != before
