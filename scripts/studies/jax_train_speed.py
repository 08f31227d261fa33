"""Images per second of a training step on JAX, its memory, and its part of the device's peak; needs no TensorFlow.

Random images, the real step of the released recipe (both heads, SGD with momentum), the batches coming from the
host's memory as in a training. The first steps, which compile, are not counted. Operations are those of
``scripts/bench/arithmetic.py``: convolutions and dense layers, forward and twice that backward. Usage:
  python -m scripts.studies.jax_train_speed --image_size=512 --batch_size=32 --mixed_precision --peak_tflops=989
"""

import argparse
import os
import resource
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

WARM = 3


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="delg_r50")
    parser.add_argument("--num_classes", type=int, default=81_313, help="of both classifiers; GLDv2-clean: 81313")
    parser.add_argument("--image_size", type=int, default=512)
    parser.add_argument("--batch_size", type=int, default=32, help="of all devices together")
    parser.add_argument("--mixed_precision", action="store_true", help="compute in bfloat16")
    parser.add_argument("--distribute", default="auto", help="as of delg-train")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--peak_tflops", type=float, help="of one device at this precision, from its data sheet")
    return parser.parse_args()


def batches(asked: argparse.Namespace) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Random images in 0..255 and labels; two batches in turn."""
    rng = np.random.default_rng(0)
    shape = (asked.batch_size, asked.image_size, asked.image_size, 3)
    pair = [
        (rng.uniform(0, 255, shape).astype(np.float32), rng.integers(0, asked.num_classes, asked.batch_size))
        for _ in range(2)
    ]
    for number in range(WARM + asked.steps):
        yield pair[number % 2]


def measure(asked: argparse.Namespace, model: Any, step: Any, strategy: Any) -> list[float]:
    """Seconds of each counted step, its batch's way to the device included."""
    from training.backends.jax_distribution import distributed

    seconds, before = [], time.perf_counter()
    for images, labels in distributed(strategy, batches(asked)):
        metrics = np.asarray(step(images, labels, 0.001).metrics)
        if not np.isfinite(metrics).all():
            raise RuntimeError(f"Not timed: the step gave {metrics}.")
        now = time.perf_counter()
        seconds.append(now - before)
        before = now
    return seconds[WARM:]


def memory() -> str:
    """The most that one device held, or, where the device does not report it, this process."""
    import jax

    statistics = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics:
        return f"{statistics['peak_bytes_in_use'] / 2**30:.2f} GiB on a device at most"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB resident at most"


def main() -> None:
    """Builds, measures, prints."""
    asked = arguments()
    os.environ["KERAS_BACKEND"] = "jax"
    import jax

    import delg
    from scripts.bench.arithmetic import step_operations
    from training.assembly import policy
    from training.backends.jax_distribution import build_strategy
    from training.backends.jax_step import TrainStep
    from training.computation import StepConfig
    from training.optimizers import build_optimizer

    strategy = build_strategy(asked.distribute)
    with strategy.scope():
        chosen = {"num_classes": asked.num_classes, "block3_strides": True, "dtype": policy(asked.mixed_precision)}
        model = delg.create(asked.preset, **chosen)
        optimizer = build_optimizer("sgd(momentum=0.9)")
        optimizer.build(model.trainable_variables)
        step = TrainStep(model, optimizer, StepConfig(asked.batch_size, asked.image_size), strategy=strategy)
        seconds = float(np.median(measure(asked, model, step, strategy)))
    devices = strategy.num_replicas_in_sync
    operations = step_operations(model, asked.image_size, asked.batch_size) / seconds / devices
    print(
        f"{asked.preset}, {asked.image_size} px, batch {asked.batch_size}, {asked.num_classes} classes, "
        f"{'bfloat16' if asked.mixed_precision else 'float32'}, {devices} x {jax.devices()[0].device_kind}, JAX "
        f"{jax.__version__}: {1000 * seconds:.1f} ms a step, {asked.batch_size / seconds:.1f} images/s, {memory()}, "
        f"{operations / 1e12:.2f} TFLOP/s a device"
        + (f", {100 * operations / 1e12 / asked.peak_tflops:.1f} % of its peak" if asked.peak_tflops else "")
    )


if __name__ == "__main__":
    main()
