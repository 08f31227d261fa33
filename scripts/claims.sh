#!/bin/sh
# Puts claims about rerankers and small local features to the test on procedural landmarks, three seeds: a table with intervals.
# Usage: sh scripts/claims.sh [OUTPUT_DIR] [SEEDS]     (default: out-claims, "0 1 2"). Interrupted, the same command continues.
set -eu
output=$(realpath -m "${1:-out-claims}")
seeds=${2:-0 1 2}
cd "$(dirname "$0")/.."
extras=""
. scripts/environment.sh
export TF_CPP_MIN_LOG_LEVEL=2

rerank='ransac(top_k=100), superglobal(m=100), superglobal(m=50), superglobal(m=200), superglobal(m=100, k=4),'
rerank="$rerank superglobal(m=100, k=18), superglobal(m=100, beta=0.05), superglobal(m=100, beta=0.5),"
rerank="$rerank superglobal(m=100, expanded_against='original')"
# Usage: benchmark SEED NAME FLAG ...
benchmark() {
  seed=$1 name=$2
  shift 2
  "$PYTHON" -m delg benchmark --benchmark=landmarks --data_dir="$output/$seed/landmarks" --output_dir="$output/$seed/$name" \
    --model='rootsift(max_feature_num=500)' "$@"
}
for seed in $seeds; do
  "$PYTHON" -m delg landmarks --output_dir="$output/$seed/landmarks" --seed="$seed" --num_classes=1 --views_per_class=1 \
    --num_queries=40 --num_distractors=100 --num_workers=1
  benchmark "$seed" float --rerank="$rerank"
  benchmark "$seed" uint8 --rerank='ransac(top_k=100)' --local_dtype=uint8
done
exec "$PYTHON" -m scripts.claims "$output" $seeds
