r"""delg-extract: describes images and writes a feature store, or the files of the released programs.

Without --model the features are those of published networks that need no training. A run that was stopped continues
with the same command; images that cannot be read are skipped and listed.

Example:
  delg-extract --images_dir=photos --output_dir=features
  delg-extract --images_dir=photos --model=my_model --output_dir=features
  delg-extract --delf_config_path=delg_gld_config.pbtxt --dataset_file_path=gnd_roxford5k.mat --images_dir=jpg \
    --image_set=query --feature_files=official --output_dir=query_features
"""

import sys
from collections.abc import Sequence
from contextlib import suppress
from os import PathLike
from typing import TYPE_CHECKING, Any

from absl import flags

from delg.common.options import define_flags, from_flags, refuse, require
from extraction.options import ExtractOptions

if TYPE_CHECKING:
    from extraction.extractors.base import Extractor
    from extraction.extractors.table import ExtractorRecipe
    from extraction.formats.official_config import ExtractionRequest
    from extraction.images import ImageRef
    from extraction.store.reader import FeatureStore

OF_MODEL = (
    *("image_scales", "global_scales_ind", "max_image_size", "min_image_size", "max_feature_num"),
    *("keypoints", "score_threshold", "iou", "runtime", "precision"),
)
OF_STORE = ("local_dtype", "append", "engine", "num_shards")

define_flags(ExtractOptions)
flags.DEFINE_alias("list_images_path", "image_list")
flags.DEFINE_alias("output_features_dir", "output_dir")


def main() -> None:
    """Runs the command."""
    from delg.common.files import check_writable
    from extraction.extractors.table import AUTO, resolved
    from extraction.formats.official_config import NO_REQUEST, read_request
    from extraction.store.tools import behind

    options = from_flags(ExtractOptions)
    request = read_request(options.delf_config_path) if options.delf_config_path else NO_REQUEST
    require(options, ["output_dir", *(["model"] if options.delf_config_path and not request.model else [])])
    output_dir = str(options.output_dir)
    if options.official:
        refuse("--feature_files=official", options, OF_STORE)
    if options.engine != "ray":
        refuse(f"--engine={options.engine}", options, ["ray_address"])
    images = _images(options)
    check_writable(output_dir)
    model = resolved(options.model or request.model or AUTO)
    recipe = _recipe(options, request, model)
    extractor = recipe.build()
    if options.verify:
        _verify(extractor, _recipe(options, request, model, in_float32=True), images, options.verify)
    if options.official:
        _write_official(extractor, images, output_dir, model, options.num_threads)
        return
    store = _run(extractor, recipe, images, output_dir, options)
    if store is None:
        print(f"{output_dir}: share {options.shard_index} of {options.num_shards} is done; others are not.")
    else:
        print(summary(store.folder, len(store), store.skipped))
        if options.images_dir and (lines := behind(store, images)):
            place = f"{store.folder} differs from {options.images_dir}"
            print(f"{place}: {lines}; delg sync FOLDER --export=DIR makes features that follow it.", file=sys.stderr)


def _run(
    extractor: "Extractor",
    recipe: "ExtractorRecipe",
    images: "list[ImageRef]",
    output_dir: str,
    options: ExtractOptions,
) -> "FeatureStore | None":
    """Fills the store by the chosen engine."""
    from extraction.pipeline import begin, extract, extract_share
    from extraction.ray_engine import write_shards_on_ray

    storage: dict[str, Any] = {"local_dtype": options.local_dtype, "append": options.append}
    batch_size = options.batch_size or (1 if "jax" in _all_of("runtime", extractor.settings) else 8)
    work: dict[str, Any] = {"num_threads": options.num_threads, "batch_size": batch_size}
    if options.engine == "local":
        share = options.shard_index, options.num_shards
        return extract_share(extractor, images, output_dir, share, **work, **storage)
    refuse(f"--engine={options.engine}, which shares the work itself", options, ["num_shards"])
    writer = begin(extractor, images, output_dir, **storage)
    if not writer.complete:
        write_shards_on_ray(recipe, writer, address=options.ray_address, **work)
        return writer.finish()
    return extract(extractor, images, output_dir, **storage)


