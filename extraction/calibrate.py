r"""delg-calibrate: sets from a sample of images what is kept in a model's folder.

With --quantile, the score threshold of local features: the attention that this share of all cells of the sample stays
below. With --local_whitening, a PCA whitening of local descriptors, which every command then applies with this model;
with --local_dim it also shortens them.
With --precision=int8, the network in int8 for --runtime=openvino, with the ranges of the sample.

Example:
  delg-calibrate --model=my_model --images_dir=photos --quantile=0.9
  delg-calibrate --model=my_model --images_dir=photos --local_whitening --num_images=200
  delg-calibrate --model=my_model --images_dir=photos --precision=int8
"""

from functools import partial

from absl import flags

_MODEL = flags.DEFINE_string("model", None, "A model folder.")
_IMAGES_DIR = flags.DEFINE_string("images_dir", None, "Folder of the images, searched with its subfolders.")
_NUM_IMAGES = flags.DEFINE_integer("num_images", 32, "Images of the sample, spread over the list.", lower_bound=1)
_QUANTILE = flags.DEFINE_float("quantile", None, "Share of the cells that the threshold leaves out, 0 to 1.")
_PRECISION = flags.DEFINE_enum("precision", None, ["int8"], "The precision to make the network in.")
_LOCAL_WHITENING = flags.DEFINE_bool("local_whitening", False, "Learn a whitening of local descriptors.")
_LOCAL_DIM = flags.DEFINE_integer("local_dim", None, "Values of a whitened descriptor. Default: the model's.")


def main() -> None:
    """Runs the command."""
    from delg.common.errors import InputError
    from delg.common.files import check_writable
    from delg.saving import is_model_folder
    from extraction.images import list_images

    folder = _MODEL.value
    if not folder or not _IMAGES_DIR.value:
        raise InputError(f"The flag --{'images_dir' if folder else 'model'} is required.")
    if [_QUANTILE.value is not None, _PRECISION.value is not None, _LOCAL_WHITENING.value].count(True) != 1:
        raise InputError("One of --quantile, --local_whitening and --precision=int8 is required.")
    if _LOCAL_DIM.value is not None and not _LOCAL_WHITENING.value:
        raise InputError("--local_dim needs --local_whitening.")
    if not is_model_folder(folder):
        raise InputError(f"{folder} is not a model folder.")
    images = list_images(_IMAGES_DIR.value)
    check_writable(folder)

    from extraction.calibration import keep_threshold, learn_whitening, quantise, score_threshold, spread
    from extraction.extractors.delg import DelgExtractor

    sample = [images[i] for i in spread(len(images), _NUM_IMAGES.value)]
    extractor = DelgExtractor.from_folder(folder, precision="float32", local_whitening=False)
    if _QUANTILE.value is None:
        make = partial(learn_whitening, dim=_LOCAL_DIM.value) if _LOCAL_WHITENING.value else quantise
        print(f"{make(extractor, sample, folder)}: from a sample of {len(sample)} images")
        return
    threshold = score_threshold(extractor, sample, _QUANTILE.value)
    keep_threshold(folder, threshold)
    print(f"{folder}: score_threshold {threshold:.6g}, from a sample of {len(sample)} images")
