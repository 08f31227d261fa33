"""Name and version of the distribution, and the Keras backends. The package index's ``delg`` is another author's."""

NAME = "delg-retrieval"
__version__ = "0.1.0"
KERAS_BACKENDS = ("tensorflow", "jax", "torch")  # the first that is installed is the default
