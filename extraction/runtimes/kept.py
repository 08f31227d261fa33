"""Graphs of networks for OpenVINO that are kept, so that a later process starts without Keras and TensorFlow.

A graph lies under ``DELG_HOME``, beside published weights. Its name has two hashes: that of the model (weights,
configuration and switches), and that of all else it depends on (source code and versions of packages). It is compared
with the network on Keras when it is made, and replaces the graphs of the same model. Where it cannot be kept, the
network is converted anew in each process.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.files import atomic_path, json_sha256, read_json, sha256, write_json
from delg.common.sources import source_sha256
from delg.common.spec import plug_ins_in
from delg.exporting.openvino import openvino, openvino_model
from delg.weights import home

if TYPE_CHECKING:
    from delg.model import Delg

HEADS = ("global",)
LEAST_COSINE = 1 - 1e-5
FILES, RECORD = ("graph.xml", "graph.bin"), "facts.json"
SIDE = 160  # pixels of the image on which a graph is compared


@dataclass(frozen=True)
class Trunk:
    """What an extractor asks of a backbone, see :class:`delg.backbones.base.Backbone`."""

    image_side: int | None
    receptive_field: float


@dataclass(frozen=True)
class KeptModel:
    """A model without local head as its kept graph; has what :class:`extraction.extractors.delg.DelgExtractor` asks.

    Attributes:
      config: of the model, with its switches.
      min_sides: see :class:`delg.model.Delg`, as for the others.
      embedding_dim: values of a global descriptor.
      trunk: facts of the backbone.
      graph: file of the graph, from pixels to outputs.
      restore: makes the model itself.
    """

    config: dict[str, Any]
    min_sides: dict[str, int]
    embedding_dim: int
    trunk: Trunk
    graph: Path
    restore: "Callable[[], Delg]"
    head_names: tuple[str, ...] = HEADS
    local_dim: None = None
    local_stride: int = 1

    def get_config(self) -> dict[str, Any]:
        """Every argument of the model."""
        return dict(self.config)

    def normalize(self, images: Any) -> NDArray[np.float32]:
        """The pixels in float32; the graph itself normalises them."""
        return np.asarray(images, np.float32)

    @cached_property
    def full(self) -> "Delg":
        """The model itself."""
        return self.restore()


def key_of(weights: str, config: Mapping[str, Any], switches: Mapping[str, Any]) -> str | None:
    """The name of a graph; None for a model with a local head, and where a package has another name.

    Args:
      weights: SHA-256 of the weights.
      config: arguments of the model.
      switches: of the extraction.
    """
    if config.get("local_head", "attention") is not None:
        return None
    try:
        packages = {name: version(name) for name in ("keras", "tensorflow", "openvino")}
    except PackageNotFoundError:
        return None
    source = source_sha256("delg.model", "delg.superglobal", __name__, *plug_ins_in(*config.values()))
    return f"{json_sha256([weights, dict(config), dict(switches)])[:32]}-{json_sha256([packages, source])[:32]}"


def opened(key: str, restore: "Callable[[], Delg]") -> KeptModel | None:
    """A kept graph; None where there is none, or it is damaged."""
    place = _place(key)
    try:
        record = read_json(place / RECORD)
        if record["sha256"] != [sha256(place / name) for name in FILES]:
            return None
        facts = record["facts"]
        trunk = Trunk(**facts.pop("trunk"))
        return KeptModel(**facts, trunk=trunk, graph=place / FILES[0], restore=restore)
    except (OSError, InputError, KeyError, TypeError):
        return None


def keep(key: str, model: "Delg") -> bool:
    """Converts a model, compares the graph with it, and keeps the graph.

    Returns:
      Whether the graph agrees with the model and could be written.
    """
    place, package = _place(key), openvino()
    graph = openvino_model(model, HEADS, from_pixels=True)
    side = max(SIDE, *model.min_sides.values())
    image = np.random.default_rng(0).integers(0, 256, (1, side, side, 3)).astype(np.float32)
    ours = package.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([image])["global_descriptor"][0]
    theirs = model.inference_model(HEADS)(model.normalize(image), training=False)["global_descriptor"]
    theirs = np.asarray(theirs, np.float32)[0]
    if not ours @ theirs >= LEAST_COSINE * np.linalg.norm(ours) * np.linalg.norm(theirs):
        return False
    facts = {
        "config": model.get_config(),
        "min_sides": model.min_sides,
        "embedding_dim": model.embedding_dim,
        "trunk": asdict(Trunk(model.trunk.image_side, model.trunk.receptive_field)),
    }
    try:
        with atomic_path(place) as folder:
            folder.mkdir()
            package.save_model(graph, folder / FILES[0], compress_to_fp16=False)
            write_json(folder / RECORD, {"facts": facts, "sha256": [sha256(folder / name) for name in FILES]})
    except (OSError, RuntimeError):  # the latter by OpenVINO
        return False
    for other in place.parent.glob(f"{key.partition('-')[0]}-*"):
        if other != place:
            shutil.rmtree(other, ignore_errors=True)
    return True


def _place(key: str) -> Path:
    return home() / "graphs" / key
