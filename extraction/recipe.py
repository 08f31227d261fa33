"""All that an extractor is built from, as one value that can be sent to another process."""

from dataclasses import dataclass, field
from typing import Any

from extraction.describing import Extractor
from extraction.extractors.table import build_extractor
from extraction.formats.official_config import narrowed, selected
from extraction.formats.official_writer import BOTH, Kinds
from extraction.pca import NO_PCA, Projections, attach
from extraction.settings import set_reading


@dataclass(frozen=True)
class Recipe:
    """An extractor before it is built.

    Attributes:
      model: a model folder or an extractor's text; see :func:`extraction.extractors.table.build_extractor`.
      options: that go before the extractor's own.
      defaults: that the extractor's own go before.
      projections: PCA of the descriptors.
      kinds: what is kept of the features; None for all that the extractor gives.
      reading: how images are read, see :func:`extraction.settings.set_reading`.
    """

    model: str
    options: dict[str, Any]
    defaults: dict[str, Any]
    projections: Projections = NO_PCA
    kinds: Kinds | None = None
    reading: dict[str, str] = field(default_factory=dict)

    def build(self) -> tuple[Extractor, Kinds]:
        """The extractor, and what is kept of its features.

        Raises:
          InputError: see :func:`extraction.extractors.table.build_extractor`.
        """
        extractor = build_extractor(self.model, defaults=self.defaults, **self.options)
        set_reading(extractor, **self.reading)
        attach(extractor, self.projections)
        kinds = narrowed(BOTH, extractor) if self.kinds is None else self.kinds
        return selected(extractor, kinds), kinds
