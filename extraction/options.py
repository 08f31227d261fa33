"""The options of the commands of extraction; their choices come from the tables."""

from dataclasses import dataclass

from delg.common.options import option
from extraction.config import KEYPOINTS
from extraction.formats.table import SINKS
from extraction.images import BORDERS, EXIF, TRUNCATED
from extraction.runtimes.table import INT8, PRECISIONS, RUNTIMES
from extraction.store.encoding import LOCAL_DTYPES

ENGINES = ("local", "ray")
FEATURE_FILES = ("store", "official")
IMAGE_SETS = ("query", "index")


@dataclass(frozen=True)
class ExtractOptions:
    """Options of ``delg-extract``."""

    images_dir: str | None = option(
        None,
        "Folder of the images, searched with its subfolders; relative paths of --image_list start there.",
        subject="Images",
    )
    image_list: str | None = option(
        None, "Text file with the path of one image a line. (Released name: --list_images_path.)"
    )
    dataset_file_path: str | None = option(
        None,
        "Ground truth of a benchmark (a revisited .pkl or .mat); with --image_set, images are {images_dir}/{name}.jpg.",
    )
    image_set: str | None = option(
        None, "Which images of --dataset_file_path; queries are cropped to their box.", choices=IMAGE_SETS
    )
    model: str | None = option(
        None,
        "A model folder, or an extractor: efficientnet_lite2, xfeat and rootsift need no training, pair(global=..., "
        "local=...) composes two, and there is module:Class(argument=value) of your own. Default: auto, which is "
        "pair(global=efficientnet_lite2, local=rootsift), or rootsift where these weights cannot be fetched.",
        subject="Extractor",
    )
    delf_config_path: str | None = option(
        None, "Extraction configuration of the released programs (.pbtxt); other flags take precedence over it."
    )
    output_dir: str | None = option(
        None, "Folder of the features. (Released name: --output_features_dir.)", subject="Output"
    )
    feature_files: str = option(
        FEATURE_FILES[0],
        "The output: a feature store, or files NAME.delg_global and NAME.delg_local as the released programs write.",
        choices=FEATURE_FILES,
    )
    local_dtype: str | None = option(
        None,
        "How local descriptors are stored; binary keeps their signs alone. Default: the extractor's own, uint8 of "
        "RootSIFT and float32 of models.",
        choices=LOCAL_DTYPES,
    )
    append: bool = option(False, "Add to the store in --output_dir the images that it does not hold yet.")
    image_scales: tuple[float, ...] | None = option(
        None, "Image scales; default: the model's.", subject="Scales and local features"
    )
    global_scales_ind: tuple[int, ...] | None = option(
        None,
        "Indices of the scales of the global descriptor; default: the model's, or all if those do not fit "
        "--image_scales.",
    )
    max_image_size: int | None = option(
        None, "Longest side in pixels, -1 for no limit; default: the model's.", lower_bound=-1
    )
    min_image_size: int | None = option(
        None, "Least longest side in pixels, -1 for none; default: the model's.", lower_bound=-1
    )
    max_feature_num: int | None = option(None, "Most local features of an image; default: the model's.", lower_bound=1)
    keypoints: str | None = option(
        None,
        "True centres, or the positions of the released code, 2 to 3 pixels off; default: released with "
        "--feature_files=official or --delf_config_path, otherwise the model's.",
        choices=KEYPOINTS,
    )
    score_threshold: float | None = option(None, "Least attention of a local feature; default: none.")
    iou: float | None = option(
        None,
        "Non-maximum suppression: drops a local feature whose field overlaps that of a better one by more; default: "
        "the model's, or 1, which keeps all.",
    )
    runtime: str | None = option(
        None,
        "The runtime of the network; default: the model's, or Keras' backend. openvino is the fastest on a processor.",
        choices=tuple(RUNTIMES),
        subject="Network",
    )
    precision: str | None = option(
        None,
        "Precision of the network's arithmetic; default: the model's, or float32. int8 needs --runtime=openvino and "
        "delg-calibrate.",
        choices=PRECISIONS,
    )
    verify: int = option(
        0, "Images that are also described in float32 by Keras first; the differences are printed.", lower_bound=0
    )
    batch_size: int | None = option(
        None,
        "Most images in one run of the network, if they have one size and no more than a megapixel in all; default: 8, "
        "or 1 on JAX, which compiles for every shape.",
        lower_bound=1,
    )
    num_threads: int = option(2, "Images or batches that are described at once.", lower_bound=1)
    exif: str | None = option(
        None,
        "Whether photos are turned as their orientation tag says; default: apply, but ignore with --dataset_file_path, "
        "--delf_config_path or --feature_files=official, as released.",
        choices=tuple(EXIF),
        subject="Reading of photos",
    )
    truncated: str | None = option(
        None,
        "Whether truncated files are skipped, or described with grey for the missing part; default: skip, but "
        "describe with --feature_files=official, as released.",
        choices=TRUNCATED,
    )
    crop_border: str | None = option(
        None,
        "Whether a box beyond its photo is cut at the border or filled with black; default: cut, but pad with "
        "--feature_files=official, as released.",
        choices=BORDERS,
    )
    num_shards: int = option(
        1,
        "Jobs that share the work and write into one --output_dir; the last to end completes the store.",
        lower_bound=1,
        subject="Sharing the work",
    )
    shard_index: int = option(0, "Number of this job, from 0 on.", lower_bound=0)
    engine: str = option(ENGINES[0], "Where images are described; ray needs the extra of its name.", choices=ENGINES)
    ray_address: str | None = option(
        None, "A running Ray cluster, such as HOST:6379; default: one in this machine for this command."
    )

    @property
    def official(self) -> bool:
        """Whether official files are written."""
        return self.feature_files == "official"


