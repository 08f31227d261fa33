"""Files of odd kinds of pixels, byte by byte: what no library in the tests writes, or only an extra one."""

import struct
import zlib

import numpy as np

WIDTH, HEIGHT = 256, 64
RAMP16 = np.tile(np.linspace(0, 65535, WIDTH).astype(np.uint16), (HEIGHT, 1))
RAMP8 = np.tile(np.arange(WIDTH, dtype=np.uint8), (HEIGHT, 1))
RGB16 = np.stack([RAMP16, RAMP16[:, ::-1], np.full_like(RAMP16, 30000)], -1)
RGB8 = np.stack([RAMP8, RAMP8[:, ::-1], np.full_like(RAMP8, 117)], -1)
FULL16, FULL8 = np.full_like(RAMP16, 65535), np.full_like(RAMP8, 255)


def packed(values: np.ndarray, bits: int) -> bytes:
    """Rows of values of 1, 2, 4 or 12 bits, most significant first, each padded to whole bytes."""
    order = 1 << np.arange(bits - 1, -1, -1)
    return np.packbits(((values.astype(np.int64)[..., None] & order) > 0).reshape(len(values), -1), axis=1).tobytes()


def tiff(strips: list[bytes], photometric: int, bits: tuple[int, ...], big: bool = False, **more) -> bytes:
    """A TIFF file of one strip for each plane; ``more`` are tags such as ``t339=(3,)``, each of shorts."""
    order = ">" if big else "<"
    tags = {
        256: (WIDTH,),
        257: (HEIGHT,),
        258: bits,
        259: (1,),
        262: (photometric,),
        277: (len(bits),),
        278: (HEIGHT,),
        284: (2 if len(strips) > 1 else 1,),
    } | {int(name[1:]): value for name, value in more.items()}
    offsets = np.cumsum([8, *map(len, strips)])
    longs = {273: tuple(int(o) for o in offsets[:-1]), 279: tuple(map(len, strips))}
    entries, extra, start = [], b"", int(offsets[-1])
    extra_at = start + 2 + 12 * (len(tags) + len(longs)) + 4
    for tag, values in sorted((tags | longs).items()):
        kind, code = (4, "I") if tag in longs else (3, "H")
        data = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(data) > 4:
            place, extra = struct.pack(f"{order}I", extra_at + len(extra)), extra + data
        else:
            place = data.ljust(4, b"\0")
        entries.append(struct.pack(f"{order}HHI", tag, kind, len(values)) + place)
    head = (b"MM" if big else b"II") + struct.pack(f"{order}HI", 42, start)
    return head + b"".join(strips) + struct.pack(f"{order}H", len(entries)) + b"".join(entries) + b"\0" * 4 + extra


