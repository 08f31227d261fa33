"""The model's extractor: image -> scales -> network -> one global descriptor and the best local features.

Source: DELG, arXiv 2001.05027, section 3.3, and the released extractors of DELG, CVNet and SuperGlobal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.files import json_sha256
from delg.common.spec import plug_ins_in
from extraction import adaptation as adapting
from extraction import whitening
from extraction.adaptation import Adaptation
from extraction.config import MATCHING, OPTIONS, SWITCHES, ExtractionConfig, fitted
from extraction.extractors.base import Extractor, Picture
from extraction.extractors.select import at_cells, suppressed, top_by_score
from extraction.features import Features, Floats
from extraction.pca import NO_PCA, Projections
from extraction.resize import INTERPOLATIONS, limited_size, resize, to_source
from extraction.runtimes import kept
from extraction.runtimes.kept import KeptModel
from extraction.runtimes.openvino_runtime import int8_digest
from extraction.runtimes.table import CLASSES, SHARING, Network, Runtime, resolved, start
from extraction.scale_pooling import build_scale_pooling, unit
from extraction.scaling import SCALE_RULES, Pass, Pyramid, Size, plan_passes
from extraction.settings import common_settings, model_digest

if TYPE_CHECKING:
    from delg.model import Delg


@dataclass
class _Outputs:
    """Outputs of the passes so far; local descriptors as maps ``(h, w, d)``."""

    vectors: list[NDArray[np.float64]] = field(default_factory=list)
    points: list[NDArray[np.float64]] = field(default_factory=list)
    descriptors: list[Floats] = field(default_factory=list)
    scores: list[Floats] = field(default_factory=list)
    scales: list[Floats] = field(default_factory=list)


class DelgExtractor(Extractor):
    """Extractor of a model's global descriptor and local features.

    Global: the descriptors of the selected scales are pooled (``scale_pooling``) and L2-normalised. Local: the
    ``max_feature_num`` cells of highest attention over all scales, descriptors L2-normalised; none where the model has
    no local head.

    Attributes:
      model: the model with the switches of the configuration.
      config: the extraction's hyper-parameters.
      heads: the computed heads; all heads of the model, unless it is set to fewer.
      pca: applied to the global descriptor of each scale and to the local descriptors (see :mod:`extraction.pca`).
      adaptation: applied to the finished global descriptor (see :mod:`extraction.adaptation`), or None.
      folder: of the model; None for one in memory.
    """

    batched = True
    matching = MATCHING

    def __init__(
        self,
        model: "Delg | KeptModel",
        config: ExtractionConfig,
        weights: str = "in memory",
        folder: str | None = None,
    ):
        """Takes the model; its networks are built when they are first used.

        Args:
          model: see :class:`delg.model.Delg`; or its kept graph, which has the switches of the configuration.
          config: the extraction's hyper-parameters.
          weights: identity of the weights, recorded as ``weights_sha256``.
          folder: the model's folder, which may hold a calibration for int8.

        Raises:
          InputError: the model's backbone lacks a switch, or Keras runs on another backend than the runtime needs.
        """
        self.config = config
        self.heads = tuple(model.min_sides)
        self._model = model if isinstance(model, KeptModel) else _switched(model, config)
        self.dimensions = {"global": self._model.embedding_dim, "local": self._model.local_dim or 0}
        self._rule = SCALE_RULES[config.scale_rule].in_multiples(config.side_multiple)
        self._join = build_scale_pooling(config.scale_pooling)
        self.pca: Projections = NO_PCA
        self.adaptation: Adaptation | None = None
        self._runtime_name, self.folder = resolved(config.runtime), folder
        self._runtime: Runtime | None = None
        self._networks: dict[tuple[tuple[str, ...], int], Network] = {}
        self._at_once = 1
        self._building = Lock()
        self.settings = common_settings(
            extractor="delg",
            weights_sha256=weights,
            model_sha256=model_digest(model.get_config()),
            **config.settings() | {"runtime": self._runtime_name},
            resize=INTERPOLATIONS[config.interpolation],
            scale_resize=self._rule.text,
        )
        if config.precision == "int8":
            self.settings["int8_sha256"] = int8_digest(self.model, folder)

    @property
    def model(self) -> "Delg":
        """The model with the switches of the configuration."""
        return self._model.full if isinstance(self._model, KeptModel) else self._model

    @classmethod
    def from_folder(
        cls,
        folder: str,
        seed: int | None = None,
        local_whitening: bool = True,
        adaptation: bool = True,
        **options: Any,
    ) -> Self:
        """Loads a model.

        Args:
          folder: written by :func:`delg.save`, or another model that :func:`delg.load` reads.
          seed: None for its weights; a number for fresh weights drawn from that seed.
          local_whitening: apply the whitening of local descriptors in the folder, if there is one for its weights; see
            :mod:`extraction.whitening`.
          adaptation: apply the adaptation of global descriptors in the folder, if there is one for its weights; see
            :mod:`extraction.adaptation`.
          **options: fields of :class:`ExtractionConfig` that override the model's own.

        Raises:
          InputError: not a model folder, or the seed or an option out of range.
        """
        from delg.saving import CONFIG, folder_of, load, model_config, weights_sha256

        for name, switch in {"local_whitening": local_whitening, "adaptation": adaptation}.items():
            if type(switch) is not bool:
                raise InputError(f"{name} expects True or False. Received: {switch!r}")
        if seed is not None and not (type(seed) is int and 0 <= seed < 2**32):
            raise InputError(f"seed expects a whole number from 0 to 4294967295. Received: {seed!r}")
        own = model_config(folder)
        recorded = own.get("extraction") or {}
        unknown = sorted(set(recorded) - set(OPTIONS))
        if unknown:
            raise InputError(f"{folder}/{CONFIG} holds unknown settings of extraction: {', '.join(unknown)}.")
        defaults: dict[str, Any] = {"image_scales": [1.0], "global_scales_ind": [0]}
        config = ExtractionConfig(**fitted(defaults | recorded, options))
        if seed is not None:
            import keras

            keras.utils.set_random_seed(seed)
            untrained = load(folder, weights=False)
            return cls(untrained, config, f"untrained:seed={seed}:{json_sha256(untrained.get_config())}")
        model = _kept(folder, own, config)
        weights = weights_sha256(folder)
        place = folder_of(folder)
        extractor = cls(model, config, weights, None if place is None else str(place))
        if local_whitening and place is not None:
            extractor.project(Projections(of_local=whitening.load(place, weights)))
        if adaptation and place is not None and (learned := adapting.load(place, weights)):
            extractor.adapt(learned)
        return extractor

    def adapt(self, adaptation: Adaptation) -> None:
        """Adapts global descriptors from now on, and records that in the settings.

        Raises:
          InputError: the adaptation is for descriptors of another length.
        """
        dim, size = adaptation.weight.shape
        if size != self.dimensions["global"]:
            raise InputError(
                f"The adaptation expects descriptors of {size} values; the model's have {self.dimensions['global']}. "
                f"For this model {adapting.AGAIN}."
            )
        self.adaptation = adaptation
        self.dimensions = {**self.dimensions, "global": dim}
        self.settings = self.settings | {"adaptation": adaptation.digest()}

    def project(self, projections: Projections) -> None:
        """Projects descriptors from now on; see :meth:`extraction.extractors.base.Extractor.project`.

        Raises:
          InputError: as there, or global descriptors are adapted, which was learned without a PCA.
        """
        if projections.of_global is not None and self.adaptation is not None:
            raise InputError(
                "The model's adaptation was learned on descriptors without a PCA; "
                'delg(model="FOLDER", adaptation=False) turns the adaptation off.'
            )
        super().project(projections)

    def __call__(
        self, image: NDArray[np.uint8], name: str, resize_factor: float = 1.0, size: Size | None = None
    ) -> Features:
        """Describes ``(H, W, 3)`` uint8 RGB; see :class:`extraction.extractors.base.Extractor`."""
        return self.together([Picture(image, name, resize_factor, size)])[0]

    def together(self, pictures: Sequence[Picture]) -> list[Features]:
        """Describes pictures that have one size at scale 1, with one run of the network a scale."""
        plans = [self.plan(one.image, one.resize_factor, one.size) for one in pictures]
        if any(passes != plans[0][2] for _, _, passes in plans):  # shares of limits that differ
            return [features for one in pictures for features in self.together([one])]
        outputs_of = [_Outputs() for _ in pictures]
        sources = [one.size or (one.image.shape[1], one.image.shape[0]) for one in pictures]
        base, _, passes = plans[0]
        for one in passes:
            inputs = [scaled(one.scale, one.size) for _, scaled, _ in plans]
            outputs = self.network(one.heads)(_joined(inputs))
            for i, (of_picture, source) in enumerate(zip(outputs_of, sources)):
                own = {name: values[i] for name, values in outputs.items()}
                if "global" in one.heads:
                    of_picture.vectors.append(own["global_descriptor"].astype(np.float64))
                if "local" in one.heads:
                    self._add_local(of_picture, own, one, base, self._frame(base, source))
        return [
            self._features(of_picture, picture.name, base, source)
            for of_picture, picture, source in zip(outputs_of, pictures, sources)
        ]

    def base_size(self, size: Size, resize_factor: float = 1.0) -> Size:
        """``(width, height)`` at scale 1 of an image of a size."""
        config = self.config
        limits = config.max_image_size, config.min_image_size
        return limited_size(
            *size, *limits, resize_factor, square=config.use_square_images, multiple=config.side_multiple
        )

    def plan(
        self, image: NDArray[np.uint8], resize_factor: float = 1.0, size: Size | None = None
    ) -> tuple[Size, Pyramid, list[Pass]]:
        """The size at scale 1, the image at any scale, and the runs of the network."""
        config, base = self.config, self.base_size(size or (image.shape[1], image.shape[0]), resize_factor)
        sides = {head: side for head, side in self._model.min_sides.items() if head in self.heads}
        longest = config.max_image_size * resize_factor
        passes = plan_passes(config.image_scales, config.global_scales_ind, base, sides, self._rule, longest=longest)
        side = self._model.trunk.image_side
        if side and any(one.size != (side, side) for one in passes):
            raise InputError(
                f"The model's backbone accepts images of {side} x {side} pixels only; give --image_scales=1.0, "
                f"--max_image_size={side}, --min_image_size={side} and --use_square_images."
            )
        resized = resize(image, base, config.interpolation)
        return base, Pyramid(resized, self._rule, config.antialias, self._model.normalize), passes

    def network_inputs(self, image: NDArray[np.uint8]) -> list[Floats]:
        """The network's inputs for an image: ``(1, h, w, 3)`` float32 for each of its runs."""
        _, scaled, passes = self.plan(image)
        return [np.asarray(scaled(one.scale, one.size), np.float32) for one in passes]

    def network(self, heads: tuple[str, ...]) -> Network:
        """The network that computes these heads alone, made when it is first used.

        Raises:
          InputError: see :func:`extraction.runtimes.table.start`.
        """
        with self._building:
            if self._runtime is None:
                self._runtime = start(self._model, self._runtime_name, self.config.precision, self.folder)
            key = heads, self._at_once
            if key not in self._networks:
                self._networks[key] = self._runtime.network(*key)
        return self._networks[key]

    def makers(self) -> tuple[Any, ...]:
        """The extractor, the module of its runtime, and what the model names as ``module:Class``."""
        runtime = str(CLASSES[self._runtime_name]).partition(":")[0]
        return (self, runtime, *plug_ins_in(*self._model.config.values()))

    def share_cores(self, threads: int) -> None:
        """Receives the number of threads that are going to describe images at once."""
        self._at_once = threads if self._runtime_name in SHARING else 1

    def _frame(self, base: Size, source: Size) -> Size:
        """Size of the image whose pixels are the unit of keypoints."""
        return base if self.config.use_resized_coordinates else source

    def _add_local(self, collected: _Outputs, outputs: dict[str, Any], one: Pass, base: Size, frame: Size) -> None:
        scores = np.asarray(outputs["attention"], np.float32)
        collected.scores.append(scores.ravel())
        collected.descriptors.append(outputs["local_descriptors"])
        collected.points.append(self._points(scores.shape, one, base, frame))
        collected.scales.append(np.full(scores.size, 1 / one.scale, np.float32))

    def _points(self, cells: tuple[int, ...], one: Pass, base: Size, frame: Size) -> NDArray[np.float64]:
        """Keypoints ``(h * w, 2)`` ``(x, y)`` of a local map, in pixels of an image of a size."""
        if self.config.keypoints == "centre":
            ys, xs = self.model.keypoint_grid(one.size[1], one.size[0])
            grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
            return to_source(grid, one.size, frame)
        ys, xs = (self._model.local_stride * np.arange(n, dtype=np.float64) / one.scale for n in cells)
        grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
        return grid * np.asarray(frame, np.float64) / np.asarray(base, np.float64)

    def _features(self, outputs: _Outputs, name: str, base: Size, source: Size) -> Features:
        descriptor = np.zeros(0, np.float32)
        if outputs.vectors:
            vectors = np.asarray(self.pca.reduce_global(np.stack(outputs.vectors)), np.float64)
            descriptor = unit(self._join(vectors)).astype(np.float32)
            if self.adaptation is not None:
                descriptor = self.adaptation(descriptor).astype(np.float32)
        if not outputs.scores:
            return Features(name=name, image_size=source, global_descriptor=descriptor)
        scores = np.concatenate(outputs.scores)
        rows = self._selected(scores, outputs, base, self._frame(base, source))
        return Features(
            name=name,
            image_size=source,
            global_descriptor=descriptor,
            keypoints=np.concatenate(outputs.points)[rows].astype(np.float32),
            descriptors=unit(self.pca.reduce_local(at_cells(outputs.descriptors, rows))).astype(np.float32),
            scores=scores[rows],
            scales=np.concatenate(outputs.scales)[rows],
        )

    def _selected(self, scores: Floats, outputs: _Outputs, base: Size, frame: Size) -> NDArray[np.int64]:
        """Rows of the best local features."""
        config = self.config
        if config.iou == 1:
            return top_by_score(scores, config.max_feature_num, config.score_threshold)
        order = top_by_score(scores, len(scores), config.score_threshold)
        centres = to_source(np.concatenate(outputs.points), frame, base)
        return suppressed(
            order,
            centres,
            np.concatenate(outputs.scales),
            iou=config.iou,
            max_feature_num=config.max_feature_num,
            receptive_field=self._model.trunk.receptive_field,
        )


