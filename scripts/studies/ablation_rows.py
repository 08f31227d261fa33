"""The trainings and rows of scripts/studies/ablation.py, and the base of each comparison."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Training:
    """Flags of delg-train, for one stage or for two.

    Attributes:
      stages: of several, the first gives backbone and global head, the second, on the same backbone, the local head.
      curve: measure retrieval during the training.
    """

    stages: tuple[tuple[str, ...], ...]
    curve: bool = False


@dataclass(frozen=True)
class Row:
    """A model as it is extracted with and reranked.

    Attributes:
      title: what is special about it.
      training: key of the training.
      base: key of the row it is held against; None for none.
      switches: arguments of the extractor, after a comma.
      whiten: False for local descriptors as they are; None for a whitening; a number for one that shortens them.
      flags: of delg-benchmark.
      rerank: rerankers beside RANSAC, after a comma; None for the first stage alone.
      reports: key of the row whose reports are held against another base here; empty for its own.
    """

    title: str
    training: str = "base"
    base: str | None = "base"
    switches: str = ""
    whiten: bool | int | None = False
    flags: tuple[str, ...] = ()
    rerank: str | None = ""
    reports: str = ""


@dataclass(frozen=True)
class Study:
    """One data set.

    Attributes:
      protocol: of the reports, in which mAP is taken.
      ransac: the reranker by local features.
      steps: of a training.
      common: flags of every training.
      trainings: by key.
      rows: by key, the base first.
    """

    protocol: str
    ransac: str
    steps: int
    common: tuple[str, ...]
    trainings: dict[str, Training] = field(repr=False)
    rows: dict[str, Row] = field(repr=False)


ADAMW = ("--optimizer=adamw(weight_decay=0.01)", "--schedule=cosine(warmup=50)")
SGD = ("--optimizer=sgd(momentum=0.9, weight_decay=1e-4)", "--initial_lr=0.01", "--schedule=cosine(warmup=50)")
SMALL = ("--preset=delg_small", "--initial_lr=0.0015", *ADAMW)
SQUEEZENET = ("--preset=delg_squeezenet", "--reconstruction_loss_weight=0.003")  # its maps are not normalised
PRETRAINED = (*SQUEEZENET, "--imagenet_checkpoint={weights}")
SQUEEZE = (*PRETRAINED, "--initial_lr=0.0003", *ADAMW)
GLOBAL_ONLY = ("--attention_loss_weight=0", "--reconstruction_loss_weight=0")
HEADS_AFTER = ("--init_model={before}", "--freeze_backbone_steps={steps}")
SUPERGLOBAL = "superglobal(m=100)"
KINDS = tuple(f"superglobal({s})" for s in ("m=50", "m=200", "m=100, k=4", "m=100, k=18", "m=100, beta=0.05",
                                            "m=100, beta=0.5", "m=100, expanded_against='original'"))  # fmt: skip


def heads(base: tuple[str, ...], after: tuple[str, ...]) -> dict[str, Training]:
    """The trainings that DELG's claims on its heads need; ``after`` are flags of a second stage."""
    return {
        "base": Training((base,), curve=True),
        "joint": Training(((*base, "--local_head=delg(stop_gradient=False)"),)),
        "separate": Training(((*base, *GLOBAL_ONLY), (*after, *HEADS_AFTER))),
        "raw": Training(((*base, "--use_autoencoder=false"),)),
    }


HEAD_ROWS = {
    "joint": Row("local losses train the backbone too (no stop)", "joint"),
    "separate": Row("local head trained afterwards, on the backbone that the global head left", "separate"),
    "raw": Row("no autoencoder, all channels", "raw"),
    "pca": Row("no autoencoder, PCA whitening to 64 values", "raw", whiten=64),
    "whitened": Row("autoencoder, its 64 values whitened", whiten=None),
    "pair": Row("that PCA whitening against the autoencoder's whitened values", base="whitened", reports="pca"),
    "binary": Row("... and binary", base="whitened", whiten=None, flags=("--local_dtype=binary",)),
    "signs": Row("binary without the whitening", flags=("--local_dtype=binary",)),
}
SWITCH_ROWS = {
    "gem_plus": Row("GeM+", switches=", gem_plus=True", rerank=None),
    "regional": Row("Regional-GeM", switches=", regional_gem=True", rerank=None),
    "scale_gem": Row("Scale-GeM", switches=', scale_pooling="scale_gem"', rerank=None),
    "all_three": Row(
        "all three", switches=', gem_plus=True, regional_gem=True, scale_pooling="scale_gem"', rerank=None
    ),
}
BASE_RERANK = ", ".join(("", SUPERGLOBAL, *KINDS))
GROCERY = Study(
    protocol="all",
    ransac="ransac(residual=8.0)",
    steps=400,
    common=(
        "--batch_size=32",
        "--image_size=128",
        "--augment=crop(min_area=0.3), color_jitter",
        "--whitening_init=pca",
        "--save_seconds=60",
    ),
    trainings={
        **heads(SQUEEZE, (*SQUEEZENET, "--initial_lr=0.0003", *ADAMW)),
        "small": Training((SMALL,), curve=True),
        "untrained": Training(((*SQUEEZE, "--max_iters=51", "--freeze_backbone_steps=51"),)),
        "scratch": Training(((*SQUEEZENET, "--initial_lr=0.0003", *ADAMW),), curve=True),
        "cosface": Training(((*SQUEEZE, "--classifier=cosface(margin=0.1)"),)),
        "curricular": Training(((*SQUEEZE, "--classifier=curricularface(margin=0.1)"),)),
        "adacos": Training(((*SQUEEZE, "--classifier=adacos"),)),
        "triplets": Training(((*SQUEEZE, "--global_loss=triplet_semihard(margin=0.3)"),)),
        "frozen": Training(((*SQUEEZE, "--freeze_backbone_steps={steps}"),)),
        "sgd": Training(((*PRETRAINED, *SGD),)),
        "sampled": Training(((*PRETRAINED, *SGD, "--sample_rate=0.5"),)),
    },
    rows={
        "base": Row("ImageNet SqueezeNet, ArcFace", base=None, rerank=BASE_RERANK),
        "untrained": Row("heads alone for 51 steps", "untrained"),
        "scratch": Row("SqueezeNet from scratch", "scratch"),
        "small": Row("a small residual network from scratch", "small"),
        "frozen": Row("backbone frozen", "frozen"),
        "cosface": Row("CosFace, margin 0.1", "cosface"),
        "curricular": Row("CurricularFace, margin 0.1", "curricular"),
        "adacos": Row("AdaCos", "adacos"),
        "triplets": Row("semi-hard triplets", "triplets"),
        "sgd": Row("SGD", "sgd"),
        "sampled": Row("SGD, half of the classes a step", "sampled", base="sgd"),
        **HEAD_ROWS,
        **SWITCH_ROWS,
    },
)
LANDMARKS = Study(
    protocol="medium",
    ransac="ransac(residual=4.0)",
    steps=700,
    common=(
        "--batch_size=32", "--image_size=96", "--augment=crop(min_area=0.5)", "--whitening_init=pca",
        "--save_seconds=60",
    ),
    trainings=heads(SMALL, SMALL[1:]),
    rows={
        "base": Row("small residual network, ArcFace", base=None, rerank=BASE_RERANK),
        **HEAD_ROWS,
        **SWITCH_ROWS,
        "relup": Row("ReLUP", switches=", relup=True", rerank=None),
    },
)  # fmt: skip
STUDIES = {"grocery": GROCERY, "landmarks": LANDMARKS}
