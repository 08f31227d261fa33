"""Safetensors files: small models with their outputs, every type, and files that are not sound."""

import json
import shutil

import numpy as np
import pytest

from delg.common.errors import InputError
from delg.common.safetensors_file import read_safetensors
from delg.importers.job import ConvertOptions, build, read_source
from delg.importers.strict import assign
from tests.golden import rule
from tests.golden.conftest import SECOND, golden_path, largest_difference, rms

STRICTER = {"duplicate_key", "duplicate_key_different", "extra_field", "header_starts_with_newline",
            "header_starts_with_space"}  # fmt: skip
NOT_READ = {"float8_e4m3fn"}
TOKENS, POOLED = 4e-5, 3e-5


@pytest.fixture(scope="module")
def folder(request):
    return golden_path(request.config, "safetensors", SECOND)


@pytest.fixture(scope="module")
def verdicts(folder) -> dict:
    return json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))


def test_models(folder, verdicts, tmp_path, measured):
    with np.load(folder / "outputs.npz") as file:
        outputs = dict(file)
    for name, entry in verdicts["models"].items():
        shutil.copy(folder / f"{name}.safetensors", tmp_path / f"{name}.safetensors")
        (tmp_path / "config.json").write_text(json.dumps(entry["config"]))
        source = read_source(ConvertOptions(str(tmp_path / f"{name}.safetensors")))
        model = build(source, 0)
        assert assign(source, model) == len(model.weights)
        keys = [key for key in outputs if key.startswith(f"{name}/") and key.endswith("/tokens")]
        assert keys
        for key in keys:
            seed, size = key.split("/")[1].removeprefix("img").split("_")
            images = model.normalize(rule.synthetic_image(int(seed), *map(int, size.split("x")))[None])
            maps = model.backbone(images, training=False)
            patches = np.asarray(maps["patches"])
            tokens = [np.asarray(maps["tokens"])] if "tokens" in maps else []
            tokens = np.concatenate([*tokens, patches.reshape(1, -1, patches.shape[-1])], axis=1)[0]
            pooled = np.asarray(model.global_head(maps))[0]
            for field, value, limit in (("tokens", tokens, TOKENS), ("pooled", pooled, POOLED)):
                expected = outputs[key.replace("tokens", field)]
                measured(f"safetensors: {field} / RMS", largest_difference(value, expected) / rms(expected), limit)


def test_types(folder, verdicts):
    tensors = read_safetensors(folder / "all_dtypes.safetensors")
    for name, entry in verdicts["all_dtypes"].items():
        assert tensors[name].shape == tuple(entry["shape"])
        if entry["dtype"] in NOT_READ:
            with pytest.raises(InputError, match=name):
                tensors[name].read()
            continue
        array = tensors[name].read()
        assert array.dtype == ("float32" if entry["dtype"] == "bfloat16" else entry["dtype"]), name
        np.testing.assert_array_equal(array.ravel(), np.array(entry["values"], array.dtype), err_msg=name)


def test_files_that_are_not_sound(folder, verdicts):
    for name, readers in verdicts["verdicts"].items():
        path = folder / "malformed" / f"{name}.safetensors"
        accepted = all(verdict["accepted"] for verdict in readers.values() if isinstance(verdict, dict))
        if accepted and name not in STRICTER:
            shapes = {key: list(tensor.shape) for key, tensor in read_safetensors(path).items()}
            assert shapes == readers["safe_open"]["tensors"], name
            continue
        with pytest.raises(InputError, match=f"{name}.safetensors") as raised:
            read_safetensors(path)
        sentence = str(raised.value)
        assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 400, sentence
