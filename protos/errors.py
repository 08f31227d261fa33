"""The one exception that stands for a user's mistake."""


class InputError(ValueError):
    """Input that a user can correct: the message is one sentence, printed by the commands without a traceback."""
