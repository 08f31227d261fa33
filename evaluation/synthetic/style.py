"""The style that a family of look-alike landmarks shares: palette, masonry, roof, window shape and proportions."""

import colorsys
from dataclasses import dataclass, replace

import numpy as np

Colour = tuple[int, int, int]
Range = tuple[float, float]

WALL_KINDS = ("brick", "ashlar", "plaster", "diaper", "timber", "banded", "rubble")
ROOF_KINDS = ("gable", "stepped", "battlement", "dome", "mansard", "towers", "dutch", "sawtooth", "cornice")
WINDOW_KINDS = ("rect", "segment", "arch", "pointed", "round", "twin")
MULLION_KINDS = ("cross", "grid", "diamond", "vertical", "fan")
EDGE_KINDS = ("quoins", "pilasters", "plain")


@dataclass(frozen=True)
class Style:
    """The common style of look-alike landmarks.

    Attributes:
      wall, trim, accent, roof, glass: RGB colours.
      wall_kind, roof_kind, mullion_kind, edge_kind: names of the drawing routines.
      window_kinds: window shape of the ground floor and of the floors above.
      width, height: size of the canonical texture in pixels.
      floors, bays: number of storeys and of window axes.
      course: size of one masonry course in pixels.
    """

    wall: Colour
    trim: Colour
    accent: Colour
    roof: Colour
    glass: Colour
    wall_kind: str
    roof_kind: str
    mullion_kind: str
    edge_kind: str
    window_kinds: tuple[str, str]
    width: int
    height: int
    floors: int
    bays: int
    course: int


def shade(colour: Colour, factor: float) -> Colour:
    """A colour made darker (0 <= factor < 1) or lighter, clipped to 0..255."""
    red, green, blue = colour
    return min(255, int(red * factor + 0.5)), min(255, int(green * factor + 0.5)), min(255, int(blue * factor + 0.5))


def jitter(colour: Colour, rng: np.random.Generator, amount: int) -> Colour:
    """A colour moved by at most ``amount`` in each channel, clipped to 0..255."""
    moved = np.clip(np.asarray(colour) + rng.integers(-amount, amount + 1, 3), 0, 255)
    return int(moved[0]), int(moved[1]), int(moved[2])


def pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    """One of the names, with equal chance."""
    return choices[int(rng.integers(len(choices)))]


def colour(rng: np.random.Generator, hue: Range, saturation: Range, value: Range) -> Colour:
    """A colour of random hue, saturation and value, each from its range within 0..1."""
    red, green, blue = colorsys.hsv_to_rgb(*(rng.uniform(*span) for span in (hue, saturation, value)))
    return int(255 * red + 0.5), int(255 * green + 0.5), int(255 * blue + 0.5)


def draw_palette(rng: np.random.Generator) -> tuple[Colour, Colour, Colour, Colour, Colour]:
    """Colours of wall, trim, accent, roof and glass; the trim is light or, for one landmark in three, dark."""
    trim = (0.8, 0.97) if rng.random() < 0.7 else (0.3, 0.5)
    return (
        colour(rng, (0, 1), (0.1, 0.6), (0.5, 0.92)),
        colour(rng, (0, 1), (0.02, 0.3), trim),
        colour(rng, (0, 1), (0.3, 0.8), (0.3, 0.7)),
        colour(rng, (0, 1), (0.1, 0.65), (0.25, 0.65)),
        colour(rng, (0.45, 0.75), (0.05, 0.4), (0.2, 0.35)),
    )


def draw_style(rng: np.random.Generator) -> Style:
    """Draws the style of a family."""
    wall, trim, accent, roof, glass = draw_palette(rng)
    width = int(rng.integers(288, 401)) // 2 * 2
    height = int(np.clip(118000 / width, 280, 400)) // 2 * 2
    return Style(
        wall=wall,
        trim=trim,
        accent=accent,
        roof=roof,
        glass=glass,
        wall_kind=pick(rng, WALL_KINDS),
        roof_kind=pick(rng, ROOF_KINDS),
        mullion_kind=pick(rng, MULLION_KINDS),
        edge_kind=pick(rng, EDGE_KINDS),
        window_kinds=(pick(rng, WINDOW_KINDS[:4]), pick(rng, WINDOW_KINDS)),
        width=width,
        height=height,
        floors=int(rng.integers(2, 5)),
        bays=int(rng.integers(3, 7)),
        course=int(rng.integers(6, 12)),
    )


def vary(style: Style, rng: np.random.Generator) -> Style:
    """A member of the family: the same style, its colours moved a little."""
    return replace(
        style,
        wall=jitter(style.wall, rng, 5),
        trim=jitter(style.trim, rng, 5),
        accent=jitter(style.accent, rng, 5),
        roof=jitter(style.roof, rng, 5),
        glass=jitter(style.glass, rng, 5),
    )
