"""The report: JSON there and back, tables, the released metrics.txt, and the page."""

import base64
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from delg.common.errors import InputError
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.method import RowResult
from evaluation.metrics.metric import Metric
from evaluation.metrics.truth import Truth
from evaluation.report import charts, gallery, html, queries, text, thumbs
from evaluation.report.model import Report, Row
from evaluation.report.tradeoff import tradeoff
from evaluation.run.published_values import beside
from evaluation.statistics.summary import trusted
from extraction.images import ImageRef, Reading
from tests.evaluation.tiny import BLUE, RED, paint

NAN = math.nan


def metrics(*values):
    return dict(zip(("mAP", "mP@1", "mP@5", "mP@10"), values))


def row(method, value, rerank=0.0):
    quality = {
        "medium": metrics(value, 100.0, 66.66666666666667, 10.0),
        "hard": metrics(value / 2, NAN if value > 50 else 1.0, 2.0, 3.0),
    }
    return Row(method, quality, {"search": 1.234, "rerank": rerank}, {"global": 8192.0, "local": 0.5})


@pytest.fixture
def report():
    rows = [row("global", 40.123456789), row("global+ransac", 60.5, 17.0), row("global+superglobal", 50.0, 1.0)]
    rows += [row("rootsift", 12.0), row("rootsift+ransac", 45.0, 900.0)]
    ap = {r.method: {"medium": [r.metrics["medium"]["mAP"], NAN], "hard": [1.0, NAN]} for r in rows}
    recalls = {"global": {"medium": {"mR@1": 5.0, "mR@5": 25.0, "mR@10": 33.333333}}}
    settings = {"queries": 2, "database": 9, "data_dir": "x/set", "rerank": {"ransac": {"top_k": 100}}}
    settings["queries_without_positives"] = {"medium": 0, "hard": 1}
    accuracy = {"global+ransac": {"percent": 81.25, "inliers": 160, "pairs": 8, "tolerance_px": 5.0}}
    skipped = {"query": [], "database": [{"name": "bad|one", "reason": "the file is empty"}]}
    names = {"names": ["q<0>", "q1"], "ap": ap}
    valued = {name: {p: [40.0, v[0]] * 2 for p, v in values.items()} for name, values in ap.items()}
    trust = trusted({"names": list("abcd"), "ap": valued}, "mAP")
    published = beside("roxford5k", {"global": {"medium": 70.0}}, "delg_r50_gldv1")
    return Report("landmarks", rows, settings, {"python": "3"}, names, recalls, accuracy, skipped, trust, published)


def test_json_there_and_back(report):
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert {"benchmark", "rows", "settings", "versions"} <= document.keys()
    assert document["rows"][0]["metrics"]["medium"]["mAP"] == 40.123456789
    assert set(document["rows"][0]) == {"method", "metrics", "ms_per_query", "bytes_per_image"}
    again = Report.from_json(document)
    assert again.to_json() == report.to_json()
    assert math.isnan(again.queries["ap"]["global"]["medium"][1])
    assert math.isnan(again.rows[1].metrics["hard"]["mP@1"])
    assert again.row("rootsift") == report.row("rootsift")
    with pytest.raises(InputError, match="rows are global"):
        again.row("none")
    with pytest.raises(InputError, match="Expected a benchmark report"):
        Report.from_json({"benchmark": "x"})


def test_the_plain_table_is_aligned(report):
    lines = text.plain(report).splitlines()
    assert len(lines) == 2 + 5
    assert len({len(line) for line in lines[1:]}) == 1
    assert lines[0].split() == ["medium", "hard"]
    assert lines[1].split()[:5] == ["method", "mAP", "mP@1", "mP@5", "mP@10"]
    assert " ".join(lines[3].split()) == "global+ransac 60.50 100.00 66.67 10.00 30.25 – 2.00 3.00 1.23 17.00 8192 0"
    assert lines[0].index("medium") <= lines[1].index("mAP")
    narrow = text.plain(report, 80)
    assert max(map(len, narrow.splitlines())) <= 80 and narrow.count("global+ransac") == 3


