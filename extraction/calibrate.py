r"""delg-calibrate: learns from photos what is stored in a model's folder.

With --quantile, the score threshold of local features: this share of all cells of the sample has less attention.
With --local_whitening, a PCA whitening of local descriptors, which every command then applies with this model;
with --local_dim it also shortens them.
With --precision=int8, the network in int8 for --runtime=openvino, with the ranges of the sample; a network whose global
descriptors change too much is refused.
With --adapt, a linear layer behind the global descriptor, which every command then applies with this model: learned
from labelled photos, validated on classes held out, and kept only if it gains there.
With --rerank, the weight of a reranker fused(...) or the limit of gated(...), from the features of labelled photos; the
text with the number is printed, and nothing is stored.

Example:
  delg-calibrate --model=my_model --images_dir=photos --quantile=0.9
  delg-calibrate --model=my_model --images_dir=photos --local_whitening --num_images=200
  delg-calibrate --model=my_model --images_dir=photos --precision=int8
  delg-calibrate --model=efficientnet_lite2 --output_dir=my_model --images_dir=photos/train --adapt
  delg-calibrate --features_dir=features --rerank='fused(reranker="ransac")'
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from delg.common.options import define_flags, from_flags, refuse
from extraction.options import CalibrateOptions

if TYPE_CHECKING:
    from extraction.pca import Floats

SAMPLE = ["quantile", "precision", "local_whitening", "local_dim", "num_images"]
OF_ADAPT = ["csv_path", "features_dir", "adaptation"]

define_flags(CalibrateOptions)


def main() -> None:
    """Runs the command."""
    from delg.common.errors import InputError

    options = from_flags(CalibrateOptions)
    if options.rerank:
        others = ["model", "output_dir", "images_dir", "adapt", *SAMPLE, *OF_ADAPT]
        refuse("--rerank", options, [name for name in others if name != "features_dir"])
        if not options.features_dir:
            raise InputError("--rerank needs --features_dir: features of labelled photos, named CLASS/PHOTO.")
        print(_learn_reranker(options.rerank, options.features_dir))
        return

    from delg.common.files import atomic_path, check_writable
    from delg.presets import PRETRAINED
    from delg.saving import is_model_folder
    from delg.weights import HUB

    if not options.model or not (options.images_dir or options.features_dir or options.csv_path):
        raise InputError(f"The flag --{'images_dir' if options.model else 'model'} is required.")
    choices = [options.quantile is not None, options.precision is not None, options.local_whitening, options.adapt]
    if choices.count(True) != 1:
        raise InputError("One of --quantile, --local_whitening, --precision=int8, --adapt and --rerank is required.")
    if options.adapt:
        refuse("--adapt", options, SAMPLE)
    else:
        refuse("a calibration without --adapt", options, OF_ADAPT)
    if options.local_dim is not None and not options.local_whitening:
        raise InputError("--local_dim needs --local_whitening.")
    published = options.model in PRETRAINED or options.model.startswith(HUB)
    if published and not options.output_dir:
        raise InputError(f"--output_dir is required: the folder of the calibrated model, as {options.model} has none.")
    if not published and not is_model_folder(options.model):
        raise InputError(
            f"{options.model} is not a model folder. Of a composed extractor calibrate the folders of its parts."
        )
    if options.output_dir:
        place = Path(options.output_dir)
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise InputError(f"The output folder {place} must be absent or empty; a calibration replaces no model.")
        check_writable(place.absolute().parent)
        with atomic_path(place) as temporary:  # a calibration that fails leaves no folder
            _copy_model(options.model, temporary)
            learned = _calibrate(options, temporary)
    else:
        check_writable(options.model)
        learned = _calibrate(options, Path(options.model))
    print(f"{options.output_dir or options.model}: {learned}")


def _calibrate(options: CalibrateOptions, folder: Path) -> str:
    """Calibrates the model in a folder; returns what was learned, in words."""
    return _adapt(options, folder) if options.adapt else _from_sample(options, folder)


def _from_sample(options: CalibrateOptions, folder: Path) -> str:
    """Calibrates with a sample of images."""
    from extraction.images import list_images

    images = list_images(str(options.images_dir))

    from extraction.calibration import (
        VERIFIED,
        learn_whitening,
        quantise,
        score_threshold,
        spread,
        write_threshold,
    )
    from extraction.extractors.delg import DelgExtractor

    places = spread(len(images), options.num_images)
    sample = [images[i] for i in places]
    extractor = DelgExtractor.from_folder(str(folder), precision="float32", local_whitening=False, adaptation=False)
    if options.local_whitening:
        learned = f"{learn_whitening(extractor, sample, folder, options.local_dim).name},"
    elif options.quantile is None:
        rest = sorted(set(range(len(images))) - set(places)) or places
        others = [images[rest[i]] for i in spread(len(rest), VERIFIED)]
        cosine = quantise(extractor, sample, others, folder)
        learned = f"int8, least global cosine to float32 {cosine:.4f},"
    else:
        threshold = score_threshold(extractor, sample, options.quantile)
        write_threshold(folder, threshold)
        learned = f"score_threshold {threshold:.6g},"
    return f"{learned} from a sample of {len(sample)} images"


def _adapt(options: CalibrateOptions, folder: Path) -> str:
    """Learns an adaptation and keeps it if it gains on classes held out.

    Raises:
      InputError: photos or features cannot be used, or the adaptation gains nothing.
    """
    from delg.common.errors import InputError
    from delg.saving import weights_sha256
    from evaluation.held_out import gain
    from extraction import adaptation

    recipes = adaptation.recipes(options.adaptation)
    descriptors, labels = _labelled_descriptors(options)
    held_out = gain(descriptors, labels, recipes)
    if not held_out.change.difference > 0:
        raise InputError(f"The adaptation is not kept: {held_out}, by {held_out.recipe}.")
    learned = held_out.recipe(descriptors, labels)
    path = adaptation.save(learned, folder, weights_sha256(folder))
    return f"{path.name}, {held_out}, by {held_out.recipe} on {len(labels)} photos"


def _learn_reranker(text: str, features_dir: str) -> str:
    """Learns the number of a reranker; returns its text and what it gains.

    Raises:
      InputError: the features cannot be used, or have no classes.
    """
    from extraction.formats.table import open_features
    from matching.rerankers.learning import learn

    store = open_features(features_dir)
    learned = learn(text, store, _classes(store.names, features_dir))
    gains = f"mAP {learned.before:.1f} before, {learned.inner:.1f} by the inner reranker, {learned.after:.1f} by this"
    return f"{learned.text}\n{gains}, on the {learned.queries} photos that it was learned from"


def _copy_model(model: str, folder: Path) -> None:
    """Makes a folder with the same model in it."""
    import shutil

    import delg
    from delg.saving import folder_of, is_model_folder, provenance_of

    place = folder_of(model)
    if place is not None and is_model_folder(place):
        shutil.copytree(place, folder)
    else:
        delg.save(delg.load(model), folder, provenance=provenance_of(model))


def _labelled_descriptors(options: CalibrateOptions) -> "tuple[Floats, list[str]]":
    """Global descriptors ``(N, D)`` without adaptation, and the class of each.

    Raises:
      InputError: photos, labels or features cannot be used.
    """
    from tempfile import TemporaryDirectory

    from extraction.extractors.base import select_heads
    from extraction.extractors.delg import DelgExtractor
    from extraction.images import ImageRef
    from extraction.pipeline import extract
    from training.records.sources import from_csv, from_folders

    if options.features_dir:
        refuse("--features_dir", options, ["images_dir", "csv_path"])
        return _of_store(options.features_dir, str(options.model))
    if options.csv_path:
        labelled = from_csv(options.csv_path, options.images_dir)
    else:
        labelled = from_folders(str(options.images_dir))
    extractor = select_heads(DelgExtractor.from_folder(str(options.model), adaptation=False), ("global",))
    with TemporaryDirectory() as place:
        store = extract(extractor, [ImageRef(photo.id, str(photo.path)) for photo in labelled.photos], place)
        classes = {photo.id: labelled.class_names[photo.label] for photo in labelled.photos}
        return np.array(store.global_descriptors, np.float32), [classes[name] for name in store.names]


def _of_store(folder: str, model: str) -> "tuple[Floats, list[str]]":
    """The same of existing features; the class is the first folder of a name.

    Raises:
      InputError: the features are of another model, adapted already, or without classes.
    """
    from extraction.extractors.delg import DelgExtractor
    from extraction.formats.checks import check_settings, parts_of
    from extraction.formats.table import open_features

    store = open_features(folder)
    expected, given = DelgExtractor.from_folder(model, adaptation=False).settings, dict(store.settings)
    if part := parts_of(given).get("global"):  # of a pair, the part that is adapted, and how images were read
        given = {key: value for key, value in given.items() if key in expected} | part
    local = {"local_dtype", "local_whitening", "max_feature_num", "score_threshold", "iou", "keypoints"}
    left, right = ({key: value for key, value in one.items() if key not in local} for one in (given, expected))
    check_settings(left, right, f"The features in {folder} and those of {model} without adaptation")
    return np.array(store.global_descriptors, np.float32), _classes(store.names, folder)


def _classes(names: Sequence[str], folder: str) -> list[str]:
    """The class of each photo of a store: the first folder of its name.

    Raises:
      InputError: a name has no folder.
    """
    from delg.common.errors import InputError

    loose = next((name for name in names if "/" not in name), None)
    if loose is not None:
        raise InputError(f"The features in {folder} expect names CLASS/PHOTO. Received: {loose}")
    return [name.partition("/")[0] for name in names]
