#!/bin/sh
# The whole job on your own photos, one sub-folder per instance: train, extract, retrieve in two stages, report.
# Usage: sh scripts/photos.sh TRAIN_DIR DATABASE_DIR [QUERIES_DIR] [OUTPUT_DIR]    (default output: out-photos)
# Every photo of DATABASE_DIR queries all others; with QUERIES_DIR (may be "") a second report is made of those queries.
# Interrupted, the same command continues.
set -eu
if [ $# -lt 2 ]; then
  echo "usage: sh scripts/photos.sh TRAIN_DIR DATABASE_DIR [QUERIES_DIR] [OUTPUT_DIR]" >&2
  exit 2
fi
train=$(realpath "$1")
database=$(realpath "$2")
queries=${3:+$(realpath "$3")}
output=$(realpath -m "${4:-out-photos}")
cd "$(dirname "$0")/.."
extras=""
. scripts/environment.sh

delg records --images_dir="$train" --output_dir="$output/records"
delg train --preset=delg_small --train_file_pattern="$output/records/train*" --logdir="$output/training" \
  --max_iters=1000 --batch_size=32 --image_size=128 --augment='crop(min_area=0.3), color_jitter' --whitening_init=pca \
  --optimizer='adamw(weight_decay=0.01)' --initial_lr=0.0015 --schedule='cosine(warmup=50)'

# Usage: benchmark OUTPUT [FLAG ...]
benchmark() {
  report=$1
  shift
  delg benchmark --benchmark=folders --data_dir="$database" --model="$output/training/model" "$@" \
    --baselines=untrained,rootsift,histogram --rerank='ransac(residual=8.0),superglobal' \
    --features_dir="$output/features" --output_dir="$report"
}
if [ -n "$queries" ]; then
  benchmark "$output/queries" --queries_dir="$queries"
fi
benchmark "$output/report"