def test_markdown_names_what_the_numbers_rest_on(report):
    page = text.markdown(report)
    assert "| global | 40.12 | 100.00 | 66.67 | 10.00 | 20.06 |" in page
    assert "81.25 % of 160 inliers, over 8 relevant pairs" in page and "within 5 px" in page
    assert "1 query has no positives under the protocol hard, such as q1." in page
    assert "1 database image could not be read and counts as not found: bad|one (the file is empty)." in page
    assert "| rerank.ransac.top_k | 100 |" in page


def test_trust_is_told_in_both_pages(report):
    page = text.markdown(report)
    shown = html.render(report)
    assert (
        "## Confidence" in page and "| global | 40.06 [39.95, 40.18] |" in page
    )  # 1.875 times as wide as 40.00 to 40.12
    assert "| global+ransac | global | medium | mAP | +10.19 | [-8.91, +29.29] |" in page
    assert "| delg_r50_gldv1 | global | medium | 69.71 | 70.00 | +0.29 |" in page
    for cell in ("40.06 [39.95, 40.18]", "+10.19", "69.71", "bootstrap over 1 single queries of each protocol."):
        assert cell in shown and cell in page
    plain = text.markdown(Report("folders", report.rows, {}, {}))
    assert "## Confidence" not in plain and "## Published" not in plain


@pytest.mark.parametrize(
    ("groups", "hard", "said"),
    [
        ([0, 1, 2, 3], [1.0, 2.0, 3.0, 4.0], "over 4 single queries of each protocol."),
        ([0, 1, 2, 3], [NAN, NAN, NAN, 4.0], "over single queries, 4 medium, 1 hard."),
        ([0, 0, 1, 2], [NAN, 2.0, 3.0, NAN], "over groups of queries that share right answers, 3 medium, 2 hard."),
    ],
)
def test_what_is_drawn_is_counted_under_each_protocol(report, groups, hard, said):
    ap = {"global": {"medium": [1.0, 2.0, 3.0, 4.0], "hard": hard}}
    counted = replace(report, queries={"names": list("abcd"), "groups": groups, "ap": ap})
    page = text.markdown(counted)
    assert said in page
    assert ("With 4 single queries intervals are wide, and no p can be below 0.12." in page) == (groups[1] == 1)
    assert ("Fewer than 3 " in page) == math.isnan(hard[0])


def test_released_metrics_file(report):
    written = text.metrics_txt(report)
    assert written.startswith("hard\n  mAP=20.06\n")
    names = [line for line in written.splitlines() if not line.startswith(" ")]
    assert names == [p + stage for p in ("hard", "medium") for stage in ("", "_after_gv", "_after_superglobal")]
    block = "medium\n  mAP=40.12\n  mP@k[ 1  5 10] [100.    66.67  10.  ]\n  mR@k[ 1  5 10] [ 5.   25.   33.33]\n"
    assert block in written


def test_the_best_of_each_column_is_marked(report):
    table = html.results(report)
    assert [line[0].text for line in table] == [r.method for r in report.rows]
    assert [line[1].best for line in table] == [False, True, False, False, False]
    assert all(line[2].best for line in table)  # equal values are all best
    assert [line[6].text for line in table] == ["1.00", "–", "1.00", "1.00", "1.00"]
    assert [line[6].best for line in table] == [True, False, True, True, True]
    assert table[0][-4].text == "1.23" and table[0][-3].text == "–" and table[1][-3].text == "17.00"
    assert table[0][-2].text == "8.2 kB"


@pytest.mark.parametrize(("size", "shown"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1.5e6, "1.5 MB")])
def test_sizes(size, shown):
    assert html.size(size) == shown


