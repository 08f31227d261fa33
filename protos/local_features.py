"""Files of local features (``name.delg_local``, ``name.delf``) and of boxes, as the released programs write them.

A file is one message without a header. A list without entries has no bytes, so that an empty file has no features.
Positions are ``(y, x)``, as in the arrays of the released programs.
"""

import os
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from delg.common.errors import InputError
from delg.common.files import write_bytes
from protos.arrays import damaged, from_datum, parse, to_datum
from protos.box_pb2 import Boxes
from protos.feature_pb2 import DelfFeature, DelfFeatures

Floats = NDArray[np.float32]
Place = str | os.PathLike[str]
TAGGED = 5  # bytes of a float with its tag
NUMBERS = ("x", "y", "scale", "orientation", "strength")  # in the order of their tags, behind the descriptor
WHAT = "local features"


class LocalArrays(NamedTuple):
    """Local features of one image, in the order of the released reader.

    Attributes:
      locations: ``(N, 2)`` float32 ``(y, x)`` in pixels.
      scales: ``(N,)`` float32.
      descriptors: ``(N, d)`` float32; ``(0, 0)`` where there is no feature.
      attention: ``(N,)`` float32 scores, in any order.
      orientations: ``(N,)`` float32; zeros in DELF and DELG files.
    """

    locations: Floats
    scales: Floats
    descriptors: Floats
    attention: Floats
    orientations: Floats


class BoxArrays(NamedTuple):
    """Boxes of one image.

    Attributes:
      boxes: ``(N, 4)`` float32 ``(ymin, xmin, ymax, xmax)``.
      scores: ``(N,)`` float32.
      class_indices: ``(N,)`` int32.
    """

    boxes: Floats
    scores: Floats
    class_indices: NDArray[np.int32]


def read_local(path: Place) -> LocalArrays:
    """Reads local features; the values are those of the file, bit by bit.

    Args:
      path: a file of ``DelfFeatures``; an empty file has no features.

    Returns:
      The arrays. Without features they have the shapes ``(0, 2)``, ``(0,)``, ``(0, 0)``, ``(0,)``, ``(0,)`` (the
      released reader gives five arrays ``(0,)``).

    Raises:
      InputError: the file cannot be read or is damaged, or its descriptors differ in length.
    """
    message, data = parse(path, DelfFeatures, WHAT)
    features = message.feature
    if not features:
        if data:
            raise damaged(path, WHAT, f"{len(data)} bytes without a feature")
        none = np.zeros(0, np.float32)
        return LocalArrays(np.zeros((0, 2), np.float32), none, np.zeros((0, 0), np.float32), none, none)
    dimension = len(features[0].descriptor.float_list.value)
    arrays = read_uniform(data, len(features), dimension)
    if arrays is None:
        try:
            arrays = read_any(message, dimension)
        except ValueError as error:
            raise damaged(path, WHAT, error) from error
    descriptors, numbers = arrays
    x, y, scales, orientations, attention = np.ascontiguousarray(numbers.T)
    return LocalArrays(np.stack([y, x], axis=1), scales, descriptors, attention, orientations)


def write_local(
    path: Place,
    locations: ArrayLike,
    scales: ArrayLike,
    descriptors: ArrayLike,
    attention: ArrayLike,
    *,
    orientations: ArrayLike | None = None,
) -> None:
    """Writes local features atomically; without features the file is empty.

    Args:
      path: the file.
      locations: ``(N, 2)`` ``(y, x)``.
      scales: ``(N,)``.
      descriptors: ``(N, d)``.
      attention: ``(N,)``.
      orientations: ``(N,)``; None for zeros, as DELG's extractor writes.

    Raises:
      InputError: the shapes do not fit together.
    """
    points, rows = np.asarray(locations, np.float32).reshape(-1, 2), np.asarray(descriptors, np.float32)
    n = len(points)
    angles = np.zeros(n) if orientations is None else orientations
    columns = [points[:, 1], points[:, 0], *(np.asarray(column, np.float32) for column in (scales, angles, attention))]
    if any(column.shape != (n,) for column in columns) or len(rows) != n or (n and rows.ndim != 2):
        raise InputError(
            "Local features are expected as (N, 2), (N,), (N, d), (N,) and (N,). Received: "
            f"{[np.shape(part) for part in (locations, scales, descriptors, attention, angles)]}"
        )
    message = DelfFeatures()
    for descriptor, numbers in zip(rows, np.stack(columns, axis=1).tolist()):
        message.feature.append(DelfFeature(descriptor=to_datum(descriptor), **dict(zip(NUMBERS, numbers))))
    write_bytes(path, message.SerializeToString())


