r"""delg-extract: describes images and writes a feature store, or the files of the released programs.

The model is a trained model's folder, or a baseline: rootsift, histogram, untrained(model="DIR", seed=0). A run that
was stopped continues with the same command; images that cannot be read are skipped and listed.

Example:
  delg-extract --images_dir=photos --model=my_model --output_dir=features
  delg-extract --delf_config_path=delg_gld_config.pbtxt --dataset_file_path=gnd_roxford5k.mat --images_dir=jpg \
    --image_set=query --feature_files=official --output_dir=query_features
"""

from collections.abc import Sequence
from contextlib import suppress
from os import PathLike
from typing import TYPE_CHECKING, Any

from absl import flags

if TYPE_CHECKING:
    from extraction.extractors.base import Extractor
    from extraction.extractors.table import Recipe
    from extraction.formats.official_config import ExtractionRequest
    from extraction.images import ImageRef
    from extraction.store.reader import FeatureStore

_IMAGES_DIR = flags.DEFINE_string(
    "images_dir",
    None,
    "Folder of the images, searched with its subfolders; where relative paths of --image_list start.",
)
_IMAGE_LIST = flags.DEFINE_string(
    "image_list", None, "Text file with the path of one image a line. (Released name: --list_images_path.)"
)
_DATASET = flags.DEFINE_string(
    "dataset_file_path",
    None,
    "Ground truth of a benchmark (a revisited .pkl or .mat); with --image_set, images are {images_dir}/{name}.jpg.",
)
_IMAGE_SET = flags.DEFINE_enum(
    "image_set", None, ["query", "index"], "Which images of --dataset_file_path; queries are cropped to their box."
)
_MODEL = flags.DEFINE_string("model", None, "A model folder, or an extractor such as rootsift.")
_CONFIG = flags.DEFINE_string(
    "delf_config_path", None, "Extraction configuration of the released programs (.pbtxt); other flags go before it."
)
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder of the features. (Released name: --output_features_dir.)")
_FEATURE_FILES = flags.DEFINE_enum(
    "feature_files",
    "store",
    ["store", "official"],
    "What is written: a feature store, or files NAME.delg_global and NAME.delg_local as the released programs write.",
)
_IMAGE_SCALES = flags.DEFINE_list("image_scales", None, "Image scales; default: the model's.")
_GLOBAL_SCALES = flags.DEFINE_list(
    "global_scales_ind",
    None,
    "Indices of the scales of the global descriptor; default: the model's, or all if those do not fit --image_scales.",
)
_MAX_IMAGE_SIZE = flags.DEFINE_integer(
    "max_image_size", None, "Longest side in pixels, -1 for no limit; default: the model's.", lower_bound=-1
)
_MIN_IMAGE_SIZE = flags.DEFINE_integer(
    "min_image_size", None, "Least longest side in pixels, -1 for none; default: the model's.", lower_bound=-1
)
_MAX_FEATURE_NUM = flags.DEFINE_integer(
    "max_feature_num", None, "Most local features of an image; default: the model's.", lower_bound=1
)
_KEYPOINTS = flags.DEFINE_enum(
    "keypoints",
    None,
    ["centre", "released"],
    "True centres, or the positions of the released code, 2 to 3 pixels off; default: released with "
    "--feature_files=official or --delf_config_path, otherwise the model's.",
)
_SCORE_THRESHOLD = flags.DEFINE_float("score_threshold", None, "Least attention of a local feature; default: none.")
_IOU = flags.DEFINE_float(
    "iou",
    None,
    "Non-maximum suppression: leaves out a local feature whose field overlaps a better one's by more; default: "
    "the model's, or else 1, which keeps all.",
)
_RUNTIME = flags.DEFINE_enum(
    "runtime",
    None,
    ["tensorflow", "jax", "torch", "openvino", "onnxruntime"],
    "What computes the network; default: the model's, or else Keras' backend. openvino is the fastest on a processor.",
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    None,
    ["float32", "bfloat16", "int8"],
    "Of the network's arithmetic; default: the model's, or else float32. int8 needs --runtime=openvino and "
    "delg-calibrate.",
)
_EXIF = flags.DEFINE_enum(
    "exif",
    None,
    ["apply", "ignore"],
    "Whether photos are turned as their orientation tag says; default: apply, but ignore with --dataset_file_path, "
    "--delf_config_path or --feature_files=official, as released.",
)
_TRUNCATED = flags.DEFINE_enum(
    "truncated",
    None,
    ["skip", "describe"],
    "Whether files that are cut off are left out, or described with grey for what is missing; default: skip, but "
    "describe with --feature_files=official, as released.",
)
_CROP_BORDER = flags.DEFINE_enum(
    "crop_border",
    None,
    ["cut", "pad"],
    "Whether a box beyond its photo is cut at the border or filled with black; default: cut, but pad with "
    "--feature_files=official, as released.",
)
_VERIFY = flags.DEFINE_integer(
    "verify", 0, "Images that are also described in float32 by Keras first; the differences are printed.", lower_bound=0
)
_LOCAL_DTYPE = flags.DEFINE_enum(
    "local_dtype",
    "float32",
    ["float32", "float16", "uint8", "binary"],
    "How local descriptors are written; binary keeps their signs alone.",
)
_APPEND = flags.DEFINE_bool("append", False, "Add to the store in --output_dir the images that it does not hold yet.")
_NUM_SHARDS = flags.DEFINE_integer(
    "num_shards",
    1,
    "Jobs that share the work and write into one --output_dir; the last to end completes the store.",
    lower_bound=1,
)
_SHARD_INDEX = flags.DEFINE_integer("shard_index", 0, "Number of this job, from 0 on.", lower_bound=0)
_ENGINE = flags.DEFINE_enum(
    "engine", "local", ["local", "ray"], "Where images are described; ray needs the extra of its name."
)
_RAY_ADDRESS = flags.DEFINE_string(
    "ray_address", None, "A Ray cluster that runs, such as HOST:6379; default: one in this machine for this command."
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size",
    None,
    "Most images in one run of the network, if they have one size and no more than a megapixel in all; default: 8, "
    "or 1 on JAX, which compiles for every shape.",
    lower_bound=1,
)
_NUM_THREADS = flags.DEFINE_integer("num_threads", 2, "Images or batches that are described at once.", lower_bound=1)