@pytest.fixture
def shown(tmp_path):
    """A benchmark of one query on five images, one of which is broken; its first stage and a reranker."""
    colours = {"a": RED, "b": BLUE, "c": (9, 9, 9), "d": (90, 9, 9)}
    database = [ImageRef(name, str(paint(tmp_path / f"{name}.jpg", colour))) for name, colour in colours.items()]
    (tmp_path / "e.jpg").write_text("text")
    database.append(ImageRef("e", str(tmp_path / "e.jpg")))
    queries = [
        ImageRef(name, str(paint(tmp_path / f"{name}.jpg", RED, (60, 40))), (10, 10, 40, 30)) for name in ("q<0>", "q1")
    ]
    truths = [Truth(np.array([0, 3]), np.array([2])), Truth(np.array([1]), np.array([], np.int64))]
    benchmark = Benchmark("landmarks", queries, database, {"medium": truths})

    def outcome(name, ap, top):
        padded = np.full((2, 10), -1)
        for i, line in enumerate(top):
            padded[i, : len(line)] = line
        return RowResult(name, {"medium": {"mAP": Metric.mean(np.array(ap))}}, {"medium": padded}, {}, {})

    first = outcome("global", [0.9, 0.1], [[0, 1, 2, 4], [0, 1]])
    return benchmark, [first, outcome("global+ransac", [0.2, 0.3], [[3, 0], [1, 4]])]


def test_strips_show_worst_queries_first_with_right_and_wrong(shown):
    benchmark, outcomes = shown
    cards = gallery.cards(benchmark, outcomes)
    assert [card.name for card in cards] == ["q1", "q<0>"]
    strip = cards[1].strips[0]
    assert strip.ap == 90.0 and strip.method == "global"
    assert [tile.kind for tile in strip.tiles] == ["positive", "negative", "junk", "negative"]
    assert [tile.rank for tile in strip.tiles] == [1, 2, 3, 4]
    assert [tile.src is None for tile in strip.tiles] == [False, False, False, True]
    assert [card.name for card in gallery.cards(benchmark, outcomes, budget=10)] == ["q1"]


def test_overlays_show_the_first_right_and_the_first_wrong(shown):
    benchmark, outcomes = shown
    asked = []

    def draw(q, d):
        asked.append((q, d))
        return None if (q, d) == (1, 4) else (np.zeros((8, 20, 3), np.uint8), 7)

    found = gallery.overlays(benchmark, outcomes[1], draw)
    assert asked == [(0, 3), (1, 1), (1, 4)]
    assert [(o.query, o.result, o.kind) for o in found] == [("q<0>", "d", "positive"), ("q1", "b", "positive")]
    assert found[0].inliers == 7


def test_the_crop_is_drawn(tmp_path):
    path = str(paint(tmp_path / "q.jpg", BLUE, (300, 240)))
    plain = thumbs.thumbnail(ImageRef("q", path))
    boxed = thumbs.thumbnail(ImageRef("q", path, (100, 60, 200, 180)))
    assert plain != boxed and boxed.startswith("data:image/jpeg;base64,")
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(boxed.split(",")[1]))).convert("RGB")).astype(int)
    assert picture.shape == (120, 150, 3)
    yellow = (picture[..., 0] > 150) & (picture[..., 1] > 120)
    ys, xs = np.nonzero(yellow)
    assert abs(xs.min() - 50) <= 2 and abs(xs.max() - 100) <= 2 and abs(ys.min() - 30) <= 2 and abs(ys.max() - 90) <= 2


def test_a_thumbnail_stands_as_the_features_were_read(tmp_path):
    exif, half = Image.Exif(), np.zeros((100, 60, 3), np.uint8)
    half[:50] = 255
    exif[0x0112] = 8  # a viewer turns it to the left, so that white is there
    Image.fromarray(half).save(tmp_path / "q.png", exif=exif)
    for reading, size, white in ((Reading(), (100, 60), np.s_[:, :40]), (Reading("ignore"), (60, 100), np.s_[:40])):
        source = thumbs.thumbnail(ImageRef("q", str(tmp_path / "q.png")), reading=reading)
        with Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))) as picture:
            assert picture.size == size
            assert np.asarray(picture.convert("L"))[white].min() > 200


