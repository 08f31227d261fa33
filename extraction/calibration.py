"""Calibration from a sample of images: a score threshold, a whitening, and the ranges of a network in int8."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from delg.common.errors import InputError
from delg.common.extras import needs_extra
from delg.common.files import read_json, write_json
from extraction import whitening
from extraction.config import ExtractionConfig
from extraction.describing import describe
from extraction.extractors.delg import DelgExtractor
from extraction.features import Features, Floats
from extraction.images import BadImageError, ImageRef, load_image
from extraction.runtimes.openvino_runtime import INT8_FILE, graph_digest
from extraction.runtimes.table import INT8
from extraction.verification import verify

ALL = 10**9  # more cells than an image has
LEAST_COSINE = 0.995  # of global descriptors in int8 and in float32
VERIFIED = 8  # images that int8 is compared on
POOLING = ["MatMul", "Maximum", "Multiply", "Power", "ReduceMean"]  # operations of the global head


def spread(count: int, most: int) -> list[int]:
    """Places of a sample that is spread over a list: at most ``most``, from the first to the last."""
    return [int(place) for place in np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))]


def score_threshold(extractor: DelgExtractor, images: Sequence[ImageRef], quantile: float) -> float:
    """The attention below which a share of all cells lies, over all scales of the sample.

    Args:
      extractor: of a model with a local head.
      images: the sample; images that cannot be read are left out.
      quantile: the share, 0 to 1.

    Raises:
      InputError: the share is out of range, the model has no local head, or no image can be read.
    """
    if not 0 <= quantile <= 1:
        raise InputError(f"quantile expects a share from 0 to 1. Received: {quantile}")
    config = replace(extractor.config, max_feature_num=ALL, score_threshold=None)
    scores = [features.scores for features in _local(extractor, config, images)]
    return float(np.quantile(np.concatenate(scores), quantile))


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
    """Learns a whitening from the local features of a sample.

    Args:
      extractor: of a model with a local head; its own whitening is not applied.
      images: the sample; images that cannot be read are left out.
      folder: the model's, for the whitening.
      dim: values of a whitened descriptor; None for the model's.

    Returns:
      The whitening's file.

    Raises:
      InputError: the model has no local head, no image can be read, or there are too few local features.
    """
    features = _local(extractor, extractor.config, images)
    learned = whitening.learn((one.descriptors.astype(np.float32) for one in features), dim)
    return whitening.save(learned, folder, extractor.settings["weights_sha256"])


def _local(extractor: DelgExtractor, config: ExtractionConfig, images: Sequence[ImageRef]) -> Iterator[Features]:
    """Local features of a sample without a projection.

    Raises:
      InputError: the model has no local head, or no image can be read.
    """
    if "local" not in extractor.heads:
        raise InputError("The model has no local head, so there are no local features to learn from.")
    plain = DelgExtractor(extractor.model, config)
    plain.heads = ("local",)
    return (describe(plain, ref, loaded) for ref, loaded in _readable(images))


def quantise(
    extractor: DelgExtractor, images: Sequence[ImageRef], others: Sequence[ImageRef], folder: str | os.PathLike[str]
) -> float:
    """Quantises the network to int8 by the ranges of its activations on a sample, by NNCF.

    Every scale of every image is part of the sample. The graph is written into the folder beside the weights. The
    heads remain as they are: 8 bits are too few for a power in the pooling and for the attention's small range. A
    network that int8 changes too much, such as EfficientNet-Lite, is found by comparing descriptors.

    Args:
      extractor: its model and scales, in float32.
      images: the sample; images that cannot be read are left out.
      others: images that int8 is compared on with float32.
      folder: the model's, for the graph.

    Returns:
      The least cosine of a global descriptor in int8 and in float32.

    Raises:
      InputError: the extra is not installed, no image can be read, or that cosine is below ``LEAST_COSINE``; nothing is
        written then.
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
    heads = nncf.IgnoredScope(names=local_head_operations(graph), types=POOLING, validate=False)
    count = sum(1 for _ in inputs)
    quantised = nncf.quantize(graph, nncf.Dataset(inputs), subset_size=count, ignored_scope=heads)
    quantised.set_rt_info(graph_digest(extractor.model), ["delg", "digest"])
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        package.serialize(quantised, os.fspath(Path(temporary, INT8_FILE)))
        config = replace(extractor.config, runtime="openvino", precision=INT8)
        cosine = _least_cosine(DelgExtractor(extractor.model, config, folder=temporary), others)
        if cosine < LEAST_COSINE:
            raise InputError(
                f"int8 is not offered for this model: a global descriptor has a cosine of {cosine:.3f} to that in "
                f"float32, below {LEAST_COSINE}; nothing is written. --precision=bfloat16 needs no calibration."
            )
        for file in (Path(INT8_FILE).with_suffix(".bin"), Path(INT8_FILE)):
            Path(temporary, file).replace(Path(folder, file))
    return cosine


def _least_cosine(extractor: DelgExtractor, images: Sequence[ImageRef]) -> float:
    """The least cosine of an image's global descriptor by an extractor and by its model in float32 on Keras."""
    plain = DelgExtractor(extractor.model, replace(extractor.config, runtime=None, precision="float32"))
    extractor.heads = plain.heads = ("global",)
    cosine = verify(extractor, plain, images, len(images)).global_cosine
    return -1.0 if cosine is None else cosine


class _Inputs:
    """Inputs of the network for a sample, made anew at each iteration, so that one image at a time is in memory."""

    def __init__(self, extractor: DelgExtractor, images: Sequence[ImageRef]):
        """Takes the extractor and the sample."""
        self._extractor, self._images = extractor, images

    def __iter__(self) -> Iterator[Floats]:
        for _, (image, *_) in _readable(self._images):
            yield from self._extractor.network_inputs(image)


def local_head_operations(graph: Any) -> list[str]:
    """Names of the operations of a graph that local outputs depend on and the global descriptor does not."""
    operations: dict[str, set[str]] = {}
    for output in graph.outputs:
        stack, names = [output.get_node()], set()
        while stack:
            node = stack.pop()
            if node.get_friendly_name() not in names:
                names.add(node.get_friendly_name())
                stack += [value.get_node() for value in node.input_values()]
        operations[output.get_any_name()] = names
    of_global = operations.pop("global_descriptor")
    return sorted(set().union(*operations.values()) - of_global)


def _readable(images: Sequence[ImageRef]) -> Iterator[tuple[ImageRef, Any]]:
    """The images that can be decoded, with the result of :func:`extraction.images.load_image`.

    Raises:
      InputError: no image can be decoded.
    """
    decoded = False
    for ref in images:
        try:
            loaded = load_image(ref)
        except BadImageError:
            continue
        decoded = True
        yield ref, loaded
    if not decoded:
        raise InputError("None of the images of the sample can be read.")
