"""The same weights on the backends of Keras: writes descriptors with one, compares them with another.

Usage: KERAS_BACKEND=tensorflow python scripts/studies/backends.py write DIR
       KERAS_BACKEND=jax python scripts/studies/backends.py compare DIR
"""

import importlib.util
import sys
from pathlib import Path

import keras
import numpy as np

import delg
from extraction.extractors.delg import DelgExtractor

TOLERANCE = 1e-4
MODELS = {
    "delg_small": {},
    "delg_r50": {"block3_strides": True},
    "superglobal_r50": {},
    "delg_pytorch_r50": {},
}
SIZES = ((161, 219), (192, 148))


def photos() -> list[np.ndarray]:
    """Smooth pictures with some noise, ``(H, W, 3)`` uint8."""
    rng = np.random.default_rng(0)
    found = []
    for height, width in SIZES:
        y, x = np.mgrid[:height, :width]
        waves = [np.sin(y / rng.uniform(5, 20) + x / rng.uniform(5, 20)) for _ in range(3)]
        found.append(np.clip(128 + 60 * np.stack(waves, -1) + rng.normal(0, 12, (height, width, 3)), 0, 255))
    return [photo.astype(np.uint8) for photo in found]


def shake(model: keras.Model) -> None:
    """Gives every weight a value that is not its initial one, normalisation statistics included."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        value = np.asarray(keras.ops.convert_to_numpy(weight))
        noise = rng.uniform(0.9, 1.1, value.shape) if weight.path.endswith(("variance", "gamma")) else 1
        weight.assign(value * noise + 0.01 * rng.standard_normal(value.shape) * (value.ndim < 2))


def describe(folder: Path) -> dict[str, np.ndarray]:
    """Global descriptors, and local descriptors at every place in the order of their attention."""
    extractor = DelgExtractor.from_folder(str(folder), image_scales=[0.7071, 1.0], global_scales_ind=[0, 1])
    found = {}
    for number, photo in enumerate(photos()):
        features = extractor(photo, "photo")
        found[f"{folder.name}/{number}/global"] = features.global_descriptor
        order = np.lexsort((*features.keypoints.T, features.scales))
        found[f"{folder.name}/{number}/local"] = features.descriptors[order]
        found[f"{folder.name}/{number}/attention"] = features.scores[order]
    return found


def write(work: Path) -> None:
    """Saves the models and what this backend makes of them."""
    for name, options in MODELS.items():
        model = delg.create(name, **options)
        shake(model)
        delg.save(model, work / name)
    np.savez(work / "descriptors.npz", **{k: v for name in MODELS for k, v in describe(work / name).items()})
    print(f"{keras.backend.backend()}: wrote {len(MODELS)} models and their descriptors.")


def compare(work: Path) -> int:
    """Prints the largest difference of each model; 1 when one is too large."""
    backend = keras.backend.backend()
    tensorflow = "with" if importlib.util.find_spec("tensorflow") else "without"
    failed = 0
    with np.load(work / "descriptors.npz") as expected:
        for name in MODELS:
            found = describe(work / name)
            for part in ("global", "local", "attention"):
                pairs = [(found[key], expected[key]) for key in found if key.endswith(part)]
                worst = max(float(np.abs(a - b).max(initial=0)) if a.shape == b.shape else np.inf for a, b in pairs)
                failed += worst > TOLERANCE
                print(f"{backend} ({tensorflow} TensorFlow installed), {name}, {part}: largest difference {worst:.1e}")
    return int(failed > 0)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("write", "compare"):
        sys.exit(__doc__)
    sys.exit(write(Path(sys.argv[2])) if sys.argv[1] == "write" else compare(Path(sys.argv[2])))
