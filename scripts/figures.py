"""Draws the figures of the pages under "How it works" as SVG: ``python -m scripts.figures`` rewrites ``docs/how``."""

import math
import random
from itertools import pairwise
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "how"
WIDTH = 720
GREEN, RED, GREY = "#2e7d32", "#c62828", "#78909c"
STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#263238}.small{font-size:12px;fill:#455a64}"
    ".box{fill:#e8eaf6;stroke:#3f51b5}.data{fill:#fff8e1;stroke:#ffa000}.line{stroke:#455a64;fill:none}"
)


class Drawing:
    """Shapes of one figure on a white ground, so that the figure is read in a dark page, too."""

    def __init__(self, height: int, description: str) -> None:
        self._height, self._description = height, description
        self._shapes: list[str] = []

    def text(self, x: float, y: float, words: str, kind: str = "", *, anchor: str = "middle") -> None:
        """Words at a point."""
        self._shapes.append(f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{words}</text>')

    def box(self, x: float, y: float, words: str, under: str = "", *, kind: str = "box", width: float = 130) -> None:
        """A box of 56 pixels in height, with a title and a second line."""
        self._shapes.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="56" rx="6" class="{kind}"/>')
        self.text(x + width / 2, y + (24 if under else 33), words)
        if under:
            self.text(x + width / 2, y + 43, under, "small")

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """A line through points, with a head at its end."""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._shapes.append(f'<polyline points="{path}" class="line" marker-end="url(#head)"{dash}/>')

    def line(self, x1: float, y1: float, x2: float, y2: float, *, colour: str, width: float = 1.2) -> None:
        """A straight line."""
        ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        self._shapes.append(f'<line {ends} stroke="{colour}" stroke-width="{width:g}"/>')

    def dot(self, x: float, y: float, colour: str, radius: float = 3.5) -> None:
        """A dot."""
        self._shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}"/>')

    def shape(self, points: list[tuple[float, float]], fill: str, stroke: str) -> None:
        """A polygon."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._shapes.append(f'<polygon points="{path}" fill="{fill}" stroke="{stroke}"/>')

    def svg(self) -> str:
        """The file."""
        head = '<path d="M0 0L8 4L0 8z" fill="#455a64"/>'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self._height}" role="img">',
                f"<title>{self._description}</title><style>{STYLE}</style>",
                '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">',
                f"{head}</marker></defs>",
                f'<rect width="{WIDTH}" height="{self._height}" rx="8" fill="#fff"/>',
                *self._shapes,
                "</svg>\n",
            ]
        )


def delg() -> Drawing:
    """One network with two heads."""
    figure = Drawing(270, "One network, a global head and a local head")
    figure.box(15, 105, "photo", "pixels", kind="data", width=90)
    figure.box(140, 105, "backbone", "to stage 4")
    figure.box(305, 40, "stage 5", "global level", width=110)
    figure.box(450, 40, "GeM, whitening", "ArcFace in training")
    figure.box(610, 40, "2048", "one per photo", kind="data", width=100)
    figure.box(305, 170, "attention", "weight of a cell", width=110)
    figure.box(450, 170, "autoencoder", "1024 to 128 values")
    figure.box(610, 170, "128", "1000 per photo", kind="data", width=100)
    figure.arrow((105, 133), (140, 133))
    figure.arrow((270, 125), (287, 125), (287, 68), (305, 68))
    figure.arrow((270, 141), (287, 141), (287, 198), (305, 198), dashed=True)
    for y in (68, 198):
        figure.arrow((415, y), (450, y))
        figure.arrow((580, y), (610, y))
    figure.text(660, 30, "global descriptor", "small")
    figure.text(660, 244, "local features", "small")
    figure.text(205, 215, "dashed: no gradient", "small")
    return figure


def geometry() -> Drawing:
    """Matches between two photos: those that agree on one affine transform, and others."""
    figure = Drawing(300, "Matches that agree on one transform, and others")
    source = random.Random(3)
    for x, name in ((20, "query"), (390, "candidate")):
        figure.shape([(x, 20), (x + 310, 20), (x + 310, 250), (x, 250)], "#fafafa", "#b0bec5")
        figure.text(x + 155, 270, name, "small")

    def moved(x: float, y: float) -> tuple[float, float]:
        return 390 + 60 + 0.72 * (x - 20) + 0.12 * (y - 20), 20 + 20 - 0.14 * (x - 20) + 0.74 * (y - 20) + 30

    corners = [(70.0, 60.0), (260.0, 60.0), (260.0, 210.0), (70.0, 210.0)]
    figure.shape(corners, "#e8eaf6", "#3f51b5")
    figure.shape([moved(x, y) for x, y in corners], "#e8eaf6", "#3f51b5")
    for _ in range(6):
        x1, y1 = source.uniform(30, 320), source.uniform(30, 240)
        x2, y2 = source.uniform(400, 690), source.uniform(30, 240)
        figure.line(x1, y1, x2, y2, colour=RED, width=0.8)
        figure.dot(x1, y1, RED)
        figure.dot(x2, y2, RED)
    for _ in range(12):
        x, y = source.uniform(80, 250), source.uniform(70, 200)
        u, v = moved(x, y)
        figure.line(x, y, u, v, colour=GREEN)
        figure.dot(x, y, GREEN)
        figure.dot(u, v, GREEN)
    figure.text(360, 292, "green: inliers of one affine transform; red: matches that do not fit it", "small")
    return figure


def superglobal() -> Drawing:
    """Candidates refined by their neighbours; the query expanded by the best."""
    figure = Drawing(250, "SuperGlobal: refine the candidates, expand the query, average two similarities")
    figure.box(15, 95, "first stage", "400 candidates", kind="data", width=120)
    figure.box(170, 25, "refine", "by 9 neighbours")
    figure.box(170, 165, "query", "its descriptor", kind="data")
    figure.box(345, 95, "expand the query", "by the 10 best refined", width=160)
    figure.box(555, 25, "similarity 1", "query, refined", width=140)
    figure.box(555, 165, "similarity 2", "expanded, refined", width=140)
    figure.arrow((135, 115), (152, 115), (152, 53), (170, 53))
    figure.arrow((300, 53), (322, 53), (322, 113), (345, 113))
    figure.arrow((300, 193), (322, 193), (322, 133), (345, 133))
    figure.arrow((300, 44), (555, 44))
    figure.arrow((505, 123), (530, 123), (530, 193), (555, 193))
    figure.text(625, 128, "order by their mean", "small")
    return figure


def verdict() -> Drawing:
    """Probability as a function of the evidence, with the three answers."""
    figure = Drawing(290, "Evidence becomes a probability, and the probability a verdict")
    left, right, top, bottom = 80.0, 690.0, 25.0, 235.0

    def place(evidence: float) -> tuple[float, float]:
        return left + (evidence + 6) / 12 * (right - left), bottom - (bottom - top) / (1 + math.exp(-evidence))

    edges = (-6.0, math.log(0.2 / 0.8), 3.0, 6.0)
    bands = (("not in the collection", "#ffebee"), ("unsure", "#fff8e1"), ("same", "#e8f5e9"))
    for (words, colour), begin, end in zip(bands, edges, edges[1:], strict=False):
        x1, x2 = place(begin)[0], place(end)[0]
        figure.shape([(x1, top), (x2, top), (x2, bottom), (x1, bottom)], colour, "none")
        figure.text((x1 + x2) / 2, top + 20, words)
    curve = [place(step / 10 - 6) for step in range(121)]
    for (x1, y1), (x2, y2) in pairwise(curve):
        figure.line(x1, y1, x2, y2, colour="#3f51b5", width=2)
    figure.arrow((left, bottom), (right + 10, bottom))
    figure.arrow((left, bottom), (left, top - 10))
    figure.line(place(3.0)[0], top, place(3.0)[0], bottom, colour=GREY)
    for probability in (0, 0.2, 1):
        figure.text(left - 12, bottom - (bottom - top) * probability + 5, f"{probability:g}", "small", anchor="end")
    figure.text(385, 262, "evidence: similarity, its lead, inliers beyond chance", "small")
    figure.text(place(3.0)[0], 280, "threshold at 1 % false matches", "small")
    return figure


def main() -> None:
    """Writes the four figures."""
    for draw in (delg, geometry, superglobal, verdict):
        (FOLDER / f"{draw.__name__}.svg").write_text(draw().svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