@dataclass(frozen=True)
class CalibrateOptions:
    """Options of ``delg-calibrate``."""

    model: str | None = option(
        None, "A model folder, or published weights such as efficientnet_lite2.", subject="Model and images"
    )
    images_dir: str | None = option(
        None, "Folder of the images, searched with its subfolders; with --adapt a sub-folder for each class."
    )
    num_images: int = option(32, "Images of the sample, spread over the list; --adapt takes all images.", lower_bound=1)
    output_dir: str | None = option(
        None, "New folder of the calibrated model, absent or empty. Default: the folder of --model."
    )
    quantile: float | None = option(
        None, "Share of the cells that the threshold leaves out, 0 to 1.", subject="What is learned"
    )
    precision: str | None = option(None, "Converts the network to this precision.", choices=(INT8,))
    local_whitening: bool = option(False, "Learn a whitening of local descriptors.")
    local_dim: int | None = option(None, "Values of a whitened descriptor; default: the model's.")
    adapt: bool = option(
        False,
        "Learn a linear layer behind the global descriptor from labelled photos.",
        subject="Adaptation and reranking",
    )
    rerank: str | None = option(
        None,
        "Learn the number of this reranker from --features_dir by mAP: 'fused(reranker=\"ransac\")' or "
        "'gated(reranker=\"ransac\")'.",
    )
    csv_path: str | None = option(
        None, "Labels for --adapt: a CSV with the columns path and label; default: the sub-folders."
    )
    features_dir: str | None = option(
        None,
        "Features of the labelled photos for --rerank, or for --adapt, then of this model without adaptation; the "
        "first folder of a name is the class. Default: they are extracted.",
    )
    adaptation: str | None = option(
        None,
        "Training of --adapt: softmax(dim=, epochs=, start=, rate=, weight_decay=, scale=, margin=, batch_size=, "
        'seed=); ILIAS has softmax(start="random", epochs=2, scale=16). Default: the best of several '
        "on classes held out.",
    )


@dataclass(frozen=True)
class FeaturesOptions:
    """Options of ``delg-features``."""

    output_dir: str | None = option(None, "Folder that merge and convert write; absent or empty.")
    to: str | None = option(
        None, f"The format that convert writes: {', '.join(SINKS)}, or module:Class(argument=value) of your own."
    )
    local_dtype: str | None = option(
        None, "How convert --to=store writes local descriptors; default: as they are.", choices=LOCAL_DTYPES
    )
