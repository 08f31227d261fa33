"""Serves a folder of photos over HTTP: searches from a page and from programs.

delg serve photos
delg serve photos --host=0.0.0.0 --token=SECRET
"""

from collection.options import ServeOptions
from delg.common.options import define_flags, from_flags

POSITIONAL = "FOLDER"

define_flags(ServeOptions)


def main(arguments: list[str]) -> None:
    """Opens the collection and answers until the process is stopped.

    Args:
      arguments: the folder of the photos.

    Raises:
      InputError: the folder, the address or a flag cannot be used, or the extra is missing.
    """
    import os
    import sys

    from delg.common.errors import InputError
    from delg.common.extras import needs_extra

    if len(arguments) != 1:
        raise InputError(f"Expected one folder of photos ({POSITIONAL}). Received: {len(arguments)}")
    options = from_flags(ServeOptions)
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise needs_extra("delg serve", "serve") from error
    from collection.collection import Collection
    from collection.serve.server import serve

    serve(Collection.open(arguments[0], options.model, state=options.collection), options)
    sys.stdout.flush()
    os._exit(0)  # without waiting for a synchronisation, which the next start continues
