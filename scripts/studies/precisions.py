"""What bfloat16 and int8 cost a trained model: mAP of a benchmark and inliers on pairs, beside float32.

python -m scripts.studies.precisions MODEL CALIBRATION_DIR DATABASE_DIR OUTPUT_DIR [--queries_dir=DIR] [--pairs_dir=DIR]

CALIBRATION_DIR holds photos that give the ranges of int8, best those of the training. DATABASE_DIR and --queries_dir
hold one sub-folder per instance; without queries every photo of the database queries all others. Of --pairs_dir the
first image is matched with each of the others. Prints a Markdown table and writes OUTPUT_DIR/table.md: mAP in percent
by the global descriptor and after RANSAC on the local features; the inliers. The last row is RootSIFT's. Interrupted,
the same command continues.
"""

import argparse
import json
import shutil
from pathlib import Path

from delg.common.files import write_json, write_text
from scripts.studies.ablation import delg

PRECISIONS, FLOOR = ("float32", "bfloat16", "int8"), "rootsift"


def measured(precision: str, model: Path, options: argparse.Namespace) -> dict:
    """The rows of the report, and the inliers."""
    text, folder = f"delg(model={str(model)!r}, runtime='openvino', precision={precision!r})", Path(options.output_dir)
    text = FLOOR if precision == FLOOR else text
    queries = [f"--queries_dir={options.queries_dir}"] if options.queries_dir else []
    delg(
        "benchmark", "--benchmark=folders", f"--data_dir={options.database_dir}", *queries, f"--model={text}",
        "--rerank=ransac(residual=8.0)", "--baselines=", f"--output_dir={folder / precision}",
    )  # fmt: skip
    rows = json.loads((folder / precision / "report.json").read_text(encoding="utf-8"))["rows"]
    return {"precision": precision, "rows": rows, "inliers": inliers(text, options.pairs_dir)}


def inliers(model: str, folder: str) -> list[int]:
    """Of the first image of a folder with each of the others, by RANSAC as ``delg-match`` has it."""
    if not folder:
        return []
    from extraction.describing import describe
    from extraction.extractors.table import build_extractor
    from extraction.images import list_images
    from matching.rerankers.ransac import Ransac

    extractor = build_extractor(model)
    first, *others = (describe(extractor, ref) for ref in list_images(folder))
    return [len(Ransac().inliers(first, other)) for other in others]


def map_of(entry: dict) -> float:
    """The mAP of a row of a report, in percent."""
    return next(iter(entry["metrics"].values()))["mAP"]


def table(rows: list[dict]) -> str:
    """Markdown."""
    lines = ["| precision | mAP | + RANSAC | inliers with the first of the pairs |", "|---|---|---|---|"]
    for row in rows:
        values = " | ".join(f"{map_of(entry):.2f}" for entry in row["rows"][:2])
        lines.append(f"| {row['precision']} | {values} | {', '.join(map(str, row['inliers'])) or '-'} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Reads the arguments, calibrates a copy of the model, and compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "calibration_dir", "database_dir", "output_dir"):
        parser.add_argument(name)
    parser.add_argument("--queries_dir", default="")
    parser.add_argument("--pairs_dir", default="")
    options = parser.parse_args()
    place, model = Path(options.output_dir), Path(options.output_dir, "model")
    if not (model / "openvino_int8.xml").is_file():
        shutil.copytree(options.model, model, dirs_exist_ok=True)
        delg("calibrate", f"--model={model}", f"--images_dir={options.calibration_dir}", "--precision=int8")
    rows = []
    for precision in (*PRECISIONS, FLOOR):
        done = place / f"{precision}.json"
        if not done.is_file():
            write_json(done, measured(precision, model, options))
        rows.append(json.loads(done.read_text(encoding="utf-8")))
        write_text(place / "table.md", table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
