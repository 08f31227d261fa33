#!/bin/sh
# Rebuilds the numbers of tensorflow-addons that the training options are tested against, or compares them.
# Usage: scripts/studies/addons_oracle.sh FOLDER [--write]
# FOLDER gets a virtual environment of Python 3.11, TensorFlow 2.15.1 and tensorflow-addons 0.23.0, unless it holds one.
# Without --write, the arrays are computed again and compared with tests/training/data/addons.npz.
set -eu
cd "$(dirname "$0")/../.."
folder=${1:?usage: scripts/studies/addons_oracle.sh FOLDER [--write]}
shift
if [ ! -e "$folder/installed" ]; then
  "${ADDONS_PYTHON:-python3.11}" -m venv --clear "$folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow==2.15.1 tensorflow-addons==0.23.0
  touch "$folder/installed"
fi
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=""
exec "$folder/bin/python" -W ignore scripts/studies/addons_oracle.py tests/training/data/addons.npz "$@"
