#!/bin/sh
# Tests claims of the papers with three seeds each. Tables with intervals:
#   OUTPUT_DIR/rerankers/claims.md               rerankers and small local features, RootSIFT on procedural landmarks
#   OUTPUT_DIR/landmarks/table.md, speedup.md    DELG's heads, SuperGlobal's switches and the parts of its speed-up,
#                                                models trained on procedural landmarks
#   OUTPUT_DIR/photos/table.md, speedup.md       the same and the losses on photos
# Usage: sh scripts/studies/claims.sh [OUTPUT_DIR] [SEEDS] [PHOTOS_DIR SQUEEZENET.h5]
# Defaults: out-claims, "0 1 2", no photos. PHOTOS_DIR holds train, test and iconic, each with a folder per instance.
# After an interruption the same command continues.
set -eu
output=$(realpath -m "${1:-out-claims}")
seeds=${2:-0 1 2}
photos=${3:+$(realpath "$3")}
weights=${4:+$(realpath "$4")}
cd "$(dirname "$0")/../.."
extras="[bench]"
. scripts/environment.sh
export TF_CPP_MIN_LOG_LEVEL=2

rerank='ransac(top_k=100), superglobal(m=100), superglobal(m=50), superglobal(m=200), superglobal(m=100, k=4),'
rerank="$rerank superglobal(m=100, k=18), superglobal(m=100, beta=0.05), superglobal(m=100, beta=0.5),"
rerank="$rerank superglobal(m=100, expanded_against='original')"
# Usage: benchmark SEED NAME FLAG ...
benchmark() {
  seed=$1 name=$2
  shift 2
  "$PYTHON" -m delg benchmark --benchmark=landmarks --data_dir="$output/rerankers/$seed/landmarks" \
    --output_dir="$output/rerankers/$seed/$name" --model='rootsift(max_feature_num=500)' "$@"
}
for seed in $seeds; do
  "$PYTHON" -m delg landmarks --output_dir="$output/rerankers/$seed/landmarks" --seed="$seed" \
    --num_classes=1 --views_per_class=1 --num_queries=40 --num_distractors=100 --num_workers=1
  benchmark "$seed" float --rerank="$rerank"
  benchmark "$seed" uint8 --rerank='ransac(top_k=100)' --local_dtype=uint8
done
"$PYTHON" -m scripts.studies.claims "$output/rerankers" $seeds

commas=$(echo $seeds | tr ' ' ',')
"$PYTHON" -m delg landmarks --output_dir="$output/landmarks/set" --num_workers=1
"$PYTHON" -m scripts.studies.ablation landmarks "$output/landmarks/set" "$output/landmarks" --seeds="$commas"
# The C library keeps memory that is given back, so that no method is timed for asking the system for it anew (glibc).
# Usage: speedup ARGUMENT ...
speedup() {
  MALLOC_TRIM_THRESHOLD_=1000000000 MALLOC_TOP_PAD_=500000000 MALLOC_MMAP_MAX_=0 \
    "$PYTHON" -m scripts.studies.speedup "$@"
}
set --
for seed in $seeds; do
  set -- "$@" "$output/landmarks/$seed/base/features/global"
done
speedup "$output/landmarks/set" "$@" "$output/landmarks" --benchmark=landmarks --residual=4 --most_queries=20
if [ -n "$photos" ]; then
  "$PYTHON" -m scripts.studies.ablation grocery "$photos/train" "$photos/test" "$photos/iconic" \
    "$output/photos" --seeds="$commas" --squeezenet="$weights"
  set --
  for seed in $seeds; do
    set -- "$@" "$output/photos/$seed/base/features/global"
  done
  speedup "$photos/test" "$@" "$output/photos" --queries_dir="$photos/iconic"
fi
