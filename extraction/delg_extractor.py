"""The model's extractor: image -> scales -> network -> one global descriptor and the best local features.

Source: DELG, arXiv 2001.05027, section 3.3, and the released extractor.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, Self

import keras
import numpy as np
from numpy.typing import NDArray

from extraction.features import Features, Floats
from extraction.resize import RULE, limited_size, resize, to_source
from extraction.select import top_by_score
from extraction.settings import check_limits, common_settings
from protos.errors import InputError
from protos.files import sha256

if TYPE_CHECKING:
    from delg.model import Delg

KEYPOINTS = ("centre", "released")
EPS = 1e-12
MAX_SCALE = 16
Size = tuple[int, int]


@dataclass(frozen=True)
class ExtractionConfig:
    """How a model is applied to an image.

    Attributes:
      image_scales: factors on the sides of the image; local features come from all of them.
      global_scales_ind: which of them (indices, any order) the global descriptor is the sum of.
      max_image_size: longest side in pixels before scaling; -1 for no limit.
      max_feature_num: local features kept of an image.
      score_threshold: least attention of a local feature; None for no threshold.
      keypoints: ``"centre"`` puts a keypoint at the centre of what its cell sees; ``"released"`` at the released
        ``stride * index / scale``, which is 2 to 3 pixels of the scaled image up and to the left of it.
    """

    image_scales: tuple[float, ...]
    global_scales_ind: tuple[int, ...]
    max_image_size: int = 1024
    max_feature_num: int = 1000
    score_threshold: float | None = None
    keypoints: Literal["centre", "released"] = "centre"

    def __post_init__(self) -> None:
        try:
            scales = tuple(float(scale) for scale in self.image_scales)
            chosen = tuple(sorted({int(i) for i in self.global_scales_ind}))
            threshold = None if self.score_threshold is None else float(self.score_threshold)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"image_scales, global_scales_ind or score_threshold is not of numbers: {error}"
            ) from error
        object.__setattr__(self, "image_scales", scales)
        object.__setattr__(self, "global_scales_ind", chosen)
        object.__setattr__(self, "score_threshold", threshold)
        if not scales or not all(0 < scale < MAX_SCALE for scale in scales):
            raise InputError(f"image_scales expects factors between 0 and {MAX_SCALE}. Received: {list(scales)}")
        if not chosen or not all(0 <= i < len(scales) for i in chosen):
            raise InputError(
                f"global_scales_ind expects indices from 0 to {len(scales) - 1} into image_scales. "
                f"Received: {list(chosen)}"
            )
        check_limits(self.max_image_size, self.max_feature_num)
        if self.keypoints not in KEYPOINTS:
            raise InputError(f"Unknown keypoints {self.keypoints!r}; the choices are {', '.join(KEYPOINTS)}.")


@dataclass(frozen=True)
class Pass:
    """One run of the network.

    Attributes:
      scale: nominal factor.
      size: ``(width, height)`` of its input.
      heads: what is computed.
    """

    scale: float
    size: Size
    heads: tuple[str, ...]


@dataclass
class _Joined:
    """Outputs of the passes, joined."""

    descriptor: NDArray[np.float64] | float = 0.0
    points: list[NDArray[np.float64]] = field(default_factory=list)
    descriptors: list[Floats] = field(default_factory=list)
    scores: list[Floats] = field(default_factory=list)
    scales: list[Floats] = field(default_factory=list)


class DelgExtractor:
    """Extractor of a model's global descriptor and local features.

    Global: the descriptor of each chosen scale is L2-normalised, they are summed, and the sum is L2-normalised.
    Local: the cells of all scales, the ``max_feature_num`` of highest attention, descriptors L2-normalised.

    Attributes:
      config: the extraction's hyper-parameters.
      settings: recorded in the store.
    """

    def __init__(self, model: "Delg", config: ExtractionConfig, weights: str = "in memory"):
        """Keeps the model and builds the networks when they are first used.

        Args:
          model: see :class:`delg.model.Delg`.
          config: see there.
          weights: identity of the weights, recorded as ``weights_sha256``.
        """
        self.model, self.config = model, config
        self._networks: dict[tuple[str, ...], keras.Model] = {}
        self._building = Lock()
        self.settings: dict[str, Any] = common_settings(
            extractor="delg",
            weights_sha256=weights,
            model_sha256=model_digest(model.get_config()),
            image_scales=list(config.image_scales),
            global_scales_ind=list(config.global_scales_ind),
            max_image_size=config.max_image_size,
            max_feature_num=config.max_feature_num,
            score_threshold=config.score_threshold,
            keypoints=config.keypoints,
            resize=RULE,
            scale_resize="bilinear, half-pixel centres",
            antialias=False,
        )

    @classmethod
    def from_folder(cls, folder: str, seed: int | None = None, **options: Any) -> Self:
        """Loads a model folder.

        Args:
          folder: what :func:`delg.save` wrote.
          seed: None for its weights; a number for fresh weights drawn from that seed.
          **options: fields of :class:`ExtractionConfig` that replace the model's own.

        Raises:
          InputError: not a model folder, or the seed or an option out of range.
        """
        from delg.saving import CONFIG, WEIGHTS, load

        if seed is not None and not (type(seed) is int and 0 <= seed < 2**32):
            raise InputError(f"seed expects a whole number from 0 to 4294967295. Received: {seed!r}")
        if seed is not None:
            keras.utils.set_random_seed(seed)
        model = load(folder, weights=seed is None)
        defaults: dict[str, Any] = {"image_scales": [1.0], "global_scales_ind": [0]}
        config = ExtractionConfig(**(defaults | model.extraction | options))
        if seed is None:
            return cls(model, config, sha256(f"{folder}/{WEIGHTS}"))
        return cls(model, config, f"untrained:seed={seed}:{sha256(f'{folder}/{CONFIG}')}")

    def __call__(self, image: NDArray[np.uint8], name: str, resize_factor: float = 1.0) -> Features:
        """Describes ``(H, W, 3)`` uint8 RGB; see :class:`extraction.pipeline.Extractor`."""
        height, width = image.shape[:2]
        base = limited_size(width, height, self.config.max_image_size, resize_factor=resize_factor)
        network_input = self.model.normalize(resize(image, base)[None])
        joined = _Joined()
        for one in plan_passes(self.config.image_scales, self.config.global_scales_ind, base, self.model.min_side):
            outputs = self._run(network_input, base, one)
            if "global" in one.heads:
                joined.descriptor = joined.descriptor + unit(outputs["global_descriptor"][0].astype(np.float64))
            if "local" in one.heads:
                self._add_local(joined, outputs, one, base, (width, height))
        return self._features(joined, name, (width, height))

    def _run(self, network_input: Any, base: Size, one: Pass) -> dict[str, NDArray[np.float32]]:
        if one.size != base:
            shape = (one.size[1], one.size[0])
            network_input = keras.ops.image.resize(network_input, shape, interpolation="bilinear", antialias=False)
        return self._network(one.heads).predict_on_batch(network_input)

    def _network(self, heads: tuple[str, ...]) -> keras.Model:
        """The network of these heads; without XLA in TensorFlow, which would compile for every image size."""
        with self._building:
            if heads not in self._networks:
                network = self.model.inference_model(heads)
                if keras.backend.backend() == "tensorflow":
                    network.jit_compile = False
                network.make_predict_function()
                self._networks[heads] = network
        return self._networks[heads]

    def _add_local(self, joined: _Joined, outputs: dict[str, Any], one: Pass, base: Size, source: Size) -> None:
        scores = np.asarray(outputs["attention"][0], np.float32)
        joined.scores.append(scores.ravel())
        joined.descriptors.append(outputs["local_descriptors"][0].reshape(scores.size, -1))
        joined.points.append(self._points(scores.shape, one, base, source))
        joined.scales.append(np.full(scores.size, 1 / one.scale, np.float32))

    def _points(self, cells: tuple[int, ...], one: Pass, base: Size, source: Size) -> NDArray[np.float64]:
        """Keypoints ``(h * w, 2)`` ``(x, y)`` of a local map, in pixels of the source image."""
        if self.config.keypoints == "centre":
            ys, xs = self.model.keypoint_grid(one.size[1], one.size[0])
            grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
            return to_source(grid, one.size, source)
        ys, xs = (self.model.local_stride * np.arange(n, dtype=np.float64) / one.scale for n in cells)
        grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
        return grid * np.asarray(source, np.float64) / np.asarray(base, np.float64)

    def _features(self, joined: _Joined, name: str, source: Size) -> Features:
        scores = np.concatenate(joined.scores)
        rows = top_by_score(scores, self.config.max_feature_num, self.config.score_threshold)
        return Features(
            name=name,
            image_size=source,
            global_descriptor=unit(np.asarray(joined.descriptor)).astype(np.float32),
            keypoints=np.concatenate(joined.points)[rows].astype(np.float32),
            descriptors=unit(np.concatenate(joined.descriptors)[rows]).astype(np.float32),
            scores=scores[rows],
            scales=np.concatenate(joined.scales)[rows],
        )


def model_digest(config: Mapping[str, Any]) -> str:
    """Hexadecimal SHA-256 of the part of a model's configuration that its features depend on.

    Args:
      config: JSON values; left out are ``extraction``, which the store records as it was used, and ``num_classes``,
        which only the training heads know.
    """
    part = {key: value for key, value in config.items() if key not in ("extraction", "num_classes")}
    return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()


def unit(vectors: NDArray[Any]) -> NDArray[Any]:
    """L2-normalises along the last axis: ``x / sqrt(max(sum x^2, 1e-12))``, as ``tf.nn.l2_normalize``."""
    return vectors / np.sqrt(np.maximum((vectors**2).sum(-1, keepdims=True), EPS))


def plan_passes(scales: Sequence[float], global_scales_ind: Sequence[int], base: Size, min_side: int) -> list[Pass]:
    """What is run for one image, in the order of the scales.

    Local features come from every scale, the global descriptor from the chosen ones; a scale whose shorter side would
    fall below ``min_side`` is left out. Where that leaves none, the largest of them is run with its sides raised to
    ``min_side``, so that every image of one pixel or more is described.

    Args:
      scales: factors.
      global_scales_ind: indices of those of the global descriptor.
      base: ``(width, height)`` at scale 1.
      min_side: smallest side that the network accepts.
    """
    sizes = [(round(base[0] * scale), round(base[1] * scale)) for scale in scales]
    usable = [i for i, size in enumerate(sizes) if min(size) >= min_side]
    heads: dict[int, list[str]] = {i: [] for i in range(len(scales))}
    for head, chosen in (("global", sorted(set(global_scales_ind))), ("local", range(len(scales)))):
        for i in [i for i in chosen if i in usable] or [max(chosen, key=lambda i: scales[i])]:
            heads[i].append(head)
    return [
        Pass(scales[i], (max(sizes[i][0], min_side), max(sizes[i][1], min_side)), tuple(heads[i]))
        for i in range(len(scales))
        if heads[i]
    ]
