r"""Puts two finished benchmark reports side by side: what differs in settings, in results, query by query.

Example:
  delg-compare report_a report_b --output=compare.html
"""

from absl import flags

FLAGS = flags.FLAGS
POSITIONAL = "REPORT_A REPORT_B"
flags.DEFINE_string("output", None, "Page to write (.html); without it the table alone is printed.")
flags.DEFINE_list("rows", None, "A row of each report, such as global,global+ransac; without it all rows of one name.")
flags.DEFINE_bool("allow_different_truths", False, "Compare reports of different right answers; a warning says so.")


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
    from evaluation.report import compared
    from evaluation.report.comparison import put_together

    if len(arguments) != 2:
        raise InputError(f"Expected two reports ({POSITIONAL}). Received: {len(arguments)}")
    if FLAGS.rows and len(FLAGS.rows) != 2:
        raise InputError(f"--rows expects a row of each report, FIRST,SECOND. Received: {','.join(FLAGS.rows)}")
    if FLAGS.output:
        if Path(FLAGS.output).suffix.lower() != ".html":
            raise InputError(f"--output expects a file ending in .html. Received: {FLAGS.output!r}")
        check_writable(Path(FLAGS.output).parent)
    rows = (FLAGS.rows[0], FLAGS.rows[1]) if FLAGS.rows else None
    found = put_together(arguments[0], arguments[1], rows, FLAGS.allow_different_truths)
    print(compared.plain(found), end="")
    if FLAGS.output:
        write_text(FLAGS.output, compared.render(found))
        print(f"Page: {Path(FLAGS.output).resolve()}")