def read_uniform(data: bytes, count: int, dimension: int) -> tuple[Floats, Floats] | None:
    """Reads a file without a loop, if all records have the form of the released writer.

    Args:
      data: the bytes of the file.
      count: number of records, above 0.
      dimension: dimension of the first descriptor.

    Returns:
      Descriptors ``(N, d)`` and numbers ``(N, 5)``; None where a record has another form.
    """
    empty = DelfFeature(descriptor=to_datum(np.zeros(dimension)), **dict.fromkeys(NUMBERS, 0.0))
    form = np.frombuffer(DelfFeatures(feature=[empty]).SerializeToString(), np.uint8)
    if len(data) != count * len(form):
        return None
    records = np.frombuffer(data, np.uint8).reshape(count, len(form))
    numbers_at = len(form) - TAGGED * len(NUMBERS)
    descriptor_at = numbers_at - 4 * dimension
    tagged = records[:, numbers_at:].reshape(count, len(NUMBERS), TAGGED)
    tags = form[numbers_at:].reshape(len(NUMBERS), TAGGED)[:, 0]
    if np.any(records[:, :descriptor_at] != form[:descriptor_at]) or np.any(tagged[:, :, 0] != tags):
        return None
    descriptors = np.ascontiguousarray(records[:, descriptor_at:numbers_at]).view("<f4")
    numbers = np.ascontiguousarray(tagged[:, :, 1:]).view("<f4")[:, :, 0]
    return descriptors.astype(np.float32, copy=False), numbers.astype(np.float32, copy=False)


def read_any(message: DelfFeatures, dimension: int) -> tuple[Floats, Floats]:
    """Reads records of any form, one by one; see :func:`read_uniform`."""
    descriptors = [from_datum(feature.descriptor) for feature in message.feature]
    for i, descriptor in enumerate(descriptors):
        if descriptor.shape != (dimension,) or descriptor.dtype != np.float32:
            raise ValueError(
                f"descriptor {i} is {descriptor.dtype} {descriptor.shape}, the first has {dimension} float32 values"
            )
    numbers = [[getattr(feature, name) for name in NUMBERS] for feature in message.feature]
    return np.array(descriptors, np.float32), np.array(numbers, np.float32)


def read_boxes(path: Place) -> BoxArrays:
    """Reads boxes.

    Args:
      path: a file of ``Boxes``; an empty file has no boxes.

    Raises:
      InputError: the file cannot be read or is damaged.
    """
    message, data = parse(path, Boxes, "boxes")
    if data and not message.box:
        raise damaged(path, "boxes", f"{len(data)} bytes without a box")
    return BoxArrays(
        np.array([[b.ymin, b.xmin, b.ymax, b.xmax] for b in message.box], np.float32).reshape(-1, 4),
        np.array([b.score for b in message.box], np.float32),
        np.array([b.class_index for b in message.box], np.int32),
    )


def write_boxes(path: Place, boxes: ArrayLike, scores: ArrayLike, class_indices: ArrayLike) -> None:
    """Writes boxes atomically; see :class:`BoxArrays` for the shapes.

    Raises:
      InputError: the shapes do not fit together.
    """
    corners = np.asarray(boxes, np.float32).reshape(-1, 4)
    numbers, classes = np.asarray(scores, np.float32), np.asarray(class_indices, np.int32)
    if not numbers.shape == classes.shape == (len(corners),):
        raise InputError(
            "Boxes are expected as (N, 4), (N,) and (N,). Received: "
            f"{corners.shape}, {numbers.shape} and {classes.shape}"
        )
    message = Boxes()
    for (ymin, xmin, ymax, xmax), score, index in zip(corners.tolist(), numbers.tolist(), classes.tolist()):
        message.box.add(ymin=ymin, xmin=xmin, ymax=ymax, xmax=xmax, score=score, class_index=index)
    write_bytes(path, message.SerializeToString())
