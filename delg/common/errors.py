"""The exception for a user's mistake, and the short text of other exceptions."""


class InputError(ValueError):
    """Input that a user can correct: the message is one sentence, printed by the commands without a traceback."""


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; the name of its type where the message is empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
