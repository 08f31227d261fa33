"""Finds our weights among the keys of a TensorFlow checkpoint, whose spelling depends on the version that wrote it."""

from collections.abc import Iterable
from typing import Any, Protocol

from delg.importers.names import VALUE, checkpoint_name, numbered_name, variable_name

ROOTS = ("", "model/", "_model/")
PARTS = ("backbone/", "attention/", "autoencoder/")
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
BOOKKEEPING = ("optimizer", "save_counter", "global_step", "step", "epoch", GRAPH)
NO_TENSORS = ("/.ATTRIBUTES/OBJECT_CONFIG_JSON", "/.ATTRIBUTES/PY_STATE")  # descriptions of objects, beside weights


class Names(Protocol):
    """Where the weights of the released Keras model lie in one file."""

    def found(self, path: str) -> str | None:
        """The name in the file of a variable of ours, or None."""

    def official(self, path: str) -> str:
        """The name that it should have."""

    def weights(self) -> list[str]:
        """All names of weights, without the optimizer's state, counters and ArcFace's scale."""

    def scale(self) -> str | None:
        """The name of ArcFace's scale, or None."""


class VariableNames:
    """Names as in HDF5 files, ``res2a_branch2a/kernel:0``."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = set(names)

    def found(self, path: str) -> str | None:
        """The name of a variable of ours, or None."""
        return name if (name := self.official(path)) in self.names else None

    def official(self, path: str) -> str:
        """The name that it should have."""
        return f"{variable_name(path)}:0"

    def weights(self) -> list[str]:
        """All names but that of the scale."""
        return sorted(self.names - {"scale_factor:0"})

    def scale(self) -> str | None:
        """The name of ArcFace's scale, or None."""
        return "scale_factor:0" if "scale_factor:0" in self.names else None


def _count(keys: Iterable[str], starts: Iterable[str]) -> int:
    return sum(key.startswith(tuple(starts)) for key in keys)


def _is_bookkeeping(key: str) -> bool:
    """Whether a key is the optimizer's, a counter, or no tensor at all."""
    return key.partition("/")[0] in BOOKKEEPING or ".OPTIMIZER_SLOT" in key or key.endswith(NO_TENSORS)


class CheckpointKeys:
    """Keys of a TensorFlow checkpoint.

    A weight is looked for under its place in the object graph as a key, then by walking the graph, then by the
    variable's own name where that is unique, then by its number in a unit.

    Args:
      keys: all keys of the file.
      graph: a ``TrackableObjectGraph``, or None.
    """

    def __init__(self, keys: Iterable[str], graph: Any = None) -> None:
        values = [key for key in keys if not _is_bookkeeping(key)]
        self.root = max(ROOTS, key=lambda root: _count(values, [root + part for part in PARTS]))
        inside = [key for key in values if key.startswith(self.root) and key.endswith(VALUE)]
        self.places = {key.removesuffix(VALUE): key for key in inside}
        self.others = set(values) - set(inside)
        self.nodes = list(graph.nodes) if graph is not None else []
        self.variables = self._by_variable_name()

    def found(self, path: str) -> str | None:
        """The key of a variable of ours, or None."""
        place, numbered = self.root + checkpoint_name(path), numbered_name(path)
        return (
            self.places.get(place)
            or self._walk(place)
            or self.variables.get(variable_name(path))
            or (self.places.get(self.root + numbered) if numbered else None)
        )

    def official(self, path: str) -> str:
        """The key that it should have."""
        return self.root + checkpoint_name(path) + VALUE

    def weights(self) -> list[str]:
        """The keys of the model's weights, and all others that are no bookkeeping: they have no place in the model."""
        return sorted((set(self.places.values()) | self.others) - {self.scale()})

    def scale(self) -> str | None:
        """The key of ArcFace's scale, or None."""
        return self.places.get(f"{self.root}scale_factor")

    def _by_variable_name(self) -> dict[str, str]:
        keys: dict[str, set[str]] = {}
        for node in self.nodes:
            for attribute in node.attributes:
                if attribute.full_name and attribute.checkpoint_key.removesuffix(VALUE) in self.places:
                    keys.setdefault(attribute.full_name.removesuffix(":0"), set()).add(attribute.checkpoint_key)
        return {name: next(iter(those)) for name, those in keys.items() if len(those) == 1}

    def _walk(self, place: str) -> str | None:
        """Follows the names of children from the first node."""
        if not self.nodes:
            return None
        node = self.nodes[0]
        for part in place.split("/"):
            index = next((child.node_id for child in node.children if child.local_name == part), -1)
            if not 0 <= index < len(self.nodes):
                return None
            node = self.nodes[index]
        keys = (attribute.checkpoint_key for attribute in node.attributes if attribute.name == "VARIABLE_VALUE")
        return next((key for key in keys if key.removesuffix(VALUE) in self.places), None)
