"""Five training steps from given weights, by whichever backend of Keras runs this."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from tests.training.pictures import picture
from tests.training.tiny import SIZE, step_config, tiny_model
from training.averaging import AverageConfig, MovingAverage
from training.backends.engine import engine
from training.optimizers import build_optimizer

BATCH, STEPS, RATE = 8, 5, 0.005
AVERAGE = AverageConfig(0.5)
CONFIG = step_config(BATCH, clip_norm=1.0)


def made(**overrides) -> tuple[Any, Any]:
    """A model, whose classifier keeps a state of its own, and its optimizer."""
    model = tiny_model(**{"classifier": "curricularface(margin=0.1)"} | overrides)
    return model, build_optimizer("sgd(momentum=0.9, weight_decay=1e-4)")


def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images ``(B, S, S, 3)`` float32 and labels ``(B,)``."""
    for number in range(STEPS):
        labels = (np.arange(BATCH) * 3 + number) % 8
        images = [picture(int(label), 10 * number + i, (SIZE, SIZE)) for i, label in enumerate(labels)]
        yield np.stack(images).astype(np.float32), labels


def train(choice: str, weights: Path) -> dict[str, np.ndarray]:
    """Metrics ``(5, 7)`` of the steps, and afterwards the weights and their averages; ``choice`` of the devices."""
    chosen = engine()
    strategy = chosen.build_strategy(choice)
    with strategy.scope():
        model, optimizer = made()
        model.load_weights(weights)
        optimizer.build(model.trainable_variables)
        average = MovingAverage(model.trainable_variables, AVERAGE)
    chosen.adapt(model, False)
    step = chosen.TrainStep(model, optimizer, CONFIG, average, strategy=strategy)
    results = [step(*batch, RATE, summarize=True) for batch in chosen.distributed(strategy, batches())]
    numbers = {f"weight {i}": v for i, v in enumerate(model.weights)}
    numbers |= {f"average {i}": v for i, v in enumerate(average.averages)}
    return {
        "metrics": np.stack([ops.convert_to_numpy(result.metrics) for result in results]),
        "sparsity": np.stack([ops.convert_to_numpy(result.sparsity) for result in results]),
        **{name: np.array(ops.convert_to_numpy(value)) for name, value in numbers.items()},
    }
