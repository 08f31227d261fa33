r"""Converted or earlier weights on your own photos: the heads first, then everything at a low rate.

delg-convert --input=logdir/delf_weights --output_dir=start
delg-records --images_dir=photos --output_dir=records
delg-train --config=finetune_r50 --init_model=start --train_file_pattern='records/train*' --logdir=run \
  --retrieval_dir=check_photos

Hardware and hours: a step of 8 images of 321 pixels takes some seconds on two CPU cores (sh scripts/bench.sh training
measures it), so that this wants a GPU.
Expected: depends on the photos; the best model by the mAP of --retrieval_dir is kept in run/best.
"""

from typing import Any

CONFIG: dict[str, Any] = {
    "preset": "delg_r50",
    "image_size": 321,
    "batch_size": 32,
    "initial_lr": 0.001,
    "max_iters": 5000,
    "optimizer": "sgd(momentum=0.9, weight_decay=0.0001)",
    "schedule": "cosine(warmup=200)",
    "augment": "crop(min_area=0.3), flip, color_jitter",
    "freeze_backbone_steps": 500,
    "eval_interval": 250,
}
