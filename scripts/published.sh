#!/bin/sh
# A published model on its benchmark, from nothing: photos, ground truth and weights by delg-fetch, then delg-benchmark,
# with the extraction and the rerankers that the values were published with; the report stands beside these values.
# Usage: sh scripts/published.sh BENCHMARK MODEL [DIR] [--mirror=URL] [--offline] [--catalogue=FILE]   (default: out-published)
# such as roxford5k delg_r50_gldv1; an unknown name is answered with the choices. Interrupted, the same command continues.
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
