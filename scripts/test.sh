#!/bin/sh
# Runs the tests in .venv, which is made when there is none, a file at a time on each core. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
extras="[bench,dev,docs,hub,jax,milvus,onnx,openvino,ray,serve]"
. scripts/environment.sh
export TF_CPP_MIN_LOG_LEVEL=2
unset PYTHONDONTWRITEBYTECODE # with which each process that a test starts would compile the sources again
exec "$PYTHON" -m pytest --numprocesses=auto --maxprocesses=8 --dist=loadfile --no-loadscope-reorder "$@"
