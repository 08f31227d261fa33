"""delg-convert: makes a model folder of published weights.

Reads checkpoints of CVNet, SuperGlobal and the PyTorch DELG (without PyTorch, and without running what a file
holds), the released DELG's TensorFlow checkpoints, exported models and HDF5 weights, ImageNet weights of
keras.applications, and our own .weights.h5. Every weight must be there, with its shape; otherwise the names are listed
and nothing is written.

Example:
  delg-convert --input=CVPR2022_CVNet_R50.pyth --format=superglobal --output_dir=superglobal_r50
"""

from absl import flags

from delg.importers.formats import FORMATS

_INPUT = flags.DEFINE_string("input", None, "Weight file, folder of an exported model, or prefix of a checkpoint.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Model folder to make; must be new or empty.")
_FORMAT = flags.DEFINE_enum(
    "format",
    None,
    FORMATS,
    "Format; told from the file by default (a CVNet file serves as superglobal, too). delg_checkpoint needs the global "
    "head: a file of the released DELF-only training, whose classifier is desc_fc, is refused.",
)
_PRESET = flags.DEFINE_string(
    "preset",
    None,
    "Model, such as delg_r50; default: the file tells it. Needed for delg_weights without a config.json.",
)
_STRIDES = flags.DEFINE_bool(
    "block3_strides",
    None,
    "Local features at stride 32 instead of 16; no weight tells it. Default: on for files of the released DELG.",
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of weights that the file does not hold.", lower_bound=0)


def main() -> None:
    """Runs the command."""
    from delg.common.errors import InputError

    if not _INPUT.value or not _OUTPUT_DIR.value:
        raise InputError(f"The flag --{'output_dir' if _INPUT.value else 'input'} is required.")
    from delg.importers.job import ConvertOptions, convert

    options = ConvertOptions(
        input=_INPUT.value,
        output_dir=_OUTPUT_DIR.value,
        format=_FORMAT.value,
        preset=_PRESET.value,
        block3_strides=_STRIDES.value,
        seed=_SEED.value,
    )
    for sentence in convert(options):
        print(sentence)
