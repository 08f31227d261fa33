"""The options of ``delg-convert``. Imports nothing heavy."""

from dataclasses import dataclass

from delg.common.options import option

FORMATS = (
    "cvnet",
    "superglobal",
    "delg_pytorch",
    "efficientnet_lite",
    "delg_checkpoint",
    "delg_saved_model",
    "keras_applications",
    "delg_weights",
    "dinov2",
    "dinov3",
    "siglip",
)


@dataclass(frozen=True)
class ConvertOptions:
    """What to convert. The conversion records format and preset as they were recognised, and files by their hashes."""

    input: str | None = option(
        None,
        "Weight file, folder of an exported model or of safetensors, prefix of a checkpoint, or published weights: "
        "efficientnet_lite2, hf://org/name. Required.",
        irrelevant=True,
    )
    output_dir: str | None = option(None, "Model folder to make; must be new or empty. Required.", irrelevant=True)
    format: str | None = option(
        None,
        "Format. Default: recognised from the file. (A CVNet file serves as superglobal, too.) delg_checkpoint needs "
        "the global head: a file of the released DELF-only training, whose classifier is desc_fc, is refused.",
        choices=FORMATS,
        irrelevant=True,
    )
    preset: str | None = option(
        None,
        "Model, such as delg_r50. Default: recognised from the file. Required for delg_weights without a config.json.",
        irrelevant=True,
    )
    block3_strides: bool | None = option(
        None,
        "Local features at stride 32 instead of 16; no file says which. Default: on for files of the released DELG.",
    )
    local_head: str | None = option(
        None,
        "Local head, such as tokens(score='norm'), which needs no weights: any backbone then gives local features. "
        "Default: the preset's.",
    )
    pooling: str | None = option(
        None,
        "Global pooling, such as class_token_gem(p=3.0) for DINOv2; weights of the file's own pooling are then left "
        "out of SigLIP. Default: the preset's.",
    )
    seed: int = option(0, "Seed of weights that are not in the file.", lower_bound=0)
