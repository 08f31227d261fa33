"""Verdicts on real photos and procedural landmarks: false and true matches, by calibrations that saw other classes.

python -m scripts.studies.verdicts collect EVIDENCE.json --set=places --features=STORE
python -m scripts.studies.verdicts copies COPIES.json --set=places --features=STORE --images=FOLDER --model=rootsift
python -m scripts.studies.verdicts ship CALIBRATIONS.json EVIDENCE.json...
python -m scripts.studies.verdicts measure TABLE.md EVIDENCE.json... COPIES.json...
python -m scripts.studies.verdicts order TABLE.md EVIDENCE.json...
python -m scripts.studies.verdicts reliability PICTURE.svg EVIDENCE.json... COPIES.json...

STORE, or several joined by commas, hold features of a folder of photos with ``grocery/train``, ``grocery/test``,
``grocery/iconic`` and ``places``, and of a folder of ``delg-landmarks``. A query is asked with its true photos in the
collection, and with all of them removed.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.metrics.ranking import oxford_ap
from evaluation.report.reliability import reliability_chart
from extraction.formats.base import FeatureSource
from extraction.formats.checks import matching_of
from extraction.formats.table import open_features
from matching.indexes.exact import search
from matching.verdict.calibration import ABSENT, GENERIC, SAME, Calibration, Judged, extractor_of
from matching.verdict.evidence import Evidence
from matching.verdict.fitting import clopper_pearson
from matching.verdict.learning import spread, without_labels
from matching.verdict.reliability import bins_of, calibration_error
from matching.verdict.verification import Verifier

Document = dict[str, Any]
VERIFIED = 20
COLLECTED = 40  # candidates without a true photo, of which half of the classes leave half
PACKAGES = 62  # queries among the test photos, besides the iconic ones
COPIES = 150  # photos whose changed copies are queries
MIXED = "mixed"  # packages in a collection of places and landmarks, so that without true photos nothing is alike
SETS = ("packages", MIXED, "places", "landmarks")
HEADS = (("global", "local"), ("local",), ("global",))


def rows_of(name: str, names: Sequence[str]) -> tuple[list[int], list[int], list[str]]:
    """Rows of the queries and of the database of a set; the label of every image."""
    path = [image.split("/") for image in names]
    labels = [
        one[1]
        if one[0] == "places"
        else one[-1]
        if one[0] in ("jpg", "train") and "distractor" in one[-1]
        else one[-1].split("_")[0]
        if one[0] in ("jpg", "train")
        else one[-1].rpartition("_")[0] or one[-1]
        for one in path
    ]
    drawn = [i for i, one in enumerate(path) if one[0] == "jpg" and not one[-1].endswith("_query")]
    places = [i for i, one in enumerate(path) if one[0] == "places"]
    train, test, iconic = (
        [i for i, one in enumerate(path) if one[:2] == ["grocery", part]] for part in ("train", "test", "iconic")
    )
    queries = np.random.default_rng(0).permutation(test)[:PACKAGES].tolist()
    return {
        "landmarks": ([i for i, one in enumerate(path) if one[-1].endswith("_query")], drawn),
        "places": (places, places + test),
        "packages": (iconic + sorted(queries), train),
        MIXED: (iconic + sorted(queries), train + places + drawn),
    }[name] + (labels,)


class Rows(FeatureSource):
    """Some images of sources one after the other; of all where no rows are given."""

    checked = False

    def __init__(self, sources: Sequence[FeatureSource], settings: Document, rows: Sequence[int] | None = None):
        names = [name for source in sources for name in source.names]
        rows = range(len(names)) if rows is None else rows
        super().__init__(sources[0].folder, [names[row] for row in rows], settings)
        self.global_descriptors = np.concatenate([source.global_descriptors for source in sources])[rows]
        self.local_dtype, self.local_bytes = sources[0].local_dtype, sources[0].local_bytes
        places = [(source, row) for source in sources for row in range(len(source))]
        self._places = [places[row] for row in rows]

    def read(self, i: int) -> Any:
        """All features of image ``i``."""
        source, row = self._places[i]
        return source.features(row)


def unfitted(settings: Document) -> Calibration:
    """A calibration that says how to match, and nothing else."""
    return Calibration("", ("global", "local"), {}, 0.0, (0.0,), (), VERIFIED, 1, "", matching_of(settings))


def opened(options: argparse.Namespace) -> Rows:
    """The stores as one source, with the matching that was asked for."""
    sources = [open_features(place) for place in options.features.split(",")]
    matching = {"matching": json.loads(options.matching)} if options.matching else {}
    return Rows(sources, sources[0].settings | matching)


def document(options: argparse.Namespace, settings: Document, images: int, queries: list[Document]) -> Document:
    """What a file of evidence holds."""
    head = {"part": options.part, "set": options.set, "extractor": extractor_of(settings), "images": images}
    return head | {"matching": matching_of(settings), "queries": queries}


def collect(options: argparse.Namespace) -> None:
    """Verifies the candidates of every query of a set, with true photos and without."""
    source = opened(options)
    queries, rows, labels = rows_of(options.set, source.names)
    database = Rows([source], source.settings, rows)
    verifier = Verifier(database, unfitted(source.settings), top_k=VERIFIED + COLLECTED)
    label = np.array([labels[row] for row in rows])
    package = np.array([database.names[row].startswith("grocery/") for row in range(len(rows))])
    images, asked = np.array(rows), []
    for q in queries:
        query = source.features(q)
        order = search(query.global_descriptor[None], database.global_descriptors, len(rows)).row(0)
        order = order[images[order] != q]
        if options.set == MIXED:  # other packages are alike
            order = order[(label[order] == labels[q]) | ~package[order]]
        same = label[order] == labels[q]
        first = order[:VERIFIED]
        others = [row for row in order[~same][:COLLECTED] if row not in first]
        answer = verifier(query, np.array([*first, *others], np.int64))
        candidates = [
            {"label": str(label[one.row]), "first": place < len(first), **asdict(one.evidence)}
            for place, one in enumerate(answer.candidates)
        ]
        ranks = np.flatnonzero(same).tolist()
        asked.append({"label": labels[q], "has": bool(ranks), "ranks": ranks, "candidates": candidates})
    Path(options.output).write_text(json.dumps(document(options, source.settings, len(rows), asked)), encoding="utf-8")


def copies(options: argparse.Namespace) -> None:
    """Verifies changed copies of photos of the database that are no queries, without their labels."""
    from extraction.describing import describe
    from extraction.extractors.table import build_extractor
    from extraction.images import ImageRef, load_image
    from extraction.store.encoding import as_stored

    source = opened(options)
    queries, rows, _ = rows_of(options.set, source.names)
    database, extractor = Rows([source], source.settings, rows), build_extractor(options.model)
    free = [place for place, row in enumerate(rows) if row not in {*queries}]
    picked = [free[place] for place in spread(len(free), COPIES)]

    def pixels(place: int) -> Any:
        path = next(Path(options.images).glob(f"{source.names[rows[place]]}.*"))
        return load_image(ImageRef(database.names[place], str(path)))[0]

    def described(image: Any, name: str) -> Any:
        return as_stored(
            describe(extractor, ImageRef(name, ""), (image, image.shape[1::-1], (0, 0))), source.local_dtype
        )

    photos = ((place, pixels(place)) for place in picked)
    found = without_labels(photos, described, database, unfitted(source.settings), top_k=VERIFIED)
    asked = [{"same": one.same, "candidates": [asdict(evidence) for evidence in one.evidence]} for one in found]
    Path(options.output).write_text(json.dumps(document(options, source.settings, len(rows), asked)), encoding="utf-8")


def seen(candidate: Document, heads: tuple[str, ...]) -> Evidence:
    """The evidence that these heads give."""
    values = {field.name: candidate[field.name] for field in fields(Evidence)}
    if "local" not in heads:
        values = {name: values[name] for name in ("similarity", "gap")}
    return Evidence(**values | ({} if "global" in heads else {"similarity": None, "gap": None}))


def with_and_without(asked: Document, heads: tuple[str, ...], classes: set[str] | None = None) -> tuple[Judged, Judged]:
    """A query with its true photos in the collection, and without; of the candidates those of some classes."""
    fair = [one for one in asked["candidates"] if classes is None or one["label"] in classes]
    lists = [one for one in fair if one["first"]], [one for one in fair if one["label"] != asked["label"]]
    with_, without = (
        Judged(
            tuple(seen(one, heads) for one in candidates[:VERIFIED]),
            tuple(one["label"] == asked["label"] for one in candidates[:VERIFIED]),
        )
        for candidates in lists
    )
    return with_, without


def examples(part: Document, heads: tuple[str, ...], classes: set[str] | None = None) -> Iterator[Judged]:
    """What a calibration learns from a file of evidence; of queries and candidates those of some classes."""
    for asked in part["queries"]:
        if part["part"] == "copies":
            yield Judged(tuple(seen(one, heads) for one in asked["candidates"]), tuple(asked["same"]))
        elif classes is None or asked["label"] in classes:
            with_, without = with_and_without(asked, heads, classes)
            yield from (one for one in (with_, without) if one is without or any(one.same))


def learned(parts: Sequence[tuple[Document, Any]], heads: tuple[str, ...], extractor: str) -> Calibration:
    """A calibration from files of evidence, of each the classes beside it, or all."""
    seen_by = [one for part, classes in parts for one in examples(part, heads, classes) if one.evidence]
    images = int(np.median([part["images"] for part, _ in parts]))
    matching = parts[0][0]["matching"]
    return Calibration.learn(seen_by, extractor=extractor, images=images, source="", matching=matching)


def ship(options: argparse.Namespace) -> None:
    """Writes the calibrations of the package: for each extractor, and for any, by both heads and by one."""
    parts = [json.loads(Path(path).read_text(encoding="utf-8")) for path in options.evidence]
    kinds = list(dict.fromkeys(part["extractor"] for part in parts))
    shipped = []
    for extractor in (*kinds, GENERIC):
        own = [part for part in parts if extractor in (GENERIC, part["extractor"])]
        sets = " and ".join(dict.fromkeys(part["set"] for part in own))
        for heads in HEADS:
            one = cautious([(part, None) for part in own], heads, extractor)
            one = replace(one, source=f"photos of {sets}, with labels", matching={})
            shipped.append(asdict(one))
    text = ",\n".join(json.dumps(one) for one in shipped)
    Path(options.output).write_text(f"[\n{text}\n]\n", encoding="utf-8")


def cautious(parts: Sequence[tuple[Document, Any]], heads: tuple[str, ...], extractor: str) -> Calibration:
    """As :func:`learned`, with the queries without a true photo of the set where their log-odds are largest alone.

    Of similarities alone these log-odds are raised by as much as the sets differ, since other photos may differ as much
    again.
    """
    calibration, of_sets = learned(parts, heads, extractor), []
    for part, classes in parts:
        absent = [one.evidence for one in examples(part, heads, classes) if one.evidence and not any(one.same)]
        of_sets.append([max(map(calibration.log_odds, evidence)) for evidence in absent])
    high = [float(np.quantile(one, 0.95)) for one in of_sets]
    margin = max(high) - min(high) if heads == ("global",) else 0.0
    values = sorted((round(value + margin, 3) for value in of_sets[int(np.argmax(high))]), reverse=True)
    return replace(calibration, absent=tuple(values))


def measured(calibration: Calibration, part: Document, heads: tuple[str, ...], classes: Any, rate: float) -> Document:
    """Counts over the queries of some classes."""
    count = dict.fromkeys(("absent", "false", "absent_no", "present", "true", "wrong", "present_no"), 0)
    odds: list[float] = []
    right: list[bool] = []
    for asked in part["queries"]:
        if classes is not None and asked["label"] not in classes:
            continue
        for present, one in zip((True, False), with_and_without(asked, heads)):
            if not one.evidence or (present and not asked["has"]):
                continue
            rule = calibration.rule(rate, len(one.evidence), part["images"])
            verdicts = [rule.verdict(evidence, calibration.log_odds(evidence)) for evidence in one.evidence]
            verdict = rule.of_query(verdicts)
            best = verdicts.index(verdict)
            odds.append(verdict.probability)
            right.append(one.same[best])
            count["present" if present else "absent"] += 1
            count["present_no" if present else "absent_no"] += verdict.label == ABSENT
            if verdict.label == SAME:
                count[("true" if one.same[best] else "wrong") if present else "false"] += 1
    return count | {"probability": odds, "right": right}


def folds(part: Document) -> list[set[str]]:
    """Two halves of the classes that queries are of, packages by brand, with half of the other classes each."""
    labels = list(dict.fromkeys(asked["label"] for asked in part["queries"]))
    packages = part["set"] in ("packages", MIXED)
    groups = list(dict.fromkeys(label.split("-")[0] if packages else label for label in labels))
    first = [label for label in labels if groups.index(label.split("-")[0] if packages else label) % 2 == 0]
    others = sorted({one["label"] for asked in part["queries"] for one in asked["candidates"]} - {*labels})
    return [{*first, *others[::2]}, {*labels} - {*first} | {*others[1::2]}]


def ways_of(part: Document, parts: Sequence[Document], heads: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """The ways to a calibration for a set, each with the calibrations and the classes that each is measured on."""
    own = [one for one in parts if one["extractor"] == part["extractor"]]
    collected = [one for one in own if one["part"] == "collect" and (one["set"] != "packages" or one is part)]
    kinds = {"packages", MIXED}
    elsewhere = [one for one in collected if one is not part and not {one["set"], part["set"]} <= kinds]
    halves = folds(part)
    all_sets = [one for one in collected if one["set"] != "packages"]
    for name, sets, learn in (("all sets", all_sets, cautious), ("this set", [part], learned)):
        of_sets = [(one, halves if one is part else folds(one)) for one in sets]
        yield (
            f"{name}, other classes",
            [
                (learn([(one, of_one[half]) for one, of_one in of_sets], heads, part["extractor"]), halves[1 - half])
                for half in (0, 1)
            ],
        )
    if elsewhere:
        yield "other sets", [(cautious([(one, None) for one in elsewhere], heads, part["extractor"]), None)]
    copied = [(one, None) for one in own if one["part"] == "copies" and one["set"] == part["set"]]
    if copied:
        yield "copies", [(learned(copied, heads, part["extractor"]), None)]


def measure(options: argparse.Namespace) -> None:
    """Writes a table: each set by calibrations of other classes and sets, and of changed copies."""
    parts = [json.loads(Path(path).read_text(encoding="utf-8")) for path in options.evidence]
    lines = [
        "| features | photos | learned from | false, true at 1 % | false, true at 5 % | wrong | no | error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    collected = [one for one in parts if one["part"] == "collect"]
    for heads in HEADS:
        pooled: dict[tuple[str, str], list[list[Document]]] = {}
        for part in collected:
            for way, pairs in ways_of(part, parts, heads):
                totals = [
                    summed([measured(one, part, heads, classes, rate) for one, classes in pairs])
                    for rate in (0.01, 0.05)
                ]
                lines.append(row(part, heads, way, totals))
                if part["set"] != "packages":
                    pooled.setdefault((part["extractor"], way), []).append(totals)
        for (extractor, way), of_sets in pooled.items():
            together = [summed([totals[i] for totals in of_sets]) for i in (0, 1)]
            lines.append(row({"extractor": extractor, "set": "without packages"}, heads, way, together))
    text = "\n".join(lines) + "\n"
    Path(options.output).write_text(text, encoding="utf-8")
    print(text)


def reliability(options: argparse.Namespace) -> None:
    """Draws the reliability of the probabilities: of all sets but packages together, a panel for each way."""
    parts = [json.loads(Path(path).read_text(encoding="utf-8")) for path in options.evidence]
    totals: dict[str, list[Document]] = {}
    for part in (one for one in parts if one["part"] == "collect" and one["set"] != "packages"):
        name = "auto" if part["extractor"].startswith("pair") else part["extractor"]
        for way, pairs in ways_of(part, parts, HEADS[0]):
            counts = [measured(one, part, HEADS[0], classes, 0.01) for one, classes in pairs]
            totals.setdefault(f"{name}: {way}", []).append(summed(counts))
    panels = {title: summed(of_sets) for title, of_sets in totals.items() if "other sets" not in title}
    chart = reliability_chart({title: bins_of(one["probability"], one["right"]) for title, one in panels.items()})
    Path(options.output).write_text(chart, encoding="utf-8")


def order(options: argparse.Namespace) -> None:
    """Writes a table: mAP and R@1 of the first stage, and with its first 20 sorted by inliers and by evidence."""
    parts = [json.loads(Path(path).read_text(encoding="utf-8")) for path in options.evidence]
    lines = ["| extractor | photos | first stage | by inliers | by evidence |", "|---|---|---|---|---|"]
    for part in (one for one in parts if one["part"] == "collect"):
        heads = HEADS[0]
        found: dict[str, list[tuple[float, bool]]] = {"first": [], "inliers": [], "evidence": []}
        way, pairs = next(iter(ways_of(part, parts, heads)))
        for calibration, classes in pairs:
            for asked in (one for one in part["queries"] if one["label"] in classes and one["has"]):
                first = [one for one in asked["candidates"] if one["first"]]
                true = np.array([one["label"] == asked["label"] for one in first])
                scores = {
                    "first": np.zeros(len(first)),
                    "inliers": np.array([one["inliers"] for one in first]),
                    "evidence": np.array([calibration.log_odds(seen(one, heads)) for one in first]),
                }
                behind = [rank for rank in asked["ranks"] if rank >= len(first)]
                for name, values in scores.items():
                    ahead = np.flatnonzero(true[np.argsort(-values, kind="stable")]).tolist()
                    found[name].append((oxford_ap([*ahead, *behind]), ahead[:1] == [0]))
        cells = [f"{100 * ap:.1f} / {100 * hit:.1f}" for ap, hit in (np.mean(values, 0) for values in found.values())]
        lines.append(f"| {part['extractor']} | {part['set']} | {' | '.join(cells)} |")
    text = "\n".join([*lines, "", f"Evidence as learned from {way}.", ""])
    Path(options.output).write_text(text, encoding="utf-8")
    print(text)


def summed(counts: Sequence[Document]) -> Document:
    """Counts of several measurements together."""
    return {key: sum((count[key] for count in counts[1:]), counts[0][key]) for key in counts[0]}


def row(part: Document, heads: tuple[str, ...], way: str, totals: Sequence[Document]) -> str:
    """A line of the table, in percent of the queries without a true photo (false, no) and with (true, wrong, no)."""
    cells = [f"{part['extractor']}, {' and '.join(heads)}", part["set"], way]
    for total in totals:
        low, high = clopper_pearson(total["false"], total["absent"])
        false, true = (100 * total[key] / total[of] for key, of in (("false", "absent"), ("true", "present")))
        cells.append(f"{false:.1f} ({100 * low:.1f} to {100 * high:.1f}), {true:.1f}")
    total = totals[0]
    cells.append(f"{100 * total['wrong'] / total['present']:.1f}")
    cells.append(" / ".join(f"{100 * total[f'{kind}_no'] / total[kind]:.1f}" for kind in ("absent", "present")))
    cells.append(f"{calibration_error(bins_of(total['probability'], total['right'])):.3f}")
    return f"| {' | '.join(cells)} |"


PARTS = {
    "collect": collect,
    "copies": copies,
    "ship": ship,
    "measure": measure,
    "order": order,
    "reliability": reliability,
}


def main() -> None:
    """Runs one of the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*PARTS])
    parser.add_argument("output")
    parser.add_argument("evidence", nargs="*")
    parser.add_argument("--set", choices=SETS)
    parser.add_argument("--features")
    parser.add_argument("--images")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--matching", help="JSON; of a store that records none")
    options = parser.parse_args()
    PARTS[options.part](options)


if __name__ == "__main__":
    main()
