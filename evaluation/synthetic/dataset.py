"""The landmarks and views of a set: names, random streams and ground truth."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.synthetic.facade import Facade, draw_facade
from evaluation.synthetic.options import LandmarkSetOptions
from evaluation.synthetic.roofs import draw_outline
from evaluation.synthetic.style import Style, draw_style, vary

VERSION = 1  # of the drawing: raised with every change of a pixel, so that a partly written older set is not continued
SPLITS = {"train": 1, "query": 2, "distractor": 3}
STREAMS = {"style": 1, "member": 2, "outline": 3, "facade": 4, "geometry": 5, "appearance": 6, "order": 7}
LOOKALIKE_EVERY = 5  # every fifth distractor shares the style of a query landmark


@dataclass(frozen=True)
class Shot:
    """A planned view: name, file under the set's folder, number and kind."""

    name: str
    file: str
    number: int
    kind: str


@dataclass(frozen=True)
class Landmark:
    """A landmark: split, number, the family that gives its style, and views."""

    name: str
    split: str
    number: int
    family: tuple[str, int]
    shots: tuple[Shot, ...]


def stream(seed: int, split: str, landmark: int, purpose: str, view: int = 0) -> np.random.Generator:
    """The random stream for a purpose; depends on the arguments only, not on the order of drawing."""
    return np.random.default_rng(np.random.SeedSequence([seed, SPLITS[split], landmark, STREAMS[purpose], view]))


def look(seed: int, landmark: Landmark) -> tuple[Style, np.ndarray, int]:
    """The style, silhouette and eaves of a landmark, from which the geometry of views follows."""
    style = draw_style(stream(seed, *landmark.family, "style"))
    style = vary(style, stream(seed, landmark.split, landmark.number, "member"))
    return style, *draw_outline(style, stream(seed, landmark.split, landmark.number, "outline"))


def draw_landmark(seed: int, landmark: Landmark) -> Facade:
    """Draws the facade of a landmark."""
    style, outline, eaves = look(seed, landmark)
    return draw_facade(style, stream(seed, landmark.split, landmark.number, "facade"), outline, eaves)


def landmarks(config: LandmarkSetOptions) -> Iterator[Landmark]:
    """Every landmark of the set. Training classes come in families of two; every fifth distractor is a look-alike."""
    for number in range(config.num_classes):
        folder = f"train/{number:04d}"
        shots = (Shot(f"{folder}/{v:02d}", f"{folder}/{v:02d}.jpg", v, "mixed") for v in range(config.views_per_class))
        yield Landmark(f"train_{number:04d}", "train", number, ("train", number // 2), tuple(shots))
    for number in range(config.num_queries):
        yield Landmark(f"query_{number:04d}", "query", number, ("query", number), _query_shots(config, number))
    for number in range(config.num_distractors):
        alike = number % LOOKALIKE_EVERY == 0
        family = ("query", number // LOOKALIKE_EVERY % config.num_queries) if alike else ("distractor", number)
        name = f"distractor_{number:04d}"
        yield Landmark(name, "distractor", number, family, (Shot(name, f"jpg/{name}.jpg", 0, "mixed"),))


def _query_shots(config: LandmarkSetOptions, number: int) -> tuple[Shot, ...]:
    """The query image, then its easy, hard and junk views; their numbers do not depend on the counts."""
    counts = {"easy": config.easy_per_query, "hard": config.hard_per_query, "junk": config.junk_per_query}
    shots = [Shot(f"{number:04d}_query", f"jpg/{number:04d}_query.jpg", 0, "easy")]
    for base, (kind, count) in enumerate(counts.items()):
        for k in range(count):
            name = f"{number:04d}_{kind}_{k}"
            shots.append(Shot(name, f"jpg/{name}.jpg", 1000 * (base + 1) + k, kind))
    return tuple(shots)


def ground_truth(config: LandmarkSetOptions, boxes: dict[str, list[float]]) -> dict[str, Any]:
    """The ground truth in the revisited Oxford/Paris form.

    Args:
      config: options of the set.
      boxes: name of a query image to x1, y1, x2, y2 of the landmark in it.

    Returns:
      ``{"imlist", "qimlist", "gnd"}``; ``gnd[i]`` holds bbx and the 0-based indices easy, hard and junk into imlist.
      The order of imlist is random, so that ties of scores favour nobody.
    """
    queries = [mark for mark in landmarks(config) if mark.split == "query"]
    names = [shot.name for mark in landmarks(config) if mark.split != "train" for shot in mark.shots]
    names = sorted(set(names) - set(boxes))
    imlist = [names[i] for i in stream(config.seed, "query", 0, "order").permutation(len(names))]
    place = {name: index for index, name in enumerate(imlist)}
    gnd = []
    for mark in queries:
        lists = {k: [place[s.name] for s in mark.shots[1:] if s.kind == k] for k in ("easy", "hard", "junk")}
        gnd.append({"bbx": boxes[mark.shots[0].name], **lists})
    return {"imlist": imlist, "qimlist": [mark.shots[0].name for mark in queries], "gnd": gnd}
