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


def test_importing_keras_with_tensorflow_prints_nothing_and_imports_nothing_that_both_can_do_without():
    """Also where somebody has asked before where TensorFlow lies."""
    code = (
        "import gc, sys, importlib.util; from delg.quiet import OPTIONAL, skip_optional_imports\n"
        "skip_optional_imports(); importlib.util.find_spec('tensorflow'); import keras\n"
        "print(keras.ops.ones(2).shape, gc.isenabled(), set(OPTIONAL) & set(sys.modules))"
    )
    done = run(code, KERAS_BACKEND="tensorflow")
    assert (done.returncode, done.stdout, done.stderr) == (0, "(2,) True set()\n", "")


def test_a_failing_import_shows_what_it_printed(tmp_path):
    (tmp_path / "tensorflow.py").write_text("import os; os.write(2, b'a reason'); raise RuntimeError('broken')")
    done = run("import tensorflow", PYTHONPATH=str(tmp_path))
    assert done.returncode != 0
    assert "a reason" in done.stderr
    assert "RuntimeError: broken" in done.stderr