def png(values: np.ndarray, bits: int, colour: int, *chunks: bytes, late: bytes = b"") -> bytes:
    """A PNG file; ``late`` are chunks behind the pixels."""
    flat = packed(values, bits) if bits < 8 else values.astype(">u2" if bits == 16 else "u1").tobytes()
    width = len(flat) // len(values)
    rows = b"".join(b"\0" + flat[i * width : (i + 1) * width] for i in range(len(values)))
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows)) + late
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    """A part of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def right() -> dict[str, tuple[bytes, np.ndarray]]:
    """Files that are decoded, and what they show in 0 to 255, grey or RGB."""
    grey, rgb = RAMP16 / 257, RGB16 / 257
    alpha8, alpha16 = np.dstack([RGB8, FULL8]), np.dstack([RGB16, FULL16])
    half, inverse, dim = np.full_like(RAMP8, 128), 65535 - RAMP16, RAMP8 // 2
    found = {
        "white is 0, 16 bits.tif": (tiff([inverse.tobytes()], 0, (16,)), grey),
        "white is 0, 16 bits, packed.tif": (
            tiff([zlib.compress(inverse.tobytes())], 0, (16,), t259=(8,)),
            grey,
        ),
        "white is 0, 8 bits.tif": (tiff([(255 - RAMP8).tobytes()], 0, (8,)), RAMP8),
        "white is 0, 4 bits.tif": (tiff([packed(15 - RAMP8 // 16, 4)], 0, (4,)), RAMP8 // 16 * 17),
        "white is 0, 1 bit.tif": (tiff([packed(RAMP8 < 128, 1)], 0, (1,)), (RAMP8 >= 128) * 255),
        "12 bits.tif": (tiff([packed(RAMP16 >> 4, 12)], 1, (12,)), grey),
        "planes, 8 bits.tif": (tiff([RGB8[..., i].tobytes() for i in range(3)], 2, (8,) * 3), RGB8),
        "planes, 16 bits, packed.tif": (
            tiff([zlib.compress(RGB16[..., i].tobytes()) for i in range(3)], 2, (16,) * 3, t259=(8,)),
            rgb,
        ),
        "grey and alpha.tif": (tiff([np.dstack([RAMP8, FULL8]).tobytes()], 1, (8, 8), t338=(2,)), RAMP8),
        "grey times alpha.tif": (
            tiff([np.dstack([dim, half]).tobytes()], 1, (8, 8), t338=(1,)),
            dim / 128 * 255,
        ),
        "colour and alpha.tif": (tiff([alpha8.tobytes()], 2, (8,) * 4, t338=(2,)), RGB8),
        "colour times alpha.tif": (
            tiff([np.dstack([RGB8 // 2, half]).tobytes()], 2, (8,) * 4, t338=(1,)),
            np.minimum(RGB8 // 2 / 128 * 255, 255),
        ),
        "ink, 8 bits.tif": (tiff([np.dstack([255 - RGB8, 0 * RAMP8]).tobytes()], 5, (8,) * 4), RGB8),
        "ink, 16 bits.tif": (tiff([np.dstack([65535 - RGB16, 0 * RAMP16]).tobytes()], 5, (16,) * 4), rgb),
        "YCbCr.tif": (tiff([np.dstack([RAMP8, half, half]).tobytes()], 6, (8,) * 3, t530=(1, 1)), RAMP8),
        "palette.tif": (
            tiff([RAMP8.tobytes()], 3, (8,), t320=tuple(int(v) * 257 for v in range(256)) * 3),
            RAMP8,
        ),
        "alpha, 16 bits.png": (png(alpha16, 16, 6), rgb),
        "grey and alpha, 16 bits.png": (png(np.dstack([RAMP16, FULL16]), 16, 4), grey),
        "palette, 4 bits.png": (
            png(RAMP8 // 16, 4, 3, chunk(b"PLTE", bytes(v * 17 for v in range(16) for _ in range(3)))),
            RAMP8 // 16 * 17,
        ),
        "16 bits.pgm": (b"P5 256 64 65535\n" + RAMP16.astype(">u2").tobytes(), grey),
        "10 bits.pgm": (b"P5 256 64 1023\n" + (RAMP16 >> 6).astype(">u2").tobytes(), (RAMP16 >> 6) / 1023 * 255),
        "text, 16 bits.pgm": (f"P2 256 64 65535\n{' '.join(map(str, RAMP16.ravel()))}\n".encode(), grey),
        "7 bits.pgm": (b"P5 256 64 100\n" + (RAMP8 // 3).tobytes(), RAMP8 // 3 / 100 * 255),
        "16 bits.ppm": (b"P6 256 64 65535\n" + RGB16.astype(">u2").tobytes(), rgb),
        "1 bit.pbm": (b"P4 256 64\n" + packed(RAMP8 < 128, 1), (RAMP8 >= 128) * 255),
    }
    for name, big in (("little", False), ("big", True)):
        code = ">u2" if big else "<u2"
        found[f"16 bits, {name}.tif"] = tiff([RAMP16.astype(code).tobytes()], 1, (16,), big), grey
        found[f"colour of 16 bits, {name}.tif"] = tiff([RGB16.astype(code).tobytes()], 2, (16,) * 3, big), rgb
    for bits in (1, 2, 4, 8, 16):
        values = RAMP16 >> (16 - bits)
        found[f"{bits} bits.png"] = png(values, bits, 0), values / (2**bits - 1) * 255
    for bits in (8, 16):
        values = RGB16 >> (16 - bits)
        found[f"colour of {bits} bits.png"] = png(values, bits, 2), values / (2**bits - 1) * 255
    return {name: (data, shown.astype(np.float64)) for name, (data, shown) in found.items()}


def refused() -> dict[str, tuple[bytes, str]]:
    """Files that are not decoded, and a part of the reason."""
    half = np.full((HEIGHT, WIDTH // 2), 128, np.uint8)
    plain = tiff([RGB8.tobytes()], 2, (8,) * 3)
    return {
        "float.tif": (tiff([(RAMP16 / 65535).astype("<f4").tobytes()], 1, (32,), t339=(3,)), "floating-point"),
        "float.pfm": (b"Pf\n256 64\n-1.0\n" + (RAMP16 / 65535).astype("<f4").tobytes(), "floating-point"),
        "half.tif": (tiff([(RAMP16 / 65535).astype("<f2").tobytes()], 1, (16,), t339=(3,)), "not an image"),
        "32 bits.tif": (tiff([RAMP16.astype("<u4").tobytes()], 1, (32,)), "32 bits"),
        "signed, 32 bits.tif": (tiff([RAMP16.astype("<i4").tobytes()], 1, (32,), t339=(2,)), "signed"),
        "signed, 16 bits.tif": (tiff([RAMP16.astype("<i2").tobytes()], 1, (16,), t339=(2,)), "signed"),
        "signed, 8 bits.tif": (tiff([RAMP8.tobytes()], 1, (8,), t339=(2,)), "signed"),
        "white is 0, 16 bits, big.tif": (tiff([RAMP16.astype(">u2").tobytes()], 0, (16,), True), "not an image"),
        "planes of 16 bits.tif": (tiff([RGB16[..., i].tobytes() for i in range(3)], 2, (16,) * 3), "in planes"),
        "planes of 16 bits, alpha.tif": (
            tiff([np.dstack([RGB16, FULL16])[..., i].tobytes() for i in range(4)], 2, (16,) * 4, t338=(2,)),
            "in planes",
        ),
        "subsampled.tif": (tiff([RAMP8.tobytes() + half.tobytes()], 6, (8,) * 3), "subsampled"),
        "CIELAB.tif": (tiff([RGB8.tobytes()], 8, (8,) * 3), "CIELAB"),
        "raw.tif": (tiff([RGB8.tobytes()], 2, (8,) * 3, t50706=(1, 4)), "raw data"),
        "photo.NEF": (plain, "raw data"),
        "photo.dng": (plain, "raw data"),
        "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        "drawing.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not an image"),
        "bitmap.xbm": (
            b"#define im_width 8\n#define im_height 1\nstatic char im_bits[] = {\n0x01};\n",
            "not an image",
        ),
        "phone.heic": (b"\0\0\0\x18ftypheic" + b"\0" * 40, "no decoder for heic"),
    }