def _switched(model: "Delg", config: ExtractionConfig) -> "Delg":
    """The model with the switches of the configuration, in float32: the runtime converts it to other precisions."""
    from delg.superglobal import Switches, adapted, in_policy

    return in_policy(adapted(model, Switches(**{name: getattr(config, name) for name in SWITCHES})), "float32")


def _kept(folder: str, own: dict[str, Any], config: ExtractionConfig) -> "KeptModel | Delg":
    """A model as its kept graph, made now where it is absent; the model itself where none can be kept.

    Args:
      folder: or another text for :func:`delg.saving.load`.
      own: arguments of the model.
      config: the extraction's hyper-parameters.
    """
    from delg.saving import load, weights_sha256

    if (config.runtime, config.precision) != ("openvino", "float32") or not SCALE_RULES[config.scale_rule].on_pixels:
        return load(folder)
    key = kept.key_of(weights_sha256(folder), own, {name: getattr(config, name) for name in SWITCHES})

    def restore() -> "Delg":
        return _switched(load(folder), config)

    if key is None:
        return load(folder)
    if graph := kept.opened(key, restore):
        return graph
    model = restore()
    return (kept.opened(key, restore) if kept.keep(key, model) else None) or model


def _joined(inputs: Sequence[Any]) -> Any:
    """Images of one size as a batch."""
    if len(inputs) == 1:
        return inputs[0]
    if isinstance(inputs[0], np.ndarray):
        return np.concatenate(inputs)
    from keras import ops

    return ops.concatenate(inputs)


from_folder = DelgExtractor.from_folder
