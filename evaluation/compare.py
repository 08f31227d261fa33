r"""Puts two finished benchmark reports side by side: what differs in settings, in results, query by query.

Example:
  delg-compare report_a report_b --output=compare.html
"""

from dataclasses import dataclass

from delg.common.options import define_flags, from_flags, option

POSITIONAL = "REPORT_A REPORT_B"


@dataclass(frozen=True)
class CompareOptions:
    """One field for each flag."""

    output: str | None = option(None, "Page to write (.html); without it the table alone is printed.")
    rows: tuple[str, ...] | None = option(
        None, "A row of each report, such as global,global+ransac; without it all rows of one name."
    )
    allow_different_truths: bool = option(False, "Compare reports of different right answers; a warning says so.")


define_flags(CompareOptions)


def main(arguments: list[str]) -> None:
    """Reads both reports, prints, writes the page.

    Args:
      arguments: two output folders of delg-benchmark, or two report.json files.

    Raises:
      InputError: a report or a flag cannot be used, or the two cannot be compared.
    """
    from pathlib import Path

    from delg.common.errors import InputError
    from delg.common.files import check_writable, write_text
    from evaluation.report.compare import plain, put_together, render

    options = from_flags(CompareOptions)
    if len(arguments) != 2:
        raise InputError(f"Expected two reports ({POSITIONAL}). Received: {len(arguments)}")
    if options.rows and len(options.rows) != 2:
        raise InputError(f"--rows expects a row of each report, FIRST,SECOND. Received: {','.join(options.rows)}")
    if options.output:
        if Path(options.output).suffix.lower() != ".html":
            raise InputError(f"--output expects a file ending in .html. Received: {options.output!r}")
        check_writable(Path(options.output).parent)
    rows = (options.rows[0], options.rows[1]) if options.rows else None
    comparison = put_together(arguments[0], arguments[1], rows, options.allow_different_truths)
    print(plain(comparison), end="")
    if options.output:
        write_text(options.output, render(comparison))
        print(f"Page: {Path(options.output).resolve()}")