class Links(HTMLParser):
    """Collects what a page would load, and pictures without a description."""

    def __init__(self):
        super().__init__()
        self.loads, self.undescribed, self.open = [], 0, []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.loads += [value for key, value in attrs if key in ("src", "href", "srcset", "data", "action") and value]
        self.undescribed += tag == "img" and not attributes.get("alt")
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_stands_alone(report, shown):
    benchmark, outcomes = shown
    overlay = gallery.Overlay(thumbs.picture(np.zeros((8, 20, 3), np.uint8)), "q<0>", "a", "positive", 7)
    page = html.render(report, gallery.cards(benchmark, outcomes), [overlay])
    links = Links()
    links.feed(page)
    assert not links.open and not links.undescribed
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in links.loads) and links.loads
    for outside in ("http://", "https://", "@import", "url(", "<script src", "fetch("):
        assert outside not in page
    assert "q<0>" not in page and "q&lt;0&gt;" in page
    assert "prefers-color-scheme: dark" in page and 'name="viewport"' in page
    for part in ("global+\u200bransac", "7 inlier matches", "no image", "81.25 %", "AP 90.0", "landmarks"):
        assert part in page
    targets = {link[1:] for link in links.loads if link.startswith("#")}
    assert targets == {"results", "cost", "trust", "queries", "worst", "matches", "settings"}
    assert all(f'id="{target}"' in page for target in targets)


def test_queries_that_a_reranker_hurt_are_shown_beside_the_worst():
    def outcome(method, ap):
        return RowResult(method, {"all": {"mAP": Metric.mean(np.array(ap))}}, {}, {}, {})

    before = outcome("global", [0.1, 0.2, 0.9, 0.3, np.nan])
    assert gallery.shown_queries([before], "all") == [0, 1, 3, 2]
    assert gallery.shown_queries([before, outcome("global+x", [0.5, 0.3, 0.1, 0.2, np.nan])], "all") == [0, 1, 2, 3]


def test_each_query_has_a_line_that_can_be_sorted(report):
    page = html.render(report)
    table = page[page.index('<table class="sortable">') :].split("</table>")[0]
    assert table.count("<tr") == 2, "the query without positives is left out"
    head = [cell.split("<")[0] for cell in table.split('<th scope="col"')[1:]]
    assert head == [' class="method">query', ">global", ">global+\u200bransac", ">global+\u200bsuperglobal", ">change"]
    assert '<tr class="up"><th scope="row" class="method">q&lt;0&gt;</th><td>40.12</td>' in table and "+9.88" in table
    assert page.count("<script>") == 1 and "<noscript" not in page


def test_the_plot_places_time_quality_and_memory(report):
    svg = tradeoff(report, "medium")
    assert svg.count("<circle") == 5 and "global+ransac: mAP 60.50, 18.23 ms, 8192 bytes" in svg
    found = re.findall(r'<title>([^:]+): .*?cx="([\d.]+)" cy="([\d.]+)"', svg)
    dots = {name: (float(x), float(y)) for name, x, y in found}
    assert dots["global"][0] == dots["rootsift"][0] < dots["global+superglobal"][0] < dots["rootsift+ransac"][0]
    assert dots["global+ransac"][1] < dots["global"][1] < dots["rootsift"][1]
    assert tradeoff(Report("x", report.rows[:1], {}, {}), "medium") is None


def test_a_page_without_rerankers_or_pictures(report):
    rows = report.rows[:1]
    page = html.render(Report("folders", rows, report.settings, {}, report.queries))
    assert 'id="worst"' not in page and "<svg" not in page and 'id="results"' in page


