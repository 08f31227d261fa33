"""The training step on JAX, one for one device and for many, and the validation step; named as on TensorFlow.

A step is one compiled function from the values of all variables and a batch to their next values. The arrays that come
in are given up, so that the new ones take their memory.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import keras
import numpy as np
from keras import ops

from training.averaging import MovingAverage
from training.backends.jax_distribution import Devices
from training.computation import StepConfig, StepResult, compute, judge, trained
from training.diagnosis import first_flaw, flaws, tensors
from training.losses.global_descriptor import GlobalLoss
from training.optimizers import clip_by_global_norm

Array = Any


class TrainStep:
    """Updates the weights once per call; compiled once (and once more for a frozen backbone).

    Args:
      model: a :class:`delg.model.Delg` with classifiers.
      optimizer: one of :mod:`training.optimizers`, built for the model's trainable variables.
      config: sizes, weights and clipping.
      average: moving average of the trainable variables, updated with them; or None.
      strategy: the devices, within whose scope all these were made; None for one.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        config: StepConfig,
        average: MovingAverage | None = None,
        *,
        strategy: Devices | None = None,
    ) -> None:
        self._model, self._optimizer, self._config, self._average = model, optimizer, config, average
        self._variables = [*model.weights, *optimizer.variables, *(average.averages if average else ())]
        everywhere = (strategy or Devices()).everywhere
        self._compiled = {
            frozen: jax.jit(partial(self._update, frozen=frozen), donate_argnums=0, out_shardings=everywhere)
            for frozen in (False, True)
        }
        self._search = {
            frozen: jax.jit(partial(self._flaws, frozen=frozen), out_shardings=everywhere) for frozen in (False, True)
        }
        self._searched: dict[bool, list[str]] = {}

    def __call__(
        self, images: Array, labels: Array, rate: float, *, summarize: bool = False, frozen: bool = False
    ) -> StepResult:
        """Makes one step. Where the gradients are not finite, nothing but the moving statistics changes.

        Args:
          images: ``(B, S, S, 3)`` RGB in 0..255, float32, the global batch.
          labels: ``(B,)`` int32.
          rate: learning rate.
          summarize: compute the sparsities too.
          frozen: leave the backbone as it is.
        """
        values = [variable.value for variable in self._variables]
        values, results = self._compiled[frozen](values, images, labels, np.float32(rate), summarize)
        for variable, value in zip(self._variables, values):
            variable.assign(value)
        return StepResult(*results)

    def first_not_finite(self, images: Array, labels: Array, *, frozen: bool = False) -> str:
        """See :meth:`training.backends.tensorflow_step.TrainStep.first_not_finite`; of the global batch."""
        counts = self._search[frozen]([variable.value for variable in self._variables], images, labels)
        return first_flaw(self._searched[frozen], counts)

    def _flaws(self, values: list[Array], images: Array, labels: Array, *, frozen: bool) -> Array:
        """Of each tensor of a step by its number in ``_searched``: whether it has flaws."""
        with keras.StatelessScope(state_mapping=list(zip(self._variables, values))):
            computed = compute(self._model, images, labels, self._config, frozen=frozen)
            by_name = tensors(self._model, images, computed, frozen=frozen)
            self._searched[frozen] = list(by_name)
            return flaws(by_name)

    def _update(
        self, values: list[Array], images: Array, labels: Array, rate: Array, summarize: Array, *, frozen: bool
    ) -> tuple[list[Array], tuple[Array, ...]]:
        """The next values of the variables, and the results of the step."""
        with keras.StatelessScope(state_mapping=list(zip(self._variables, values))) as scope:
            self._optimizer.learning_rate.assign(rate)
            computed = compute(self._model, images, labels, self._config, frozen=frozen)
            gradients, norm = clip_by_global_norm(computed.gradients, self._config.clip_norm)
            self._apply(gradients, ops.isfinite(norm), frozen)
            metrics = ops.append(computed.metrics(), ops.cast(norm, "float32"))
            results = metrics, computed.attention(), computed.sparsity(summarize)
        return [scope.get_current_value(variable) for variable in self._variables], results

    def _apply(self, gradients: list[Array], finite: Array, frozen: bool) -> None:
        """Updates the weights, and their average, where the gradients are finite."""
        learned = trained(self._model, frozen)
        moved = [*learned, *self._optimizer.variables, *(self._average.averages if self._average else ())]
        before, earlier = [variable.value for variable in moved], self._optimizer.iterations.value
        self._optimizer.apply(gradients, learned)
        if self._average is not None:
            self._average.update(earlier)
        for variable, value in zip(moved, before):
            variable.assign(ops.where(finite, variable.value, value))


def compile_validation_step(
    model: Any, image_size: int, global_loss: GlobalLoss | None = None
) -> Callable[[Array, Array], Array]:
    """:func:`training.computation.judge`, compiled for every size of a batch; on the first device of this process."""

    @jax.jit
    def step(values: list[Array], images: Array, labels: Array) -> Array:
        with keras.StatelessScope(state_mapping=list(zip(model.weights, values))):
            return judge(model, images, labels, global_loss)

    def judged(images: Any, labels: Any) -> Array:
        values = [variable.value.addressable_data(0) for variable in model.weights]
        return step(values, np.asarray(images), np.asarray(labels, np.int32))

    return judged
