#!/bin/sh
# The whole job on your own photos, one sub-folder per instance: fine-tune, extract, retrieve in two stages, report.
# Usage: sh scripts/photos.sh TRAIN_DIR DATABASE_DIR [QUERIES_DIR] [OUTPUT_DIR]    (default output: out-photos)
# Every photo of DATABASE_DIR queries all others; with QUERIES_DIR (may be "") a second report is made of those queries.
# Interrupted, the same command continues. The start, EfficientNet-Lite2 (25 MB), is fetched once.
set -eu
if [ $# -lt 2 ]; then
  echo "usage: sh scripts/photos.sh TRAIN_DIR DATABASE_DIR [QUERIES_DIR] [OUTPUT_DIR]" >&2
  exit 2
fi
train=$(realpath "$1")
database=$(realpath "$2")
queries=${3:+$(realpath "$3")}
output=$(realpath -m "${4:-out-photos}")
case $output in *[\"\\]*)
  echo "OUTPUT_DIR holds a quote or a backslash" >&2
  exit 2
  ;;
esac
cd "$(dirname "$0")/.."
extras=""
. scripts/environment.sh

delg records --images_dir="$train" --output_dir="$output/records"
delg train --config=photos --train_file_pattern="$output/records/train*" --logdir="$output/training"

# Usage: benchmark OUTPUT [FLAG ...]
benchmark() {
  report=$1
  shift
  delg benchmark --benchmark=folders --data_dir="$database" "$@" \
    --model="pair(global=\"$output/training/model\", local=\"rootsift\")" \
    --baselines=auto,rootsift,histogram --rerank='ransac(residual=8.0),superglobal' \
    --features_dir="$output/features" --output_dir="$report"
}
if [ -n "$queries" ]; then
  benchmark "$output/queries" --queries_dir="$queries"
fi
benchmark "$output/report"
