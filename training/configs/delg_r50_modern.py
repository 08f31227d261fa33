r"""ResNet-50 on any large set with what has come into use since: warm-up, cosine, decay, averaging, bfloat16, sampling.

delg-fetch resnet50_imagenet --output_dir=weights
delg-train --config=delg_r50_modern --train_file_pattern='records/train*' --logdir=run \
  --imagenet_checkpoint=weights/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5

Hardware and hours: made for GPUs that compute in bfloat16; not run at full size by this package. Estimated for Google
Landmarks v2 clean: 400,000 steps of 128 images at 512 pixels (32 epochs) are 6.3e18 floating-point operations, or 1750
hours divided by the TFLOP/s that the GPU sustains: 18 hours at 100. Two CPU cores sustain 0.31 in bfloat16 (measured:
1220 ms for a step of 8 images at 321 pixels, docs/results/training.md), 230 days.
Expected: not measured. Published for the same network and set by the released recipe: ROxford5k medium / hard 73.6 /
51.0, RParis6k 85.7 / 71.5 mAP of the global descriptor (Tan et al., ICCV 2021, README of RerankingTransformer).
"""

from typing import Any

PRETRAINED = (
    "delg-fetch resnet50_imagenet --output_dir=weights brings "
    "weights/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5, of keras.applications"
)
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
