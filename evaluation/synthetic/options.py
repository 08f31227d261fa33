"""The options of ``delg-landmarks``. No heavy imports."""

import os
from dataclasses import dataclass

from delg.common.options import check, option


@dataclass(frozen=True)
class LandmarkSetOptions:
    """The options of a set; with the version of the drawing the options determine every byte.

    Raises:
      InputError: a number is out of range.
    """

    seed: int = option(0, "Seed of the whole set.", lower_bound=0)
    num_classes: int = option(500, "Training classes, one landmark each.", lower_bound=1)
    views_per_class: int = option(14, "Training images of each class.", lower_bound=1)
    num_queries: int = option(60, "Query images, one landmark each, none of them a training class.", lower_bound=1)
    easy_per_query: int = option(4, "Easy database views of each query landmark.", lower_bound=1)
    hard_per_query: int = option(6, "Hard database views of each query landmark.", lower_bound=1)
    junk_per_query: int = option(2, "Junk views of each query landmark: tiny, or cut off.", lower_bound=0)
    num_distractors: int = option(300, "Database images of other landmarks, one in five a look-alike.", lower_bound=0)
    image_size: int = option(224, "Longer side of the images in pixels.", lower_bound=64, upper_bound=2048)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class LandmarksOptions:
    """Further options of the command."""

    output_dir: str | None = option(None, "Folder of the landmark set; made if absent.", irrelevant=True)
    num_workers: int = option(os.cpu_count() or 1, "Worker processes.", lower_bound=1, irrelevant=True)
