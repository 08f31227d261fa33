"""A script's mistakes of the user in one sentence instead of a traceback."""

import sys
from collections.abc import Callable
from pathlib import Path

from delg.common.errors import InputError


def guarded(main: Callable[[], None]) -> None:
    """Runs a script's ``main``; input that cannot be used ends it with one sentence and status 1."""
    try:
        main()
    except (InputError, OSError) as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: {error}")
