"""What is said where the packages of an extra are missing."""

from delg.common.distribution import NAME
from delg.common.errors import InputError


def needs_extra(what: str, extra: str) -> InputError:
    """The error for something that needs an extra, with the command that installs it.

    Args:
      what: begins the sentence, such as ``"The runtime onnxruntime"``.
      extra: one of the extras in ``setup.py``.
    """
    return InputError(
        f"{what} needs the extra '{extra}': pip install '{NAME}[{extra}]', or in a checkout of the project "
        f"pip install '.[{extra}]'."
    )
