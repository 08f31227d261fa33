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


def environment(folder: Path) -> dict[str, str]:
    """Variables of a process that meets such a ``keras.json``."""
    folder.mkdir()
    (folder / "keras.json").write_text(json.dumps(FILE))
    return {**os.environ, "KERAS_HOME": str(folder)}


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
def test_models_features_and_training_steps_have_the_same_bits_whatever_the_file_says(outputs, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.delg.keras_outputs", str(tmp_path)], cwd=ROOT, check=False,
        env=environment(tmp_path / "home"), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == outputs


def test_models_features_and_training_steps_have_the_same_bits_whatever_is_set(outputs, tmp_path, globally_changed):
    assert keras_outputs.everything(tmp_path) == outputs


def test_a_command_writes_the_same_features(tmp_path):
    """Of an image, and what ``--verify`` prints."""
    from PIL import Image

    (tmp_path / "photos").mkdir()
    Image.fromarray(keras_outputs.IMAGE).save(tmp_path / "photos" / "a.png")
    delg.save(model_with_both_heads(), tmp_path / "model")
    arguments = ["extract", "--images_dir=photos", "--model=model", "--verify=1", "--precision=bfloat16"]
    plain = processes.run(*arguments, "--output_dir=plain", cwd=tmp_path)
    other = subprocess.run(
        [sys.executable, "-m", "delg", *arguments, "--output_dir=other"], cwd=tmp_path, check=False,
        env=environment(tmp_path / "home") | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert plain.returncode == other.returncode == 0, (plain.stderr, other.stderr)
    verified = plain.stdout.splitlines()[0]
    assert "against float32" in verified and "1.000000" not in verified, "bfloat16 is not compared with itself"
    assert other.stdout.splitlines()[0] == verified
    arrays = sorted(path.relative_to(tmp_path / "plain") for path in (tmp_path / "plain").rglob("*.npy"))
    assert arrays
    for name in arrays:
        np.testing.assert_array_equal(np.load(tmp_path / "other" / name), np.load(tmp_path / "plain" / name))


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
