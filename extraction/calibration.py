"""What is set from a sample of images and kept in the model's folder: a score threshold, and ranges for int8."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from delg.common.errors import InputError
from delg.common.extras import needs_extra
from delg.common.files import atomic_path, read_json, write_json
from extraction import whitening
from extraction.config import ExtractionConfig
from extraction.describing import describe
from extraction.extractors.delg import DelgExtractor
from extraction.features import Features, Floats
from extraction.images import BadImageError, ImageRef, load_image
from extraction.runtimes.openvino_runtime import INT8_FILE, graph_digest

EVERY = 10**9  # more cells than an image has
POOLING = ["MatMul", "Maximum", "Multiply", "Power", "ReduceMean"]  # operations of the global head


def spread(count: int, wanted: int) -> list[int]:
    """Places of a sample that is spread over a list: at most ``wanted``, from the first to the last."""
    return [int(place) for place in np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(int))]


def score_threshold(extractor: DelgExtractor, images: Sequence[ImageRef], quantile: float) -> float:
    """The attention that a share of all cells, over all scales of the sample, stays below.

    Args:
      extractor: of a model with a local head.
      images: the sample; those that cannot be read are passed over.
      quantile: the share, 0 to 1.

    Raises:
      InputError: the share is out of range, the model has no local head, or no image can be read.
    """
    if not 0 <= quantile <= 1:
        raise InputError(f"quantile expects a share from 0 to 1. Received: {quantile}")
    every = replace(extractor.config, max_feature_num=EVERY, score_threshold=None)
    return float(np.quantile(np.concatenate([f.scores for f in _local(extractor, every, images)]), quantile))


def write_threshold(folder: str | os.PathLike[str], threshold: float) -> None:
    """Writes a threshold into the model's own options of extraction."""
    from delg.saving import CONFIG

    path = Path(folder, CONFIG)
    document = read_json(path)
    document["model"]["extraction"] = (document["model"]["extraction"] or {}) | {"score_threshold": threshold}
    write_json(path, document)


def learn_whitening(
    extractor: DelgExtractor, images: Sequence[ImageRef], folder: str | os.PathLike[str], dim: int | None = None
) -> Path:
    """Learns a whitening of local descriptors from those that are kept of a sample.

    Args:
      extractor: of a model with a local head; a whitening that it has does not matter.
      images: the sample; those that cannot be read are passed over.
      folder: the model's, for the whitening.
      dim: values of a whitened descriptor; None for as many as the model's have.

    Returns:
      The whitening's file.

    Raises:
      InputError: the model has no local head, no image can be read, or there are too few local features.
    """
    described = _local(extractor, extractor.config, images)
    found = whitening.learn((f.descriptors.astype(np.float32) for f in described), dim)
    return whitening.save(found, folder, extractor.settings["weights_sha256"])


def _local(extractor: DelgExtractor, config: ExtractionConfig, images: Sequence[ImageRef]) -> Iterator[Features]:
    """Local features of a sample as the network gives them.

    Raises:
      InputError: the model has no local head, or no image can be read.
    """
    if "local" not in extractor.heads:
        raise InputError("The model has no local head, so there are no local features to learn from.")
    plain = DelgExtractor(extractor.model, config)
    plain.heads = ("local",)
    return (describe(plain, ref, loaded) for ref, loaded in _readable(images))


def quantise(extractor: DelgExtractor, images: Sequence[ImageRef], folder: str | os.PathLike[str]) -> Path:
    """Makes the network in int8 from the ranges that its activations have on a sample, by NNCF.

    Every scale of every image is part of the sample. The graph is written into the folder beside the weights. The
    heads stay as they are: a power in the pooling, and the attention's small range, do not bear 8 bits.

    Args:
      extractor: its model and scales.
      images: the sample; those that cannot be read are passed over.
      folder: the model's.

    Returns:
      The graph's file.

    Raises:
      InputError: the extra is not installed, or no image can be read.
    """
    from delg.exporting.openvino import openvino, openvino_model

    package = openvino()
    try:
        import nncf
    except ImportError as error:
        raise needs_extra("A calibration for int8", "openvino") from error
    nncf.set_log_level("ERROR")
    inputs = _Inputs(extractor, images)
    graph = openvino_model(extractor.model, extractor.model.head_names)
    kept = nncf.IgnoredScope(names=local_head_operations(graph), types=POOLING, validate=False)
    count = sum(1 for _ in inputs)
    quantised = nncf.quantize(graph, nncf.Dataset(inputs), subset_size=count, ignored_scope=kept)
    quantised.set_rt_info(graph_digest(extractor.model), ["delg", "digest"])
    path = Path(folder, INT8_FILE)
    with atomic_path(path.with_suffix(".bin")) as weights, atomic_path(path) as temporary:
        package.serialize(quantised, os.fspath(temporary), os.fspath(weights))
    return path


class _Inputs:
    """What the network gets of a sample, made anew each time, so that no more than one image's are in memory."""

    def __init__(self, extractor: DelgExtractor, images: Sequence[ImageRef]):
        """Keeps the two."""
        self._extractor, self._images = extractor, images

    def __iter__(self) -> Iterator[Floats]:
        for _, (image, *_) in _readable(self._images):
            yield from self._extractor.network_inputs(image)


def local_head_operations(graph: Any) -> list[str]:
    """Names of the operations of a graph that its local outputs depend on, and its global descriptor does not."""
    seen: dict[str, set[str]] = {}
    for output in graph.outputs:
        stack, found = [output.get_node()], set()
        while stack:
            node = stack.pop()
            if node.get_friendly_name() not in found:
                found.add(node.get_friendly_name())
                stack += [value.get_node() for value in node.input_values()]
        seen[output.get_any_name()] = found
    vector = seen.pop("global_descriptor")
    operations = set().union(*seen.values()) - vector
    return sorted(operations)


def _readable(images: Sequence[ImageRef]) -> Iterator[tuple[ImageRef, Any]]:
    """The images that can be decoded, with what :func:`extraction.images.load_image` gives.

    Raises:
      InputError: there are none.
    """
    found = False
    for ref in images:
        try:
            loaded = load_image(ref)
        except BadImageError:
            continue
        found = True
        yield ref, loaded
    if not found:
        raise InputError("None of the images of the sample can be read.")
