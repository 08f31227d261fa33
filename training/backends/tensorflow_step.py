"""The training step on TensorFlow, one for one device and for many, and the validation step.

Forward, three losses, gradients, their sum over the replicas, clipping, update.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import tensorflow as tf
from keras import ops

from training.averaging import MovingAverage
from training.backends.tensorflow_distribution import all_reduce, first
from training.computation import METRICS, Computation, StepConfig, StepResult, compute, judge, trained
from training.diagnosis import first_flaw, flaws, tensors
from training.losses.global_descriptor import GlobalLoss
from training.optimizers import clip_by_global_norm
from training.sampled import SampledHead

Tensor = Any


class TrainStep:
    """Updates the weights once per call; one graph, traced once (and once more for a frozen backbone).

    Args:
      model: a :class:`delg.model.Delg` with classifiers.
      optimizer: one of :mod:`training.optimizers`, built for the model's trainable variables.
      config: sizes, weights and clipping.
      average: moving average of the trainable variables, updated with them; or None.
      sampled: trains a sample of the classes; None where all are trained.
      strategy: the devices, within whose scope all these were made; None for the present one.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        config: StepConfig,
        average: MovingAverage | None = None,
        *,
        sampled: SampledHead | None = None,
        strategy: Any = None,
    ) -> None:
        self._model, self._optimizer, self._config, self._average = model, optimizer, config, average
        self._sampled = sampled
        self._strategy = strategy or tf.distribute.get_strategy()
        self._graphs = {
            frozen: tf.function(partial(self.update, frozen=frozen), autograph=False) for frozen in (False, True)
        }
        self._search = {
            frozen: tf.function(partial(self._flaws, frozen=frozen), autograph=False) for frozen in (False, True)
        }
        self._searched: dict[bool, list[str]] = {}

    def __call__(
        self, images: Tensor, labels: Tensor, rate: float, *, summarize: bool = False, frozen: bool = False
    ) -> StepResult:
        """Makes one step. Where the gradients are not finite, nothing but the moving statistics changes.

        Args:
          images: ``(B, S, S, 3)`` RGB in 0..255, float32; with several replicas in this process one such tensor, a
            part of the global batch, for each (``tf.distribute.DistributedValues``).
          labels: ``(B,)`` int64, likewise.
          rate: learning rate.
          summarize: compute the sparsities too.
          frozen: leave the backbone as it is.
        """
        return StepResult(*self._graphs[frozen](images, labels, tf.constant(rate), tf.constant(summarize)))

    def first_not_finite(self, images: Tensor, labels: Tensor, *, frozen: bool = False) -> str:
        """Repeats a step that was not finite, without its update, and names the first tensor that is not finite.

        Args:
          images: of the step, all that this process has.
          labels: likewise.
          frozen: as in the step.

        Returns:
          Such as ``"the weight conv1/kernel"``; the same in all processes of a training, each of which must call this.
        """
        counts = self._search[frozen](images, labels)
        return first_flaw(self._searched[frozen], counts)

    def update(
        self, images: Tensor, labels: Tensor, rate: Tensor, summarize: Tensor, *, frozen: bool = False
    ) -> tuple[Tensor, ...]:
        """One step in all replicas: metrics, attention and sparsity; see :meth:`__call__` for the arguments."""
        self._optimizer.learning_rate.assign(rate)
        compute_part = partial(self._computed, frozen=frozen)
        gradients, classes, *results = self._strategy.run(compute_part, args=(images, labels, summarize))
        metrics, attention, sparsity = (first(self._strategy, value) for value in results)
        apply = partial(self._apply, frozen=frozen)
        tf.cond(
            tf.math.is_finite(metrics[METRICS.index("gradient_norm")]),
            lambda: first(self._strategy, self._strategy.run(apply, args=(gradients, classes))),
            lambda: False,
        )
        return metrics, attention, sparsity

    def _computed(self, images: Tensor, labels: Tensor, summarize: Tensor, *, frozen: bool) -> tuple[Any, ...]:
        """In a replica: the clipped gradients of the global batch, its metrics, and this replica's pictures."""
        sample = self._sampled.choose(labels) if self._sampled else None
        computed = self._in_parts(images, labels, frozen, sample)
        gradients, norm = clip_by_global_norm(all_reduce(computed.gradients), self._config.clip_norm)
        metrics = ops.append(all_reduce(computed.metrics()), ops.cast(norm, "float32"))
        results = metrics, computed.attention(), computed.sparsity(summarize)
        return gradients, sample[0] if sample else (), *results

    def _parts(
        self, images: Tensor, labels: Tensor, frozen: bool, sample: tuple[Tensor, list[Tensor]] | None
    ) -> Iterator[tuple[Tensor, Computation]]:
        """The parts of a replica's images, and what is computed of them, one after the other."""
        count = self._config.accumulate
        parts = count * tf.distribute.get_replica_context().num_replicas_in_sync
        before: list[Tensor] = []
        for part_images, part_labels in zip(tf.split(images, count), tf.split(labels, count)):
            with tf.control_dependencies(before):
                now = tf.identity(part_images)
            computed = compute(self._model, now, part_labels, self._config, frozen=frozen, parts=parts, sample=sample)
            before = computed.gradients
            yield part_images, computed

    def _in_parts(
        self, images: Tensor, labels: Tensor, frozen: bool, sample: tuple[Tensor, list[Tensor]] | None
    ) -> Computation:
        """The sums of means and gradients over the parts, and the other values of the last part."""
        total: Computation | None = None
        for _, computed in self._parts(images, labels, frozen, sample):
            total = computed if total is None else _added(total, computed)
        assert total is not None
        return total

    def _flaws(self, images: Tensor, labels: Tensor, *, frozen: bool) -> Tensor:
        """Of each tensor of a step by its number in ``_searched``: in how many parts of all replicas it has flaws."""

        def in_replica(images: Tensor, labels: Tensor) -> Tensor:
            sample = self._sampled.choose(labels) if self._sampled else None
            rows = list(zip(self._sampled.paths, sample[1])) if self._sampled and sample else []
            parts = [
                tensors(self._model, part, computed, frozen=frozen, rows=rows)
                for part, computed in self._parts(images, labels, frozen, sample)
            ]
            self._searched[frozen] = list(parts[0])
            return all_reduce(sum(flaws(part) for part in parts))

        return first(self._strategy, self._strategy.run(in_replica, args=(images, labels)))

    def _apply(self, gradients: list[Tensor], classes: Tensor, *, frozen: bool) -> bool:
        """Updates the weights, and their average; returns True, a value as a branch of a graph must have."""
        earlier = tf.identity(self._optimizer.iterations.value)
        if self._sampled:
            count = len(self._sampled.tables)
            self._sampled.apply(classes, gradients[-count:])
            gradients = gradients[:-count]
        self._optimizer.apply(gradients, trained(self._model, frozen))
        if self._average is not None:
            self._average.update(earlier)
        return True


def _added(total: Computation, part: Computation) -> Computation:
    """The sums of means and gradients, and the other values of the second part."""
    return replace(
        part,
        means={name: value + total.means[name] for name, value in part.means.items()},
        gradients=[a + b for a, b in zip(total.gradients, part.gradients)],
    )


def compile_validation_step(
    model: Any, image_size: int, global_loss: GlobalLoss | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """:func:`training.computation.judge` as a graph, for batches of any size."""
    signature = (tf.TensorSpec((None, image_size, image_size, 3), tf.float32), tf.TensorSpec((None,), tf.int64))

    @tf.function(input_signature=signature, autograph=False)
    def step(images: Tensor, labels: Tensor) -> Tensor:
        return judge(model, images, labels, global_loss)

    return step