def test_a_page_of_very_many_queries_shows_both_ends():
    values = [i / 50 for i in range(5000)]
    names = [f"n{i}" for i in range(5000)]
    table = queries.per_query(names, {"global": values})
    assert [row.name for row in table.rows[998:1002]] == ["n998", "n999", "n4000", "n4001"] and table.more == 3000
    assert queries.per_query(names[:2000], {"global": values[:2000]}).more == 0
    svg = charts.ap_chart(names, values, values, "title")
    assert svg.count('<g class="') == 2000 and "5000 queries, worst first; 2000 of them shown, evenly taken" in svg


def test_answers_without_costs_and_places_of_which_less_is_better():
    rows = [
        Row(name, {"private": {"mAP@100": quality, "mean position": place}})
        for name, quality, place in (("mine", 20.0, 31.0), ("yours", 10.0, 12.0))
    ]
    ap = {"mine": {"private": [20.0]}, "yours": {"private": [10.0]}}
    report = Report("gldv2_retrieval", rows, {"queries": 1}, {}, {"names": ["q"], "ap": ap})
    table = html.results(report)
    assert [[cell.best for cell in line] for line in table] == [[False, True, False], [False, False, True]]
    page = html.render(report)
    assert "ms/query" not in page and "1 queries." in page and "trapezoids; a query" in page
    assert text.plain(report).splitlines()[2].split() == ["mine", "20.00", "31.00"]
    assert tradeoff(report, "private") is None and "search ms" not in text.markdown(report)


def test_the_result_stands_first_in_a_sentence(report):
    sentence = text.headline(report)
    assert sentence.startswith("global+ransac is best: mAP 60.5 (medium), +20.4 over global, at 18.2 ms a query")
    assert "chance may explain its difference to" in sentence, "four queries say little"
    assert sentence in html.render(report) and text.markdown(report).splitlines()[2] == sentence
    assert text.headline(replace(report, rows=report.rows[:1], statistics={})).startswith("global: mAP 40.1 (medium)")
    dearer = [replace(row, ms_per_query={"search": 1.0, "rerank": 1499.0}) for row in report.rows]
    assert "at 1.5 s a query" in text.headline(replace(report, rows=dearer))


def test_every_pair_of_rows_is_tested_once(report):
    paired = {(row, entry["against"]) for row, entry in report.statistics["paired"].items()}
    between = [(entry["row"], entry["against"]) for entry in report.statistics["between"]]
    assert len(paired) == 4 and len(between) == 6, "of ten pairs of five rows"
    assert len({frozenset(pair) for pair in [*paired, *between]}) == 10
    assert "| global+superglobal | global+ransac | medium | -" in text.markdown(report)
    by_number = [entry["protocols"]["medium"] for entry in report.statistics["between"]]
    assert all(change["p_corrected"] >= change["p"] for change in by_number)


def test_an_interval_and_a_p_value_that_disagree_are_named(report):
    assert not text.disagreements(report)
    change = report.statistics["paired"]["global+ransac"]["protocols"]["medium"]
    change |= {"low": 1.0, "high": 20.0, "p_corrected": 0.2}
    (sentence,) = text.disagreements(report)
    assert "global+ransac against global (medium)" in sentence and sentence in text.notes(report)


def test_a_metric_stands_once(report):
    def with_recall(row, shift):
        medium = row.metrics["medium"] | {"R@1": row.metrics["medium"]["mP@1"] + shift}
        return replace(row, metrics={"medium": medium})

    same = replace(report, rows=[with_recall(row, 0.0) for row in report.rows])
    assert text.columns_of(same)["medium"] == ["mAP", "mP@5", "mP@10", "R@1"]
    assert "mP@1<" not in html.render(same) and "mP@1=" not in text.plain(same)
    other = replace(report, rows=[with_recall(row, 1.0) for row in report.rows])
    assert text.columns_of(other)["medium"] == ["mAP", "mP@1", "mP@5", "mP@10", "R@1"]
