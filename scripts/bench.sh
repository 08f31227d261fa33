#!/bin/sh
# Measures against references that are written out in the benchmark: prints a table, writes bench/SUBJECT.json.
# Usage: sh scripts/bench.sh extraction|growth|matching|rerankers|search|serve|training
#   [--rows=1000000] [--only=ransac_rerank,...] [--repeats=5]
set -eu
cd "$(dirname "$0")/.."
extras="[bench,openvino,serve]"
. scripts/environment.sh
export TF_CPP_MIN_LOG_LEVEL=2
exec "$PYTHON" -m scripts.bench.run "$@"
