"""Progress where the error stream is no terminal."""

from delg.common.progress import progress_bar


def test_a_log_gets_whole_lines(capsys):
    for _ in progress_bar(range(3), desc="outer", unit="image"):
        assert list(progress_bar("ab", desc="inner")) == ["a", "b"]
    log = capsys.readouterr().err
    assert "\r" not in log and "\x1b" not in log and "\n\n" not in log and log.endswith("\n")
    assert log.count("\n") == 2 + 3 * 2
    assert log.splitlines()[-1].startswith("outer: 100%")


def test_nothing_is_written_where_it_is_switched_off(capsys):
    assert list(progress_bar(range(3), disable=True)) == [0, 1, 2]
    with progress_bar(total=2, desc="late", delay=60) as bar:
        bar.update(2)
    assert capsys.readouterr().err == ""
