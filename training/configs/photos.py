r"""Some hundred photos of your own, on a laptop: EfficientNet-Lite2, the heads first, then its upper half.

delg-train --config=photos --train_file_pattern='records/train*' --logdir=run

--init_model=efficientnet_lite0, or a model folder, takes another start; then give --train_from, too, and of a folder
whose whitening is to stay --whitening_init=random and --delg_embedding_layer_dim with its length.
Hardware and hours: no GPU; 14 core-minutes, 8 to 10 minutes on two CPU cores that other work shared.
Expected: see docs/results/retrieval.md, Fine-tuned.
"""

from typing import Any

PRETRAINED = "efficientnet_lite2, which is fetched once, or a model folder, for --init_model"
CONFIG: dict[str, Any] = {
    "init_model": "efficientnet_lite2",
    "delg_embedding_layer_dim": 512,
    "whitening_init": "pca",
    "classifier": "adacos",
    "freeze_batch_norm": True,
    "train_from": "block7_expand_conv",
    "freeze_backbone_steps": 40,
    "image_size": 160,
    "batch_size": 32,
    "initial_lr": 0.0005,
    "max_iters": 300,
    "optimizer": "adamw(weight_decay=0.01)",
    "schedule": "cosine(warmup=20)",
    "augment": "crop(min_area=0.3), color_jitter",
}
