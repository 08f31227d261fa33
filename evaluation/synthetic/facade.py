"""A landmark: one facade drawn on a canonical texture, rich in local detail."""

from dataclasses import dataclass

import cv2
import numpy as np

from evaluation.synthetic import windows
from evaluation.synthetic.ornaments import frieze, lettering, ornament, word
from evaluation.synthetic.roofs import TILED, coping, tile
from evaluation.synthetic.style import MULLION_KINDS, Style, pick, shade
from evaluation.synthetic.walls import WALLS, smooth_noise


@dataclass(frozen=True)
class Facade:
    """A drawn landmark.

    Attributes:
      texture: ``(H, W, 3)`` uint8 RGB, the facade plane.
      outline: ``(P, 2)`` float64 silhouette of the landmark in pixels of the texture.
    """

    texture: np.ndarray
    outline: np.ndarray


def _spread(rng: np.random.Generator, start: float, end: float, parts: int, uneven: float) -> np.ndarray:
    """``parts + 1`` integer borders from start to end, their distances uneven by the given ratio."""
    weights = rng.uniform(1 - uneven, 1 + uneven, parts)
    return np.round(start + (end - start) * np.concatenate([[0], weights.cumsum() / weights.sum()])).astype(int)


def _symmetric_bays(rng: np.random.Generator, style: Style) -> np.ndarray:
    """Borders of the window axes, mirrored about the middle as most facades are."""
    margin = int(style.width * rng.uniform(0.05, 0.09))
    borders = _spread(rng, margin, style.width - margin, style.bays, 0.3)
    return np.round((borders + (style.width - borders[::-1])) / 2).astype(int)


def _colours(rng: np.random.Generator, style: Style) -> list[tuple[int, int, int]]:
    """Four colours of the style in random order and brightness, for one ornament."""
    base = [style.trim, style.accent, style.roof, style.wall]
    return [shade(base[i], float(rng.uniform(0.75, 1.2))) for i in rng.permutation(4)]


