"""Matches the local features of two images, prints how many agree on one transform, and draws them.

delg-match query.jpg database.jpg --model=rootsift --output=matches.jpg
"""

from typing import TYPE_CHECKING

from delg.common.options import define_flags, from_flags
from matching.options import MatchOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from extraction.describing import Loaded
    from extraction.images import Crop, ImageRef

POSITIONAL = "A.jpg B.jpg"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

define_flags(MatchOptions)


def main(arguments: list[str]) -> None:
    """Describes both images, matches, prints, draws.

    Args:
      arguments: the two image files; the first is the query.

    Raises:
      InputError: an image, the model, the output or a flag cannot be used.
    """
    from dataclasses import replace
    from pathlib import Path

    from delg.common.errors import InputError
    from delg.common.files import check_writable
    from delg.common.spec import render
    from extraction.describing import describe
    from extraction.extractors.table import build_extractor
    from extraction.images import BadImageError
    from extraction.pipeline import check_local_dtype
    from extraction.settings import set_reading
    from extraction.store.encoding import as_stored
    from matching.lookup import check_crop
    from matching.rerankers.ransac import Ransac
    from matching.rerankers.table import links, suited

    if len(arguments) != 2:
        raise InputError(f"Expected two image files ({POSITIONAL}). Received: {len(arguments)}")
    options = from_flags(MatchOptions)
    if options.output is not None:
        if Path(options.output).suffix.lower() not in SUFFIXES:
            raise InputError(f"--output expects a file ending in {' '.join(SUFFIXES)}. Received: {options.output!r}")
        check_writable(Path(options.output).parent)
    given = {name: getattr(options, name) for name in ("matching_threshold", "residual", "ratio", "mutual")}
    given = {name: value for name, value in given.items() if value is not None}
    given |= {"model": options.geometry, "one_per_place": options.one_per_place}
    Ransac(**given)  # a wrong flag ends the command before an image is read
    crop = check_crop(options.crop)
    images = [_load(path, options.exif) for path in arguments]
    extractor = set_reading(build_extractor(options.model), exif=options.exif)
    local_dtype = "binary" if options.binary else "float32"
    check_local_dtype(extractor, local_dtype)
    [(_, settings)] = links(suited(render("ransac", given), {"matching": extractor.matching}))
    matcher = Ransac(**settings)
    cropped = (replace(images[0][0], crop=crop), None)
    try:
        query, index = (describe(extractor, *image) for image in (cropped if crop else images[0], images[1]))
    except BadImageError as error:
        raise InputError(f"An image cannot be used: {error}.") from error
    query, index = as_stored(query, local_dtype), as_stored(index, local_dtype)
    inliers = matcher.inliers(query, index)
    print(f"local features: {len(query)} and {len(index)}")
    print(f"tentative matches: {inliers.tentative}")
    print(f"inliers: {len(inliers)}")
    if options.output is not None:
        points = query.keypoints[inliers.pairs[:, 0]], index.keypoints[inliers.pairs[:, 1]]
        _draw(options.output, [pixels for _, (pixels, _, _) in images], crop, points)


def _draw(
    output: str,
    images: "list[NDArray[np.uint8]]",
    crop: "Crop | None",
    points: "tuple[NDArray[np.float32], NDArray[np.float32]]",
) -> None:
    """Writes the picture of the two images, the query's crop outlined."""
    import numpy as np
    from PIL import Image

    from evaluation.report.thumbs import draw_box
    from matching.draw import draw_matches, write_picture

    left, right = images
    if crop is not None:
        outlined = Image.fromarray(left)
        draw_box(outlined, list(crop))
        left = np.asarray(outlined)
    write_picture(output, draw_matches(left, right, *points))
    print(f"picture: {output}")


def _load(path: str, exif: str) -> "tuple[ImageRef, Loaded]":
    """Reads an image.

    Raises:
      InputError: the image cannot be used.
    """
    from pathlib import Path

    from delg.common.errors import InputError
    from extraction.images import BadImageError, ImageRef, Reading, load_image

    ref = ImageRef(Path(path).stem, path)
    try:
        return ref, load_image(ref, Reading(exif))
    except BadImageError as error:
        raise InputError(f"The image {path} cannot be used: {error}.") from error
