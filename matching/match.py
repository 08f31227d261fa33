"""Compares two images: prints whether they show the same thing, with a probability, and draws the matches that agree.

delg-match query.jpg database.jpg --model=rootsift --output=matches.jpg
"""

from typing import TYPE_CHECKING

from delg.common.options import define_flags, from_flags
from matching.options import MatchOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from collection.results import Match
    from extraction.describing import Loaded
    from extraction.images import Crop, ImageRef

POSITIONAL = "A.jpg B.jpg"
COLUMNS = ("first", "second", "verdict", "probability", "similarity", "inliers", "tentative")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

define_flags(MatchOptions)


def main(arguments: list[str]) -> None:
    """Describes both images, compares, prints, draws.

    Args:
      arguments: the two image files; the first is the query.

    Raises:
      InputError: an image, the model, the output or a flag cannot be used.
    """
    import sys
    from dataclasses import replace
    from pathlib import Path

    from collection.verdicts import compared
    from delg.common.errors import InputError
    from delg.common.files import check_writable
    from delg.common.spec import render
    from extraction.describing import describe
    from extraction.extractors.table import build_extractor
    from extraction.images import BadImageError
    from extraction.pipeline import check_local_dtype
    from extraction.settings import recorded_settings, set_reading
    from extraction.store.encoding import as_stored
    from matching.lookup import check_crop
    from matching.rerankers.ransac import Ransac
    from matching.rerankers.table import links, suited
    from matching.source import MemorySource
    from matching.verdict import Calibration, Verifier

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
    cropped = (replace(images[0][0], crop=crop), None)
    try:
        query, index = (describe(extractor, *image) for image in (cropped if crop else images[0], images[1]))
    except BadImageError as error:
        raise InputError(f"An image cannot be used: {error}.") from error
    query, index = as_stored(query, local_dtype), as_stored(index, local_dtype)
    settings = recorded_settings(extractor)
    [(_, matching)] = links(suited(render("ransac", given), settings))
    calibration = replace(Calibration.of(settings, extractor.heads), matching=matching)
    match = compared(Verifier(MemorySource([index]), calibration), query, index)
    _print(arguments, match, options.format, (len(query), len(index)))
    if options.output is not None:
        _draw(options.output, [pixels for _, (pixels, _, _) in images], crop, match.pairs)
        print(f"picture: {options.output}", file=sys.stdout if options.format == "table" else sys.stderr)


def _print(photos: list[str], match: "Match", form: str, local_features: tuple[int, int]) -> None:
    """Prints a comparison in one of :data:`matching.options.FORMATS`."""
    import json

    from collection.results import write_csv

    document = {"first": photos[0], "second": photos[1], **match.as_dict()}
    if form == "json":
        print(json.dumps(document, indent=1))
    elif form == "csv":
        write_csv([document], COLUMNS)
    else:
        print(f"{photos[0]} and {photos[1]}: {match.headline}")
        if match.similarity is not None:
            print(f"similarity: {match.similarity:.4f}")
        print(f"local features: {local_features[0]} and {local_features[1]}")
        print(f"tentative matches: {match.tentative}")
        print(f"inliers: {match.inliers}")


def _draw(
    output: str,
    images: "list[NDArray[np.uint8]]",
    crop: "Crop | None",
    pairs: "NDArray[np.float32]",
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
    write_picture(output, draw_matches(left, right, pairs[:, :2], pairs[:, 2:]))


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
