"""What the process that commands are forked of has imported; started by :mod:`tests.processes`.

Of ours that is what most commands import; the modules of the commands themselves define flags and stay out.
"""

import gc
import os

from delg.quiet import silence_tensorflow, skip_optional_imports

os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a process that has initialised a GPU cannot be forked
silence_tensorflow()
skip_optional_imports()

import absl.app  # noqa: E402, F401
import cv2  # noqa: E402, F401
import h5py  # noqa: E402, F401
import keras  # noqa: E402, F401
import PIL.Image  # noqa: E402, F401
import scipy.io  # noqa: E402
import scipy.sparse  # noqa: E402, F401
import tensorflow  # noqa: E402, F401

import delg.saving  # noqa: E402, F401
import evaluation.run.pipeline  # noqa: E402, F401
import extraction.extractors.delg  # noqa: E402, F401
import matching.rerankers.ransac  # noqa: E402, F401
import training.trainer  # noqa: E402, F401

gc.collect()
gc.freeze()  # or each fork copies the memory of all objects when it collects
