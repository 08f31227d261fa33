"""delg-extract: describes images and writes a feature store.

The model is a trained model's folder, or a baseline: rootsift, histogram, untrained(model="DIR", seed=0). A run that
was stopped continues with the same command; images that cannot be read are skipped and listed.

Example:
  delg-extract --images_dir=photos --model=my_model --output_dir=features
"""

from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from extraction.images import ImageRef
    from extraction.store import FeatureStore

_IMAGES_DIR = flags.DEFINE_string(
    "images_dir",
    None,
    "Folder of the images, searched with its subfolders; where relative paths of --image_list start.",
)
_IMAGE_LIST = flags.DEFINE_string("image_list", None, "Text file with the path of one image a line.")
_DATASET = flags.DEFINE_string(
    "dataset_file_path",
    None,
    "Ground truth of a benchmark (a revisited .pkl); with --image_set, images are {images_dir}/{name}.jpg.",
)
_IMAGE_SET = flags.DEFINE_enum(
    "image_set", None, ["query", "index"], "Which images of --dataset_file_path; queries are cropped to their box."
)
_MODEL = flags.DEFINE_string("model", None, "A model folder, or an extractor such as rootsift.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder of the feature store.")
_IMAGE_SCALES = flags.DEFINE_list("image_scales", None, "Image scales; default: the model's.")
_GLOBAL_SCALES = flags.DEFINE_list(
    "global_scales_ind", None, "Indices of the scales of the global descriptor; default: the model's."
)
_MAX_IMAGE_SIZE = flags.DEFINE_integer(
    "max_image_size", None, "Longest side in pixels, -1 for no limit; default: the model's.", lower_bound=-1
)
_MAX_FEATURE_NUM = flags.DEFINE_integer(
    "max_feature_num", None, "Most local features of an image; default: the model's.", lower_bound=1
)
_KEYPOINTS = flags.DEFINE_enum(
    "keypoints",
    None,
    ["centre", "released"],
    "True centres (the default), or the positions of the released code, 2 to 3 pixels off.",
)
_SCORE_THRESHOLD = flags.DEFINE_float("score_threshold", None, "Least attention of a local feature; default: none.")
_LOCAL_DTYPE = flags.DEFINE_enum("local_dtype", "float32", ["float32", "float16"], "How local descriptors are written.")
_NUM_THREADS = flags.DEFINE_integer("num_threads", 2, "Threads that decode images.", lower_bound=1)


def main() -> None:
    """Runs the command."""
    from extraction.extractors import build_extractor
    from extraction.pipeline import extract
    from protos.errors import InputError
    from protos.files import check_writable

    model, output_dir = _MODEL.value, _OUTPUT_DIR.value
    if not model or not output_dir:
        raise InputError(f"The flag --{'output_dir' if model else 'model'} is required.")
    images = _images()
    overrides = {
        "image_scales": _numbers(_IMAGE_SCALES, float),
        "global_scales_ind": _numbers(_GLOBAL_SCALES, int),
        "max_image_size": _MAX_IMAGE_SIZE.value,
        "max_feature_num": _MAX_FEATURE_NUM.value,
        "keypoints": _KEYPOINTS.value,
        "score_threshold": _SCORE_THRESHOLD.value,
    }
    check_writable(output_dir)
    extractor = build_extractor(model, **overrides)
    store = extract(extractor, images, output_dir, num_threads=_NUM_THREADS.value, local_dtype=_LOCAL_DTYPE.value)
    print(summary(store))


def summary(store: "FeatureStore") -> str:
    """``12 images, 1 skipped: name (reason)``."""
    text = f"{store.folder}: {len(store)} images, {len(store.skipped)} skipped"
    names = ", ".join(f"{entry['name']} ({entry['reason']})" for entry in store.skipped)
    return f"{text}: {names}" if names else text


def _images() -> "list[ImageRef]":
    """The images that the flags name."""
    from extraction.images import list_images, read_image_list
    from protos.errors import InputError

    if _DATASET.value:
        if _IMAGE_LIST.value or not _IMAGES_DIR.value or not _IMAGE_SET.value:
            raise InputError("--dataset_file_path goes with --images_dir and --image_set=query|index, no --image_list.")
        return _dataset_images(_DATASET.value, _IMAGES_DIR.value, _IMAGE_SET.value)
    if _IMAGE_SET.value:
        raise InputError("--image_set goes with --dataset_file_path.")
    if _IMAGE_LIST.value:
        return read_image_list(_IMAGE_LIST.value, _IMAGES_DIR.value)
    if not _IMAGES_DIR.value:
        raise InputError("One of --images_dir, --image_list and --dataset_file_path is required.")
    return list_images(_IMAGES_DIR.value)


def _dataset_images(path: str, images_dir: str, image_set: str) -> "list[ImageRef]":
    """Queries (cropped) or index images of a benchmark's ground truth."""
    from pathlib import Path

    from evaluation.benchmarks.revisited import from_file
    from protos.errors import InputError

    benchmark = from_file(Path(path).stem, path, images_dir)
    if not Path(images_dir).is_dir():
        raise InputError(f"The image folder {images_dir} does not exist or is not a folder.")
    return benchmark.database if image_set == "index" else benchmark.queries


def _numbers(flag: "flags.FlagHolder", kind: type) -> list | None:
    """A list flag as numbers."""
    from protos.errors import InputError

    if flag.value is None:
        return None
    try:
        return [kind(text) for text in flag.value]
    except ValueError as error:
        raise InputError(f"--{flag.name} expects numbers separated by commas. Received: {flag.value}") from error
