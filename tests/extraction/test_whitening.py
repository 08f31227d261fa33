"""Whitening of local descriptors: what it does to them, and that it stays with the weights it was learned with."""

import numpy as np
import pytest

from delg.common.errors import InputError
from extraction import whitening
from extraction.calibration import learn_whitening
from extraction.extractors.delg import DelgExtractor
from extraction.extractors.table import build_extractor
from extraction.images import list_images
from extraction.pca import Pca, Projections
from extraction.store.encoding import packed
from tests.extraction.pictures import picture
from tests.processes import run


def correlated(n, d=8, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d) * 3).astype(np.float32)


def test_whitened_descriptors_are_uncorrelated_and_their_signs_fair():
    sample, others = (part.astype(np.float32) for part in np.split(correlated(40_000), 2))
    learned = whitening.learn([sample[:15_000], sample[:0], sample[15_000:]])
    rows = learned(others)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert (
        np.abs(np.corrcoef(rows, rowvar=False) - np.eye(8)).max()
        < 0.15
        < np.abs(np.corrcoef(others, rowvar=False) - np.eye(8)).max()
    )
    shares = [(np.unpackbits(packed(x), axis=1)[:, :8]).mean(axis=0) for x in (others, rows)]
    assert np.abs(shares[0] - 0.5).max() > 0.2 > 0.15 > np.abs(shares[1] - 0.5).max()


def test_too_few_descriptors_are_refused():
    whitening.learn([correlated(80)])
    for sample in ([correlated(79)], [correlated(0)], []):
        with pytest.raises(InputError, match="at least 10 local features"):
            whitening.learn(sample)


def test_a_shorter_whitening_keeps_the_directions_of_most_variance():
    sample = correlated(4000)
    whole, short = whitening.learn([sample]), whitening.learn([sample], dim=3)
    np.testing.assert_array_equal(short.projection, whole.projection[:3])
    assert short(sample).shape == (4000, 3) and np.all(np.diff(short.variances) <= 0)
    for wrong in (0, 9):
        with pytest.raises(InputError, match="local_dim expects 1 to 8"):
            whitening.learn([sample], dim=wrong)


def test_a_file_belongs_to_its_weights(tmp_path):
    learned = whitening.learn([correlated(200)])
    assert whitening.load(tmp_path, "a") is None
    path = whitening.save(learned, tmp_path, "a")
    again = whitening.load(tmp_path, "a")
    assert again.digest() == learned.digest()
    with pytest.raises(InputError, match="learned with other weights; run delg-calibrate"):
        whitening.load(tmp_path, "b")
    for damage in (path.read_bytes()[:200], b"", b"text"):
        path.write_bytes(damage)
        with pytest.raises(InputError, match="is damaged"):
            whitening.load(tmp_path, "a")


def test_the_extractor_of_a_calibrated_folder_whitens(folder):
    model, images = folder / "model", list_images(folder / "photos")
    before = DelgExtractor.from_folder(str(model))
    learned = whitening.load(model, before.settings["weights_sha256"])
    assert learned is None
    learn_whitening(before, images, model)
    learned = whitening.load(model, before.settings["weights_sha256"])
    after = DelgExtractor.from_folder(str(model))
    plain, white = (one(picture(90, 120, seed=5), "x") for one in (before, after))
    np.testing.assert_array_equal(white.global_descriptor, plain.global_descriptor)
    np.testing.assert_allclose(white.descriptors, learned(plain.descriptors), atol=1e-5)
    assert after.settings.keys() - before.settings.keys() == {"local_pca"}
    learn_whitening(after, images, model)
    assert whitening.load(model, before.settings["weights_sha256"]).digest() == learned.digest(), "not whitened twice"
    assert "local_pca" not in DelgExtractor.from_folder(str(model), seed=0).settings, "fresh weights have none"
    off = build_extractor(f'delg(model="{model}", local_whitening=False)')
    assert off.settings == before.settings
    with pytest.raises(InputError, match="local_whitening expects True or False"):
        build_extractor(f'delg(model="{model}", local_whitening=1)')


def test_another_projection_joins_it_or_takes_its_place(folder):
    model = folder / "model"
    learn_whitening(DelgExtractor.from_folder(str(model)), list_images(folder / "photos"), model)
    one = DelgExtractor.from_folder(str(model))
    one.project(Projections(of_global=Pca(np.zeros(16), np.eye(16)[:4])))
    assert one.settings.keys() >= {"local_pca", "global_pca"}
    assert one(picture(90, 120), "x").global_descriptor.shape == (4,)
    one.project(Projections(of_local=Pca(np.zeros(8), np.eye(8)[:2])))
    assert one(picture(90, 120), "x").descriptors.shape[1] == 2
    assert one.settings["local_pca"].startswith("2 ")


def test_the_command_also_after_the_weights_have_changed(folder):
    where = [f"--model={folder / 'model'}", f"--images_dir={folder / 'photos'}"]
    whitening.save(whitening.learn([correlated(200)]), folder / "model", "of other weights")
    with pytest.raises(InputError, match="learned with other weights"):
        build_extractor(str(folder / "model"))
    done = run("calibrate", *where, "--local_whitening")
    assert done.returncode == 0, done.stderr
    assert "local_pca" in build_extractor(str(folder / "model")).settings
    both = run("calibrate", *where, "--local_whitening", "--quantile=0.5")
    assert both.returncode != 0
    assert "--quantile" in both.stderr and "--local_whitening" in both.stderr
