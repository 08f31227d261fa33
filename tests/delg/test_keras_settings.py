"""What ``keras.json`` and Keras' global settings say makes no difference to models, features and training."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import delg
from delg.keras_settings import own_settings
from delg.superglobal import in_policy
from extraction.config import ExtractionConfig
from extraction.extractors.delg import DelgExtractor
from tests import processes
from tests.delg import keras_outputs
from tests.delg.exported import model_with_both_heads

ROOT = Path(__file__).parents[2]
FILE = {"floatx": "float16", "epsilon": 1e-3, "image_data_format": "channels_first"}


EXTRACT = ["extract", "--images_dir=photos", "--model=model", "--verify=1", "--precision=bfloat16"]


@pytest.fixture(scope="module")
def unusual(tmp_path_factory):
    """The folder and the lines of a process that meets such a ``keras.json``."""
    folder = tmp_path_factory.mktemp("unusual")
    for name in ("home", "photos"):
        (folder / name).mkdir()
    (folder / "home" / "keras.json").write_text(json.dumps(FILE))
    keras.utils.save_img(folder / "photos" / "a.png", keras_outputs.IMAGE, scale=False)
    delg.save(model_with_both_heads(), folder / "model")
    done = subprocess.run(
        [sys.executable, "-m", "tests.delg.keras_outputs", str(folder), *EXTRACT, "--output_dir=other"],
        cwd=folder, check=False, capture_output=True, text=True,
        env={**os.environ, "KERAS_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stdout.splitlines()


@pytest.fixture
def globally_changed():
    """The global settings of Keras are unusual in this process."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Hashes of everything that this process computes, where the settings of Keras are its own."""
    hashes = keras_outputs.everything(tmp_path_factory.mktemp("models"))
    assert len(hashes) >= 15
    return hashes


@pytest.mark.slow
def test_models_features_and_training_steps_have_the_same_bits_whatever_the_file_says(outputs, unusual):
    assert json.loads(unusual[1][0]) == outputs


def test_models_features_and_training_steps_have_the_same_bits_whatever_is_set(outputs, tmp_path, globally_changed):
    assert keras_outputs.everything(tmp_path) == outputs


def test_a_command_writes_the_same_features(unusual):
    """Of an image, and what ``--verify`` prints."""
    folder, lines = unusual
    plain = processes.run(*EXTRACT, "--output_dir=plain", cwd=folder)
    assert plain.returncode == 0, plain.stderr
    verified = plain.stdout.splitlines()[0]
    assert "against float32" in verified and "1.000000" not in verified, "bfloat16 is not compared with itself"
    assert lines[1] == verified
    arrays = sorted(path.relative_to(folder / "plain") for path in (folder / "plain").rglob("*.npy"))
    assert arrays
    for name in arrays:
        np.testing.assert_array_equal(np.load(folder / "other" / name), np.load(folder / "plain" / name))


def test_the_settings_of_the_program_are_as_before(tmp_path):
    before = keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format()
    keras.config.set_floatx("float16")
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(RuntimeError), own_settings("mixed_bfloat16"):
            assert keras.config.floatx() == "float32" and keras.config.image_data_format() == "channels_last"
            assert keras.config.dtype_policy().name == "mixed_bfloat16"
            raise RuntimeError
        model_with_both_heads()
        assert (keras.config.floatx(), keras.config.image_data_format()) == ("float16", "channels_first")
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_image_data_format(before[2])


def test_a_model_in_half_precision_is_described_in_the_precision_that_is_recorded():
    exact = model_with_both_heads()
    half = in_policy(exact, "mixed_bfloat16")
    assert half is not exact and half.dtype_policy.name == "mixed_bfloat16"
    config = ExtractionConfig((1.0,), (0,))
    ours, theirs = (DelgExtractor(model, config)(keras_outputs.IMAGE, "a") for model in (half, exact))
    np.testing.assert_array_equal(ours.global_descriptor, theirs.global_descriptor)
    np.testing.assert_array_equal(ours.descriptors, theirs.descriptors)
