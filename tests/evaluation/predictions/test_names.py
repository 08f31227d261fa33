"""Odd names of images in the files of predictions: each image has one id, which gives its name back."""

import csv
from urllib.parse import unquote

import numpy as np
import pytest

from delg.common.errors import InputError
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.method import Alignment, Method
from evaluation.metrics.truth import Truth
from evaluation.predictions.files import Predictions
from extraction.pipeline import extract
from matching.ranking import Ranking
from tests.evaluation.predictions.test_neighbours import Reader
from tests.evaluation.tiny import MeanColour, refs

ODD = [
    "x 1",
    "x%201",
    "x%25201",
    "%",
    "a\tb",
    "a,b",
    'a"b',
    "a'b",
    "a;b",
    "ü",
    "u\u0308",
    "写真 1",
    "a\u00a0b",
    "a\u2028b",
    "a\u0085b",
    "a\x1cb",
    "Q0",
    "a\nb",
    "-1",
    "a.jpg",
]
PLAIN = [name for name in ODD if not any(one.isspace() or one in ',"' for one in name)]


@pytest.fixture
def run(tmp_path):
    """Writes the rankings of images that are queries and database, in one format; gives the file."""

    def written(names, form):
        colours = {name: (10 * i, 5, 250 - 10 * i) for i, name in enumerate(names)}
        images = refs(tmp_path / "photos", colours)
        store = extract(MeanColour(), images, tmp_path / f"store{len(names)}", progress=False)
        truths = [Truth(np.array([i]), np.zeros(0, np.int64)) for i in range(len(images))]
        benchmark = Benchmark("odd", images, images, {"all": truths})
        wanted = Predictions(tmp_path / "predictions", (form,), len(names))
        wanted.check(benchmark)
        order = np.array([np.roll(np.arange(len(names)), -i) for i in range(len(names))])
        scores = np.tile(np.linspace(1, 0.1, len(names), dtype=np.float32), (len(names), 1))
        alignment = Alignment(benchmark, Method("global", store, store))
        wanted.write(benchmark, alignment, "global", "all", Ranking(order, scores))
        return wanted.place("global", "all", form)

    return written


def rolled(names):
    return {name: names[i:] + names[:i] for i, name in enumerate(names)}


def test_trec(run):
    found = {}
    for line in run(ODD, "trec").read_bytes().decode().split("\n")[:-1]:
        query, zero, name, rank, score, tag = line.split()  # as trec_eval, at every blank
        assert (zero, tag) == ("Q0", "global") and int(rank) + int(score) == len(ODD) + 1
        found.setdefault(unquote(query), []).append(unquote(name))
    assert found == rolled(ODD)


def test_msls(run):
    lines = [line.split(" ") for line in run(ODD, "msls").read_bytes().decode().split("\n")[:-1]]
    assert {unquote(key): [unquote(name) for name in names] for key, *names in lines} == rolled(ODD)


def test_gldv2(run):
    with run(PLAIN, "gldv2").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "images"] and {name: images.split(" ") for name, images in rows} == rolled(PLAIN)


@pytest.mark.parametrize("name", sorted(set(ODD) - set(PLAIN)))
def test_gldv2_refuses_ids_that_it_cannot_write(run, name):
    with pytest.raises(InputError, match="cannot write the image"):
        run([name, "plain"], "gldv2")


def test_neighbours(run):
    with run(ODD, "neighbours").open("rb") as file:
        tensor = Reader(file).load()
    assert tensor[1].astype(int).tolist() == [list(np.roll(np.arange(len(ODD)), -i)) for i in range(len(ODD))]
