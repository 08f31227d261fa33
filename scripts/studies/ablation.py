"""Trains one network with each loss, head and start in turn, extracts with each switch, and compares by delg-benchmark.

python -m scripts.studies.ablation grocery TRAIN_DIR DATABASE_DIR QUERIES_DIR OUTPUT_DIR --squeezenet=WEIGHTS.h5
    [--seeds=0,1,2]
python -m scripts.studies.ablation landmarks LANDMARKS_DIR OUTPUT_DIR [--seeds=0,1,2]

The folders of the first hold one sub-folder per instance; the second is a set of delg-landmarks. A seed is one of
weights, order and augmentation; the images stay the same. Writes OUTPUT_DIR/table.md: the mAP of every row, its change
against its base with the interval over queries, and how far the change moves with the seed. Interrupted, the same
command continues, and so it does with more seeds.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from delg.common.files import write_json, write_text
from scripts.studies.ablation_rows import STUDIES, Row, Study, Training
from scripts.studies.ablation_table import tables


def delg(*arguments: str) -> None:
    """Runs a command of the package; its output stays with the caller's."""
    subprocess.run([sys.executable, "-m", "delg", *arguments], check=True)


def graft(heads: Path, whole: Path, output: Path) -> None:
    """The local head of one model on the backbone and the global head of another, of the same frozen backbone."""
    code = (
        "import sys, delg; local, whole = map(delg.load, sys.argv[1:3]);"
        "[v.assign(w) for v, w in zip(whole.local_head.weights, local.local_head.weights)];"
        "delg.save(whole, sys.argv[3])"
    )
    subprocess.run([sys.executable, "-c", code, str(heads), str(whole), str(output)], check=True)


def train(training: Training, study: Study, options: argparse.Namespace, seed: int, folder: Path) -> Path:
    """Trains what a row needs, one stage after the other; returns the model's folder."""
    model = folder / "model"
    if (folder / "seconds.json").is_file():
        return model
    started, before = time.monotonic(), ""
    for number, settings in enumerate(training.stages):
        given = [text.format(weights=options.squeezenet, steps=study.steps, before=before) for text in settings]
        steps = () if any(text.startswith("--max_iters") for text in given) else (f"--max_iters={study.steps}",)
        before = str(folder / f"stage{number}" if len(training.stages) > 1 else model)
        delg(
            "train", f"--train_file_pattern={options.output_dir}/records/train*", f"--logdir={folder}/logs{number}",
            f"--output_model={before}", f"--seed={seed}", *study.common, *given, *steps,
            *(_curve(options) if training.curve and options.study == "grocery" else ()),
        )  # fmt: skip
    if len(training.stages) > 1:
        graft(folder / "stage1", folder / "stage0", model)
    write_json(folder / "seconds.json", time.monotonic() - started)
    return model


def _curve(options: argparse.Namespace) -> tuple[str, ...]:
    return (
        f"--retrieval_dir={options.database_dir}", f"--retrieval_queries_dir={options.queries_dir}",
        "--retrieval_interval=100", "--report_interval=20",
    )  # fmt: skip


def calibrated(model: Path, dim: int | None, options: argparse.Namespace) -> Path:
    """A copy of a model with a whitening of its local descriptors, learned on training images."""
    copy = model.with_name(f"whitened{dim or ''}")
    if not (copy / "local_whitening.npz").is_file():
        subprocess.run(["cp", "-rT", str(model), str(copy)], check=True)
        size = () if dim is None else (f"--local_dim={dim}",)
        delg("calibrate", f"--model={copy}", f"--images_dir={options.train_dir}", "--local_whitening",
             "--num_images=200", *size)  # fmt: skip
    return copy


def benchmark(row: Row, model: Path, options: argparse.Namespace, folder: Path) -> None:
    """The reports of a row."""
    shared = (f"--data_dir={options.database_dir}",)
    if options.study == "landmarks":
        data = {"landmarks": ("--benchmark=landmarks", *shared)}
    else:
        shared = ("--benchmark=folders", *shared)
        data = {"queries": (*shared, f"--queries_dir={options.queries_dir}"), "database": shared}
    rerank = "" if row.rerank is None else f"{STUDIES[options.study].ransac}{row.rerank}"
    for name, where in data.items():
        if (folder / name / "report.json").is_file():
            continue
        methods = rerank if name != "database" else ",".join(rerank.split(",")[1:]).strip(", ")
        delg(
            "benchmark", *where, f"--model=delg(model={str(model)!r}{row.switches})", f"--rerank={methods}",
            "--baselines=", f"--features_dir={folder}/features", f"--output_dir={folder}/{name}", *row.flags,
        )  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Everything that is not done yet, the table after every row."""
    study, output = STUDIES[options.study], Path(options.output_dir)
    delg("records", f"--images_dir={options.train_dir}", f"--output_dir={output}/records")
    seeds = [int(text) for text in options.seeds.split(",")]
    chosen = {name for name in options.only.split(",") if name}
    for seed in seeds:
        for key, row in study.rows.items():
            if row.reports or (chosen and key not in chosen):
                continue
            folder = output / str(seed)
            model = train(study.trainings[row.training], study, options, seed, folder / f"training_{row.training}")
            if row.whiten is not False:
                model = calibrated(model, row.whiten, options)
            benchmark(row, model, options, folder / key)
            write_text(output / "table.md", tables(study, output, seeds))
    print((output / "table.md").read_text(encoding="utf-8"))


def main() -> None:
    """Reads the arguments, trains and compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="study", required=True)
    for name, places in (("grocery", ("train_dir", "database_dir", "queries_dir", "output_dir")),
                         ("landmarks", ("database_dir", "output_dir"))):  # fmt: skip
        one = kinds.add_parser(name)
        for place in places:
            one.add_argument(place)
        one.add_argument("--seeds", default="0,1,2", help="numbers with commas")
        one.add_argument("--only", default="", help="keys of rows with commas; default: all")
        one.add_argument("--squeezenet", default="", help="Keras .h5 file of SqueezeNet's ImageNet weights")
    options = parser.parse_args()
    if options.study == "landmarks":
        options.train_dir = str(Path(options.database_dir) / "train")
    elif not Path(options.squeezenet).is_file():
        parser.error("--squeezenet has to name a file")
    run(options)


if __name__ == "__main__":
    main()
