"""Released SavedModels: the pipeline of the released extractor around their graph.

Source: `delf/python/examples/extractor.py` of the released code.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.files import read_json
from delg.presets import RELEASED_EXTRACTION
from extraction.config import MATCHING, ExtractionConfig, fitted
from extraction.extractors.base import Extractor
from extraction.extractors.saved_model_runner import LOCAL, Arrays, Runner, digest, load_runner
from extraction.features import Features
from extraction.images import BadImageError, Size
from extraction.pca import NO_PCA, Projections
from extraction.resize import RULE, SMALLEST, TooSmallError, limited_size, resize
from extraction.scale_pooling import build_scale_pooling, unit
from extraction.settings import common_settings

OWN_EXTRACTION = "assets.extra/extraction.json"  # written by delg-export
INPUT_OF = {
    "image_scales": "input_scales",
    "global_scales_ind": "input_global_scales_ind",
    "max_feature_num": "input_max_feature_num",
    "score_threshold": "input_abs_thres",
}
OPTIONS = (
    *INPUT_OF,
    "max_image_size",
    "min_image_size",
    "scale_pooling",
    "crop_rule",
    "use_square_images",
    "use_resized_coordinates",
    "keypoints",  # "released"; the graph gives no others
)


class SavedModelExtractor(Extractor):
    """Extractor of a SavedModel with a released signature: local features, a global descriptor, or both.

    The image is resized as released; the graph runs the network at all scales and selects the local features. Global:
    each scale is L2-normalised, they are summed, and the sum is L2-normalised. Local: descriptors are L2-normalised,
    keypoints are the box centres, in pixels of the given image.

    Attributes:
      runner: the loaded model.
      heads: the heads of the features; all heads of the model, unless it is set to fewer.
      config: the options; options without an input of the model have no effect.
      pca: applied to the global descriptor of each scale and to the local descriptors.
    """

    matching = MATCHING

    def __init__(self, model: str, **options: Any) -> None:
        """Loads the model.

        Options that are not given are read from ``assets.extra/extraction.json`` where :mod:`delg.export` left it, and
        have the released values otherwise.

        Args:
          model: folder with ``saved_model.pb``.
          **options: of :data:`OPTIONS`, see :class:`extraction.config.ExtractionConfig`; without a ``score_threshold``
            the graph gets 0, so that the ``max_feature_num`` local features of highest attention are kept.

        Raises:
          InputError: not a SavedModel of a released signature, or an option is out of range or has no effect on it.
        """
        self.runner: Runner = load_runner(model)
        for name in options:
            if name not in OPTIONS:
                raise InputError(f"A SavedModel has no option {name}; its options are {', '.join(OPTIONS)}.")
            if not self._has_input(name):
                raise InputError(f"{name} has no effect on this SavedModel: it has no input {INPUT_OF[name]}.")
        defaults = RELEASED_EXTRACTION | _own_extraction(model) | {"keypoints": "released"}
        fitting = fitted(defaults, options)
        if fitting["keypoints"] != "released":
            raise InputError(f"A SavedModel gives keypoints 'released' only. Received: {fitting['keypoints']!r}")
        for name, default in (("image_scales", [1.0]), ("global_scales_ind", [0])):
            if not self._has_input(name):
                fitting[name] = default
        self.config = ExtractionConfig(**fitting)
        self._join = build_scale_pooling(self.config.scale_pooling)
        self.heads, self.dimensions = self.runner.heads, self.runner.dimensions
        self.pca: Projections = NO_PCA
        self.settings = self._settings(digest(model))

    def _has_input(self, option: str) -> bool:
        return option not in INPUT_OF or INPUT_OF[option] in self.runner.inputs

    def _settings(self, weights: str) -> dict[str, Any]:
        values = self.config.settings()
        return common_settings(
            extractor="saved_model",
            weights_sha256=weights,
            signature=self.runner.signature,
            outputs=list(self.runner.outputs),
            **{name: values[name] if self._has_input(name) else None for name in OPTIONS},
            resize=RULE,
        )

    def base_size(self, size: Size, resize_factor: float = 1.0) -> Size:
        """``(width, height)`` that an image is resized to first."""
        config = self.config
        limits = config.max_image_size, config.min_image_size
        return limited_size(*size, *limits, resize_factor, square=config.use_square_images)

    def __call__(
        self, image: NDArray[np.uint8], name: str, resize_factor: float = 1.0, size: Size | None = None
    ) -> Features:
        """Describes ``(H, W, 3)`` uint8 RGB; see :class:`extraction.extractors.base.Extractor`.

        Raises:
          TooSmallError: a side is below 10 pixels after resizing, where the released extractor gives no features.
          BadImageError: the graph fails on the image, as the released ones do below about 19 pixels.
        """
        config, source = self.config, size or (image.shape[1], image.shape[0])
        base = self.base_size(source, resize_factor)
        if min(base) < SMALLEST:
            raise TooSmallError(f"{base[0]} x {base[1]} pixels after resizing; a SavedModel needs {SMALLEST} or more")
        try:
            outputs = self.runner(
                input_image=resize(image, base),
                input_scales=config.image_scales,
                input_abs_thres=config.score_threshold or 0.0,
                input_max_feature_num=config.max_feature_num,
                input_global_scales_ind=config.global_scales_ind if "global" in self.heads else (0,),
            )
        except RuntimeError as error:
            raise BadImageError(f"the SavedModel fails on {base[0]} x {base[1]} pixels: {error}") from error
        parts = self._global(outputs, base) | self._local(outputs, base, source)
        return Features(name=name, image_size=source, **parts)

    def _global(self, outputs: Arrays, size: tuple[int, int]) -> dict[str, Any]:
        if "global" not in self.heads:
            return {}
        name = "global_descriptors" if "global_descriptors" in outputs else "global_descriptor"
        rows = np.atleast_2d(outputs[name].astype(np.float64))
        if not len(rows):
            raise BadImageError(f"{size[0]} x {size[1]} pixels after resizing are too small for a global descriptor")
        joined = self._join(np.asarray(self.pca.reduce_global(rows), np.float64))
        return {"global_descriptor": unit(joined).astype(np.float32)}

    def _local(self, outputs: Arrays, size: tuple[int, int], source: tuple[int, int]) -> dict[str, Any]:
        if "local" not in self.heads:
            return {}
        boxes, descriptors, scales, scores = (np.asarray(outputs[name], np.float64) for name in LOCAL)
        centres = (boxes[:, 1::-1] + boxes[:, :1:-1]) / 2  # (ymin, xmin) and (ymax, xmax) to (x, y)
        if not self.config.use_resized_coordinates:
            centres = centres * np.array(source) / np.array(size)
        order = np.argsort(-scores.ravel(), kind="stable")  # the released graphs sort already
        return {
            "keypoints": centres[order].astype(np.float32),
            "descriptors": unit(self.pca.reduce_local(descriptors))[order].astype(np.float32),
            "scores": scores.ravel()[order].astype(np.float32),
            "scales": scales.ravel()[order].astype(np.float32),
        }


def _own_extraction(folder: str) -> dict[str, Any]:
    """The scales and limits that the export recorded; none for the released models."""
    path = Path(folder) / OWN_EXTRACTION
    document = read_json(path) if path.is_file() else {}
    if not isinstance(document, dict):
        raise InputError(f"{path} holds no extraction settings.")
    return {key: document[key] for key in OPTIONS if key in document}
