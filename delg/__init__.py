"""DELG: one Keras model with a global and a local head for instance-level image retrieval."""

from typing import Any

__version__ = "0.1.0"
_EXPORTS = {
    "Delg": "delg.model",
    "load": "delg.saving",
    "save": "delg.saving",
    "from_preset": "delg.presets",
}


def __getattr__(name: str) -> Any:
    """Imports the public names when they are first used, so that ``import delg`` costs nothing."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'delg' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_EXPORTS[name]), name)
