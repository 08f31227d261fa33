"""The gain of an adaptation on classes held out, and the command that keeps an adaptation only if it gains."""

import numpy as np
import pytest

import delg
from delg.common.errors import InputError
from delg.saving import weights_sha256
from evaluation.held_out import average_precisions, gain
from extraction.adaptation import Softmax
from extraction.extractors.delg import DelgExtractor
from extraction.extractors.table import build_extractor
from extraction.features import Features
from extraction.formats.base import FeatureSource
from tests import processes
from tests.extraction.pictures import picture, write_picture
from tests.extraction.test_adaptation import labelled
from tests.tiny import BACKBONE


class Labelled(FeatureSource):
    """Features of 20 classes as the model in the folder might give them."""

    def __init__(self, model, **changes):
        self.rows, labels = labelled(classes=20)
        names = [f"class{label}/{i}" for i, label in enumerate(labels)]
        super().__init__(model, names, DelgExtractor.from_folder(str(model)).settings | changes)

    @classmethod
    def open(cls, path, names=None, **changes):
        return cls(path, **changes)

    def read(self, i):
        return Features(self.names[i], (8, 8), self.rows[i])


def tiny_folder(place, **sizes):
    model = delg.create("delg_small", backbone=BACKBONE, local_dim=None, local_head=None, **sizes)
    delg.save(model, place)
    return weights_sha256(place)


def test_average_precisions():
    rows = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.8, 0.2]], np.float32)
    values = average_precisions(rows, np.array([0, 1, 1, 0]), np.array([0, 3]))
    np.testing.assert_allclose(values, [25.0, 100.0])  # second for row 0: the trapezoid (0 / 1 + 1 / 2) / 2


def test_a_gain_is_measured_and_the_better_recipe_chosen():
    x, labels = labelled(classes=20)
    poor, good = Softmax(dim=2, epochs=0), Softmax(dim=24, epochs=40, batch_size=32, rate=0.01)
    result = gain(x, labels, [poor, good])
    assert result.recipe == good and result.classes == 20 and result.folds == 5
    assert 0 < result.change.low < result.change.difference < result.change.high
    alone = gain(x, labels, [poor])
    assert alone.change.difference < 0 and alone.before == result.before
    assert f"{result.change.difference:+.1f} [{result.change.low:+.1f}" in str(result)


def test_classes_are_needed():
    x, labels = labelled(classes=3)
    with pytest.raises(InputError, match="Received: 3 such classes among 3"):
        gain(x, labels, [Softmax()])
    with pytest.raises(InputError, match="Received: 0 such classes among 24"):
        gain(x, np.arange(24), [Softmax()])


def test_the_command_keeps_a_gain_and_refuses_a_loss(tmp_path):
    weights = tiny_folder(tmp_path / "model", embedding_dim=24)
    source = 'tests.evaluation.test_held_out:Labelled(path="model"{})'
    given = ("--model=model", "--adapt", "--features_dir=" + source.format(""))
    loss = processes.run("calibrate", *given, "--adaptation=softmax(dim=2, epochs=0)", cwd=tmp_path)
    assert loss.returncode == 1 and "not kept" in loss.stderr and "change -" in loss.stderr, loss.stdout
    assert not (tmp_path / "model" / "adaptation.npz").exists()
    better = "--adaptation=softmax(dim=24, epochs=40, batch_size=32, rate=0.01)"
    done = processes.run("calibrate", *given, better, "--output_dir=adapted", cwd=tmp_path)
    assert done.returncode == 0 and "change +" in done.stdout, done.stderr
    assert not (tmp_path / "model" / "adaptation.npz").exists()
    extractor = build_extractor(str(tmp_path / "adapted"))
    assert extractor(picture(40, 50), "x").global_descriptor.shape == (24,)
    assert extractor.settings["weights_sha256"] == weights
    for flags, part in {
        given: "absent or empty",
        (*given, "--local_dim=3"): "--local_dim",
        (*given[:2], "--features_dir=" + source.format(', weights_sha256="0"')): "weights_sha256",
        ("--model=efficientnet_lite2", "--adapt", "--images_dir=x"): "--output_dir",
        (given[0], "--images_dir=x", "--quantile=0.5", better): "--adaptation",
    }.items():
        output = ("--output_dir=adapted",) if part == "absent or empty" else ()
        done = processes.run("calibrate", *flags, *output, cwd=tmp_path)
        assert done.returncode == 1 and part in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_the_command_describes_photos_in_folders_or_of_a_list(tmp_path):
    tiny_folder(tmp_path / "model", embedding_dim=8)
    lines = ["path,label"]
    for i in range(8):
        write_picture(tmp_path / "photos" / f"class{i // 2}" / f"{i}.png", 40, 50, seed=i)
        lines.append(f"class{i // 2}/{i}.png,{i // 2 % 3}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    given = ("--model=model", "--adapt", "--images_dir=photos", "--adaptation=softmax(dim=8, epochs=0)")
    done = processes.run("calibrate", *given, cwd=tmp_path)
    assert "over 4 classes in 2 folds" in done.stdout + done.stderr
    assert (tmp_path / "model" / "adaptation.npz").exists() == (done.returncode == 0) == ("change +" in done.stdout)
    done = processes.run("calibrate", *given, "--csv_path=list.csv", cwd=tmp_path)
    assert done.returncode == 1 and "Received: 3 such classes among 3" in done.stderr, done.stderr
