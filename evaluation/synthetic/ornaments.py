"""Single ornaments, friezes and lettering, drawn onto an (H, W, 3) uint8 RGB canvas in place."""

from collections.abc import Callable

import cv2
import numpy as np

from evaluation.synthetic.style import Colour, shade

Box = tuple[int, int, int, int]  # x, y, width, height
Disc = tuple[int, int, int]  # x, y of the centre, radius

FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_COMPLEX_SMALL,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)
_ONSETS = ("B", "C", "D", "F", "G", "H", "K", "L", "M", "N", "P", "R", "S", "T", "V", "BR", "CR", "ST", "TR", "GL")
_VOWELS = ("A", "E", "I", "O", "U", "AU", "EI", "IO")
_ENDS = ("", "N", "R", "S", "L", "X", "M", "TT")


def word(rng: np.random.Generator) -> str:
    """A pronounceable word in capitals, at times followed by a year."""
    letters = "".join(
        _ONSETS[rng.integers(len(_ONSETS))] + _VOWELS[rng.integers(len(_VOWELS))] for _ in range(rng.integers(1, 4))
    )
    letters += _ENDS[rng.integers(len(_ENDS))]
    return f"{letters} {rng.integers(1400, 2000)}" if rng.random() < 0.3 else letters


def star(centre: tuple[float, float], radius: float, points: int, inner: float, turn: float = 0.0) -> np.ndarray:
    """The (2 * points, 2) int32 outline of a star; ``inner`` is the ratio of the inner to the outer radius."""
    angles = np.arange(2 * points) * np.pi / points + turn - np.pi / 2
    radii = radius * np.where(np.arange(2 * points) % 2 == 0, 1.0, inner)
    outline = np.stack([centre[0] + radii * np.cos(angles), centre[1] + radii * np.sin(angles)], 1)
    return np.round(outline).astype(np.int32)


def rosette(canvas: np.ndarray, rng: np.random.Generator, disc: Disc, colours: list[Colour]) -> None:
    """A rose: rings, petals about a hub."""
    x, y, radius = disc
    petals = int(rng.integers(5, 13))
    cv2.circle(canvas, (x, y), radius, colours[0], -1, cv2.LINE_AA)
    cv2.circle(canvas, (x, y), int(radius * 0.88), colours[1], -1, cv2.LINE_AA)
    for k in range(petals):
        angle = 2 * np.pi * k / petals
        at = (round(x + 0.58 * radius * np.cos(angle)), round(y + 0.58 * radius * np.sin(angle)))
        cv2.circle(canvas, at, max(2, int(1.5 * radius / petals)), colours[2 + k % 2], -1, cv2.LINE_AA)
    cv2.circle(canvas, (x, y), max(2, int(radius * rng.uniform(0.15, 0.32))), colours[0], -1, cv2.LINE_AA)


def star_disc(canvas: np.ndarray, rng: np.random.Generator, disc: Disc, colours: list[Colour]) -> None:
    """A disc with a star of two tones."""
    x, y, radius = disc
    points, inner = int(rng.integers(4, 10)), float(rng.uniform(0.35, 0.65))
    cv2.circle(canvas, (x, y), radius, colours[0], -1, cv2.LINE_AA)
    cv2.circle(canvas, (x, y), int(radius * 0.86), colours[3], -1, cv2.LINE_AA)
    cv2.fillPoly(canvas, [star((x, y), radius * 0.82, points, inner)], colours[1], cv2.LINE_AA)
    cv2.fillPoly(canvas, [star((x, y), radius * 0.45, points, inner, np.pi / points)], colours[2], cv2.LINE_AA)


def clock(canvas: np.ndarray, rng: np.random.Generator, disc: Disc, colours: list[Colour]) -> None:
    """A clock face with hour marks and two hands."""
    x, y, radius = disc
    cv2.circle(canvas, (x, y), radius, colours[2], -1, cv2.LINE_AA)
    cv2.circle(canvas, (x, y), int(radius * 0.85), shade(colours[0], 1.1), -1, cv2.LINE_AA)
    for k in range(12):
        way = np.array([np.cos(np.pi * k / 6), np.sin(np.pi * k / 6)]) * radius
        inner, outer = (np.round((x, y) + way * f).astype(int).tolist() for f in (0.62 if k % 3 == 0 else 0.7, 0.8))
        cv2.line(canvas, inner, outer, colours[3], 2 if k % 3 == 0 else 1, cv2.LINE_AA)
    for length, thickness in ((0.7, 2), (0.45, 3)):
        angle = rng.uniform(0, 2 * np.pi)
        tip = (round(x + length * radius * np.cos(angle)), round(y + length * radius * np.sin(angle)))
        cv2.line(canvas, (x, y), tip, colours[3], thickness, cv2.LINE_AA)


