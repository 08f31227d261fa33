"""One reader of text: encodings, line ends, quotes, blanks, and what is refused."""

import codecs

import pytest

from delg.common.errors import InputError
from delg.common.files import read_json
from delg.common.text_files import columns, read_lines, read_text, rows, table

TEXT = 'path,label\n"ü, 1.jpg",x\nb.jpg,"two\nlines"\n'


def written(tmp_path, data):
    (tmp_path / "file.txt").write_bytes(data)
    return tmp_path / "file.txt"


MARKED = {
    "utf-8": TEXT.encode(),
    "utf-8 with mark": codecs.BOM_UTF8 + TEXT.encode(),
    "utf-16 le": codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
    "utf-16 be": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "utf-32 le": codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
    "utf-32 be": codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
}


@pytest.mark.parametrize("data", MARKED.values(), ids=MARKED)
def test_the_mark_names_the_encoding(tmp_path, data):
    path = written(tmp_path, data)
    assert read_text(path) == TEXT
    assert list(table(path)) == [(1, ["path", "label"]), (2, ["ü, 1.jpg", "x"]), (4, ["b.jpg", "two\nlines"])]
    assert [place.rpartition(" ")[2] for place, _ in rows(path, ("label",))] == ["2", "4"]


def test_lines_end_where_editors_end_them_and_nowhere_else(tmp_path):
    path = written(tmp_path, " a\u2028b\x0c\x85c \r\n\r\n\t\nd\re".encode())
    assert read_lines(path) == [(1, "a\u2028b\x0c\x85c"), (4, "d"), (5, "e")]


REFUSED = {
    "latin-1": ("a,b\nx,caf\xe9\ny,1\n".encode("latin-1"), "file.txt, line 2, byte 6: e9 .*iconv -f LATIN1"),
    "latin-1 behind a mark": (codecs.BOM_UTF8 + b"a,b\n\xe9,1\n", "file.txt, line 2, byte 1"),
    "a cut character": (b"a,b\nx,\xc3", "file.txt, line 2, byte 3"),
    "utf-16 without a mark": ("a,b\nx,1\n".encode("utf-16-le"), "file.txt, line 1, holds a zero byte"),
    "a zero byte": (b"a,b\nx,1\ny,\0\n", "file.txt, line 3, holds a zero byte"),
    "half of utf-16": (codecs.BOM_UTF16_LE + b"a", "file.txt begins as UTF-16"),
}


@pytest.mark.parametrize(("data", "said"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("read", [read_text, read_lines, read_json, lambda path: list(table(path))])
def test_what_is_no_unicode_text_is_refused_with_its_place(tmp_path, data, said, read):
    with pytest.raises(InputError, match=said) as caught:
        read(written(tmp_path, data))
    assert "\n" not in str(caught.value)


def test_a_large_file_is_refused_at_its_line(tmp_path):
    path = written(tmp_path, b"x,1\n" * 100_000 + b"caf\xe9,1\n")
    with pytest.raises(InputError, match=r"line 100001, byte 4"):
        list(table(path))


def test_blanks_count_only_where_values_are_wanted_as_they_stand(tmp_path):
    path = written(tmp_path, '\ufeff a , b \n\n  "x, y" , " z "\u00a0\n , \n\t1,2'.encode())
    assert list(table(path)) == [(1, ["a", "b"]), (3, ["x, y", "z"]), (5, ["1", "2"])]
    assert list(table(written(tmp_path, b'a, b\n\n" c ",\n'), exact=True)) == [(1, ["a", " b"]), (3, [" c ", ""])]


def test_what_spreadsheets_leave_at_the_ends(tmp_path):
    path = written(tmp_path, b"path,label,,\nx,1,,\ny,2,\nz,3\n,,,\n")
    assert columns(path) == ["path", "label"]
    assert [row for _, row in rows(path, ("path",))] == [{"path": p, "label": q} for p, q in ("x1", "y2", "z3")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an empty file"),
        ("a,c\n", "expects the columns a,b. Received: a,c"),
        ("a,b,a\n", "Received: the column a twice"),
        ("a,b\n1\n", "line 2: expected 2 values. Received: 1"),
        ("a,b\n1,2,3\n", "line 2: expected 2 values. Received: 3"),
        ("a,b\n1,2\n\n3,\n", "line 4: no value for b"),
        ('a,b\n1,2\n3,"4\n5,6\n', "line 3: a quote is opened that is never closed"),
    ],
)
def test_rows_that_are_not_as_they_should_be(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        list(rows(written(tmp_path, text.encode()), ("a", "b"), filled=("b",)))


def test_files_that_are_not_there(tmp_path):
    for read in (read_text, read_json, columns):
        with pytest.raises(InputError, match=r"none\.csv cannot be read"):
            read(tmp_path / "none.csv")
        with pytest.raises(InputError, match="cannot be read"):
            read(tmp_path)


def test_json_that_is_nested_too_deeply_ends_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot be read as JSON"):
        read_json(written(tmp_path, b"[" * 200_000))
