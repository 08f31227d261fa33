import os

import cv2
import pytest

from delg.common.errors import InputError
from matching import threads
from matching.threads import available, single_threaded


def test_available_threads():
    assert available(3) == 3
    assert available() == len(os.sched_getaffinity(0))
    for wrong in (0, -2, 1.5, "2"):
        with pytest.raises(InputError, match="threads expects 1 or more"):
            available(wrong)


def test_one_thread_inside_and_as_before_outside():
    blas = threads.openblas()
    assert blas is not None, "NumPy's wheel brings OpenBLAS"
    read, write = blas
    before = read(), cv2.getNumThreads()
    write(2)
    cv2.setNumThreads(2)
    try:
        with pytest.raises(KeyError), single_threaded():
            with single_threaded():
                assert (read(), cv2.getNumThreads()) == (1, 1)
            assert (read(), cv2.getNumThreads()) == (1, 1), "the inner one leaves it to the outer one"
            raise KeyError
        assert (read(), cv2.getNumThreads()) == (2, 2)
    finally:
        write(before[0])
        cv2.setNumThreads(before[1])