def shield(canvas: np.ndarray, rng: np.random.Generator, disc: Disc, colours: list[Colour]) -> None:
    """A coat of arms, quartered, with a charge."""
    x, y, radius = disc
    side, top = 0.8 * radius, 0.9 * radius
    outline = [(-side, -top), (side, -top), (side, 0.1 * radius), (0.45 * radius, 0.7 * radius), (0, radius)]
    outline += [(-0.45 * radius, 0.7 * radius), (-side, 0.1 * radius)]
    shape = np.round(np.add(outline, (x, y))).astype(np.int32)
    cv2.fillPoly(canvas, [shape], colours[int(rng.integers(1, 4))], cv2.LINE_AA)
    kind = int(rng.integers(4))
    if kind == 0:
        cv2.rectangle(canvas, (x, y - int(top)), (x + int(side), y), colours[0], -1)
        cv2.rectangle(canvas, (x - int(0.6 * side), y), (x, y + int(0.5 * radius)), colours[0], -1)
    elif kind == 1:
        cv2.line(canvas, (x - int(side), y - int(top)), (x + int(0.5 * side), y + int(0.6 * radius)), colours[0], 3)
    elif kind == 2:
        cv2.fillPoly(canvas, [star((x, y), 0.6 * radius, int(rng.integers(4, 7)), 0.4)], colours[0], cv2.LINE_AA)
    else:
        cv2.line(canvas, (x, y - int(top)), (x, y + int(0.9 * radius)), colours[0], 3)
        cv2.line(canvas, (x - int(side), y), (x + int(side), y), colours[0], 3)
    cv2.polylines(canvas, [shape], True, shade(colours[0], 0.8), 2, cv2.LINE_AA)


