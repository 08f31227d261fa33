"""``python -m delg COMMAND ...``: the same as ``delg COMMAND ...``, without an installed script."""

from delg.commands import dispatch

dispatch()
