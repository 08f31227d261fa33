import numpy as np
import pytest

import delg
from delg.common.errors import InputError
from tests.tiny import BACKBONE
from tests.training.tiny import SIZE, tiny_model
from training.assembly import start_weights
from training.input.augment import Augmentation
from training.input.pipeline import InputConfig, training_batches
from training.options import TrainOptions
from training.records.recordset import open_records
from training.whitening import start_from_pca, whitening


def test_whitened_sample_has_zero_mean_and_equal_variances():
    rng = np.random.default_rng(0)
    pooled = (rng.normal(size=(4000, 5)) * [1.0, 0.9, 0.8, 1.1, 1.2] + 7).astype(np.float32)
    kernel, bias = whitening(pooled, 5, seed=0)
    white = pooled @ kernel + bias
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(white.T), np.eye(5), atol=0.03)


def test_more_and_fewer_axes_than_channels():
    pooled = np.random.default_rng(1).normal(size=(100, 6)).astype(np.float32)
    for dim in (4, 9):
        kernel, bias = whitening(pooled, dim, seed=3)
        assert kernel.shape == (6, dim)
        assert bias.shape == (dim,)
        assert np.isclose(np.sum(np.var(pooled @ kernel, axis=0)), min(dim, 6), rtol=0.05)


def test_a_fresh_model_starts_with_descriptors_in_all_directions():
    model = delg.create("delg_small", backbone=BACKBONE)
    images = np.random.default_rng(2).uniform(-1, 1, (32, 48, 48, 3)).astype(np.float32)

    def mean_cosine() -> float:
        maps = model.backbone(images, training=True)
        unit = np.asarray(model.global_head(maps))
        unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
        return float(((unit @ unit.T).sum() - 32) / (32 * 31))

    before = mean_cosine()
    start_from_pca(model, [images], seed=0)
    assert before > 0.8
    assert abs(mean_cosine()) < 0.1


def test_the_backbone_s_averages_stay_as_they_were():
    model = delg.create("delg_small", backbone=BACKBONE)
    images = np.random.default_rng(2).uniform(-1, 1, (8, 48, 48, 3)).astype(np.float32)
    before = [np.array(weight) for weight in model.backbone.weights]
    start_from_pca(model, [images, images], seed=0)
    assert len(before) > 10
    assert all(np.array_equal(a, np.array(b)) for a, b in zip(before, model.backbone.weights))


def test_a_shard_that_broke_on_the_way_ends_in_one_sentence(broken_dir):
    config = InputConfig(batch_size=8, image_size=SIZE, augmentation=Augmentation(), threads=2)
    streamed = training_batches(open_records(str(broken_dir / "train*")), config)
    with pytest.raises(InputError, match=r"^A training record cannot be read: corrupted record at \d+\."):
        start_weights(TrainOptions(whitening_init="pca", batch_size=8), tiny_model(), streamed, strategy=None)
