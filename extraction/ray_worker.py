"""What a Ray worker does with a task; it keeps its extractor for the next one."""

import os
import pickle
from functools import lru_cache
from typing import TYPE_CHECKING

from delg.commands import chosen_backend
from delg.quiet import silence_tensorflow

if TYPE_CHECKING:
    from extraction.pipeline import Extractor


@lru_cache(maxsize=1)
def _extractor(recipe: bytes) -> "Extractor":
    """The extractor of a pickled :class:`extraction.recipe.Recipe`."""
    os.environ["KERAS_BACKEND"] = chosen_backend()
    silence_tensorflow()
    extractor: Extractor
    extractor, _ = pickle.loads(recipe).build()
    return extractor


def answer(request: bytes) -> bytes:
    """Describes the images of a shard.

    Args:
      request: pickled recipe, shard, images and number of threads.

    Returns:
      Pickled shard, features and ``{"name", "reason"}`` of images that cannot be used.
    """
    from extraction.pipeline import described

    recipe, shard, refs, num_threads = pickle.loads(request)
    features, skipped = described(_extractor(pickle.dumps(recipe)), refs, num_threads)
    return pickle.dumps((shard, features, skipped))
