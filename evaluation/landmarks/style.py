"""The style that a family of look-alike landmarks shares: palette, masonry, roof, window shape and proportions."""

from dataclasses import dataclass, replace

import numpy as np

Colour = tuple[int, int, int]

# wall, trim, accent, roof, glass (RGB). Few and close to one another: colour alone does not tell landmarks apart.
PALETTES: tuple[tuple[Colour, Colour, Colour, Colour, Colour], ...] = (
    ((204, 180, 136), (236, 222, 190), (142, 92, 52), (112, 82, 70), (52, 60, 74)),  # sandstone
    ((158, 84, 62), (230, 214, 192), (92, 48, 42), (82, 76, 80), (46, 54, 66)),  # red brick
    ((152, 150, 144), (208, 206, 200), (98, 94, 98), (72, 76, 86), (42, 50, 60)),  # grey stone
    ((212, 166, 88), (244, 230, 200), (148, 78, 44), (146, 82, 58), (58, 56, 60)),  # ochre plaster
    ((202, 146, 128), (240, 226, 210), (120, 66, 62), (96, 72, 72), (50, 52, 68)),  # rose plaster
    ((150, 166, 142), (222, 226, 206), (82, 98, 76), (88, 84, 80), (46, 58, 58)),  # pale green
    ((128, 144, 162), (216, 220, 224), (74, 82, 104), (70, 72, 84), (40, 48, 62)),  # blue grey
    ((224, 220, 208), (174, 162, 146), (124, 66, 54), (128, 76, 62), (54, 58, 66)),  # white plaster
    ((184, 110, 74), (234, 206, 170), (96, 56, 44), (90, 66, 62), (48, 46, 54)),  # terracotta
    ((112, 82, 68), (202, 186, 164), (66, 48, 46), (74, 70, 76), (40, 42, 52)),  # dark brick
)

WALL_KINDS = ("brick", "ashlar", "plaster", "diaper", "timber", "banded", "rubble")
ROOF_KINDS = ("gable", "stepped", "battlement", "dome", "mansard", "towers", "dutch", "sawtooth", "cornice")
WINDOW_KINDS = ("rect", "segment", "arch", "pointed", "round", "twin")
MULLION_KINDS = ("cross", "grid", "diamond", "vertical", "fan")
EDGE_KINDS = ("quoins", "pilasters", "plain")


@dataclass(frozen=True)
class Style:
    """What look-alikes share.

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


def draw_style(rng: np.random.Generator) -> Style:
    """Draws the style of a family."""
    wall, trim, accent, roof, glass = (jitter(c, rng, 12) for c in PALETTES[int(rng.integers(len(PALETTES)))])
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
