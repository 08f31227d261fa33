"""The work of a Ray worker, which keeps its extractor for the next task."""

import os
import pickle
from functools import lru_cache
from typing import TYPE_CHECKING

from delg.commands import chosen_backend
from delg.quiet import silence_tensorflow, skip_optional_imports

if TYPE_CHECKING:
    from extraction.extractors.base import Extractor


@lru_cache(maxsize=1)
def _extractor(recipe: bytes) -> "Extractor":
    """The extractor of a pickled :class:`extraction.extractors.table.ExtractorRecipe`."""
    os.environ["KERAS_BACKEND"] = chosen_backend()
    silence_tensorflow()
    skip_optional_imports()
    extractor: Extractor = pickle.loads(recipe).build()
    return extractor


def answer(request: bytes) -> bytes:
    """Describes the images of a task.

    Args:
      request: pickled recipe, images, number of threads, and most images of a run of the network.

    Returns:
      Pickled list with the features of each image, or why it cannot be used.
    """
    from extraction.batching import in_order

    recipe, refs, num_threads, batch_size = pickle.loads(request)
    (described,) = in_order(_extractor(pickle.dumps(recipe)), [refs], num_threads, batch_size)
    return pickle.dumps(described)