def _all_of(key: str, settings: dict[str, Any]) -> list[str]:
    """The values of a setting of an extractor and of its parts, where there are any."""
    from extraction.formats.checks import parts_of

    own = [settings[key]] if key in settings else []
    return [*own, *(value for part in parts_of(settings).values() for value in _all_of(key, part))]


def summary(folder: PathLike[str] | str, described: int, skipped: Sequence[dict[str, str]]) -> str:
    """``features: 12 images, 1 skipped: name (reason)``."""
    text = f"{folder}: {described} images, {len(skipped)} skipped"
    names = ", ".join(f"{entry['name']} ({entry['reason']})" for entry in skipped)
    return f"{text}: {names}" if names else text


def _recipe(
    options: ExtractOptions, request: "ExtractionRequest", model: str, *, in_float32: bool = False
) -> "ExtractorRecipe":
    """The recipe of the extractor: flags take precedence over the configuration file.

    Args:
      options: of the command.
      request: of the configuration file.
      model: of either.
      in_float32: whether Keras computes the network in float32 whatever the flags say.
    """
    from extraction.extractors.table import ExtractorRecipe

    given = {name: value for name in OF_MODEL if (value := getattr(options, name)) is not None}
    if in_float32:
        from extraction.runtimes.table import resolved

        given |= {"runtime": resolved(None), "precision": "float32"}
    released = options.official or bool(options.delf_config_path)
    defaults = {"keypoints": "released", "local_whitening": False, "adaptation": False} if released else {}
    as_stored = released or bool(options.dataset_file_path)
    reading = {
        "exif": options.exif or ("ignore" if as_stored else "apply"),
        "truncated": options.truncated or ("describe" if options.official else "skip"),
        "crop_border": options.crop_border or ("pad" if options.official else "cut"),
    }
    return ExtractorRecipe(model, request.options | given, defaults, request.projections, request.heads, reading)


def _verify(extractor: "Extractor", recipe: "ExtractorRecipe", images: "list[ImageRef]", count: int) -> None:
    """Prints how far the features are from those of a recipe in float32."""
    from delg.common.errors import InputError
    from extraction.verification import verify

    if not _all_of("precision", extractor.settings):
        raise InputError(f"--verify expects a model folder; {extractor.settings['extractor']} has no precision.")
    print(verify(extractor, recipe.build(), images, count), flush=True)


def _write_official(
    extractor: "Extractor", images: "list[ImageRef]", output_dir: str, model: str, num_threads: int
) -> None:
    """Writes official files, and beside them the configuration by which a released program would make them."""
    from pathlib import Path

    from delg.common.errors import InputError
    from extraction.formats.official_config import to_config
    from extraction.formats.official_writer import extract_official
    from protos.configs import write_config

    skipped = extract_official(extractor, images, output_dir, heads=extractor.heads, num_threads=num_threads)
    with suppress(InputError):  # such a file cannot express every extractor
        config = to_config(extractor.settings, model, extractor.heads)
        write_config(Path(output_dir) / "delf_config.pbtxt", config)
    print(summary(output_dir, len(images) - len(skipped), skipped))


def _images(options: ExtractOptions) -> "list[ImageRef]":
    """The images that the flags name."""
    from delg.common.errors import InputError
    from extraction.images import list_images, read_image_list

    if options.dataset_file_path:
        refuse("--dataset_file_path", options, ["image_list"])
        if not options.images_dir or not options.image_set:
            raise InputError("--dataset_file_path needs --images_dir and --image_set=query|index.")
        return _dataset_images(options.dataset_file_path, options.images_dir, options.image_set)
    if options.image_set:
        raise InputError("--image_set needs --dataset_file_path.")
    if options.image_list:
        return read_image_list(options.image_list, options.images_dir)
    if not options.images_dir:
        raise InputError("One of --images_dir, --image_list and --dataset_file_path is required.")
    return list_images(options.images_dir)


def _dataset_images(path: str, images_dir: str, image_set: str) -> "list[ImageRef]":
    """Queries (cropped) or index images of a benchmark's ground truth."""
    from pathlib import Path

    from delg.common.errors import InputError
    from evaluation.benchmarks.revisited import from_file

    benchmark = from_file(Path(path).stem, path, images_dir)
    if not Path(images_dir).is_dir():
        raise InputError(f"The image folder {images_dir} does not exist or is not a folder.")
    return list(benchmark.database if image_set == "index" else benchmark.queries)
