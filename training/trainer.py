"""The training loop: steps, reports, validation, checkpoints; it knows neither flags nor files of records."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from training.averaging import AverageConfig, MovingAverage
from training.backends.engine import engine
from training.checkpoints import BestModel, Checkpoints
from training.computation import METRICS, StepConfig, StepResult
from training.diagnosis import NotFiniteError
from training.input.pipeline import readable
from training.progress import Progress
from training.sampled import SampledHead
from training.schedules import Schedule
from training.summaries import Summaries

Batches = Callable[[int], tf.data.Dataset]
Evaluate = Callable[[Any], dict[str, float]]
LINE_SECONDS = 10.0


@dataclass(frozen=True)
class TrainerConfig:
    """Settings of the loop.

    Attributes:
      max_iters: steps of the whole training.
      step: sizes, loss weights, clipping.
      report_interval: steps between summaries (released: 100).
      eval_interval: steps between validations (released: 1000).
      save_interval: steps between checkpoints (released: 1000).
      save_seconds: and at least one in so many seconds.
      average: keep a moving average of the weights, which is what is validated; or None.
      sync_batch_norm: batch statistics over all replicas instead of each one's own (released).
      freeze_backbone_steps: so many steps at the start train the heads only.
      retrieval_interval: steps between calls of ``evaluate``; None for at every validation.
      sampled_classes: classes of the classifier that a step trains, at least as many as a batch has images; None for
        all.
      seed: of their draws.
    """

    max_iters: int
    step: StepConfig
    report_interval: int = 100
    eval_interval: int = 1000
    save_interval: int = 1000
    save_seconds: float = 30.0
    average: AverageConfig | None = None
    sync_batch_norm: bool = False
    freeze_backbone_steps: int = 0
    retrieval_interval: int | None = None
    sampled_classes: int | None = None
    seed: int = 0


@dataclass
class Trainer:
    """Trains a model; started again in the same folder it continues.

    Attributes:
      model: a :class:`delg.model.Delg` with classifiers.
      optimizer: one of :mod:`training.optimizers`.
      schedule: step to learning rate.
      config: settings.
      logdir: folder of checkpoints and summaries.
      evaluate: called with the model now and then; what it gives is reported under ``retrieval/``, and the model with
        the highest ``mAP`` is kept in ``{logdir}/best``.
      log: prints a line.
      strategy: the devices, see :class:`training.backends.engine.Engine`; model and optimizer belong to its scope.
      average: the moving average of the weights, or None.
      train_step: the compiled step of the backend.
    """

    model: Any
    optimizer: Any
    schedule: Schedule
    config: TrainerConfig
    logdir: str | os.PathLike[str]
    evaluate: Evaluate | None = None
    log: Callable[[str], None] = field(default=lambda line: print(line, flush=True))
    strategy: Any = field(default_factory=lambda: engine().build_strategy("none"))

    def __post_init__(self) -> None:
        c = self.config
        self._engine = engine()
        self.is_chief = self._engine.is_chief(self.strategy)
        if not self.is_chief:
            self.log = lambda line: None
        self._engine.adapt(self.model, c.sync_batch_norm)
        with self.strategy.scope():
            self.optimizer.build(self.model.trainable_variables)
            self.average = MovingAverage(self.model.trainable_variables, c.average) if c.average else None
            sampled = {"sampled": self._sampled_head()} if c.sampled_classes else {}
        averages = (self.average, *(head.average for head in sampled.values()))
        self._averages = [average for average in averages if average is not None]
        self.checkpoints = Checkpoints(
            Path(self.logdir) / "checkpoints",
            self.model,
            self.optimizer,
            save_interval=c.save_interval,
            save_seconds=c.save_seconds,
            average=self.average,
            writes=self.is_chief,
            **sampled,
        )
        self._best = BestModel(self.logdir)
        self.train_step = self._engine.TrainStep(
            self.model, self.optimizer, c.step, self.average, strategy=self.strategy, **sampled
        )
        self._validation_step = self._engine.compile_validation_step(self.model, c.step.image_size, c.step.global_loss)

    def _sampled_head(self) -> SampledHead:
        classes = max(self.config.sampled_classes or 0, self.config.step.batch_size)
        return SampledHead(self.model, self.optimizer, classes, self.config.seed, self.config.average)

    def restore(self) -> int:
        """Continues from the last checkpoint; returns the number of steps done."""
        return self.checkpoints.restore()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the model holds the averaged weights, if there is an average; after it, its own."""
        with ExitStack() as stack:
            for average in self._averages:
                stack.enter_context(average.applied())
            yield

    def fit(self, batches: Batches, validation: tf.data.Dataset | None = None, start: int = 0) -> None:
        """Trains from step ``start`` to ``max_iters`` and leaves a checkpoint of the end.

        Args:
          batches: gives the training batches from a step on: images ``(B, S, S, 3)`` in 0..255, labels ``(B,)``; of a
            process' share of the replicas, see :func:`training.input.pipeline.training_batches`.
          validation: batches of the same form, or None.
          start: what :meth:`restore` returned.

        Raises:
          NotFiniteError: a loss or a gradient became NaN or infinite; it names the tensor.
          InputError: a record cannot be read, or has a label out of range.
        """
        for average in self._averages if not start else ():
            average.reset()
        loss = self.config.step.global_loss
        if self.is_chief:
            self.summaries = Summaries(self.logdir, self.model, loss.name if loss else "crossentropy")
        progress = Progress(self.config.max_iters, self.config.step.batch_size)
        if start:
            self.checkpoints.resume(progress)
        iterator = readable(self._engine.distributed(self.strategy, batches(start)))
        try:
            for step in range(start, self.config.max_iters):
                self._advance(step, iterator, progress)
                done = step + 1
                if self.is_chief and self._validate(done, validation):
                    progress.restart_clock()
                self.checkpoints.save_if_due(done, progress.sums)
            self.checkpoints.save(self.config.max_iters)
            self._engine.wait(self.strategy)
        finally:
            if self.is_chief:
                self.summaries.close()

    def _advance(self, step: int, iterator: Any, progress: Progress) -> None:
        """One step, its check, and what is due to be reported."""
        images, labels = next(iterator)
        rate, done = self.schedule(step), step + 1
        report = done % self.config.report_interval == 0 or done == self.config.max_iters
        frozen = step < self.config.freeze_backbone_steps
        result = self.train_step(images, labels, rate, summarize=report, frozen=frozen)
        metrics = np.asarray(result.metrics)
        if not np.isfinite(metrics).all():
            self._stop(step, metrics, self.train_step.first_not_finite(images, labels, frozen=frozen))
        progress.add(metrics)
        if report:
            self._report(done, progress, self._engine.first(self.strategy, images), result)
        elif progress.silence >= LINE_SECONDS:
            self.log(progress.line(done))

    def _report(self, done: int, progress: Progress, images: Any, result: StepResult) -> None:
        self.log(progress.line(done))
        means, speed = progress.means()
        if self.is_chief:
            self.summaries.training(done, means, images, result, rate=self.schedule(done - 1), speed=speed)
        progress.restart()

    def _stop(self, step: int, metrics: np.ndarray, name: str) -> None:
        values = ", ".join(f"{key} {value:.4g}" for key, value in zip(METRICS, metrics))
        raise NotFiniteError(
            f"Training stopped at step {step + 1}: {name} is not finite ({values}; learning rate "
            f"{self.schedule(step):.4g}). The last checkpoint is {self.checkpoints.latest or 'none'}; a lower "
            "--initial_lr, a warm-up in --schedule or a smaller --clip_norm may help."
        )

    def _validate(self, done: int, validation: tf.data.Dataset | None) -> bool:
        """Runs the validation of both heads and ``evaluate`` where they are due; returns whether any was."""
        c = self.config
        due = [done % every == 0 or done == c.max_iters for every in (c.eval_interval, self._retrieval_interval)]
        if not any(due):
            return False
        with self.averaged():
            if validation is not None and due[0]:
                self._validate_images(done, validation)
            if self.evaluate is not None and due[1]:
                self._retrieve(done, self.evaluate)
        return True

    @property
    def _retrieval_interval(self) -> int:
        return self.config.retrieval_interval or self.config.eval_interval

    def _retrieve(self, done: int, evaluate: Evaluate) -> None:
        values = evaluate(self.model)
        self.summaries.scalars(done, "retrieval", values)
        best = self._best.offer(self.model, done, values)
        retrieval = ", ".join(f"{key} {value:.2f}" for key, value in values.items())
        self.log(f"retrieval at step {done}: {retrieval}{' (the best so far)' if best else ''}")

    def _validate_images(self, done: int, validation: tf.data.Dataset) -> None:
        started, counts, seen = time.monotonic(), np.zeros((2, 2)), 0
        for batch in readable(validation):
            counts += np.asarray(self._validation_step(*batch))
            seen += len(batch[1])
        judged = {name: row for name, row in zip(("desc", "attn"), counts) if row[1]}
        accuracy = {name: float(right / count) for name, (right, count) in judged.items()}
        self.summaries.scalars(done, "validation", accuracy)
        descriptor, attention = (f"{100 * accuracy[n]:.1f} %" if n in accuracy else "absent" for n in ("desc", "attn"))
        self.log(
            f"validation at step {done}: accuracy {descriptor} (attention head {attention}) of {seen} images in "
            f"{time.monotonic() - started:.1f} s"
        )
