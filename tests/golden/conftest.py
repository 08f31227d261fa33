"""The golden files: numbers that the released implementations compute on weights and images made by a rule.

There are two sets, :data:`FIRST` of DELG and SuperGlobal and :data:`SECOND` of pretrained backbones. The whole files
lie in ``--golden-dir`` and ``--golden2-dir``, or beside the project; where there are none, ``data/`` and ``data2/``
hold a part of each. A test goes over the fields that it finds, and takes images and sizes from their names and from
``meta``.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest

import delg
from tests.extraction.conftest import traced_once  # noqa: F401
from tests.golden import rule

FIRST, SECOND = "golden", "golden2"
PARTS = {FIRST: Path(__file__).parent / "data", SECOND: Path(__file__).parent / "data2"}
WHOLE = Path(__file__).resolve().parents[3] / "shared"
Measured = Callable[[str, float, float], None]
_worst: dict[str, tuple[float, float, int]] = {}


def pytest_configure(config: pytest.Config) -> None:
    """Refuses a ``--golden-dir`` or ``--golden2-dir`` that would make every test a skipped one."""
    for golden_set, part in PARTS.items():
        given = config.getoption(f"--{golden_set}-dir", None)
        if given and not any((Path(given) / path.name).exists() for path in part.iterdir()):
            names = ", ".join(sorted(path.name for path in part.iterdir()))
            raise pytest.UsageError(f"--{golden_set}-dir={given} holds none of the golden files ({names}).")


def golden_path(config: pytest.Config, name: str, golden_set: str = FIRST) -> Path:
    """The file or folder ``name``, whole where it can be had; skips the test where a given folder lacks it."""
    given = config.getoption(f"--{golden_set}-dir")
    if given:
        if not (Path(given) / name).exists():
            pytest.skip(f"{given} holds no {name}")
        return Path(given) / name
    whole = WHOLE / golden_set / name
    return whole if whole.exists() else PARTS[golden_set] / name


def load_golden(config: pytest.Config, name: str, golden_set: str = FIRST) -> dict[str, np.ndarray]:
    """The arrays of the golden file ``name.npz``."""
    with np.load(golden_path(config, f"{name}.npz", golden_set)) as file:
        return dict(file)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test that takes ``case`` for each case of its module's ``CASES_OF`` file: the first part of the fields."""
    if "case" in metafunc.fixturenames and hasattr(metafunc.module, "CASES_OF"):
        fields = load_golden(metafunc.config, metafunc.module.CASES_OF)
        metafunc.parametrize("case", sorted({key.split("/")[0] for key in fields if "/" in key}), indirect=True)


@pytest.fixture
def case(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    """The fields of one case, by their names in it."""
    prefix = f"{request.param}/"
    fields = load_golden(request.config, request.module.CASES_OF)
    return {key.removeprefix(prefix): value for key, value in fields.items() if key.startswith(prefix)}


def image_of(field: str) -> np.ndarray:
    """The picture that a field's name speaks of: ``strides1/img11_193x257/block1`` to ``(193, 257, 3)`` uint8."""
    part = next(part for part in field.split("/") if part.startswith("img"))
    seed, size = part.removeprefix("img").split("_")
    height, width = map(int, size.split("x"))
    return rule.synthetic_image(int(seed), height, width)


def largest_difference(value: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference of two arrays of one shape, in float64."""
    assert value.shape == expected.shape, (value.shape, expected.shape)
    return float(np.abs(np.asarray(value, np.float64) - np.asarray(expected, np.float64)).max(initial=0.0))


def rms(array: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


@pytest.fixture
def measured() -> Measured:
    """``measured(stage, difference, tolerance)`` fails beyond the tolerance; the largest goes into the report."""

    def check(stage: str, difference: float, tolerance: float) -> None:
        worst, _, count = _worst.get(stage, (0.0, tolerance, 0))
        _worst[stage] = max(worst, difference), tolerance, count + 1
        assert difference <= tolerance, f"{stage}: difference {difference:.3g}, tolerance {tolerance:.3g}"

    return check


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the measured differences when ``--golden-report`` asks for them, and writes them there."""
    path = config.getoption("--golden-report")
    if not path or not _worst:
        return
    lines = ["| stage | arrays | largest difference | tolerance |", "|---|---|---|---|"]
    lines += [f"| {stage} | {n} | {worst:.2g} | {limit:.2g} |" for stage, (worst, limit, n) in sorted(_worst.items())]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    terminalreporter.write_line("\n".join(lines))


@pytest.fixture(scope="session")
def salt(request: pytest.FixtureRequest) -> str:
    """Salt of the rule for the first set."""
    return salt_of(request.config, FIRST)


@pytest.fixture(scope="session")
def salt2(request: pytest.FixtureRequest) -> str:
    """Salt of the rule for the second set."""
    return salt_of(request.config, SECOND)


def salt_of(config: pytest.Config, golden_set: str) -> str:
    """The given salt for a set whose files are given; the files that are kept here have the salt ``""``."""
    return config.getoption("--golden-salt") if config.getoption(f"--{golden_set}-dir") else ""


def official_name(path: str) -> str:
    """Our weight path to the released one."""
    if path.startswith("local_head/"):
        return path.removeprefix("local_head/")
    if path.startswith("classifier/"):
        return path
    return f"classifier/{path}" if path.startswith("att_fc") else f"backbone/{path}"


def fill_by_rule(model: keras.Model, salt: str = "") -> None:
    for variable in model.weights:
        variable.assign(rule.weight(official_name(variable.path), tuple(variable.shape), salt))


@cache
def released_model(strides: bool, salt: str) -> "delg.Delg":
    """The R50 model with the rule's weights, made and traced once for all files; no test changes the model."""
    model = delg.create("delg_r50", num_classes=10, block3_strides=strides)
    fill_by_rule(model, salt)
    model.inference_model = cache(model.inference_model)
    return model


@pytest.fixture(scope="session", params=[True, False], ids=["strides1", "strides0"])
def released(request: pytest.FixtureRequest, salt: str) -> tuple[str, "delg.Delg"]:
    """The prefix of the golden fields and their model."""
    return f"strides{int(request.param)}", released_model(request.param, salt)
