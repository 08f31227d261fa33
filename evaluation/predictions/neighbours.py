"""Writes rankings as the neighbour files that AMES, ELViS and LOCORE rerank: pickles of one PyTorch tensor.

The tensor is ``(2, Q, K)`` float32: similarities, then rows of the database, with queries and database in the order of
the ground truth. Writing needs no PyTorch: the pickle calls ``torch.tensor`` when it is read.
"""

import pickle
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]
CALL = b"ctorch\ntensor\n"  # the opcode that names a function


def filled(order: Sequence[Rows], scores: Sequence[Scores], images: int, top_k: int) -> NDArray[np.float32]:
    """A tensor of rankings of different lengths.

    Images outside a ranking (junk that a protocol removes, unreadable images) follow at the ranking's end with the
    lowest score, where the reading programs expect junk.

    Args:
      order: for each query rows of the database, best first.
      scores: for each query the scores of these rows.
      images: number of database images.
      top_k: largest number of results of each query.

    Returns:
      ``(2, Q, min(top_k, images))`` float32.

    >>> filled([np.array([2, 0])], [np.array([0.5, 0.25], np.float32)], 4, 3).tolist()
    [[[0.5, 0.25, 0.25]], [[2.0, 0.0, 1.0]]]
    """
    width = min(top_k, images)
    tensor = np.zeros((2, len(order), width), np.float32)
    for q, (rows, values) in enumerate(zip(order, scores, strict=True)):
        rest = np.setdiff1d(np.arange(images), rows)[: max(width - len(rows), 0)]
        lowest = values[-1] if len(values) else 0.0
        tensor[0, q] = np.concatenate([values, np.full(len(rest), lowest)])[:width]
        tensor[1, q] = np.concatenate([rows, rest])[:width]
    return tensor


def write(file: BinaryIO, tensor: NDArray[np.float32]) -> None:
    """Writes a pickle of a float32 PyTorch tensor; reading the pickle needs PyTorch."""
    values = pickle.dumps(tensor.tolist(), 2)
    file.write(values[:2] + CALL + values[2:-1] + pickle.TUPLE1 + pickle.REDUCE + pickle.STOP)
