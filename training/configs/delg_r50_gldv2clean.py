r"""ResNet-50 on Google Landmarks v2 clean, 1,580,470 images of 81,313 classes: the released recipe.

delg-records --images_dir=gldv2/train --train_clean_csv_path=gldv2/train_clean.csv --output_dir=records \
  --generate_train_validation_splits
delg-train --config=delg_r50_gldv2clean --train_file_pattern='records/train*' --logdir=run \
  --validation_file_pattern='records/validation*' \
  --imagenet_checkpoint=resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5

Hardware and hours: the released documents name 8 P100 GPUs for a batch of 256 at this rate, and 4 for 128 at 0.005, and
1.5 million steps; hours are not given there, and this package has not been run at this size.
Expected: ROxford5k medium / hard 73.6 / 51.0 and RParis6k 85.7 / 71.5 mAP of the global descriptor are what the
released model of this set reaches (published; not measured with this recipe).
Memory of the heads: 81,313 x 2048 values are 635 MiB, three times that with momenta and gradients, besides 318 MiB x 3
of the attention's classifier; --sample_rate=0.1 leaves most of the gradients out.
"""

from typing import Any

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