flags.DEFINE_alias("list_images_path", "image_list")
flags.DEFINE_alias("output_features_dir", "output_dir")


def main() -> None:
    """Runs the command."""
    from delg.common.errors import InputError
    from delg.common.files import check_writable

    asked = _asked()
    model, output_dir = _MODEL.value or asked.model, _OUTPUT_DIR.value
    if not model or not output_dir:
        raise InputError(f"The flag --{'output_dir' if model else 'model'} is required.")
    official = _FEATURE_FILES.value == "official"
    of_store = _LOCAL_DTYPE.value != "float32", _APPEND.value, _NUM_SHARDS.value > 1, _ENGINE.value != "local"
    if official and any(of_store):
        raise InputError("--local_dtype, --append, --engine and --num_shards go with --feature_files=store.")
    if _RAY_ADDRESS.value and _ENGINE.value != "ray":
        raise InputError("--ray_address goes with --engine=ray.")
    images = _images()
    check_writable(output_dir)
    recipe = _recipe(model, asked)
    extractor = recipe.build()
    if _VERIFY.value:
        _verify(extractor, model, asked, images)
    if official:
        _write_official(extractor, images, output_dir, model)
        return
    store = _run(extractor, recipe, images, output_dir)
    if store is None:
        print(f"{output_dir}: share {_SHARD_INDEX.value} of {_NUM_SHARDS.value} is done; others are not.")
    else:
        print(summary(store.folder, len(store), store.skipped))


def _run(extractor: "Extractor", recipe: "Recipe", images: "list[ImageRef]", output_dir: str) -> "FeatureStore | None":
    """Fills the store by the engine that is asked for."""
    from delg.common.errors import InputError
    from extraction.pipeline import begin, extract, extract_share
    from extraction.ray_engine import write_shards_on_ray

    storage: dict[str, Any] = {"local_dtype": _LOCAL_DTYPE.value, "append": _APPEND.value}
    batch_size = _BATCH_SIZE.value or (1 if extractor.settings.get("runtime") == "jax" else 8)
    work: dict[str, Any] = {"num_threads": _NUM_THREADS.value, "batch_size": batch_size}
    share = _SHARD_INDEX.value, _NUM_SHARDS.value
    if _ENGINE.value == "local":
        return extract_share(extractor, images, output_dir, share, **work, **storage)
    if share[1] > 1:
        raise InputError("--num_shards goes with --engine=local; Ray shares the work itself.")
    writer = begin(extractor, images, output_dir, **storage)
    if not writer.complete:
        write_shards_on_ray(recipe, writer, address=_RAY_ADDRESS.value, **work)
        return writer.finish()
    return extract(extractor, images, output_dir, **storage)


