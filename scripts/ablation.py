"""Trains one network with each loss, head and start in turn, and compares them by delg-benchmark.

python -m scripts.ablation TRAIN_DIR DATABASE_DIR QUERIES_DIR OUTPUT_DIR --squeezenet=WEIGHTS.h5 [--steps=600]

The folders hold one sub-folder per instance. Prints a Markdown table and writes OUTPUT_DIR/table.md: mAP of the queries
among the database, by the global descriptor and after RANSAC on the local features, and of the database's photos among
each other. Interrupted, the same command continues.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from protos.files import write_json, write_text

COMMON = (
    "--batch_size=32", "--image_size=128", "--augment=crop(min_area=0.3), color_jitter", "--whitening_init=pca",
    "--save_seconds=60",
)  # fmt: skip
ADAMW = ("--optimizer=adamw(weight_decay=0.01)", "--schedule=cosine(warmup=50)")
SGD = ("--optimizer=sgd(momentum=0.9, weight_decay=1e-4)", "--initial_lr=0.01", "--schedule=cosine(warmup=50)")
SMALL = ("--preset=delg_small", "--initial_lr=0.0015", *ADAMW)
SQUEEZENET = ("--preset=delg_squeezenet", "--reconstruction_loss_weight=0.003")  # its maps are not normalised
PRETRAINED = (*SQUEEZENET, "--imagenet_checkpoint={weights}")
SQUEEZE = (*PRETRAINED, "--initial_lr=0.0003", *ADAMW)
ROWS = {
    "small network from scratch, ArcFace": SMALL,
    "ImageNet SqueezeNet, ArcFace": SQUEEZE,
    "... not trained (heads fresh)": (*SQUEEZE, "--max_iters=51", "--freeze_backbone_steps=51"),
    "... from scratch": (*SQUEEZENET, "--initial_lr=0.0003", *ADAMW),
    "... CosFace": (*SQUEEZE, "--classifier=cosface(margin=0.1)"),
    "... CurricularFace": (*SQUEEZE, "--classifier=curricularface(margin=0.1)"),
    "... AdaCos": (*SQUEEZE, "--classifier=adacos"),
    "... triplets": (*SQUEEZE, "--global_loss=triplet_semihard(margin=0.3)"),
    "... without the autoencoder": (*SQUEEZE, "--use_autoencoder=false"),
    "... backbone frozen": (*SQUEEZE, "--freeze_backbone_steps={steps}"),
    "... SGD": (*PRETRAINED, *SGD),
    "... SGD, half of the classes a step": (*PRETRAINED, *SGD, "--sample_rate=0.5"),
}


def delg(*arguments: str) -> None:
    """Runs a command of the package; its output stays with the caller's."""
    subprocess.run([sys.executable, "-m", "delg", *arguments], check=True)


def measured(name: str, settings: tuple[str, ...], options: argparse.Namespace, folder: Path) -> dict:
    """Trains and benchmarks one row."""
    given = [text.format(weights=options.squeezenet, steps=options.steps) for text in settings]
    steps = () if any(text.startswith("--max_iters") for text in given) else (f"--max_iters={options.steps}",)
    started = time.monotonic()
    records = f"--train_file_pattern={options.output_dir}/records/train*"
    delg("train", records, f"--logdir={folder}/training", *COMMON, *given, *steps)
    seconds = time.monotonic() - started
    found = {"name": name, "training_seconds": seconds}
    for kind, more in (("queries", (f"--queries_dir={options.queries_dir}", "--rerank=ransac(residual=8.0)")),
                       ("database", ("--rerank=",))):  # fmt: skip
        delg(
            "benchmark", "--benchmark=folders", f"--data_dir={options.database_dir}",
            f"--model={folder}/training/model",
            f"--features_dir={folder}/features", f"--output_dir={folder}/{kind}", *more,
        )  # fmt: skip
        found[kind] = json.loads((folder / kind / "report.json").read_text(encoding="utf-8"))["rows"]
    return found


def table(rows: list[dict]) -> str:
    """Markdown."""
    lines = ["| training | queries | + RANSAC | photos among each other | training, s |", "|---|---|---|---|---|"]
    for row in rows:
        values = [map_of(entry) for entry in (*row["queries"][:2], row["database"][0])]
        lines.append(f"| {row['name']} | {' | '.join(f'{v:.1f}' for v in values)} | {row['training_seconds']:.0f} |")
    return "\n".join(lines) + "\n"


def map_of(entry: dict) -> float:
    """The mAP of a row of a report, in percent."""
    return next(iter(entry["metrics"].values()))["mAP"]


def main() -> None:
    """Reads the arguments, trains and compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("train_dir", "database_dir", "queries_dir", "output_dir"):
        parser.add_argument(name)
    parser.add_argument("--squeezenet", required=True, help="Keras .h5 file of SqueezeNet's ImageNet weights")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--only", default="", help="numbers of rows, from 0, with commas")
    options = parser.parse_args()
    delg("records", f"--images_dir={options.train_dir}", f"--output_dir={options.output_dir}/records")
    chosen = [int(number) for number in options.only.split(",") if number] or range(len(ROWS))
    rows = []
    for number in chosen:
        name, settings = list(ROWS.items())[number]
        folder = Path(options.output_dir) / f"{number:02d}"
        done = folder / "row.json"
        if not done.is_file():
            write_json(done, measured(name, settings, options, folder))
        rows.append(json.loads(done.read_text(encoding="utf-8")))
        write_text(Path(options.output_dir) / "table.md", table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