class _Painter:
    """Draws one facade from the ground up; holds the canvas and the grid of storeys and bays."""

    def __init__(self, style: Style, rng: np.random.Generator, outline: np.ndarray, eaves: int):
        self.style, self.rng, self.outline, self.eaves = style, rng, outline, eaves
        self.canvas = WALLS[style.wall_kind](rng, style.width, style.height, style)
        self.bays = _symmetric_bays(rng, style)
        plinth = int(style.height * rng.uniform(0.02, 0.05))
        self.storeys = _spread(rng, eaves + 12, style.height - plinth, style.floors, 0.18)
        self.mullion = style.mullion_kind if rng.random() < 0.7 else pick(rng, MULLION_KINDS)

    def roof(self) -> None:
        """Roof covering or gable, its ornaments, and the line of the eaves."""
        style, rng = self.style, self.rng
        if style.roof_kind in TILED:
            tile(self.canvas, rng, self.eaves, style)
        coping(self.canvas, self.outline, style)
        if style.roof_kind == "towers":
            spots = [(0.11, 0.74), (0.89, 0.74)]
        elif style.roof_kind == "battlement":
            spots = []
        elif style.roof_kind == "sawtooth":
            spots = [(0.25, 0.8), (0.75, 0.8)]
        else:
            spots = [(0.5, 0.6)] + ([(0.3, 0.78), (0.7, 0.78)] if style.roof_kind in ("mansard", "cornice") else [])
        names = int(rng.integers(2**31))
        for x, y in spots:
            radius = int(self.eaves * rng.uniform(0.2, 0.3))
            same = np.random.default_rng(names if rng.random() < 0.5 else int(rng.integers(2**31)))
            at = (int(x * style.width), int(y * self.eaves))
            ornament(self.canvas, same, (*at, radius), _colours(rng, style))
        frieze(self.canvas, rng, (0, self.eaves - 3, style.width, int(rng.integers(10, 16))), _colours(rng, style))

    def edges(self) -> None:
        """Quoins or pilasters at the corners, pilasters between some bays."""
        style, rng, canvas = self.style, self.rng, self.canvas
        if style.edge_kind == "quoins":
            step = int(rng.integers(12, 20))
            for k, y in enumerate(range(self.eaves + 14, style.height, step)):
                reach = 16 if k % 2 else 10
                for left, right in ((0, reach), (style.width - reach, style.width)):
                    tone = shade(style.trim, float(rng.uniform(0.8, 1.05)))
                    cv2.rectangle(canvas, (left, y), (right, y + step - 2), tone, -1)
        elif style.edge_kind == "pilasters":
            for x in self.bays:
                tone = shade(style.trim, float(rng.uniform(0.85, 1.05)))
                cv2.rectangle(canvas, (x - 5, self.eaves + 12), (x + 5, style.height), tone, -1)
                cv2.line(canvas, (x + 5, self.eaves + 12), (x + 5, style.height), shade(style.trim, 0.55), 2)
                for flute in (-2, 1):
                    cv2.line(canvas, (x + flute, self.eaves + 26), (x + flute, style.height), shade(tone, 0.8), 1)

    def courses(self) -> None:
        """String courses between the storeys; one of them carries the lettering."""
        style, rng = self.style, self.rng
        named = int(rng.integers(1, style.floors)) if style.floors > 1 else 0
        for k in range(1, style.floors):
            y = int(self.storeys[k])
            if k == named:
                self._sign(y)
            elif rng.random() < 0.75:
                frieze(self.canvas, rng, (0, y - 4, style.width, int(rng.integers(6, 12))), _colours(rng, style))

    def _sign(self, y: int) -> None:
        style, rng, height = self.style, self.rng, int(self.rng.integers(17, 25))
        ground = shade(style.accent, 0.8) if rng.random() < 0.5 else shade(style.trim, 1.0)
        ink = shade(style.trim, 1.1) if ground != shade(style.trim, 1.0) else shade(style.accent, 0.6)
        width = int(style.width * rng.uniform(0.55, 0.95))
        left = int((style.width - width) * rng.choice((0.1, 0.5, 0.9)))
        cv2.rectangle(self.canvas, (left, y - height // 2), (left + width, y + height // 2), ground, -1)
        cv2.rectangle(self.canvas, (left, y - height // 2), (left + width, y + height // 2), ink, 1)
        text = " ".join(word(rng) for _ in range(int(rng.integers(1, 3))))
        lettering(self.canvas, rng, (left + 6, y - height // 2 + 4, width - 12, height - 8), text, ink)

    def cell(self, row: int, column: int) -> windows.Box:
        """The box of the window at a storey (from the top) and bay."""
        x0, x1 = int(self.bays[column]), int(self.bays[column + 1])
        y0, y1 = int(self.storeys[row]), int(self.storeys[row + 1])
        width, height = int((x1 - x0) * self.fill[0]), int((y1 - y0) * self.fill[1])
        return (x0 + x1 - width) // 2, y0 + int(0.62 * (y1 - y0 - height)) + 3, width, height

    def upper_storeys(self) -> None:
        """Windows of every storey but the lowest, a few replaced by ornaments."""
        style, rng = self.style, self.rng
        self.fill = (float(rng.uniform(0.42, 0.62)), float(rng.uniform(0.55, 0.68)))
        for row in range(style.floors - 1):
            kind = style.window_kinds[1] if rng.random() < 0.75 else pick(rng, ("rect", "arch", "segment", "twin"))
            rhythm = rng.random(4) < (0.3, 0.3, 0.25, 0.35)
            for column in range(style.bays):
                box = self.cell(row, column)
                x, y, width, height = box
                if rng.random() < 0.14:
                    reach = int(0.5 * min(int(width * 1.25), height))
                    ornament(self.canvas, rng, (x + width // 2, y + height // 2, reach), _colours(rng, style))
                    continue
                windows.window(self.canvas, rng, box, (kind, self.mullion), style)
                self._dress(box, rhythm)
        self._between()

    def _dress(self, box: windows.Box, rhythm: np.ndarray) -> None:
        """Shutters, hoods, balconies and flowers: mostly by the rhythm of the storey, with exceptions."""
        rng = self.rng
        dressed = np.where(rng.random(4) < 0.85, rhythm, rng.random(4) < 0.4)
        if dressed[0]:
            windows.shutters(self.canvas, box, shade(self.style.accent, float(rng.uniform(0.8, 1.2))))
        if dressed[1]:
            windows.balcony(self.canvas, rng, box, self.style)
        if dressed[2]:
            windows.flowers(self.canvas, rng, box)
        if dressed[3]:
            windows.hood(self.canvas, rng, box, self.style)

    def _between(self) -> None:
        """Small ornaments on the wall between the window axes."""
        style, rng = self.style, self.rng
        for _ in range(int(rng.integers(2, 7))):
            x = int(self.bays[int(rng.integers(0, style.bays + 1))])
            row = int(rng.integers(0, style.floors - 1)) if style.floors > 1 else 0
            y = int(rng.uniform(self.storeys[row] + 18, self.storeys[row + 1] - 14))
            ornament(self.canvas, rng, (x, y, int(rng.integers(7, 13))), _colours(rng, style))

    def ground_floor(self) -> None:
        """Door, arcade or shops, with awnings and house signs."""
        style, rng, row = self.style, self.rng, self.style.floors - 1
        self.fill = (float(rng.uniform(0.5, 0.75)), float(rng.uniform(0.66, 0.78)))
        entrance = style.bays // 2 if rng.random() < 0.5 else int(rng.integers(style.bays))
        shops = rng.random() < 0.5
        for column in range(style.bays):
            x, y, width, height = self.cell(row, column)
            full = (x, y, width, int(self.storeys[row + 1]) - y)
            if column == entrance:
                windows.door(self.canvas, rng, full, style.window_kinds[0], style)
            elif rng.random() < 0.12:
                ornament(self.canvas, rng, (x + width // 2, y + height // 2, width // 3), _colours(rng, style))
            else:
                kind = "rect" if shops else style.window_kinds[0]
                windows.window(self.canvas, rng, (x, y, width, height), (kind, pick(rng, MULLION_KINDS)), style)
                if shops and rng.random() < 0.5:
                    windows.awning(self.canvas, rng, (x - 2, y - 2, width + 4, height), _colours(rng, style)[:2])
                elif shops and rng.random() < 0.6:
                    lettering(self.canvas, rng, (x, y + 4, width, 12), word(rng).split()[0], shade(style.trim, 1.1))

    def weather(self) -> None:
        """Streaks and patches of dirt over everything."""
        style, rng = self.style, self.rng
        dirt = 1 + 0.05 * smooth_noise(rng, style.width, style.height, 48)
        streaks = cv2.resize(rng.standard_normal((1, style.width // 6), dtype=np.float32), (style.width, 1))
        fade = np.linspace(1, 0, style.height, dtype=np.float32)[:, None]
        dirt -= 0.05 * np.maximum(streaks, 0) * fade
        self.canvas = np.clip(self.canvas * dirt[..., None], 0, 255).astype(np.uint8)


def draw_facade(style: Style, rng: np.random.Generator, outline: np.ndarray, eaves: int) -> Facade:
    """Draws a landmark.

    Args:
      style: style of the landmark's family.
      rng: the random stream of this landmark: layout, ornaments, lettering.
      outline: silhouette of the landmark, see :func:`evaluation.synthetic.roofs.draw_outline`.
      eaves: the y at which the wall begins.
    """
    painter = _Painter(style, rng, outline, eaves)
    painter.edges()
    painter.roof()
    painter.upper_storeys()
    painter.ground_floor()
    painter.courses()
    painter.weather()
    return Facade(painter.canvas, outline)
