"""DELG: one Keras model with a global and a local head for instance-level image retrieval."""

from typing import Any

_EXPORTS = {
    "__version__": "delg.common.distribution",
    "Client": "collection.client",
    "Collection": "collection.collection",
    "Delg": "delg.model",
    "load": "delg.saving",
    "save": "delg.saving",
    "create": "delg.presets",
    "from_preset": "delg.presets",
}


def __getattr__(name: str) -> Any:
    """Imports the public names when they are first used, so that ``import delg`` costs nothing."""
    import importlib

    if name == "weights":
        return importlib.import_module("delg.weights")
    if name not in _EXPORTS:
        raise AttributeError(f"module 'delg' has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    """The public names, for completion in a notebook."""
    return sorted({*globals(), *_EXPORTS, "weights"})