def lattice(canvas: np.ndarray, rng: np.random.Generator, disc: Disc, colours: list[Colour]) -> None:
    """A lozenge filled with nested lozenges and dots."""
    x, y, radius = disc
    for k, colour in enumerate((colours[0], colours[2], colours[1], colours[3])):
        reach = radius * (1 - 0.24 * k)
        cv2.fillPoly(canvas, [star((x, y), reach, 2, float(rng.uniform(0.6, 1.0)))], colour, cv2.LINE_AA)
    for k in range(4):
        at = (x + (radius if k % 2 else 0) * (k - 2), y + (0 if k % 2 else radius) * (k - 1))
        cv2.circle(canvas, at, max(2, radius // 6), colours[0], -1, cv2.LINE_AA)


def statue(canvas: np.ndarray, rng: np.random.Generator, disc: Disc, colours: list[Colour]) -> None:
    """A figure in a dark niche."""
    x, y, radius = disc
    half = int(radius * 0.62)
    cv2.rectangle(canvas, (x - half - 3, y - radius // 2), (x + half + 3, y + radius + 3), colours[0], -1)
    cv2.ellipse(canvas, (x, y - radius // 2), (half + 3, half + 3), 0, 180, 360, colours[0], -1, cv2.LINE_AA)
    dark = shade(colours[3], 0.8)
    cv2.rectangle(canvas, (x - half, y - radius // 2), (x + half, y + radius), dark, -1)
    cv2.ellipse(canvas, (x, y - radius // 2), (half, half), 0, 180, 360, dark, -1, cv2.LINE_AA)
    lean = int(rng.integers(-3, 4))
    body = [(x - half // 2, y + radius), (x + half // 2, y + radius), (x + half // 3 + lean, y - radius // 4)]
    body += [(x - half // 3 + lean, y - radius // 4)]
    cv2.fillPoly(canvas, [np.array(body, np.int32)], colours[1], cv2.LINE_AA)
    cv2.circle(canvas, (x + lean, y - radius // 3), max(2, radius // 6), colours[1], -1, cv2.LINE_AA)
    arm = (x + int(rng.choice((-1, 1))) * half, y + int(rng.integers(-radius // 2, radius // 3)))
    cv2.line(canvas, (x + lean, y), arm, colours[1], 2, cv2.LINE_AA)


def monogram(canvas: np.ndarray, rng: np.random.Generator, disc: Disc, colours: list[Colour]) -> None:
    """A letter in a ring."""
    x, y, radius = disc
    cv2.circle(canvas, (x, y), radius, colours[0], -1, cv2.LINE_AA)
    cv2.circle(canvas, (x, y), int(0.82 * radius), colours[int(rng.integers(1, 4))], -1, cv2.LINE_AA)
    side = int(1.1 * radius)
    lettering(canvas, rng, (x - side // 2, y - side // 2, side, side), chr(65 + int(rng.integers(26))), colours[0])


ORNAMENTS: dict[str, Callable[[np.ndarray, np.random.Generator, Disc, list[Colour]], None]] = {
    "rosette": rosette,
    "star_disc": star_disc,
    "clock": clock,
    "shield": shield,
    "lattice": lattice,
    "statue": statue,
    "monogram": monogram,
}


def ornament(canvas: np.ndarray, rng: np.random.Generator, disc: Disc, colours: list[Colour]) -> None:
    """A random ornament of the table."""
    names = sorted(ORNAMENTS)
    ORNAMENTS[names[int(rng.integers(len(names)))]](canvas, rng, disc, colours)


def lettering(canvas: np.ndarray, rng: np.random.Generator, box: Box, text: str, colour: Colour) -> None:
    """Writes the text in a random font, as large as fits, in the middle of the box."""
    x, y, width, height = box
    font = FONTS[int(rng.integers(len(FONTS)))]
    (wide, high), _ = cv2.getTextSize(text, font, 1.0, 1)
    size = min(width / max(wide, 1), height / max(high, 1))
    thickness = max(1, round(size * high / 12))
    (wide, high), _ = cv2.getTextSize(text, font, size, thickness)
    origin = (x + (width - wide) // 2, y + (height + high) // 2)
    cv2.putText(canvas, text, origin, font, size, colour, thickness, cv2.LINE_AA)


def frieze(canvas: np.ndarray, rng: np.random.Generator, box: Box, colours: list[Colour]) -> None:
    """A band filled with a running pattern, broken at random places."""
    x, y, width, height = box
    cv2.rectangle(canvas, (x, y), (x + width, y + height), colours[0], -1)
    kind, step = int(rng.integers(6)), max(5, int(height * rng.uniform(0.9, 1.9)))
    for k, left in enumerate(range(x, x + width - step + 1, step)):
        colour = colours[1 + int(rng.integers(3))] if rng.random() < 0.35 else colours[1]
        middle, bottom = (left + step // 2, y + height // 2), y + height - 2
        if kind == 0:
            cv2.fillPoly(canvas, [np.array([(left, bottom), (left + step, bottom), (middle[0], y + 1)])], colour)
        elif kind == 1:
            cv2.circle(canvas, middle, max(2, min(step, height) // 2 - 1), colour, -1, cv2.LINE_AA)
        elif kind == 2:
            cv2.rectangle(canvas, (left, y + 2), (left + step // 2, bottom), colour, -1)
        elif kind == 3:
            cv2.fillPoly(canvas, [star(middle, min(step, height) * 0.5, 4, 0.45)], colour, cv2.LINE_AA)
        elif kind == 4:
            ends = ((left, bottom), (left + step, y + 2)) if k % 2 else ((left, y + 2), (left + step, bottom))
            cv2.line(canvas, *ends, colour, 2, cv2.LINE_AA)
        else:
            cv2.ellipse(canvas, (middle[0], bottom), (step // 2, height - 3), 0, 180, 360, colour, 2, cv2.LINE_AA)
    cv2.line(canvas, (x, y), (x + width, y), shade(colours[0], 1.15), 1)
    cv2.line(canvas, (x, y + height), (x + width, y + height), shade(colours[0], 0.55), 2)
