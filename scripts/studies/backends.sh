#!/bin/sh
# Compares the descriptors of the same weights on TensorFlow, JAX and PyTorch, and times a training step on JAX.
# Each backend has an environment of its own; only the first one has TensorFlow.
# Usage: sh scripts/studies/backends.sh [WORK_DIR]    (default: out-backends)
set -eu
work=$(realpath -m "${1:-out-backends}")
cd "$(dirname "$0")/../.."
extras=""
. scripts/environment.sh
mkdir -p "$work"
export PYTHONPATH=$PWD TF_CPP_MIN_LOG_LEVEL=2
KERAS_BACKEND=tensorflow "$PYTHON" scripts/studies/backends.py write "$work"
KERAS_BACKEND=tensorflow "$PYTHON" scripts/studies/backends.py compare "$work"
failed=0
for backend in jax torch; do
  if [ ! -e "$work/$backend/installed" ]; then
    "$PYTHON" -m venv --clear "$work/$backend"
    "$work/$backend/bin/python" -m pip install --quiet --disable-pip-version-check \
      "$backend" keras numpy pillow h5py absl-py tqdm protobuf opencv-python-headless
    touch "$work/$backend/installed"
  fi
  KERAS_BACKEND=$backend "$work/$backend/bin/python" scripts/studies/backends.py compare "$work" || failed=1
done
"$work/jax/bin/python" -m scripts.studies.jax_train_speed \
  --preset=delg_small --image_size=64 --batch_size=8 --num_classes=100 --steps=5 || failed=1
exit $failed
