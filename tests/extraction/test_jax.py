"""The same features on JAX, in a process of its own, by several threads."""

import os
import subprocess
import sys

import numpy as np
import pytest

from extraction.extractors.delg import DelgExtractor
from extraction.formats.checks import differing
from extraction.images import list_images
from extraction.pipeline import extract
from extraction.store.reader import FeatureStore
from tests.extraction.pictures import write_picture
from tests.processes import ON_JAX

PROGRAM = """
import runpy
from delg.quiet import skip_optional_imports

skip_optional_imports()
from extraction.extractors.delg import DelgExtractor
from extraction.images import list_images
from extraction.pipeline import extract

half = DelgExtractor.from_folder("model", precision="bfloat16")
extract(half, list_images("photos"), "bfloat16", progress=False, num_threads=3)
runpy.run_module("delg", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_jax_gives_the_same_features(folder):
    """By the command in float32, and in bfloat16."""
    pytest.importorskip("jax")
    for i in range(4, 9):
        write_picture(folder / "photos" / f"{i}.png", 70, 140, seed=i)
    flags = ["--images_dir=photos", "--model=model", "--output_dir=float32", "--num_threads=3"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "extract", *flags],
        cwd=folder, env=os.environ | ON_JAX, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for precision, off in {"float32": 1e-5, "bfloat16": 1e-2}.items():
        found = FeatureStore.open(folder / precision)
        one = DelgExtractor.from_folder(str(folder / "model"), precision=precision)
        expected = extract(one, list_images(folder / "photos"), folder / f"tensorflow_{precision}", progress=False)
        assert differing(found.settings, expected.settings) == ["runtime ('jax' and 'tensorflow')"]
        assert found.names == expected.names and len(found) == 8
        np.testing.assert_allclose(found.global_descriptors, expected.global_descriptors, atol=off)
        for i in range(8):
            ours, theirs = found.features(i), expected.features(i)
            assert len(ours) == len(theirs) > 20
            np.testing.assert_allclose(ours.scores, theirs.scores, rtol=10 * off)
