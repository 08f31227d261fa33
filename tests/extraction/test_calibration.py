"""Thresholds and int8 ranges from a sample of images."""

import numpy as np
import pytest

import delg
from delg.common.errors import InputError
from extraction import calibration
from extraction.calibration import learn_whitening, quantise, score_threshold, spread, write_threshold
from extraction.extractors.delg import DelgExtractor
from extraction.images import list_images
from extraction.verification import verify
from tests import processes
from tests.extraction.pictures import picture


def test_the_threshold_leaves_a_share_of_the_cells_out(folder):
    images, one = list_images(folder / "photos"), DelgExtractor.from_folder(str(folder / "model"))
    with pytest.raises(InputError, match="0 to 1"):
        score_threshold(one, images, 1.5)
    with pytest.raises(InputError, match="sample can be read"):
        score_threshold(one, [ref for ref in images if ref.name == "bad"], 0.5)
    threshold = score_threshold(one, images, 0.75)
    write_threshold(folder / "model", threshold)
    again = DelgExtractor.from_folder(str(folder / "model"), max_feature_num=10**6)
    assert again.config.score_threshold == threshold
    every = DelgExtractor.from_folder(str(folder / "model"), max_feature_num=10**6, score_threshold=-1.0)
    counts = [[len(e(picture(90, 120, seed=i), "x")) for i in range(3)] for e in (again, every)]
    assert abs(sum(counts[0]) / sum(counts[1]) - 0.25) < 0.01


@pytest.mark.slow
def test_int8_is_near_float32_and_of_its_model_alone(folder, monkeypatch):
    pytest.importorskip("nncf")
    place, images = str(folder / "model"), list_images(folder / "photos")
    options = {"runtime": "openvino", "precision": "int8"}
    with pytest.raises(InputError, match="delg-calibrate --precision=int8"):
        DelgExtractor.from_folder(place, **options)
    plain = DelgExtractor.from_folder(place)
    before = sorted(path.name for path in (folder / "model").iterdir())
    with monkeypatch.context() as patch, pytest.raises(InputError, match="cosine"):
        patch.setattr(calibration, "LEAST_COSINE", 1.0)
        quantise(plain, images[:2], images[2:], place)
    assert sorted(path.name for path in (folder / "model").iterdir()) == before, "a refused graph is not kept"
    cosine = quantise(plain, images[:2], images[2:], place)
    assert 0.995 <= cosine < 1 - 1e-7
    found = DelgExtractor.from_folder(place, **options)
    assert len(found.settings["int8_sha256"]) == 64
    difference = verify(found, plain, images, 3)
    assert 0.98 < difference.global_cosine < 1 - 1e-7 and difference.local_cosine > 0.9
    with pytest.raises(InputError, match="other weights or switches"):
        DelgExtractor.from_folder(place, gem_plus=True, **options)
    plain.model.embedding_layer.bias.assign(np.ones(16))
    delg.save(plain.model, place)
    with pytest.raises(InputError, match="other weights or switches"):
        DelgExtractor.from_folder(place, **options)


def test_the_command(folder):
    done = processes.run("calibrate", "--model=model", "--images_dir=photos", "--quantile=0.5", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "model: score_threshold 0." in done.stdout and "from a sample of 4 images" in done.stdout
    done = processes.run("calibrate", "--model=model", "--images_dir=photos", cwd=folder)
    assert (done.returncode, done.stderr) == (
        1,
        "delg-calibrate: One of --quantile, --local_whitening, --precision=int8, --adapt and --rerank is required.\n",
    )
    done = processes.run(
        "calibrate", "--model=model", "--images_dir=photos", "--quantile=2", "--output_dir=new", cwd=folder
    )
    assert done.returncode == 1 and "0 to 1" in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["model", "photos"], "a failure leaves no folder"


def test_local_features_of_a_backbone_alone_are_shortened_by_a_learned_pca(folder):
    """Cells of the backbone as local features: ``tokens(score='norm')`` has no weights, the PCA is learned."""
    backbone = "resnet_small(depths=(1, 1, 1, 1), widths=(8, 8, 8, 16))"
    sizes = {"embedding_dim": 16, "local_dim": None, "local_head": "tokens(score='norm')"}
    model = delg.create("delg_small", backbone=backbone, extraction={"max_feature_num": 40}, **sizes)
    delg.save(model, folder / "tokens")
    plain = DelgExtractor.from_folder(str(folder / "tokens"))
    learn_whitening(plain, list_images(folder / "photos"), folder / "tokens", dim=3)
    image = picture(90, 120, seed=1)
    before, after = plain(image, "x"), DelgExtractor.from_folder(str(folder / "tokens"))(image, "x")
    assert before.descriptors.shape == (40, 8) and after.descriptors.shape == (40, 3)
    np.testing.assert_array_equal(after.keypoints, before.keypoints)
    np.testing.assert_allclose(np.linalg.norm(after.descriptors, axis=1), 1, atol=1e-5)
    assert np.all(np.diff(after.scores) <= 0) and np.isfinite(after.scores).all()


@pytest.mark.parametrize(("count", "wanted"), [(60, 32), (5, 5), (3, 10), (1, 1), (1000, 7)])
def test_a_sample_is_spread_over_the_list(count, wanted):
    places = spread(count, wanted)
    assert len(places) == min(count, wanted) and (places[0], places[-1]) == (0, count - 1 if wanted > 1 else 0)
    assert max(np.diff(places), default=0) - min(np.diff(places), default=0) <= 1
