"""delg-convert: makes a model folder of published weights.

Reads checkpoints of CVNet, SuperGlobal, the PyTorch DELG and EfficientNet-Lite (without PyTorch, and without running
any code in the file), the released DELG's TensorFlow checkpoints, exported models and HDF5 weights, ImageNet weights of
keras.applications, our own .weights.h5, and DINOv2, DINOv3 and SigLIP as safetensors or as the files of their
repositories. Every weight must be present with its shape; otherwise the command lists the names and writes nothing.

Example:
  delg-convert --input=CVPR2022_CVNet_R50.pyth --format=superglobal --output_dir=superglobal_r50
"""

from delg.common.options import define_flags, from_flags
from delg.importers.options import ConvertOptions

define_flags(ConvertOptions)


def main() -> None:
    """Runs the command."""
    from delg.common.errors import InputError

    options = from_flags(ConvertOptions)
    if not options.input or not options.output_dir:
        raise InputError(f"--{'output_dir' if options.input else 'input'} is required.")
    from delg.importers.job import convert

    for sentence in convert(options):
        print(sentence)
