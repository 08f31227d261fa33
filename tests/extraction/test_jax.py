"""The same features on JAX, in a process of its own, by several threads."""

import numpy as np
import pytest

from extraction.extractors.delg import DelgExtractor
from extraction.formats.checks import differing
from extraction.images import list_images
from extraction.pipeline import extract
from extraction.store.reader import FeatureStore
from tests.extraction.pictures import write_picture
from tests.processes import ON_JAX
from tests.test_commands import run


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_jax_gives_the_same_features(folder, precision):
    pytest.importorskip("jax")
    for i in range(4, 9):
        write_picture(folder / "photos" / f"{i}.png", 70, 140, seed=i)
    flags = ["--images_dir=photos", "--model=model", "--output_dir=jax", f"--precision={precision}", "--num_threads=3"]
    done = run("extract", *flags, cwd=folder, **ON_JAX)
    assert done.returncode == 0, done.stderr
    found = FeatureStore.open(folder / "jax")
    one = DelgExtractor.from_folder(str(folder / "model"), precision=precision)
    expected = extract(one, list_images(folder / "photos"), folder / "tensorflow", progress=False)
    assert differing(found.settings, expected.settings) == ["runtime ('jax' and 'tensorflow')"]
    assert found.names == expected.names and len(found) == 8
    off = 1e-5 if precision == "float32" else 1e-2
    np.testing.assert_allclose(found.global_descriptors, expected.global_descriptors, atol=off)
    for i in range(8):
        ours, theirs = found.features(i), expected.features(i)
        assert len(ours) == len(theirs) > 20
        np.testing.assert_allclose(ours.scores, theirs.scores, rtol=10 * off)
