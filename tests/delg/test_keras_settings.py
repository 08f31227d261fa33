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
from tests.delg.exported import model_with_both_heads
from tests.delg.keras_outputs import IMAGE

ROOT = Path(__file__).parents[2]
FILES = {
    "none": {},
    "float16": {"floatx": "float16", "epsilon": 1e-3, "image_data_format": "channels_first"},
    "float64": {"floatx": "float64"},
    "global policy": {},
}


def environment(folder: Path, document: dict) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    (folder / "keras.json").write_text(json.dumps(document))
    return {**os.environ, "KERAS_HOME": str(folder)}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Hashes of everything that a process computes in Python, by the settings of Keras that it met."""
    folder = tmp_path_factory.mktemp("settings")
    found = {}
    for name, document in FILES.items():
        given = ["mixed_bfloat16"] if name == "global policy" else []
        done = subprocess.run(
            [sys.executable, "-m", "tests.delg.keras_outputs", str(folder / "model"), *given], cwd=ROOT, check=False,
            env=environment(folder / name, document), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        found[name] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FILES if name != "none"])
def test_models_features_and_training_steps_have_the_same_bits(outputs, name):
    assert len(outputs["none"]) >= 15
    assert outputs[name] == outputs["none"]


@pytest.mark.parametrize("document", [FILES["float16"], {"floatx": "bfloat16", "epsilon": 1}], ids=str)
def test_a_command_writes_the_same_features(document, tmp_path, global_features):
    done = extracted(tmp_path, environment(tmp_path / "home", document))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "features" / "verified").read_text() == global_features[0]
    for name, array in global_features[1].items():
        np.testing.assert_array_equal(np.load(tmp_path / "features" / name), array)


def extracted(folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs ``delg-extract --verify`` of one image, and keeps what was verified beside the features."""
    from PIL import Image

    (folder / "photos").mkdir()
    Image.fromarray(IMAGE).save(folder / "photos" / "a.png")
    delg.save(model_with_both_heads(), folder / "model")
    done = subprocess.run(
        [
            sys.executable, "-m", "delg", "extract", f"--images_dir={folder}/photos", f"--model={folder}/model",
            f"--output_dir={folder}/features", "--verify=1", "--precision=bfloat16",
        ],
        cwd=ROOT, env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        (folder / "features" / "verified").write_text(done.stdout.splitlines()[0])
    return done


@pytest.fixture(scope="module")
def global_features(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    done = extracted(folder, environment(folder / "home", {}))
    assert done.returncode == 0, done.stderr
    verified = (folder / "features" / "verified").read_text()
    assert "against float32" in verified and "1.000000" not in verified, "bfloat16 is not compared with itself"
    arrays = {str(p.relative_to(folder / "features")): np.load(p) for p in (folder / "features").rglob("*.npy")}
    assert arrays
    return verified, arrays


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
    ours, theirs = (DelgExtractor(model, config)(IMAGE, "a") for model in (half, exact))
    np.testing.assert_array_equal(ours.global_descriptor, theirs.global_descriptor)
    np.testing.assert_array_equal(ours.descriptors, theirs.descriptors)
