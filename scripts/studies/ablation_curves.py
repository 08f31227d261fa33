"""Draws the curves of the trainings of scripts/studies/ablation.py that measured retrieval on the way.

python -m scripts.studies.ablation_curves OUTPUT_DIR PICTURE.svg     (OUTPUT_DIR of scripts.studies.ablation grocery)
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl

from delg.common.files import atomic_path
from scripts.studies.ablation_rows import GROCERY

mpl.use("Agg")
from matplotlib import pyplot as plt

CURVES = {"retrieval/mAP": "mAP of the product pictures, one scale", "loss/desc/crossentropy": "ArcFace loss"}


def scalars(logs: Path, tag: str) -> Iterator[tuple[int, float]]:
    """Steps and values of a TensorBoard scalar."""
    import tensorflow as tf

    for file in sorted(logs.glob("train_logs/*")):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                if value.tag == tag:
                    yield event.step, float(tf.make_ndarray(value.tensor))


def draw(output: Path, picture: Path) -> None:
    """A panel for each of :data:`CURVES`, a line for each training and seed, a colour for each training."""
    figure, axes = plt.subplots(1, len(CURVES), figsize=(11, 4), layout="constrained")
    trained = [key for key, training in GROCERY.trainings.items() if training.curve]
    for axis, (tag, title) in zip(axes, CURVES.items(), strict=True):
        for number, key in enumerate(trained):
            for place in sorted(output.glob(f"*/training_{key}/logs0")):
                found = list(scalars(place, tag))
                first = not any(line.get_label() == GROCERY.rows[key].title for line in axis.lines)
                axis.plot(*zip(*found, strict=True), color=f"C{number}", alpha=0.8,
                          label=GROCERY.rows[key].title if first else None)  # fmt: skip
        axis.set(title=title, xlabel="step", ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0].legend()
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, format="svg")


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
