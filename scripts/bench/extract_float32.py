"""Extraction in float32 on OpenVINO against the released algorithm on TensorFlow."""

from typing import Any

from scripts.bench.extract_data import measured
from scripts.bench.measure import Options


def row(options: Options) -> dict[str, Any]:
    """Measures per image; descriptors must agree to 1e-4."""
    return measured(
        options,
        "extract_float32",
        "float32",
        lambda found: found.vector < 1e-4 and found.twins > 0.99 and found.local < 1e-4,
    )
