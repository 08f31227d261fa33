"""The sentences that report the exceptions of other packages."""

import pytest

from delg.common.errors import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [(ValueError("\n one\ntwo"), "one"), (OSError(2, "gone"), "[Errno 2] gone"), (KeyError(), "KeyError")],
)
def test_the_first_line_of_an_error(error, line):
    assert first_line(error) == line


@pytest.mark.parametrize("message", ["", " \n "])
def test_an_error_without_a_message_tells_its_type(message):
    assert first_line(RuntimeError(message)) == "RuntimeError"
