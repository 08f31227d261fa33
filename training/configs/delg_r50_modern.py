r"""ResNet-50 on any large set with what has come into use since: warm-up, cosine, decay, averaging, bfloat16, sampling.

delg-train --config=delg_r50_modern --train_file_pattern='records/train*' --logdir=run \
  --imagenet_checkpoint=resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5

Hardware and hours: made for GPUs that compute in bfloat16; not run at full size by this package.
Expected: not measured.
"""

from typing import Any

CONFIG: dict[str, Any] = {
    "preset": "delg_r50",
    "image_size": 512,
    "batch_size": 128,
    "initial_lr": 0.01,
    "max_iters": 400_000,
    "optimizer": "sgd(momentum=0.9, weight_decay=0.0001)",
    "schedule": "cosine(warmup=2000)",
    "augment": "crop(min_area=0.3), flip, color_jitter, random_erasing(p=0.25)",
    "moving_average_decay": 0.9999,
    "mixed_precision": True,
    "sync_batch_norm": True,
    "sample_rate": 0.2,
}
