"""Retrieval measured while a model is trained."""

import json

import numpy as np
import pytest

import delg
from delg.common.errors import InputError
from evaluation.in_training import RetrievalCheck
from tests.training.pictures import write_folders
from tests.training.tiny import tiny_model
from training.checkpoints import BestModel


def test_it_gives_what_the_model_s_descriptors_say_and_follows_its_weights(tmp_path):
    write_folders(tmp_path / "photos", classes=3, images=3)
    (tmp_path / "photos" / "class_00" / "broken.jpg").write_bytes(b"no image")
    check, model = RetrievalCheck(str(tmp_path / "photos"), None, 64), tiny_model()
    first = check(model)
    assert set(first) == {"mAP", "R@1"} and 0 < first["mAP"] <= 100
    assert check(model) == first
    for variable in model.trainable_variables:
        variable.assign(np.random.default_rng(1).normal(0, 0.2, variable.shape))
    assert check(model) != first


def test_perfect_and_hopeless_rankings(tmp_path, monkeypatch):
    write_folders(tmp_path / "photos", classes=2, images=2)
    check = RetrievalCheck(str(tmp_path / "photos"), None, 64)
    for vectors, expected in (([[1, 0], [1, 0], [0, 1], [0, 1]], 100.0), ([[1, 0], [0, 1], [1, 0], [0, 1]], 25.0)):
        monkeypatch.setattr(check, "describe", lambda images, v=vectors: np.array(v, np.float32))
        found = check(tiny_model())
        assert found["mAP"] == pytest.approx(expected, abs=20) and (found["R@1"] == 100.0) == (expected == 100.0)


def test_a_missing_folder_is_told_at_once(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        RetrievalCheck(str(tmp_path / "nowhere"), None, 64)


def test_the_best_model_is_kept_also_by_a_continued_run(tmp_path):
    model = tiny_model()
    best = BestModel(tmp_path)
    bias = model.embedding_layer.bias
    bias.assign(np.full(16, 1.0))
    assert best.offer(model, 10, {"mAP": 40.0, "R@1": 50.0})
    bias.assign(np.full(16, 2.0))
    assert not best.offer(model, 20, {"mAP": 30.0}) and not best.offer(model, 20, {"mAP": float("nan")})
    again = BestModel(tmp_path)
    assert again.value == 40.0 and not again.offer(model, 30, {"mAP": 40.0})
    assert json.loads((tmp_path / "best" / "best.json").read_text())["step"] == 10
    assert (np.asarray(delg.load(tmp_path / "best").embedding_layer.bias) == 1.0).all()
    assert again.offer(model, 40, {"mAP": 41.0})
    assert (np.asarray(delg.load(tmp_path / "best").embedding_layer.bias) == 2.0).all()
