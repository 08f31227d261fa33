r"""delg-calibrate: learns from a sample of images what is stored in a model's folder.

With --quantile, the score threshold of local features: this share of all cells of the sample has less attention.
With --local_whitening, a PCA whitening of local descriptors, which every command then applies with this model;
with --local_dim it also shortens them.
With --precision=int8, the network in int8 for --runtime=openvino, with the ranges of the sample; a network whose global
descriptors change too much is refused.

Example:
  delg-calibrate --model=my_model --images_dir=photos --quantile=0.9
  delg-calibrate --model=my_model --images_dir=photos --local_whitening --num_images=200
  delg-calibrate --model=my_model --images_dir=photos --precision=int8
"""

from delg.common.options import define_flags, from_flags
from extraction.options import CalibrateOptions

define_flags(CalibrateOptions)


def main() -> None:
    """Runs the command."""
    from delg.common.errors import InputError
    from delg.common.files import check_writable
    from delg.saving import is_model_folder
    from extraction.images import list_images

    options = from_flags(CalibrateOptions)
    folder = options.model
    if not folder or not options.images_dir:
        raise InputError(f"The flag --{'images_dir' if folder else 'model'} is required.")
    if [options.quantile is not None, options.precision is not None, options.local_whitening].count(True) != 1:
        raise InputError("One of --quantile, --local_whitening and --precision=int8 is required.")
    if options.local_dim is not None and not options.local_whitening:
        raise InputError("--local_dim needs --local_whitening.")
    if not is_model_folder(folder):
        raise InputError(
            f"{folder} is not a model folder. Of a composed extractor calibrate the folders of its parts; "
            "delg-convert --input=efficientnet_lite2 makes a folder of published weights."
        )
    images = list_images(options.images_dir)
    check_writable(folder)

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
    extractor = DelgExtractor.from_folder(folder, precision="float32", local_whitening=False)
    if options.local_whitening:
        learned = f"{learn_whitening(extractor, sample, folder, options.local_dim)}:"
    elif options.quantile is None:
        rest = sorted(set(range(len(images))) - set(places)) or places
        others = [images[rest[i]] for i in spread(len(rest), VERIFIED)]
        cosine = quantise(extractor, sample, others, folder)
        learned = f"{folder}: int8, least global cosine to float32 {cosine:.4f},"
    else:
        threshold = score_threshold(extractor, sample, options.quantile)
        write_threshold(folder, threshold)
        learned = f"{folder}: score_threshold {threshold:.6g},"
    print(f"{learned} from a sample of {len(sample)} images")
