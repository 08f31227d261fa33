"""An extractor that some images kill the process of; workers of a cluster import it from here."""

import os
import signal
from dataclasses import dataclass
from typing import Any

from extraction.extractors.base import Extractor, Wrapper
from extraction.extractors.histogram import Histogram
from extraction.extractors.table import ExtractorRecipe
from extraction.features import Features


class Deadly(Wrapper):
    """The colour histogram, but for images whose name begins with ``deadly``."""

    def __call__(self, image: Any, name: str, *others: Any) -> Features:
        if name.startswith("deadly"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(image, name, *others)


@dataclass(frozen=True)
class DeadlyRecipe(ExtractorRecipe):
    """The recipe of it."""

    def build(self) -> Extractor:
        return Deadly(Histogram())
