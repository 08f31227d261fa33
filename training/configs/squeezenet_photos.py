r"""A small pretrained network on some hundred photos, on a laptop: 31 grocery packages in 400 steps.

delg-fetch squeezenet_imagenet --output_dir=weights
delg-train --config=squeezenet_photos --train_file_pattern='records/train*' --logdir=run \
  --imagenet_checkpoint=weights/squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5

Hardware and hours: 3 to 5 minutes on two CPU cores that other work was running on.
Expected: 65.3 mAP of product pictures among 781 photos with seed 0, 75.2 after RANSAC; 67.8 and 75.7 in the mean of
three seeds, see docs/results/training.md.
"""

from typing import Any

PRETRAINED = (
    "delg-fetch squeezenet_imagenet --output_dir=weights brings "
    "weights/squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5, of the release v1.0 of rcmalli/keras-squeezenet"
)
CONFIG: dict[str, Any] = {
    "preset": "delg_squeezenet",
    "image_size": 128,
    "batch_size": 32,
    "initial_lr": 0.0003,
    "max_iters": 400,
    "optimizer": "adamw(weight_decay=0.01)",
    "schedule": "cosine(warmup=50)",
    "augment": "crop(min_area=0.3), color_jitter",
    "whitening_init": "pca",
    "reconstruction_loss_weight": 0.003,
}
