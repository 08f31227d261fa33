"""Options of the commands delg-index, delg-match and delg-search."""

from dataclasses import dataclass

from delg.common.options import EXIF, option
from matching.local import MODELS

SUITED = "Default: what suits the extractor."

FORMATS = ("table", "json", "csv")


@dataclass(frozen=True)
class IndexOptions:
    """Options of delg-index."""

    features_dir: str | None = option(None, "The feature store, made by delg-extract.")
    output_dir: str | None = option(None, "Folder of the index; or Milvus: a path that ends in .db, or a URL.")
    index: str | None = option(
        None,
        'Kind of index: exact(dtype="float16"), flat, ivf_pq, ivf_rabitq, ivf_sq, hnsw, binary, faiss(factory="..."), '
        "each with its settings in parentheses, or module:Class of your own; in Milvus "
        'milvus(index_type="HNSW", params={...}). Default: exact, milvus.',
    )


@dataclass(frozen=True)
class MatchOptions:
    """Options of delg-match."""

    model: str = option("rootsift", "A model folder, or an extractor such as rootsift.", subject="The photos")
    crop: tuple[float, ...] | None = option(None, "Region x1,y1,x2,y2 of the first image in pixels.")
    exif: str = option("apply", "Whether images are turned as their orientation tag says.", choices=EXIF)
    geometry: str = option(
        "affine", "The transform that inliers agree on.", choices=MODELS, subject="Matches that agree"
    )
    matching_threshold: float | None = option(None, f"Largest distance of two descriptors. {SUITED}", lower_bound=0.0)
    ratio: float | None = option(
        None, f"Largest ratio of the distances of the nearest and the second nearest descriptor. {SUITED}"
    )
    mutual: bool | None = option(
        None, f"Keep only pairs of descriptors that are nearest neighbours both ways. {SUITED}"
    )
    one_per_place: bool = option(
        True, "Count inliers that share a place (a twentieth of --residual) in either image once."
    )
    residual: float | None = option(
        None, f"Largest error of an inlier, in pixels of the first image. {SUITED}", lower_bound=0.0
    )
    binary: bool = option(False, "Match the signs of local descriptors alone, as --local_dtype=binary stores them.")
    format: str = option("table", "How the comparison is printed.", choices=FORMATS, subject="Output")
    output: str | None = option(
        None, "Picture of the two images with a line for each inlier (.jpg, .jpeg, .png or .webp)."
    )


@dataclass(frozen=True)
class SearchOptions:
    """Options of delg-search."""

    model: str | None = option(
        None,
        "The model folder, or extractor. Of a folder of photos: by default auto; later the recorded one. Otherwise: by "
        "default what the features record, where they need no folder.",
        subject="Search",
    )
    top_k: int = option(10, "Number of images to print.", lower_bound=1, irrelevant=True)
    rerank: str | None = option(
        None,
        "Second stage, such as ransac, 'ransac(top_k=200)', superglobal or module:Class of your own; or none. Default: "
        "auto for a folder of photos, otherwise none.",
    )
    crop: tuple[float, ...] | None = option(None, "Region x1,y1,x2,y2 of the query in pixels.")
    collection: str | None = option(
        None,
        "Where the descriptions lie. Default: .delg in the folder.",
        irrelevant=True,
        subject="A folder of photos",
    )
    sync: bool = option(True, "Describe new and changed photos first.", irrelevant=True)
    verify: int = option(20, "Candidates whose local features are compared.", lower_bound=1)
    false_match_rate: float = option(
        0.01,
        "Share of queries that show nothing of the folder which may be answered 'same'.",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    query: str | None = option(
        None, "The query image, with --features_dir or --index.", subject="A feature store or an index"
    )
    features_dir: str | None = option(None, "The database: a feature store made by delg-extract.")
    index: str | None = option(
        None,
        "An index made by delg-index: its folder, its .db file or its URL. Only --rerank then needs --features_dir.",
    )
    search_options: str | None = option(None, "Settings of the search with --index, such as 'nprobe=64, rescore=2000'.")
    images_dir: str | None = option(None, "Folder of the database's photos, for --output: that of delg-extract.")
    format: str = option("table", "How results are printed.", choices=FORMATS, irrelevant=True, subject="Output")
    output: str | None = option(
        None, "Page with the query, the results and their inliers as pictures (.html).", irrelevant=True
    )
