"""Draws a procedural landmark set: training classes, queries, database, distractors, ground truth and homographies.

Every image is a function of the seed and its place in the set alone; the command may be killed and run again.

Example:
  delg-landmarks --output_dir=landmarks --seed=0
"""

from delg.common.options import define_flags, from_flags, require
from evaluation.synthetic.options import LandmarkSetOptions, LandmarksOptions

define_flags(LandmarksOptions)
define_flags(LandmarkSetOptions)


def main() -> None:
    """Writes the set that the flags describe."""
    from evaluation.synthetic.writer import write_set

    options = from_flags(LandmarksOptions)
    require(options, ["output_dir"])
    manifest = write_set(from_flags(LandmarkSetOptions), str(options.output_dir), options.num_workers)
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in manifest["counts"].items())
    state = f"{manifest['written']} images written" if manifest["written"] else "already complete"
    print(f"{options.output_dir}: {state} ({counts}).")
