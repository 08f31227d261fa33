"""Extraction in bfloat16 on OpenVINO against the released algorithm in float32 on TensorFlow."""

from typing import Any

from scripts.bench.extract_data import measured
from scripts.bench.measure import Options


def row(options: Options) -> dict[str, Any]:
    """Measures per image."""
    return measured(
        options,
        "extract_bfloat16",
        "bfloat16",
        lambda found: found.global_cosine >= 0.999 and found.local_cosine >= 0.99,
    )
