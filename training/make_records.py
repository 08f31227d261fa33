"""Turns labelled images into TFRecord shards for delg-train.

Three kinds of input: a folder with one sub-folder per class; a CSV with the columns path,label; the CSVs of Google
Landmarks v2. Every image is decoded once; broken ones are left out and listed in manifest.json. The same command
continues an interrupted run. --check examines existing records.

delg-records --images_dir=photos/train --output_dir=records --generate_train_validation_splits
"""

import os
from typing import TYPE_CHECKING

from absl import flags

from delg.common.options import define_flags, from_flags
from training.records.options import RecordsOptions

if TYPE_CHECKING:
    from training.records.sources import LabelledPhotos

define_flags(RecordsOptions)
flags.DEFINE_alias("train_directory", "images_dir")
flags.DEFINE_alias("output_directory", "output_dir")


def main() -> None:
    """Reads the flags and the source, and writes the records."""
    from pathlib import Path

    from delg.common.errors import InputError
    from delg.common.files import check_writable

    options = from_flags(RecordsOptions)
    if not options.output_dir:
        raise InputError("--output_dir is required: the folder that the records are written to.")
    if options.check:
        _check(options, options.output_dir)
        return
    check_writable(options.output_dir)
    source = _source(options)
    print(f"{len(source.photos)} images of {len(source.class_names)} classes", flush=True)

    from training.records.shards import RecordsConfig, write_records

    config = RecordsConfig(
        validation_split_size=options.validation_split_size if options.generate_train_validation_splits else 0.0,
        num_shards=options.num_shards,
        seed=options.seed,
        exif=options.exif or ("ignore" if options.train_csv_path or options.train_clean_csv_path else "apply"),
    )
    manifest = write_records(source, Path(options.output_dir), config, workers=options.workers or os.cpu_count() or 1)
    _report(manifest)


def _check(options: RecordsOptions, folder: str) -> None:
    """Lists what is wrong with existing records; the command fails where anything is."""
    from delg.common.errors import InputError
    from training.records.check import problems

    source = _source(options) if options.images_dir or options.csv_path else None
    count = 0
    for problem in problems(folder, source, options.workers or os.cpu_count() or 1):
        print(problem, flush=True)
        count += 1
    if count:
        raise InputError(f"{folder}: {count} problems, listed above.")
    print(f"{folder} is whole.")


def _source(options: RecordsOptions) -> "LabelledPhotos":
    """The labelled images that the options name, with the labels that they should have.

    Raises:
      InputError: the options name no source or contradict each other, or the source cannot be read.
    """
    from delg.common.errors import InputError
    from training.records import sources

    gldv2 = options.train_csv_path or options.train_clean_csv_path
    if options.csv_path and gldv2:
        raise InputError("--csv_path cannot be combined with the CSVs of Google Landmarks v2.")
    if options.csv_path:
        source = sources.from_csv(options.csv_path, options.images_dir)
    elif not options.images_dir:
        raise InputError("--images_dir (one sub-folder per class) or --csv_path (columns path,label) is required.")
    elif gldv2:
        source = sources.from_gldv2(options.images_dir, options.train_csv_path, options.train_clean_csv_path)
    else:
        source = sources.from_folders(options.images_dir)
    if not options.relabeling_csv_path:
        return source
    return sources.relabeled(source, options.relabeling_csv_path)


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
