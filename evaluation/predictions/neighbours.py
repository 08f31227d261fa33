"""Rankings as the neighbour files that AMES, ELViS and LOCORE rerank: pickles of one PyTorch tensor.

The tensor is ``(2, Q, K)`` float32, similarities and below them the rows of the database, queries and database in the
order of the ground truth. It is written without PyTorch: the pickle asks for ``torch.tensor`` when it is read.
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
    """One tensor of rankings of different lengths.

    Images that a ranking does not hold (junk that a protocol takes out, images that were not read) follow at its end
    with the lowest score, where these programs put junk themselves.

    Args:
      order: for each query rows of the database, best first.
      scores: for each query their scores.
      images: of the database.
      top_k: how many of each query.

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
    """Writes a pickle that is a PyTorch tensor of float32 where PyTorch is, and nothing elsewhere."""
    values = pickle.dumps(tensor.tolist(), 2)
    file.write(values[:2] + CALL + values[2:-1] + pickle.TUPLE1 + pickle.REDUCE + pickle.STOP)
