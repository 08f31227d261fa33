"""Writes rankings as files for other programs.

TREC runs, GLDv2 submissions, predictions for the MSLS evaluation, and neighbour files for AMES, ELViS and LOCORE:
one file for each row and protocol, ``predictions/ROW.PROTOCOL.FORMAT``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from delg.common.errors import InputError
from delg.common.files import atomic_path, json_sha256
from delg.common.sources import source_sha256
from evaluation.benchmarks.base import Benchmark, names_of
from evaluation.benchmarks.gldv2_votes import check_plain, image_id
from evaluation.benchmarks.method import Alignment, file_name
from evaluation.benchmarks.vpr import image_key
from evaluation.predictions.neighbours import filled, write
from matching.ranking import Ranking

Results = tuple[str, Sequence[str]]  # names of a query and of its results, best first


def trec(results: Iterable[Results], tag: str) -> Iterator[str]:
    """Lines of a TREC run, ``query Q0 image rank score tag``; blanks in names are written as ``%20``, ``%`` as ``%25``.

    ``trec_eval`` sorts by score, and equal scores by name; the written score therefore counts down the ranking.

    >>> list(trec([("q 1", ["b", "a"])], "global"))
    ['q%201 Q0 b 1 2 global', 'q%201 Q0 a 2 1 global']
    """
    for query, names in results:
        for rank, name in enumerate(names, start=1):
            yield f"{_word(query)} Q0 {_word(name)} {rank} {len(names) + 1 - rank} {_word(tag)}"


def gldv2(results: Iterable[Results], tag: str) -> Iterator[str]:
    """Lines of a GLDv2 retrieval submission, ``id,images``; an id is the file's stem.

    >>> list(gldv2([("0/a/q", ["1/2/b", "1/3/a"])], "global"))
    ['id,images', 'q,b a']
    """
    yield "id,images"
    for query, names in results:
        yield f"{image_id(query)},{' '.join(map(image_id, names))}"


def msls(results: Iterable[Results], tag: str) -> Iterator[str]:
    """Lines of the MSLS evaluation's predictions: the query's key, then the keys of the results.

    >>> list(msls([("@1@2@17@T@3@4@key@@@", ["database/a", "b"])], "global"))
    ['key a b']
    """
    for query, names in results:
        yield " ".join(_word(image_key(name)) for name in (query, *names))


TEXTS: dict[str, Callable[[Iterable[Results], str], Iterator[str]]] = {"gldv2": gldv2, "msls": msls, "trec": trec}
IDS: dict[str, Callable[[str], str]] = {"gldv2": image_id, "msls": image_key}  # the id of an image in a format
NEIGHBOURS = "neighbours"


@dataclass(frozen=True)
class Predictions:
    """Folder, formats and length of written rankings.

    Attributes:
      folder: folder of the files.
      formats: names from :data:`evaluation.options.FORMATS`.
      top_k: number of written results of each query.
    """

    folder: Path
    formats: tuple[str, ...]
    top_k: int

    def check(self, benchmark: Benchmark) -> None:
        """Checks that the formats can write the ids of a benchmark's images.

        Raises:
          InputError: a format cannot write an id, or two images have one id.
        """
        for form in self.formats:
            for images in (benchmark.queries, benchmark.database):
                _check_ids(form, names_of(images))

    def settings(self) -> dict[str, object]:
        """The settings that the report records."""
        return {"formats": list(self.formats), "top_k": self.top_k}

    def sha256(self) -> str:
        """A hash that changes when other files would be written for the same rankings."""
        return json_sha256([self.settings(), source_sha256("evaluation.predictions.files")])

    def place(self, row: str, protocol: str, form: str) -> Path:
        """The file of a row under a protocol."""
        return self.folder / f"{file_name(row)}.{protocol}.{form}"

    def complete(self, row: str, protocols: Sequence[str]) -> bool:
        """Whether all files of a row exist."""
        return all(self.place(row, protocol, form).is_file() for protocol in protocols for form in self.formats)

    def write(self, benchmark: Benchmark, alignment: Alignment, row: str, protocol: str, ranking: Ranking) -> None:
        """Writes a row's ranking of the method's queries, cut to ``top_k``, in all formats; a file is whole or absent.

        Args:
          benchmark: names the images.
          alignment: of the benchmark and the method's features.
          row: name of the row.
          protocol: of the benchmark.
          ranking: rows of the method's database for the method's queries.
        """
        order, database = alignment.order(ranking), benchmark.database
        results = [
            (query.name, [database[d].name for d in rows]) for query, rows in zip(benchmark.queries, order, strict=True)
        ]
        for form in self.formats:
            with atomic_path(self.place(row, protocol, form)) as place:
                if form == NEIGHBOURS:
                    scores = alignment.scores(ranking)
                    with place.open("wb") as output:
                        write(output, filled(order, scores, len(database), self.top_k))
                    continue
                with place.open("w", encoding="utf-8") as file:
                    file.writelines(f"{line}\n" for line in TEXTS[form](results, row))


def _check_ids(form: str, names: Sequence[str]) -> None:
    """Checks that a format can write the images' ids, and that ids are unique."""
    if form == "gldv2":
        check_plain(names, f"--predictions={form}")
    name_of_id: dict[str, str] = {}
    for name in names if form in IDS else ():
        first = name_of_id.setdefault(IDS[form](name), name)
        if first != name:
            raise InputError(f"--predictions={form} would write {first!r} and {name!r} with one id, {IDS[form](name)}.")


def _word(text: str) -> str:
    """A text without blanks, unique for each text; :func:`urllib.parse.unquote` is the inverse."""
    return "".join(quote(character) if character.isspace() or character == "%" else character for character in text)
