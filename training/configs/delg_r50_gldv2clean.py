r"""ResNet-50 on Google Landmarks v2 clean, 1,580,470 images of 81,313 classes: the released recipe.

delg-records --images_dir=gldv2/train --train_clean_csv_path=gldv2/train_clean.csv --output_dir=records \
  --generate_train_validation_splits
delg-fetch resnet50_imagenet --output_dir=weights
delg-train --config=delg_r50_gldv2clean --train_file_pattern='records/train*' --logdir=run \
  --validation_file_pattern='records/validation*' \
  --imagenet_checkpoint=weights/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5

Hardware and hours: not run at this size by this package. The released documents name 8 P100 GPUs for a batch of 256 at
this rate, 4 for 128 at 0.005, and no hours. Estimated: 1.5 million steps of 256 images at 512 pixels (243 epochs) are
4.7e19 floating-point operations (123 GFLOP an image, scripts/bench/arithmetic.py), or 13,100 hours divided by the
TFLOP/s that all GPUs sustain together: 330 hours for 8 that sustain 5 each. Two CPU cores sustain 0.18 (measured: 2126
ms for a step of 8 images at 321 pixels, docs/results/training.md), eight years.
Expected: not measured. Published for the released model of this set: ROxford5k medium / hard 73.6 / 51.0, RParis6k
85.7 / 71.5 mAP of the global descriptor (Tan et al., ICCV 2021, README of RerankingTransformer, official features).
Memory of the heads: vectors and momenta of 81,313 classes take 1270 MiB of the descriptor's (D = 2048) and 635 MiB of
the attention's classifier (D = 1024); a step adds at most 12 bytes a value, 2860 MiB of both, and with
--sample_rate=0.1 16 bytes a value of the sample, 380 MiB; see docs/training.md.
"""

from typing import Any

PRETRAINED = (
    "delg-fetch resnet50_imagenet --output_dir=weights brings "
    "weights/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5, of keras.applications"
)
CONFIG: dict[str, Any] = {
    "preset": "delg_r50",
    "dataset_version": "gld_v2_clean",
    "image_size": 512,
    "batch_size": 256,
    "initial_lr": 0.01,
    "max_iters": 1_500_000,
    "optimizer": "sgd(momentum=0.9)",
    "schedule": "linear",
    "augment": "crop",
}
