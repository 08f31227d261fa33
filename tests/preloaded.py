"""What the process that commands are forked of has imported; started by :mod:`tests.processes`."""

import os

from delg.quiet import silence_tensorflow

os.environ["KERAS_BACKEND"] = "tensorflow"
silence_tensorflow()

import absl.app  # noqa: E402, F401
import cv2  # noqa: E402, F401
import h5py  # noqa: E402, F401
import keras  # noqa: E402, F401
import PIL.Image  # noqa: E402, F401
import scipy.io  # noqa: E402
import scipy.sparse  # noqa: E402, F401
import tensorflow  # noqa: E402, F401
