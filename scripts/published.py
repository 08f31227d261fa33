"""A published model on its benchmark, from nothing: its report beside the published values.

delg-fetch brings the photos with their ground truth, and the weights; delg-benchmark runs them with the extraction and
the rerankers that the values were published with. Writes DIR/MODEL-BENCHMARK; data and weights lie beside it, so that
another model or benchmark finds them. Interrupted, the same command continues. Usage:
  python -m scripts.published BENCHMARK MODEL [DIR] [--mirror=URL] [--offline] [--catalogue=FILE]
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from delg.common import spec
from delg.common.errors import InputError
from evaluation.benchmarks.revisited import REVISITED
from evaluation.data.catalogue import CATALOGUE, read_catalogue
from evaluation.run.published_protocol import OPTIONS, protocol_of
from evaluation.run.published_values import MODELS, check_model, rerankers_of
from scripts.studies.guard import guarded


def delg(command: str, *arguments: str) -> None:
    """Prints a command of the package and runs it; where it fails, it has said why."""
    print(f"\ndelg-{shlex.join([command, *arguments])}", flush=True)
    status = subprocess.run([sys.executable, "-m", "delg", command, *arguments], check=False).returncode
    if status:
        sys.exit(status)


def extractor(folder: Path, model: str) -> str:
    """The text of the extractor of fetched weights: of their model folder, else of the exported model as it is.

    Raises:
      InputError: there is neither.
    """
    exported = [path.parent for path in sorted(folder.rglob("saved_model.pb"))]
    if (folder / "model").is_dir():
        name, place = "delg", folder / "model"
    elif len(exported) == 1:
        name, place = "saved_model", exported[0]
    else:
        raise InputError(f"{folder} expects a model folder or one exported model. Received: {len(exported)} of these")
    return spec.render(name, {"model": str(place), **OPTIONS.get(model, {})})


def check(benchmark: str, model: str, names: set[str]) -> None:
    """Checks that there are values, photos and weights, before anything is brought.

    Raises:
      InputError: there are not.
    """
    check_model(model, benchmark)
    for name, what, choices in ((benchmark, "photos", REVISITED), (model, "weights", MODELS)):
        if name not in names:
            known = ", ".join(sorted(names & {*choices}))
            raise InputError(f"No {what} of {name} are known to delg-fetch, which has those of {known}.")


def main() -> None:
    """Brings what is needed and runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("benchmark")
    parser.add_argument("model")
    parser.add_argument("dir", nargs="?", type=Path, default=Path("out-published"))
    for flag in ("mirror", "catalogue"):
        parser.add_argument(f"--{flag}", help="of delg-fetch, see delg-fetch --help")
    parser.add_argument("--offline", action="store_true", help="of delg-fetch")
    asked = parser.parse_intermixed_args()
    check(asked.benchmark, asked.model, {*CATALOGUE, *(read_catalogue(asked.catalogue) if asked.catalogue else ())})
    given = [f"--{flag}={value}" for flag in ("mirror", "catalogue") if (value := getattr(asked, flag))]
    given += ["--offline"] if asked.offline else []
    for name in (asked.benchmark, asked.model):
        delg("fetch", name, f"--output_dir={asked.dir / name}", *given)
    delg(
        "benchmark",
        f"--benchmark={asked.benchmark}",
        f"--data_dir={asked.dir / asked.benchmark}",
        f"--model={extractor(asked.dir / asked.model, asked.model)}",
        f"--published={asked.model}",
        *([f"--junk={junk}"] if (junk := protocol_of(asked.model).junk) else []),
        f"--rerank={','.join(rerankers_of(asked.model, asked.benchmark))}",
        f"--output_dir={asked.dir / f'{asked.model}-{asked.benchmark}'}",
    )


if __name__ == "__main__":
    guarded(main)
