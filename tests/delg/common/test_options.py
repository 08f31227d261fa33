"""Flags are defined from a dataclass, and a dataclass is filled from the flags."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace

import pytest

from delg.common.errors import InputError
from delg.common.options import check, fingerprint, option, refuse, require

PROGRAM = """
from dataclasses import asdict, dataclass
import json
from absl import app, flags
from delg.common.options import define_flags, from_flags, option

@dataclass(frozen=True)
class Options:
    name: str | None = option(None, "A name.")
    kind: str = option("a", "A kind.", choices=("a", "b"))
    count: int | None = option(None, "A count.", lower_bound=1)
    size: float = option(0.5, "A size.", upper_bound=2.0)
    quick: bool | None = option(None, "Quick.")
    scales: tuple[float, ...] | None = option(None, "Scales.")
    formats: tuple[str, ...] = option((), "Formats.", choices=("x", "y"))
    chain: tuple[str, ...] | None = option(None, "Rerankers.")

define_flags(Options)
app.run(lambda arguments: print(json.dumps(asdict(from_flags(Options)))))
"""
DEFAULTS = {
    "name": None, "kind": "a", "count": None, "size": 0.5, "quick": None, "scales": None, "formats": [], "chain": None
}  # fmt: skip


def run(tmp_path, *arguments):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return subprocess.run([sys.executable, path, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {}),
        (["--name=n", "--kind=b", "--count=3"], {"name": "n", "kind": "b", "count": 3}),
        (["--name=", "--size=2", "--noquick"], {"size": 2.0, "quick": False}),
        (["--scales=0.5, 1", "--formats=y,x"], {"scales": [0.5, 1.0], "formats": ["y", "x"]}),
        (["--chain=a(b=1, c=2), d", "--formats="], {"chain": ["a(b=1, c=2)", "d"]}),
        (["--chain="], {"chain": []}),
    ],
)
def test_values(tmp_path, arguments, expected):
    done = run(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == DEFAULTS | expected


@pytest.mark.parametrize(
    "argument", ["--kind=c", "--count=0", "--size=2.5", "--scales=1,x", "--formats=x,z", "--quick=maybe"]
)
def test_wrong_values_name_their_flag(tmp_path, argument):
    done = run(tmp_path, argument)
    assert done.returncode == 1 and argument.partition("=")[0] in done.stderr and "Traceback" not in done.stderr


def test_help_lists_the_flags_under_the_program(tmp_path):
    text = run(tmp_path, "--help").stdout
    assert all(name in text for name in ("--name", "--kind: <a|b>", "--scales", "Rerankers."))


@dataclass(frozen=True)
class Options:
    learning_rate: float = option(0.1, "Learning rate.")
    layers: tuple[int, ...] = option((1,), "Layers.")
    folder: str | None = option(None, "Folder.", irrelevant=True)


def test_fingerprint_holds_all_but_what_is_irrelevant():
    options = Options()
    assert fingerprint(options) == {"learning_rate": 0.1, "layers": [1]} == fingerprint(replace(options, folder="x"))
    assert fingerprint(options) != fingerprint(replace(options, layers=(1, 2)))


@pytest.mark.parametrize(("name", "value"), [("rate", -0.1), ("rate", 1.5), ("kind", "c"), ("kinds", ("a", "c"))])
def test_check_names_what_is_out_of_range(name, value):
    @dataclass(frozen=True)
    class Limited:
        rate: float = option(0.5, "Rate.", lower_bound=0.0, upper_bound=1.0)
        kind: str | None = option(None, "Kind.", choices=("a", "b"))
        kinds: tuple[str, ...] = option(("a", "b"), "Kinds.", choices=("a", "b"))

    check(Limited())
    with pytest.raises(InputError, match=f"--{name} expects"):
        check(replace(Limited(), **{name: value}))


def test_refuse_names_what_is_given():
    refuse("--check", Options(), ["folder", "layers"])
    with pytest.raises(InputError, match=r"--layers.* --check"):
        refuse("--check", Options(layers=(2,)), ["folder", "layers"])


def test_options_that_are_required():
    require(Options(), ["layers"])
    with pytest.raises(InputError, match=r"--folder .*Folder\."):
        require(Options(), ["layers", "folder"])
