"""An extractor that some images kill the process of; workers of a cluster import it from here."""

import os
import signal
from dataclasses import dataclass
from typing import Any

from extraction.describing import Extractor
from extraction.extractors.histogram import Histogram
from extraction.features import Features
from extraction.formats.official_writer import BOTH, Kinds
from extraction.recipe import Recipe


class Deadly:
    """The colour histogram, but for images whose name begins with ``deadly``."""

    def __init__(self) -> None:
        self._inner = Histogram()
        self.settings = self._inner.settings

    def __call__(self, image: Any, name: str, resize_factor: float = 1.0) -> Features:
        if name.startswith("deadly"):
            os.kill(os.getpid(), signal.SIGKILL)
        return self._inner(image, name, resize_factor)


@dataclass(frozen=True)
class DeadlyRecipe(Recipe):
    """The recipe of it."""

    def build(self) -> tuple[Extractor, Kinds]:
        return Deadly(), BOTH
