"""Name and version of the distribution. On the package index the name ``delg`` is another author's."""

NAME = "delg-retrieval"
__version__ = "0.1.0"
