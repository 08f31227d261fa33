from pathlib import Path

import pytest

from tests.extraction.pictures import write_picture

MODEL = 'pair(global="histogram(pyramid=True)", local="rootsift")'


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of eight photos, two of them in a sub-folder."""
    folder = tmp_path / "photos"
    for seed in range(8):
        write_picture(folder / ("album" if seed > 5 else "") / f"{seed}.png", 120, 160, seed)
    return folder
