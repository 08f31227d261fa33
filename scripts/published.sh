#!/bin/sh
# Runs a published model on its benchmark: delg-fetch brings photos, ground truth and weights, then delg-benchmark uses
# the extraction and the rerankers of the published values. The report shows both side by side.
# Usage: sh scripts/published.sh BENCHMARK MODEL [DIR] [--mirror=URL] [--offline] [--catalogue=FILE]
# Example: roxford5k delg_r50_gldv1. An unknown name lists the choices. DIR is out-published by default.
# After an interruption the same command continues.
set -eu
if [ $# -lt 2 ]; then
  echo "usage: sh scripts/published.sh BENCHMARK MODEL [DIR] [--mirror=URL] [--offline] [--catalogue=FILE]" >&2
  exit 2
fi
here=$PWD
cd "$(dirname "$0")/.."
extras=""
. scripts/environment.sh
export PYTHONPATH=$PWD PYTHONSAFEPATH=1  # what lies in the user's folder is not taken for ours
cd "$here"
exec "$PYTHON" -m scripts.published "$@"
