"""The error for missing packages of an extra."""

from delg.common.distribution import NAME
from delg.common.errors import InputError


def needs_extra(what: str, extra: str) -> InputError:
    """The error for a missing extra, with the command that installs the extra.

    Args:
      what: begins the sentence, such as ``"The runtime onnxruntime"``.
      extra: one of the extras in ``setup.py``.
    """
    return InputError(
        f"{what} needs the extra '{extra}': pip install '{NAME}[{extra}]', or in a checkout of the project "
        f"pip install '.[{extra}]'."
    )
