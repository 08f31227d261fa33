r"""Converted or earlier weights on your own photos: the heads first, then everything at a low rate.

delg-convert --input=logdir/delf_weights --output_dir=start
delg-records --images_dir=photos --output_dir=records
delg-train --config=finetune_r50 --init_model=start --train_file_pattern='records/train*' --logdir=run \
  --retrieval_dir=check_photos

Hardware and hours: about 12 on two CPU cores, 7 with --mixed_precision where they compute in bfloat16 (AMX), before
validation. Estimated: 5000 steps of 32 images at the measured 2126 and 1220 ms for 8 (sh scripts/bench.sh training
--only=train_step_r50 measures yours); the first 500 steps, of the heads alone, take less. Not run on a GPU.
Expected: not measured, it depends on the photos; the best model by the mAP of --retrieval_dir is kept in run/best.
"""

from typing import Any

PRETRAINED = "a model folder of delg-convert or of an earlier training, for --init_model"
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
