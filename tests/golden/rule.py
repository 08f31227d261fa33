"""Deterministic weights, images and index samples for the golden files (NumPy only).

Every array is a function of (salt, official weight name, shape).  numpy.random.RandomState is
frozen, so the same numbers come out on every NumPy version.  Arrays are drawn in C order in the
layout of the framework that owns the name: HWIO / [in, out] for Keras names (separator '/'),
OIHW / [out, in] for torch names (separator '.').
The golden files next to this module use salt ''.
"""

import re
import zlib

import numpy as np

SCORE_GAIN = 0.4  # extra factor on attention/attn_conv2/kernel: keeps scores in the curved part of softplus


def stream(text):
    """The random stream that belongs to a text."""
    return np.random.RandomState(zlib.crc32(text.encode()) & 0xFFFFFFFF)


def weight(name, shape, salt=""):
    """float32 array for one weight; for 'num_batches_tracked' an int64 zero."""
    shape, rs, torch = tuple(shape), stream(salt + name), "/" not in name and "." in name
    leaf = re.split(r"[/.]", name)[-1]
    last_bn = re.search(r"(bn\d\w_branch2c|\.f\.c_bn)[/.]", name) is not None
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if leaf == "scale_factor":  # ArcFace scale, fixed
        a = np.full(shape, 45.25)
    elif leaf == "p":  # learned GeM exponent
        a = 3.0 + 0.1 * rs.standard_normal(shape)
    elif leaf in ("kernel", "cosine_weights") or (leaf == "weight" and len(shape) > 1):
        fan_in = int(np.prod(shape[1:] if torch else shape[:-1]))
        a = rs.standard_normal(shape) * np.sqrt((2.0 if len(shape) == 4 else 1.0) / fan_in)
        a = a * SCORE_GAIN if "attn_conv2" in name else a
    elif leaf == "gamma" or (torch and leaf == "weight"):  # BN scale
        a = rs.uniform(0.2, 0.5, shape) if last_bn else rs.uniform(0.7, 1.3, shape)
    elif leaf == "beta" or (leaf == "bias" and "bn." in name) or leaf in ("moving_mean", "running_mean"):  # BN shift
        a = 0.1 * rs.standard_normal(shape)
    elif leaf in ("moving_variance", "running_var"):
        a = rs.uniform(0.6, 1.4, shape)
    elif leaf == "bias":
        a = 0.05 * rs.standard_normal(shape)
    else:
        raise ValueError("no rule for " + name)
    return np.asarray(a, np.float32)


VIT_RULES = (  # ending of the name, kind, and its numbers; the first one that fits counts, a uniform one for vectors
    (r"lambda1", "uniform", 0.1, 0.9),
    (r"(cls_token|register_tokens|mask_token|probe|mtc_token)", "normal", 0.0, 0.6),
    (r"position_embedding(s|\.weight)", "normal", 0.0, 0.2),
    (r"dust_bin", "normal", 0.3, 0.1),
    (r"^remap_local\.0\.W", "normal", 0.0, 0.2),
    (r"^f\.0\.weight", "normal", 0.0, 2.0),
    (r"^f\.0\.bias", "normal", 0.0, 0.7),
    (r"^(f\.3|g\.2|classifier)\.weight", "fan", 0.0, 3.0),
    (r"(norm\d?|^remap_local\.[12]|^f\.1)\.weight", "uniform", 0.7, 1.3),
    (r"norm\d?\.bias", "normal", 0.0, 0.1),
    (r"(query|key|q_proj|k_proj)\.weight", "fan", 0.0, 1.4),
    (r"in_proj_weight", "fan", 0.0, 1.2),
    (r"(fc2|down_proj|weights_out|linear2)\.weight", "fan", 0.0, 1.5),
    (r"weight", "fan", 0.0, 1.0),
    (r"bias", "normal", 0.0, 0.1),
)


def vit_weight(name, shape, salt=""):
    """float32 array for a weight of a transformer by its name in the published file, in the layout of its file."""
    shape, rs = tuple(shape), stream(salt + name)
    fitting = (row for row in VIT_RULES if re.search(row[0] + "$", name))
    _, kind, low, high = next(row for row in fitting if row[1] != "uniform" or len(shape) == 1)
    if kind == "uniform":
        return np.asarray(rs.uniform(low, high, shape), np.float32)
    fan_in = np.prod(shape[1:], dtype=np.float64) if kind == "fan" else 1.0
    return np.asarray(low + high * rs.standard_normal(shape) / np.sqrt(fan_in), np.float32)


def synthetic_image(seed, h, w):
    """Structured RGB uint8 image: sinusoids, rectangles, noise."""
    rs = np.random.RandomState(seed)
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float64)
    im = np.zeros((h, w, 3)) + rs.uniform(90, 160, 3)
    for c in range(3):
        for _ in range(6):
            fy, fx, phase, amp = (
                rs.uniform(-0.15, 0.15),
                rs.uniform(-0.15, 0.15),
                rs.uniform(0, 6.28),
                rs.uniform(8, 32),
            )
            im[:, :, c] += amp * np.sin(fy * yy + fx * xx + phase)
    for _ in range(14):
        y, x = (rs.randint(0, max(side - 8, 1)) for side in (h, w))
        dy, dx = (rs.randint(6, max(side // 3, 7)) for side in (h, w))
        im[y : y + dy, x : x + dx] += rs.uniform(-80, 80, 3)
    im += rs.standard_normal(im.shape) * 5
    return np.clip(np.rint(im), 0, 255).astype(np.uint8)


def sample(array, key, n=4096):
    """Fixed flat sample of a large array; `key` is the name under which it is stored."""
    a = np.asarray(array).reshape(-1)
    return a if a.size <= n else a[stream("idx:" + key).randint(0, a.size, n)]


def revisited_ranks(gnd, n_images, seed):
    """Synthetic ranking [n_images, n_queries] for a ground-truth list of easy/hard/junk dicts."""
    rs, cols = np.random.RandomState(seed), []
    for g in gnd:
        score = rs.standard_normal(n_images)
        for key, shift in (("easy", 2.4), ("hard", 1.6), ("junk", 2.0)):
            score[np.asarray(g[key], int)] += shift
        cols.append(np.argsort(-score, kind="stable"))
    return np.stack(cols, 1)
