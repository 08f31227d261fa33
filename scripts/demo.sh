#!/bin/sh
# The whole job on a procedural landmark set: make it, train, extract, retrieve in two stages, report.
# Usage: sh scripts/demo.sh [OUTPUT_DIR] [SEED]     (default: out, 0). Interrupted, the same command continues.
set -eu
output=$(realpath -m "${1:-out}")
seed=${2:-0}
cd "$(dirname "$0")/.."
extras=""
. scripts/environment.sh

delg landmarks --output_dir="$output/landmarks" --seed="$seed"
delg records --images_dir="$output/landmarks/train" --output_dir="$output/records"
delg train --preset=delg_small --train_file_pattern="$output/records/train*" --logdir="$output/training" \
  --max_iters=1100 --batch_size=32 --image_size=96 --augment='crop(min_area=0.5)' --whitening_init=pca \
  --optimizer='adamw(weight_decay=0.01)' --initial_lr=0.0015 --schedule='cosine(warmup=60)'
delg benchmark --benchmark=landmarks --data_dir="$output/landmarks" --model="$output/training/model" \
  --baselines=untrained,rootsift --rerank='ransac(residual=4.0),superglobal' --output_dir="$output/report"
