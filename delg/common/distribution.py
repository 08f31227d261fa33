"""Under which name and version this package is distributed. Its module ``delg`` has the name of another's package.

``setup.py`` runs this file by itself, so that it imports nothing of this package.
"""

NAME = "delg-retrieval"
__version__ = "0.1.0"
