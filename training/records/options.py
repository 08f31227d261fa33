"""The options of ``delg-records``. Imports nothing heavy."""

from dataclasses import dataclass

from delg.common.options import EXIF, option


@dataclass(frozen=True)
class RecordsOptions:
    """Where the labelled images are, and how records are made of them. Images and labels count, not their places."""

    images_dir: str | None = option(
        None,
        "Folder of the images: one sub-folder per class, or the folder that the paths of --csv_path start from, or the "
        "images of Google Landmarks v2. (Released name: --train_directory.)",
        irrelevant=True,
    )
    csv_path: str | None = option(None, "CSV file with the columns path,label.", irrelevant=True)
    train_csv_path: str | None = option(None, "train.csv of Google Landmarks v2 (id,url,landmark_id).", irrelevant=True)
    train_clean_csv_path: str | None = option(
        None,
        "train_clean.csv of Google Landmarks v2 (landmark_id,images); overrides --train_csv_path.",
        irrelevant=True,
    )
    output_dir: str | None = option(
        None, "Folder of the records. Required. (Released name: --output_directory.)", irrelevant=True
    )
    num_shards: int | None = option(
        None, "Shards per split. Default: one per 256 images, at most 128 (released: 128).", lower_bound=1
    )
    generate_train_validation_splits: bool = option(False, "Set images of every class aside for validation.")
    validation_split_size: float = option(
        0.2, "Fraction of every class for validation.", lower_bound=0.0, upper_bound=0.9
    )
    exif: str | None = option(
        None,
        "Whether photos are rotated as their orientation tag says. Default: apply, but ignore for Google Landmarks v2 "
        "(released).",
        choices=EXIF,
    )
    seed: int = option(0, "Seed of the split and of the order.", lower_bound=0)
    workers: int | None = option(
        None, "Images read at once. Default: the number of CPU cores.", lower_bound=1, irrelevant=True
    )
    relabeling_csv_path: str | None = option(
        None,
        "relabeling.csv (new_label,old_label) of an earlier set: every class gets its label from there.",
        irrelevant=True,
    )
    check: bool = option(
        False,
        "Check the records in --output_dir instead of making them: list missing or broken shards, records and images, "
        "and, where a source is given, its images that are in no shard.",
        irrelevant=True,
    )
