#!/bin/sh
# Puts every reranker on the same features and the same 100 candidates: photos of packages and places, and procedural
# landmarks. OUTPUT_DIR/rerankers.md has quality with intervals, milliseconds a query, and bytes an image.
# Usage: sh scripts/studies/rerankers.sh PHOTOS_DIR [OUTPUT_DIR] [SEEDS] [MODEL ...]
# PHOTOS_DIR holds grocery/test, grocery/iconic and places, each with a folder per instance (iconic: or a file).
# Defaults: out-rerankers, "0 1 2", and the models rootsift and auto. The variable RERANK names other rerankers, EACH
# the step between the photos of grocery/test that are queries (16).
# `taskset -c 0 sh ...` measures with one thread. After an interruption the same command continues.
set -eu
photos=$(realpath "$1")
output=$(realpath -m "${2:-out-rerankers}")
seeds=${3-0 1 2}
each=${EACH:-16}
shift $(($# < 3 ? $# : 3))
[ $# -gt 0 ] || set -- rootsift auto
cd "$(dirname "$0")/../.."
extras="[bench]"
. scripts/environment.sh
export TF_CPP_MIN_LOG_LEVEL=2
rerank=${RERANK:-'alpha_qe(top_k=100), alpha_dba(top_k=100), k_reciprocal(top_k=100), diffusion(top_k=100),
superglobal(m=100), superglobal(m=100, k=4), ransac, auto(top_k=100), chamfer_ot,
fused(reranker="ransac", weight=0.05), fused(reranker="ransac", weight=0.2), fused(reranker="chamfer_ot", weight=0.01),
gated(reranker="ransac", gap=0.05), superglobal(m=100) | ransac,
superglobal(m=100) | fused(reranker="ransac", weight=0.05)'}

mkdir -p "$output/photos" "$output/test$each"
for place in "$photos"/places/*/ "$photos"/grocery/test/*/; do
  ln -sfn "$place" "$output/photos/$(basename "$place")"
done
find "$photos/grocery/test" -type f | sort | awk "NR % $each == 1" | while read -r photo; do
  mkdir -p "$output/test$each/$(basename "$(dirname "$photo")")"
  ln -sf "$photo" "$output/test$each/$(basename "$(dirname "$photo")")/"
done

# Usage: extract MODEL NAME IMAGES_DIR, then benchmark MODEL SET FLAG ...
extract() {
  "$PYTHON" -m delg extract --model="$1" --images_dir="$3" --output_dir="$output/features/$(short "$1")/$2"
}
benchmark() {
  report="$output/reports/$(short "$1")/$2"
  shift 2
  "$PYTHON" -m delg benchmark --baselines= --rerank="$rerank" --output_dir="$report" "$@"
}
short() {
  echo "$1" | tr -c 'a-zA-Z0-9_\n' _
}
for model in "$@"; do
  features="$output/features/$(short "$model")"
  extract "$model" photos "$output/photos"
  for set in iconic "test_each_${each}th" places; do
    queries="$photos/grocery/iconic"
    [ "$set" = "test_each_${each}th" ] && queries="$output/test$each"
    [ "$set" = places ] && queries="$photos/places"
    extract "$model" "$set" "$queries"
    benchmark "$model" "$set" --benchmark=folders --data_dir="$output/photos" --queries_dir="$queries" \
      --index_features_dir="$features/photos" --query_features_dir="$features/$set"
  done
done
for seed in $seeds; do
  "$PYTHON" -m delg landmarks --output_dir="$output/landmarks/$seed" --seed="$seed" --num_classes=1 \
    --views_per_class=1 --num_queries=40 --num_distractors=100 --num_workers=1
  for model in "$@"; do
    benchmark "$model" "landmarks$seed" --benchmark=landmarks --data_dir="$output/landmarks/$seed" --model="$model"
  done
done
"$PYTHON" -m scripts.studies.rerankers "$output"
