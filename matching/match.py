"""Matches the local features of two images, prints how many agree on one transform, and draws them.

delg-match query.jpg database.jpg --model=rootsift --output=matches.jpg
"""

from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from extraction.describing import Loaded
    from extraction.images import Crop, ImageRef

FLAGS = flags.FLAGS
POSITIONAL = "A.jpg B.jpg"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

flags.DEFINE_string("model", "rootsift", "A model folder, or an extractor such as rootsift.")
flags.DEFINE_string("output", None, "Picture of the two images with a line for each inlier (.jpg, .png or .webp).")
flags.DEFINE_enum("geometry", "affine", ["affine", "homography", "similarity"], "The transform that must agree.")
flags.DEFINE_float("matching_threshold", 1.0, "Largest distance of two descriptors.", lower_bound=0.0)
flags.DEFINE_float("ratio", None, "Largest ratio of the distances of the nearest and the second nearest descriptor.")
flags.DEFINE_bool("mutual", False, "Keep only pairs of descriptors that are nearest neighbours both ways.")
flags.DEFINE_bool(
    "one_per_place", False, "Count inliers that share a place (a twentieth of --residual) in either image once."
)
flags.DEFINE_float("residual", 20.0, "Largest error of an inlier, in pixels of the first image.", lower_bound=0.0)
flags.DEFINE_bool("binary", False, "Match the signs of local descriptors alone, as --local_dtype=binary stores them.")
flags.DEFINE_list("crop", None, "The query's region x1,y1,x2,y2 in pixels of the first image.")
flags.DEFINE_enum("exif", "apply", ["apply", "ignore"], "Whether images are turned as their orientation tag says.")


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
    from extraction.describing import describe
    from extraction.extractors.table import build_extractor
    from extraction.images import BadImageError
    from extraction.pipeline import check_local_dtype
    from extraction.settings import set_reading
    from extraction.store.encoding import as_stored
    from matching.lookup import parse_crop
    from matching.rerankers.ransac import Ransac

    if len(arguments) != 2:
        raise InputError(f"Expected two image files ({POSITIONAL}). Received: {len(arguments)}")
    if FLAGS.output is not None:
        if Path(FLAGS.output).suffix.lower() not in SUFFIXES:
            raise InputError(f"--output expects a file ending in {' '.join(SUFFIXES)}. Received: {FLAGS.output!r}")
        check_writable(Path(FLAGS.output).parent)
    matcher = Ransac(
        matching_threshold=FLAGS.matching_threshold,
        residual=FLAGS.residual,
        ratio=FLAGS.ratio,
        mutual=FLAGS.mutual,
        model=FLAGS.geometry,
        one_per_place=FLAGS.one_per_place,
    )
    crop = parse_crop(FLAGS.crop)
    images = [_load(path) for path in arguments]
    extractor = set_reading(build_extractor(FLAGS.model), exif=FLAGS.exif)
    local_dtype = "binary" if FLAGS.binary else "float32"
    check_local_dtype(extractor, local_dtype)
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
    if FLAGS.output is not None:
        points = query.keypoints[inliers.pairs[:, 0]], index.keypoints[inliers.pairs[:, 1]]
        _draw([pixels for _, (pixels, _, _) in images], crop, points)


def _draw(
    images: "list[NDArray[np.uint8]]", crop: "Crop | None", points: "tuple[NDArray[np.float32], NDArray[np.float32]]"
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
    write_picture(FLAGS.output, draw_matches(left, right, *points))
    print(f"picture: {FLAGS.output}")


def _load(path: str) -> "tuple[ImageRef, Loaded]":
    """Reads an image.

    Raises:
      InputError: it cannot be used.
    """
    from pathlib import Path

    from delg.common.errors import InputError
    from extraction.images import BadImageError, ImageRef, Reading, load_image

    ref = ImageRef(Path(path).stem, path)
    try:
        return ref, load_image(ref, Reading(FLAGS.exif))
    except BadImageError as error:
        raise InputError(f"The image {path} cannot be used: {error}.") from error
