import os
import subprocess
import sys

START = "from delg.quiet import silence_tensorflow; silence_tensorflow(); "


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", START + code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_importing_keras_with_tensorflow_prints_nothing():
    done = run("import keras; print(keras.ops.ones(2).shape)", KERAS_BACKEND="tensorflow")
    assert done.stdout.strip() == "(2,)"
    assert done.stderr == ""


def test_a_failing_import_shows_what_it_printed(tmp_path):
    (tmp_path / "tensorflow.py").write_text("import os; os.write(2, b'a reason'); raise RuntimeError('broken')")
    done = run("import tensorflow", PYTHONPATH=str(tmp_path))
    assert done.returncode != 0
    assert "a reason" in done.stderr
    assert "RuntimeError: broken" in done.stderr


def test_a_question_where_it_lies_changes_nothing():
    done = run("import importlib.util; importlib.util.find_spec('tensorflow'); import tensorflow")
    assert (done.returncode, done.stderr) == (0, "")
