"""Draws a procedural landmark set: training classes, queries, database, distractors, ground truth and homographies.

Every image is a function of the seed and its place in the set alone; the command may be killed and run again.

Example:
  delg-landmarks --output_dir=landmarks --seed=0
"""

import os
from typing import Any

from absl import flags

FLAGS = flags.FLAGS

flags.DEFINE_string("output_dir", None, "Folder to write; made if absent.")
flags.DEFINE_integer("seed", 0, "Seed of the whole set.", lower_bound=0)
flags.DEFINE_integer("num_classes", 500, "Training classes, one landmark each.", lower_bound=1)
flags.DEFINE_integer("views_per_class", 14, "Training images of each class.", lower_bound=1)
flags.DEFINE_integer(
    "num_queries", 60, "Query images, one landmark each, none of them a training class.", lower_bound=1
)
flags.DEFINE_integer("easy_per_query", 4, "Easy database views of each query landmark.", lower_bound=1)
flags.DEFINE_integer("hard_per_query", 6, "Hard database views of each query landmark.", lower_bound=1)
flags.DEFINE_integer("junk_per_query", 2, "Junk views of each query landmark: tiny, or cut off.", lower_bound=0)
flags.DEFINE_integer(
    "num_distractors", 300, "Database images of other landmarks, one in five a look-alike.", lower_bound=0
)
flags.DEFINE_integer("image_size", 224, "Longer side of the images in pixels.", lower_bound=64, upper_bound=2048)
flags.DEFINE_integer("num_workers", os.cpu_count() or 1, "Worker processes.", lower_bound=1)


def main() -> None:
    """Writes the set that the flags describe."""
    from dataclasses import fields

    from delg.common.errors import InputError
    from evaluation.synthetic.dataset import Config
    from evaluation.synthetic.writer import write_set

    if not FLAGS.output_dir:
        raise InputError("--output_dir is required: the folder to write the landmark set to.")
    values: dict[str, Any] = {field.name: FLAGS[field.name].value for field in fields(Config)}
    config = Config(**values)
    manifest = write_set(config, FLAGS.output_dir, FLAGS.num_workers)
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in manifest["counts"].items())
    state = f"{manifest['written']} images written" if manifest["written"] else "already complete"
    print(f"{FLAGS.output_dir}: {state} ({counts}).")
