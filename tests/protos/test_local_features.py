"""Files of local features and boxes: bytes worked out by hand, the fast reader against the plain one, damage."""

import numpy as np
import pytest

from delg.common.errors import InputError
from protos import local_features
from protos.feature_pb2 import DelfFeatures

# feature {descriptor {shape {dim: 1} float_list {value: 1.0}} x: 2.0 y: 1.0 scale: 0.5 orientation: 0.0 strength: 4.0}
ONE = bytes.fromhex(
    "0a28 0a0d 0a030a0101 1206 0a04 0000803f 15 00000040 1d 0000803f 25 0000003f 2d 00000000 35 00008040"
)


def some(n=5, d=3, seed=0):
    random = np.random.default_rng(seed)
    return [
        random.uniform(0, 500, (n, 2)).astype(np.float32),
        random.uniform(0.5, 4, n).astype(np.float32),
        random.normal(size=(n, d)).astype(np.float32),
        random.uniform(0, 9, n).astype(np.float32),
    ]


def test_bytes_of_one_feature(tmp_path):
    local_features.write_local(tmp_path / "a", [[1.0, 2.0]], [0.5], [[1.0]], [4.0])
    assert (tmp_path / "a").read_bytes() == ONE
    found = local_features.read_local(tmp_path / "a")
    assert [part.tolist() for part in found] == [[[1.0, 2.0]], [0.5], [[1.0]], [4.0], [0.0]]
    assert found._fields == ("locations", "scales", "descriptors", "attention", "orientations")


def test_what_is_written_is_read(tmp_path):
    written = some(n=300, d=40)
    local_features.write_local(tmp_path / "a", *written)
    for part, expected in zip(local_features.read_local(tmp_path / "a"), [*written, np.zeros(300)]):
        np.testing.assert_array_equal(part, expected)
        assert part.dtype == np.float32
    angles = np.arange(300.0)
    local_features.write_local(tmp_path / "a", *written, orientations=angles)
    np.testing.assert_array_equal(local_features.read_local(tmp_path / "a").orientations, angles)


def test_no_features_are_no_bytes(tmp_path):
    local_features.write_local(tmp_path / "a", np.zeros((0, 2)), [], np.zeros((0, 128)), [])
    assert (tmp_path / "a").read_bytes() == b""
    assert [part.shape for part in local_features.read_local(tmp_path / "a")] == [(0, 2), (0,), (0, 0), (0,), (0,)]


@pytest.mark.parametrize("dimension", [1, 31, 32, 128, 1024])
def test_the_fast_reader_agrees_with_the_plain_one(tmp_path, dimension):
    local_features.write_local(tmp_path / "a", *some(7, dimension))
    data = (tmp_path / "a").read_bytes()
    fast = local_features.read_uniform(data, 7, dimension)
    for left, right in zip(fast, local_features.read_any(DelfFeatures.FromString(data), dimension)):
        np.testing.assert_array_equal(left, right)


def test_files_of_another_form_are_read_by_the_plain_one(tmp_path):
    written = some()
    local_features.write_local(tmp_path / "a", *written)
    message = DelfFeatures.FromString((tmp_path / "a").read_bytes())
    message.feature[3].ClearField("orientation")
    (tmp_path / "a").write_bytes(message.SerializeToString())
    assert local_features.read_uniform(message.SerializeToString(), 5, 3) is None
    for part, expected in zip(local_features.read_local(tmp_path / "a"), written):
        np.testing.assert_array_equal(part, expected)


def test_records_of_the_same_length_and_another_form(tmp_path):
    local_features.write_local(tmp_path / "a", *some(2, 3))
    data = bytearray((tmp_path / "a").read_bytes())
    x, y = data.rindex(0x15, 0, len(data) - 20), len(data) - 20
    assert data[y] == 0x1D and x == y - 5
    data[x : y + 5] = data[y : y + 5] + data[x:y]  # y before x: legal, and rare
    (tmp_path / "b").write_bytes(data)
    assert local_features.read_uniform(bytes(data), 2, 3) is None
    for left, right in zip(local_features.read_local(tmp_path / "a"), local_features.read_local(tmp_path / "b")):
        np.testing.assert_array_equal(left, right)


def damage(tmp_path, change):
    local_features.write_local(tmp_path / "x.delg_local", *some())
    message = DelfFeatures.FromString((tmp_path / "x.delg_local").read_bytes())
    change(message.feature)
    (tmp_path / "x.delg_local").write_bytes(message.SerializeToString())
    return tmp_path / "x.delg_local"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda f: f[2].ClearField("descriptor"), "no list of values"),
        (lambda f: f[2].descriptor.float_list.value.pop(), "does not fit its 2 values"),
        (lambda f: f[2].descriptor.uint32_list.value.extend([1, 2, 3]), "descriptor 2 is uint32"),
        (lambda f: f[0].descriptor.uint32_list.value.extend([1, 2, 3]), "descriptor 0 is uint32"),
        (lambda f: f[4].descriptor.shape.dim.insert(0, 1), r"descriptor 4 is float32 \(1, 3\)"),
    ],
)
def test_features_that_do_not_fit_together(tmp_path, change, why):
    with pytest.raises(InputError, match=rf"x\.delg_local is damaged or holds no local features: .*{why}"):
        local_features.read_local(damage(tmp_path, change))


def test_damaged_bytes(tmp_path):
    path = tmp_path / "x.delf"
    local_features.write_local(path, *some())
    whole = path.read_bytes()
    for data, why in ((whole[:-3], "do not parse"), (b"\x10\x05", "2 bytes without a feature"), (b"text", "parse")):
        path.write_bytes(data)
        with pytest.raises(InputError, match=rf"x\.delf is damaged.*{why}"):
            local_features.read_local(path)


@pytest.mark.parametrize(
    "parts",
    [
        ([[1, 2]], [1, 2], [[1.0]], [1]),
        ([[1, 2]], [1], [[1.0], [2.0]], [1]),
        ([[1, 2]], [1], [1.0], [1]),
        ([[1, 2]], [1], [[1.0]], [[1]]),
    ],
)
def test_shapes_that_do_not_fit(tmp_path, parts):
    with pytest.raises(InputError, match="Local features are expected as"):
        local_features.write_local(tmp_path / "a", *parts)


def test_boxes(tmp_path):
    boxes = np.array([[0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]], np.float32)
    local_features.write_boxes(tmp_path / "b", boxes, [0.5, 0.25], [3, -1])
    found = local_features.read_boxes(tmp_path / "b")
    np.testing.assert_array_equal(found.boxes, boxes)
    assert found.scores.tolist() == [0.5, 0.25] and found.class_indices.tolist() == [3, -1]
    local_features.write_boxes(tmp_path / "b", [[1, 2, 3, 4]], [0.5], [7])
    tags = bytes.fromhex("0d 0000803f 15 00000040 1d 00004040 25 00008040 2d 0000003f 30 07")
    assert (tmp_path / "b").read_bytes() == b"\x0a" + bytes([len(tags)]) + tags
    local_features.write_boxes(tmp_path / "b", [], [], [])
    assert (tmp_path / "b").read_bytes() == b"" and local_features.read_boxes(tmp_path / "b").boxes.shape == (0, 4)
    (tmp_path / "b").write_bytes(b"\x10\x05")
    with pytest.raises(InputError, match="2 bytes without a box"):
        local_features.read_boxes(tmp_path / "b")
    with pytest.raises(InputError, match="Boxes are expected"):
        local_features.write_boxes(tmp_path / "b", boxes, [1.0], [1, 2])
