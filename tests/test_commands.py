"""Every command as a user meets it: help, shadowed folders, wrong words."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from delg.commands import MODULES, ROOMS, chosen_backend

SAID = {"convert": "desc_fc", "export": "<local|global|local_and_global|batch|onnx>"}


def run(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "delg", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("command", MODULES)
def test_help_lists_the_commands_own_flags_without_heavy_imports(command, tmp_path):
    code = (
        "import sys, atexit\nfrom delg.commands import run\n"
        "atexit.register(lambda: print('HEAVY', sorted({'tensorflow', 'keras', 'cv2', 'scipy'} & set(sys.modules))))\n"
        f"sys.argv = ['delg-{command}', '--help']\nrun('{command}')"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    print(f"{command} --help: {time.perf_counter() - started:.2f} s")
    assert "HEAVY []" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    assert f"delg-{command}" in done.stdout
    assert "\n  --" in done.stdout, "the command's own flags are listed"
    assert "--alsologtostderr" not in done.stdout
    assert SAID.get(command, "") in done.stdout


@pytest.mark.parametrize("room", ROOMS)
def test_a_shadowing_folder_is_named_in_one_sentence(room, tmp_path):
    (tmp_path / room).mkdir()
    (tmp_path / room / "__init__.py").touch()
    done = run("search", "--help", cwd=tmp_path)
    assert done.returncode == 1
    assert f"'{room}' of delg" in done.stderr
    assert "shadowed" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_installed_script_does_not_look_into_the_working_folder(tmp_path):
    for room in ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text("raise RuntimeError('the user's own')")
    script = Path(sys.executable).with_name("delg-search")
    if not script.exists():
        pytest.skip("the commands are not installed")
    done = subprocess.run([script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "delg-search" in done.stdout, done.stderr


def test_unknown_command_and_unexpected_argument(tmp_path):
    done = run("retrieve", cwd=tmp_path)
    assert done.returncode == 1
    assert "landmarks, records, train, extract, index, match, search, benchmark" in done.stderr
    done = run("search", "query.jpg", cwd=tmp_path)
    assert done.returncode == 1
    assert "Unexpected argument 'query.jpg'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "document", "chosen"),
    [
        ("jax", '{"backend": "numpy"}', "jax"),
        (None, '{"backend": "numpy"}', "numpy"),
        ("", '{"backend": "numpy"}', "numpy"),
        (None, '{"backend": "not_installed"}', "tensorflow"),
        (None, '{"backend": 3}', "tensorflow"),
        (None, "[]", "tensorflow"),
        (None, "{", "tensorflow"),
        (None, None, "tensorflow"),
    ],
)
def test_the_backend_is_that_of_the_variable_then_of_the_file(variable, document, chosen, tmp_path, monkeypatch):
    if variable is None:
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
    else:
        monkeypatch.setenv("KERAS_BACKEND", variable)
    for name in ("KERAS_HOME", "HOME"):
        place = tmp_path / name if name == "KERAS_HOME" else tmp_path / name / ".keras"
        monkeypatch.delenv("KERAS_HOME", raising=False)
        monkeypatch.setenv(name, str(tmp_path / name))
        place.mkdir(parents=True)
        if document:
            (place / "keras.json").write_text(document)
        assert chosen_backend() == chosen


def test_a_command_obeys_keras_json(tmp_path):
    (tmp_path / "keras.json").write_text('{"backend": "numpy"}')
    environment = {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": ""}
    done = run("export", "--model=x", "--output_dir=y", cwd=tmp_path, **environment)
    assert done.stderr == (
        "delg-export: The export needs the TensorFlow backend of Keras, not 'numpy'; set KERAS_BACKEND=tensorflow.\n"
    )
