"""The weights of a small network that runs without Keras, from a file that holds these weights alone."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.safetensors_file import Stored, is_safetensors, read_safetensors
from delg.common.strict import Shapes, check_values, complain
from delg.common.torch_file import state_dict


def network_weights(
    path: str | os.PathLike[str], network: str, shapes: Callable[[Shapes], Shapes]
) -> dict[str, NDArray[np.float32]]:
    """All weights of a network, from a checkpoint that holds these and no others.

    Args:
      path: the file, of ``torch.save`` or safetensors.
      network: its name, for messages.
      shapes: gives the shapes that the network needs, by name; its argument holds those of the file, from which widths
        can be read.

    Returns:
      The values by name.

    Raises:
      InputError: the file cannot be read; a weight is missing, unexpected or of another shape, which the message names;
        or a value is not a finite floating-point number.
    """
    if not Path(path).is_file():
        raise InputError(f"{path} is not a file; expected a checkpoint of {network}.")
    if is_safetensors(Path(path)):
        tensors = read_safetensors(Path(path))
    else:
        tensors = {name: Stored(tensor.shape, tensor.array) for name, tensor in state_dict(path).items()}
    in_file = {name: tensor.shape for name, tensor in tensors.items()}
    expected = shapes(in_file)
    complain(f"{path} holds no {network} network", expected, in_file)
    return {name: np.asarray(check_values(name, tensors[name].read()), np.float32) for name in expected}