def summary(folder: PathLike[str] | str, described: int, skipped: Sequence[dict[str, str]]) -> str:
    """``features: 12 images, 1 skipped: name (reason)``."""
    text = f"{folder}: {described} images, {len(skipped)} skipped"
    names = ", ".join(f"{entry['name']} ({entry['reason']})" for entry in skipped)
    return f"{text}: {names}" if names else text


def _asked() -> "ExtractionRequest":
    """What the configuration file asks for; nothing special without one."""
    from extraction.formats.official_config import ExtractionRequest, read_request
    from extraction.pca import NO_PCA

    return read_request(_CONFIG.value) if _CONFIG.value else ExtractionRequest("", {}, NO_PCA, None)


def _options(asked: "ExtractionRequest") -> dict[str, Any]:
    """The extractor's options by the flags, or else by the configuration file."""
    given = {
        "image_scales": _numbers(_IMAGE_SCALES, float),
        "global_scales_ind": _numbers(_GLOBAL_SCALES, int),
        "max_image_size": _MAX_IMAGE_SIZE.value,
        "min_image_size": _MIN_IMAGE_SIZE.value,
        "max_feature_num": _MAX_FEATURE_NUM.value,
        "keypoints": _KEYPOINTS.value,
        "score_threshold": _SCORE_THRESHOLD.value,
        "iou": _IOU.value,
        "runtime": _RUNTIME.value,
        "precision": _PRECISION.value,
    }
    return asked.options | {name: value for name, value in given.items() if value is not None}


def _recipe(model: str, asked: "ExtractionRequest", **others: Any) -> "Recipe":
    """All that the extractor is built from; ``others`` go before the flags."""
    from extraction.extractors.table import Recipe

    released = _FEATURE_FILES.value == "official" or bool(_CONFIG.value)
    defaults = {"keypoints": "released", "local_whitening": False} if released else {}
    return Recipe(model, _options(asked) | others, defaults, asked.projections, asked.heads, _reading())


def _reading() -> dict[str, str]:
    """How images are read: by the flags, or else as the released programs do where theirs is asked for."""
    official = _FEATURE_FILES.value == "official"
    stored = official or bool(_CONFIG.value) or bool(_DATASET.value)
    return {
        "exif": _EXIF.value or ("ignore" if stored else "apply"),
        "truncated": _TRUNCATED.value or ("describe" if official else "skip"),
        "crop_border": _CROP_BORDER.value or ("pad" if official else "cut"),
    }


def _verify(extractor: "Extractor", model: str, asked: "ExtractionRequest", images: "list[ImageRef]") -> None:
    """Prints how far the features are from those in float32."""
    from delg.common.errors import InputError
    from extraction.runtimes.table import resolved
    from extraction.verification import verify

    if "precision" not in extractor.settings:
        raise InputError(f"--verify goes with a model folder, not with {extractor.settings['extractor']}.")
    reference = _recipe(model, asked, runtime=resolved(None), precision="float32").build()
    print(verify(extractor, reference, images, _VERIFY.value), flush=True)


def _write_official(extractor: "Extractor", images: "list[ImageRef]", output_dir: str, model: str) -> None:
    """Writes official files, and beside them the configuration by which a released program would make them."""
    from pathlib import Path

    from delg.common.errors import InputError
    from extraction.formats.official_config import to_config
    from extraction.formats.official_writer import extract_official
    from protos.configs import write_config

    skipped = extract_official(extractor, images, output_dir, heads=extractor.heads, num_threads=_NUM_THREADS.value)
    with suppress(InputError):  # not every extractor can be told by such a file
        config = to_config(extractor.settings, model, extractor.heads)
        write_config(Path(output_dir) / "delf_config.pbtxt", config)
    print(summary(output_dir, len(images) - len(skipped), skipped))


def _images() -> "list[ImageRef]":
    """The images that the flags name."""
    from delg.common.errors import InputError
    from extraction.images import list_images, read_image_list

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

    from delg.common.errors import InputError
    from evaluation.benchmarks.revisited import from_file

    benchmark = from_file(Path(path).stem, path, images_dir)
    if not Path(images_dir).is_dir():
        raise InputError(f"The image folder {images_dir} does not exist or is not a folder.")
    return list(benchmark.database if image_set == "index" else benchmark.queries)


def _numbers(flag: "flags.FlagHolder", kind: type) -> list | None:
    """A list flag as numbers."""
    from delg.common.errors import InputError

    if flag.value is None:
        return None
    try:
        return [kind(text) for text in flag.value]
    except ValueError as error:
        raise InputError(f"--{flag.name} expects numbers separated by commas. Received: {flag.value}") from error
