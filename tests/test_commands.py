"""Every command as a user meets it: help, shadowed folders, wrong words."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import delg
from delg.commands import MODULES, chosen_backend
from delg.common.distribution import NAME
from delg.common.sources import PACKAGES
from tests.processes import HANGS

ROOT = Path(__file__).parents[1]

SAID = {"convert": "desc_fc", "export": "batch|onnx|safetensors>"}


def run(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "delg", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS,
    )


@pytest.mark.parametrize("command", MODULES)
def test_help_lists_the_commands_own_flags_without_heavy_imports(command, tmp_path):
    code = (
        "import sys, atexit\nfrom delg.commands import run\n"
        "atexit.register(lambda: print('HEAVY', sorted({'tensorflow', 'keras', 'cv2', 'scipy'} & set(sys.modules))))\n"
        f"sys.argv = ['delg-{command}', sys.argv[1]]\nrun('{command}')"
    )
    started = time.perf_counter()
    flags = ("--help", "-h") if command == "search" else ("--help",)
    answers = {
        flag: subprocess.run(
            [sys.executable, "-c", code, flag], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        for flag in flags
    }
    print(f"{command} --help: {(time.perf_counter() - started) / len(flags):.2f} s")
    done = answers["--help"]
    assert "HEAVY []" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    assert f"delg-{command}" in done.stdout
    assert "\n  --" in done.stdout, "the command's own flags are listed"
    assert "--alsologtostderr" not in done.stdout
    assert SAID.get(command, "") in done.stdout
    for answer in answers.values():
        assert (answer.returncode, answer.stdout, answer.stderr) == (0, done.stdout, "")


def test_help_lists_the_flags_by_subject():
    lines = run("search", "-h").stdout.splitlines()
    titles = [place for place, line in enumerate(lines) if line.endswith(":") and not line.startswith(" ")]
    subject_of = {
        line.split(":")[0].strip(): lines[[title for title in titles if title < place][-1]]
        for place, line in enumerate(lines)
        if line.startswith("  --") and place > titles[0]
    }
    assert len(titles) == 4
    assert subject_of["--[no]offline"] == subject_of["--model"] != subject_of["--collection"]
    assert subject_of["--query"] == subject_of["--index"] != subject_of["--format"] == subject_of["--output"]


@pytest.mark.parametrize("flag", ["--helpshort", "--helpfull", "--helpxml", "-?", "--help=true", "--version"])
def test_what_a_flag_prints_goes_to_the_output_and_is_no_error(flag):
    done = run("search", flag)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout
    assert (f"{NAME} {delg.__version__}" in done.stdout) == (flag == "--version")


def test_python_m_delg_lists_the_commands():
    for flag in ("-h", "--help"):
        done = run(flag)
        assert done.returncode == 0 and all(command in done.stdout for command in MODULES)
    assert run("--version").stdout == f"{NAME} {delg.__version__}\n"
    done = run()
    assert done.returncode == 1 and not done.stdout and "train" in done.stderr


@pytest.mark.parametrize("arguments", [("train", "--help"), ("fetch", "--list"), ("-h",)])
def test_nobody_reads_the_output(arguments):
    """As ``| head`` may leave it: every write into the pipe fails."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "delg", *arguments], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (141, "")


def photos(folder: Path, count: int) -> None:
    folder.mkdir()
    for i in range(count):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (120, 160, 3), "uint8")).save(folder / f"{i}.jpg")


def interrupted(place: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a command that gets Ctrl-C, with all its processes, when it shows its progress."""
    with (place / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "delg", *arguments], stdout=log, stderr=log, start_new_session=True
        )
    while "0%" not in (place / "log").read_text() and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    return process.wait(), (place / "log").read_text()


def test_after_an_interrupt_the_same_command_continues(tmp_path):
    photos(tmp_path / "photos", 300)
    command = "extract", f"--images_dir={tmp_path}/photos", "--model=rootsift", f"--output_dir={tmp_path}/features"
    code, log = interrupted(tmp_path, *command)
    assert code == 130 and log.endswith("delg-extract: interrupted; the same command continues.\n")
    assert "Traceback" not in log and "\r" not in log
    done = run(*command)
    assert done.returncode == 0 and "300 images, 0 skipped" in done.stdout
    assert "\r" not in done.stderr and "300/300" in done.stderr, "lines in a log, the last one whole"


def test_an_interrupt_ends_the_workers_without_a_traceback(tmp_path):
    code, log = interrupted(
        tmp_path, "landmarks", f"--output_dir={tmp_path}/set", "--num_workers=2", "--views_per_class=2"
    )
    assert code == 130 and "the same command continues" in log and "Traceback" not in log


def distribution(folder: Path, name: str, entry: str = "") -> None:
    """Metadata of an installed distribution that has a module ``delg``."""
    place = folder / f"{name.replace('-', '_')}-0.1.1.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.1\n")
    (place / "top_level.txt").write_text("delg\n")
    (place / "entry_points.txt").write_text(f"[console_scripts]\n{entry}\n")


@pytest.mark.parametrize(("entry", "named"), [("delg = delg.cli:main", True), ("delg-x = delg.commands:x", False)])
def test_a_foreign_distribution_of_the_same_name_is_named(entry, named, tmp_path):
    distribution(tmp_path, "delg", entry)
    done = run("search", "--version", PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]))
    assert done.returncode == 0 and done.stderr.count("\n") == named
    assert (str(tmp_path) in done.stderr and "'delg' 0.1.1" in done.stderr) == named


def test_a_distribution_that_has_overwritten_this_one_is_named(tmp_path):
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "delg" / "__init__.py").write_text("version = 2\n")
    distribution(tmp_path, "other-thing")
    done = subprocess.run(
        [sys.executable, "-c", "from delg.commands import run; run('search')"], cwd=tmp_path, text=True,
        capture_output=True, check=False, env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "other-thing" in done.stderr and str(tmp_path / "delg") in done.stderr


@pytest.mark.parametrize("package", [package for package in PACKAGES if package != "delg"])
def test_a_shadowing_folder_is_named_in_one_sentence(package, tmp_path):
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    done = run("search", "--help", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"'{package}'" in done.stderr and str(tmp_path / package) in done.stderr


def test_an_installed_script_runs_its_command_and_does_not_look_into_the_working_folder(tmp_path):
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('the user\\'s own')")
    (tmp_path / "bin").mkdir()
    for name, code in (("delg-search", 0), ("delg-search-script.py", 0), ("delg-nothing", 1)):
        script = tmp_path / "bin" / name
        script.write_text("from delg.commands import main\n\nmain()\n")
        done = subprocess.run(
            [sys.executable, script, "--version"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
        assert ("delg-search" in done.stdout) == (code == 0) and ("train" in done.stderr) == (code == 1)


def test_unknown_command_and_unexpected_argument(tmp_path):
    done = run("retrieve", cwd=tmp_path)
    assert done.returncode == 1
    assert all(command in done.stderr for command in MODULES)
    done = run("extract", "photos", cwd=tmp_path)
    assert done.returncode == 1
    assert "Unexpected argument 'photos'" in done.stderr
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
