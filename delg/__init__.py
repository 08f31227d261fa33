"""DELG: one Keras model with a global and a local head for instance-level image retrieval."""

from typing import Any

_EXPORTS = {
    "__version__": "delg.common.distribution",
    "Delg": "delg.model",
    "load": "delg.saving",
    "save": "delg.saving",
    "create": "delg.presets",
}


def __getattr__(name: str) -> Any:
    """Imports the public names when they are first used, so that ``import delg`` costs nothing."""
    if name == "from_preset":
        raise AttributeError(
            "delg.from_preset is a name for models with trained weights, of which there are none by name: "
            "delg.create(name) makes one with random weights, delg.load(folder) reads a trained one."
        )
    if name not in _EXPORTS:
        raise AttributeError(f"module 'delg' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_EXPORTS[name]), name)
