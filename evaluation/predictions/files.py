"""Writes rankings as files for other programs.

TREC runs, GLDv2 submissions, predictions for the MSLS evaluation, and neighbour files for AMES, ELViS and LOCORE:
one file for each row and protocol, ``predictions/ROW.PROTOCOL.FORMAT``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from delg.common.errors import InputError
from delg.common.files import atomic_path
from delg.common.sources import source_sha256
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.gldv2_votes import check_plain, image_id
from evaluation.benchmarks.method import Alignment, Method, file_name
from evaluation.benchmarks.vpr import image_key
from evaluation.predictions.neighbours import filled, write
from matching.ranking import Ranking

Answer = tuple[str, Sequence[str]]


def trec(answers: Iterable[Answer], tag: str) -> Iterator[str]:
    """Lines of a TREC run, ``query Q0 image rank score tag``; blanks in names are written as ``%20``, ``%`` as ``%25``.

    ``trec_eval`` sorts by score, and equal scores by name; the written score therefore counts down the ranking.

    >>> list(trec([("q 1", ["b", "a"])], "global"))
    ['q%201 Q0 b 1 2 global', 'q%201 Q0 a 2 1 global']
    """
    for query, names in answers:
        for rank, name in enumerate(names, start=1):
            yield f"{_word(query)} Q0 {_word(name)} {rank} {len(names) + 1 - rank} {_word(tag)}"


def gldv2(answers: Iterable[Answer], tag: str) -> Iterator[str]:
    """Lines of a GLDv2 retrieval submission, ``id,images``; an id is the file's stem.

    >>> list(gldv2([("0/a/q", ["1/2/b", "1/3/a"])], "global"))
    ['id,images', 'q,b a']
    """
    yield "id,images"
    for query, names in answers:
        yield f"{image_id(query)},{' '.join(map(image_id, names))}"


def msls(answers: Iterable[Answer], tag: str) -> Iterator[str]:
    """Lines of the MSLS evaluation's predictions: the query's key, then the keys of the results.

    >>> list(msls([("@1@2@17@T@3@4@key@@@", ["database/a", "b"])], "global"))
    ['key a b']
    """
    for query, names in answers:
        yield " ".join(_word(image_key(name)) for name in (query, *names))


TEXTS: dict[str, Callable[[Iterable[Answer], str], Iterator[str]]] = {"gldv2": gldv2, "msls": msls, "trec": trec}
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

    @classmethod
    def of(cls, folder: Path, formats: Sequence[str], top_k: int, benchmark: Benchmark) -> "Predictions | None":
        """Checks formats and images; None without a format.

        Raises:
          InputError: a format cannot write the images' ids, or two images have one id.
        """
        for name in formats:
            for images in (benchmark.queries, benchmark.database):
                _check_ids(name, [image.name for image in images])
        return cls(folder, tuple(sorted(set(formats))), top_k) if formats else None

    def settings(self) -> dict[str, object]:
        """The settings that the report records."""
        return {"formats": list(self.formats), "top_k": self.top_k}

    def identity(self) -> list[object]:
        """A JSON value that changes when other files would be written for the same rankings."""
        return [self.settings(), source_sha256("evaluation.predictions.files")]

    def place(self, row: str, protocol: str, form: str) -> Path:
        """The file of a row under a protocol."""
        return self.folder / f"{file_name(row)}.{protocol}.{form}"

    def complete(self, row: str, protocols: Sequence[str]) -> bool:
        """Whether all files of a row exist."""
        return all(self.place(row, protocol, form).is_file() for protocol in protocols for form in self.formats)

    def writer(self, benchmark: Benchmark, method: Method) -> "Writer":
        """The writer of a method's rankings."""
        return Writer(self, benchmark, Alignment(benchmark, method))


@dataclass(frozen=True)
class Writer:
    """Writes the rankings of a method's rows; each file is whole or absent."""

    predictions: Predictions
    benchmark: Benchmark
    alignment: Alignment

    def __call__(self, row: str, protocol: str, ranking: Ranking) -> None:
        """Writes a row's ranking of the method's queries, cut to ``top_k``, in all formats."""
        order, database = self.alignment.order(ranking), self.benchmark.database
        answers = [
            (query.name, [database[d].name for d in rows])
            for query, rows in zip(self.benchmark.queries, order, strict=True)
        ]
        for form in self.predictions.formats:
            with atomic_path(self.predictions.place(row, protocol, form)) as place:
                if form == NEIGHBOURS:
                    scores = self.alignment.scores(ranking)
                    with place.open("wb") as output:
                        write(output, filled(order, scores, len(database), self.predictions.top_k))
                    continue
                with place.open("w", encoding="utf-8") as file:
                    file.writelines(f"{line}\n" for line in TEXTS[form](answers, row))


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
