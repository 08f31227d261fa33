"""Turns labelled images into TFRecord shards for delg-train.

Three kinds of input: a folder with one sub-folder per class; a CSV with the columns path,label; the CSVs of Google
Landmarks v2. Every image is decoded once; broken ones are left out and listed in manifest.json. A run that was
interrupted is continued by the same command. --check looks through a set that exists.

delg-records --images_dir=photos/train --output_dir=records --generate_train_validation_splits
"""

import os
from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from training.records.sources import Source

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "images_dir",
    None,
    "Folder of the images: one sub-folder per class, or the folder that the paths of --csv_path start from, or the "
    "images of Google Landmarks v2. (Released name: --train_directory.)",
)
flags.DEFINE_string("csv_path", None, "CSV file with the columns path,label.")
flags.DEFINE_string("train_csv_path", None, "train.csv of Google Landmarks v2 (id,url,landmark_id).")
flags.DEFINE_string(
    "train_clean_csv_path", None, "train_clean.csv of Google Landmarks v2 (landmark_id,images); decides where given."
)
flags.DEFINE_string("output_dir", None, "Folder of the records. (Released name: --output_directory.)")
flags.DEFINE_integer(
    "num_shards", None, "Shards per split. Default: one per 256 images, at most 128 (released: 128).", lower_bound=1
)
flags.DEFINE_bool("generate_train_validation_splits", False, "Set images of every class aside for validation.")
flags.DEFINE_float(
    "validation_split_size", 0.2, "Fraction of every class for validation.", lower_bound=0.0, upper_bound=0.9
)
flags.DEFINE_enum(
    "exif",
    None,
    ["apply", "ignore"],
    "Whether photos are turned as their orientation tag says. Default: apply, but ignore of Google Landmarks v2, as "
    "released.",
)
flags.DEFINE_integer("seed", 0, "Seed of the split and of the order.", lower_bound=0)
flags.DEFINE_integer("workers", None, "Images read at once. Default: the number of CPU cores.", lower_bound=1)
flags.DEFINE_string(
    "relabeling_csv_path",
    None,
    "relabeling.csv (new_label,old_label) of an earlier set: every class gets the label that it has there.",
)
flags.DEFINE_bool(
    "check",
    False,
    "Look through the records in --output_dir instead of making them: list missing or broken shards, records and "
    "images, and, where a source is given, its images that are in no shard.",
)
flags.DEFINE_alias("train_directory", "images_dir")
flags.DEFINE_alias("output_directory", "output_dir")


def main() -> None:
    """Reads the flags, the source, and writes the records."""
    from pathlib import Path

    from delg.common.errors import InputError
    from delg.common.files import check_writable

    if not FLAGS.output_dir:
        raise InputError("--output_dir is required: the folder that the records are written to.")
    if FLAGS.check:
        _check()
        return
    check_writable(FLAGS.output_dir)
    source = _source()
    print(f"{len(source.photos)} images of {len(source.class_names)} classes", flush=True)

    from training.records.shards import RecordsConfig, write_records

    config = RecordsConfig(
        validation_split_size=FLAGS.validation_split_size if FLAGS.generate_train_validation_splits else 0.0,
        num_shards=FLAGS.num_shards,
        seed=FLAGS.seed,
        exif=FLAGS.exif or ("ignore" if FLAGS.train_csv_path or FLAGS.train_clean_csv_path else "apply"),
    )
    manifest = write_records(source, Path(FLAGS.output_dir), config, workers=FLAGS.workers or os.cpu_count() or 1)
    _report(manifest)


def _check() -> None:
    """Lists what is wrong with a set; a failure of the command where anything is."""
    from delg.common.errors import InputError
    from training.records.check import problems

    given = FLAGS.images_dir or FLAGS.csv_path
    count = 0
    for problem in problems(FLAGS.output_dir, _source() if given else None, FLAGS.workers or os.cpu_count() or 1):
        print(problem, flush=True)
        count += 1
    if count:
        raise InputError(f"{FLAGS.output_dir}: {count} problems, listed above.")
    print(f"{FLAGS.output_dir} is whole.")


def _source() -> "Source":
    """The labelled images that the flags name, with the labels that they should have."""
    from training.records.relabeling import relabeled

    source = _named_source()
    return relabeled(source, FLAGS.relabeling_csv_path) if FLAGS.relabeling_csv_path else source


def _named_source() -> "Source":
    from delg.common.errors import InputError
    from training.records import sources

    gldv2 = FLAGS.train_csv_path or FLAGS.train_clean_csv_path
    if FLAGS.csv_path and gldv2:
        raise InputError("--csv_path and the CSVs of Google Landmarks v2 cannot be used together.")
    if FLAGS.csv_path:
        return sources.from_csv(FLAGS.csv_path, FLAGS.images_dir)
    if not FLAGS.images_dir:
        raise InputError("--images_dir (one sub-folder per class) or --csv_path (columns path,label) is required.")
    if gldv2:
        return sources.from_gldv2(FLAGS.images_dir, FLAGS.train_csv_path, FLAGS.train_clean_csv_path)
    return sources.from_folders(FLAGS.images_dir)


def _report(manifest: dict) -> None:
    counts, skipped = manifest["images"], manifest["skipped"]
    print(f"{counts['train']} training and {counts['validation']} validation images, {manifest['num_classes']} classes")
    for entry in skipped[:10]:
        print(f"left out: {entry['path']}: {entry['reason']}")
    if skipped:
        print(f"{len(skipped)} images were left out; manifest.json lists them.")
    empty = manifest["classes_without_training_images"]
    if empty:
        print(f"{len(empty)} classes have no training image: {', '.join(empty[:10])}")
