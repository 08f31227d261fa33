"""Adaptation of global descriptors: what is learned, and that it stays with the weights it was learned with."""

from contextlib import chdir

import numpy as np
import pytest

from delg.common.errors import InputError
from delg.common.spec import render
from extraction import adaptation
from extraction.adaptation import Adaptation, Softmax, normalized
from extraction.extractors.delg import DelgExtractor
from extraction.extractors.table import build_extractor
from extraction.formats.checks import differing
from extraction.images import list_images
from extraction.pca import Pca, Projections
from extraction.pipeline import extract
from tests import processes
from tests.extraction.pictures import picture, write_picture


def labelled(classes=12, photos=8, size=24, noise=1.0, seed=0):
    """Unit vectors whose class shows in 6 of their values, and whose other values are large and say nothing."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.normal(size=(classes, 6)), photos, axis=0)
    own = centres + 0.3 * noise * rng.normal(size=centres.shape)
    rows = np.hstack([own, 3 * noise * rng.normal(size=(len(own), size - 6))])
    return normalized(rows).astype(np.float32), np.repeat(np.arange(classes), photos)


def contrast(rows, labels):
    """Mean cosine of photos of one class less that of photos of two classes."""
    cosines, same = rows @ rows.T, labels[:, None] == labels
    return cosines[same & ~np.eye(len(rows), dtype=bool)].mean() - cosines[~same].mean()


def test_photos_of_other_classes_come_apart():
    x, labels = labelled()
    seen = labels < 8
    small = {"rate": 0.01, "batch_size": 32}
    for recipe in (Softmax(dim=24, epochs=40, **small), Softmax(dim=16, start="random", epochs=60, **small)):
        learned = recipe(x[seen], labels[seen])
        assert learned.weight.shape == (recipe.dim, 24) and learned(x).dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(learned(x), axis=1), 1, atol=1e-5)
        assert contrast(learned(x[~seen]), labels[~seen]) > 2 * contrast(x[~seen], labels[~seen])
        assert recipe(x[seen], labels[seen]).digest() == learned.digest(), "the seed decides"


def test_the_pca_start_is_a_damped_whitening():
    x, labels = labelled()
    learned = Softmax(dim=24, epochs=0)(x, labels)
    rows = x @ learned.weight.T + learned.bias
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
    shares = np.sort(np.linalg.eigvalsh(np.cov(x.T, bias=True)))[::-1]
    shares = shares / shares[0]
    expected = np.diag(shares / (shares + 0.03))
    np.testing.assert_allclose(np.cov(rows.T, bias=True) / rows[:, 0].var() * expected[0, 0], expected, atol=1e-3)
    assert Softmax(dim=24, epochs=0)(x[:10], labels[:10] % 2).weight.shape == (9, 24), "no direction is made up"


def test_recipes_that_are_refused():
    with pytest.raises(InputError, match="two classes"):
        Softmax()(np.eye(3, dtype=np.float32), ["a"] * 3)
    for text in ("softmax(epochs=-1)", "softmax(start='zero')", "softmax(layers=2)", "lda"):
        with pytest.raises(InputError):
            adaptation.recipes(text)
    assert adaptation.recipes("softmax(epochs=3)") == (Softmax(epochs=3),) and len(adaptation.recipes(None)) > 1
    assert adaptation.recipes(str(Softmax(rate=0.5))) == (Softmax(rate=0.5),)


def test_a_file_belongs_to_its_weights(tmp_path):
    x, labels = labelled()
    learned = Softmax(dim=8, epochs=1)(x, labels)
    assert adaptation.load(tmp_path, "a") is None
    path = adaptation.save(learned, tmp_path, "a")
    assert adaptation.load(tmp_path, "a").digest() == learned.digest()
    with pytest.raises(InputError, match="learned with other weights; run delg-calibrate"):
        adaptation.load(tmp_path, "b")
    for damage in (path.read_bytes()[:200], b"", b"text"):
        path.write_bytes(damage)
        with pytest.raises(InputError, match="is damaged"):
            adaptation.load(tmp_path, "a")


def test_the_extractor_of_an_adapted_folder_adapts(folder):
    model = str(folder / "model")
    before = DelgExtractor.from_folder(model)
    rng = np.random.default_rng(0)
    learned = Adaptation(*(rng.normal(size=size).astype(np.float32) for size in ((5, 16), (5,))))
    adaptation.save(learned, model, before.settings["weights_sha256"])
    after = build_extractor(model)
    plain, adapted = (one(picture(90, 120, seed=5), "x") for one in (before, after))
    np.testing.assert_allclose(adapted.global_descriptor, learned(plain.global_descriptor), atol=1e-6)
    np.testing.assert_array_equal(adapted.descriptors, plain.descriptors)
    assert after.settings.keys() - before.settings.keys() == {"adaptation"}
    assert differing(before.settings, after.settings), "features with and without are never compared"
    off = build_extractor(render("delg", {"model": model, "adaptation": False}))
    assert off.settings == before.settings
    assert build_extractor(render("concat", {"parts": [model, model]})).dimensions == {"global": 10}
    assert "adaptation" not in DelgExtractor.from_folder(model, seed=0).settings, "fresh weights have none"
    with pytest.raises(InputError, match="adaptation=False"):
        after.project(Projections(of_global=Pca(np.zeros(16), np.eye(16)[:4])))
    with pytest.raises(InputError, match="adaptation expects True or False"):
        build_extractor(render("delg", {"model": model, "adaptation": 1}))
    other = Adaptation(learned.weight[:, :7], learned.bias)
    adaptation.save(other, model, before.settings["weights_sha256"])
    with pytest.raises(InputError, match="expects descriptors of 7 values"):
        build_extractor(model)


def test_features_of_other_settings_are_refused(folder):
    for i in range(12):
        write_picture(folder / "labelled" / f"class{i % 4}" / f"{i}.png", 60, 80, seed=i)
    images = list_images(folder / "labelled")
    for name, text in {
        "pair": 'pair(global="model", local="rootsift")',
        "small": "delg(model='model', image_scales=[0.5], global_scales_ind=[0])",
    }.items():
        with chdir(folder):
            extract(build_extractor(text), images, folder / name, progress=False)
    learn = ["calibrate", "--model=model", "--adapt", '--adaptation=softmax(start="random", epochs=0, dim=3)']
    done = processes.run(*learn, "--features_dir=small", cwd=folder)
    assert done.returncode == 1 and "image_scales" in done.stderr, done.stderr
    done = processes.run(*learn, "--features_dir=pair", "--output_dir=new", cwd=folder)
    assert "different settings" not in done.stderr and "on classes held out" in done.stdout + done.stderr, done.stderr
    assert (folder / "new").exists() == (done.returncode == 0)
    assert not (folder / "model" / "adaptation.npz").exists()


@pytest.mark.parametrize("arguments", ["dim=8.5", "dim=True", "epochs=1.5", "seed=-1", "rate='a'", "scale=0"])
def test_values_of_a_recipe_that_are_refused(arguments):
    with pytest.raises(InputError, match=arguments.partition("=")[0]):
        adaptation.recipes(f"softmax({arguments})")
