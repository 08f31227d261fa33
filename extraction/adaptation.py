"""Adaptation of global descriptors to photos: one linear layer that is learned from labels and kept with a model.

``y = L2(W x + b)`` of the finished descriptor ``x``, trained under a cosine classifier by scaled softmax.
Source: ILIAS, arXiv 2502.11748, and its released code, whose recipe for a million photos is
``softmax(start="random", epochs=2, scale=16)``.
"""

import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from delg.common.errors import InputError
from delg.common.spec import Table, build, render
from delg.saving import ADAPTATION
from extraction.learned import load_learned, save_learned
from extraction.pca import Floats

EPS = 1e-12  # least norm
BETAS, ADAM_EPS = (0.9, 0.999), 1e-8
STARTS = ("pca", "random")
ARRAYS = ("weight", "bias")
DAMPING = 0.03  # share of the largest variance that is added to all
AGAIN = "run delg-calibrate --adapt again, or remove the file"


@dataclass(frozen=True, eq=False)
class Adaptation:
    """The linear layer.

    Attributes:
      weight: ``(d, D)``.
      bias: ``(d,)``.
    """

    weight: Floats
    bias: Floats

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:
            raise InputError(
                f"An adaptation expects a weight (d, D) and a bias (d,). Received: {self.weight.shape}, "
                f"{self.bias.shape}"
            )

    def __call__(self, vectors: Floats) -> Floats:
        """Adapts descriptors ``(..., D)``, as they are, to ``(..., d)`` of unit norm."""
        return normalized(vectors @ self.weight.T + self.bias)

    def digest(self) -> str:
        """Length and hexadecimal SHA-256 of the layer."""
        parts = (np.ascontiguousarray(part, "<f4").tobytes() for part in (self.weight, self.bias))
        return f"{len(self.bias)} {hashlib.sha256(b'|'.join(parts)).hexdigest()}"


def normalized(rows: Floats) -> Floats:
    """``x / max(|x|, 1e-12)`` along the last axis."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), EPS)


@dataclass(frozen=True)
class Softmax:
    """A training of the layer by scaled softmax over cosines, by Adam.

    Attributes:
      dim: length ``d`` of the adapted descriptor; with the start ``"pca"`` less for fewer photos or values.
      epochs: passes over the photos; 0 leaves the start.
      start: ``"pca"``: a damped PCA whitening, and class vectors from the photos, for few classes; ``"random"``:
        uniform as by Glorot, as released.
      rate: learning rate of Adam.
      weight_decay: share of each weight, bias and class vector that is added to its gradient.
      scale: factor of the cosines.
      margin: subtracted from the cosine of the true class (CosFace).
      batch_size: photos of a step; the last, smaller batch of an epoch is left out.
      seed: of the start, the class vectors and the order.

    Raises:
      InputError: a value is out of range.
    """

    dim: int = 512
    epochs: int = 20
    start: str = "pca"
    rate: float = 1e-3
    weight_decay: float = 1e-6
    scale: float = 8.0
    margin: float = 0.0
    batch_size: int = 128
    seed: int = 0

    def __call__(self, descriptors: Floats, labels: ArrayLike) -> Adaptation:
        """Learns the layer.

        Args:
          descriptors: ``(N, D)`` of unit norm.
          labels: ``(N,)`` classes, of any kind.

        Raises:
          InputError: fewer than two classes.
        """
        classes, targets = np.unique(np.asarray(labels), return_inverse=True)
        if len(classes) < 2:
            raise InputError(f"An adaptation expects photos of two classes at least. Received: {len(classes)}")
        random = np.random.default_rng(self.seed)
        x = np.asarray(descriptors, np.float32)
        weights = self._start(x, targets, random)
        adam = Adam(weights, self.rate, self.weight_decay)
        for rows in self._batches(len(x), random):
            _, _, gradients = weights.loss(x[rows], targets[rows], self.scale, self.margin)
            adam.step(gradients)
        return Adaptation(weights.weight, weights.bias)

    def __post_init__(self) -> None:
        for name, least in {"dim": 1, "epochs": 0, "batch_size": 1, "seed": 0}.items():
            if type(value := getattr(self, name)) is not int or value < least:
                raise InputError(f"{name} expects a whole number of {least} or more. Received: {value!r}")
        for name, open_end in {"rate": True, "scale": True, "weight_decay": False, "margin": False}.items():
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 <= value < math.inf or (open_end and value == 0):
                raise InputError(f"{name} expects a number {'above' if open_end else 'from'} 0. Received: {value!r}")
        if self.start not in STARTS:
            raise InputError(f"Unknown start {self.start!r}; the choices are {', '.join(STARTS)}.")

    def __str__(self) -> str:
        """The text that :func:`recipes` reads."""
        return render("softmax", vars(self))

    def _start(self, x: Floats, targets: NDArray[np.int64], random: np.random.Generator) -> "Weights":
        """Weights of the first step; class vectors are the mean of their photos with ``pca``, else random."""
        classes, size = int(targets.max()) + 1, x.shape[1]
        weight: Floats
        bias: Floats
        if self.start == "random":
            bound, class_bound = np.sqrt(6.0 / (size + self.dim)), 1.0 / np.sqrt(self.dim)
            weight, bias = random.uniform(-bound, bound, (self.dim, size)), np.zeros(self.dim)
            vectors = random.uniform(-class_bound, class_bound, (classes, self.dim))
        else:
            weight, bias = whitening(x, self.dim)
            rows = normalized(x @ weight.T + bias)
            vectors = np.stack([rows[targets == i].mean(axis=0) for i in range(classes)])
        return Weights(weight.astype(x.dtype), bias.astype(x.dtype), vectors.astype(x.dtype))

    def _batches(self, count: int, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        size = min(self.batch_size, count)
        for _ in range(self.epochs):
            order = random.permutation(count)
            yield from order[: count // size * size].reshape(-1, size)


def whitening(x: Floats, dim: int) -> tuple[Floats, Floats]:
    """Weight ``(d, D)`` and bias ``(d,)`` of a PCA whitening that leaves small variances small.

    Args:
      x: ``(N, D)``.
      dim: most directions ``d``; photos determine ``N - 1`` at most.
    """
    mean = x.mean(axis=0, dtype=np.float64)
    centred = x - mean
    variances, directions = np.linalg.eigh(centred.T @ centred / len(x))
    rows = directions.T[::-1][: min(dim, len(x) - 1)]
    shares = np.maximum(variances[::-1][: len(rows)], 0) / max(variances[-1], EPS)
    weight = rows / np.sqrt(shares + DAMPING)[:, None]
    return weight, -weight @ mean


@dataclass
class Weights:
    """The layer and the classifier of a training.

    Attributes:
      weight: ``(d, D)``.
      bias: ``(d,)``.
      vectors: ``(C, d)`` of the classes, of any norm.
    """

    weight: Floats
    bias: Floats
    vectors: Floats

    def loss(
        self, x: Floats, targets: NDArray[np.int64], scale: float, margin: float = 0.0
    ) -> tuple[float, Floats, list[Floats]]:
        """Mean cross entropy of ``scale * (cos - margin * [true class])``.

        Args:
          x: ``(B, D)``.
          targets: ``(B,)`` in ``0 .. C-1``.
          scale: factor of the cosines.
          margin: subtracted from the cosine of the true class.

        Returns:
          The loss, the cosines ``(B, C)``, and the gradients of weight, bias and vectors.
        """
        rows = np.arange(len(x))
        outputs = x @ self.weight.T + self.bias
        norms, of_vectors = (
            np.maximum(np.linalg.norm(values, axis=1, keepdims=True), EPS) for values in (outputs, self.vectors)
        )
        units, classes = outputs / norms, self.vectors / of_vectors
        cosines = units @ classes.T
        logits = scale * cosines
        logits[rows, targets] -= scale * margin
        logits -= logits.max(axis=1, keepdims=True)
        shares = np.exp(logits)
        totals = shares.sum(axis=1, keepdims=True)
        loss = float(np.mean(np.log(totals[:, 0]) - logits[rows, targets]))
        shares /= totals
        shares[rows, targets] -= 1.0
        by_cosine = shares * (scale / len(x))
        by_output = _through_norm(by_cosine @ classes, units, norms)
        by_vectors = _through_norm(by_cosine.T @ units, classes, of_vectors)
        return loss, cosines, [by_output.T @ x, by_output.sum(axis=0), by_vectors]


RECIPES: Table = {"softmax": Softmax}
DEFAULTS = (Softmax(), Softmax(epochs=5), Softmax(epochs=0), Softmax(epochs=5, start="random", scale=16.0))


def recipes(text: str | None) -> tuple[Softmax, ...]:
    """The recipe that a text such as ``softmax(epochs=5)`` names; for None, those that are tried.

    Raises:
      InputError: an unknown name, or an argument that does not fit.
    """
    return DEFAULTS if text is None else (build(text, RECIPES, "adaptation", base=Softmax),)


def _through_norm(gradient: Floats, units: Floats, norms: Floats) -> Floats:
    """The gradient by vectors of a gradient by their directions."""
    return (gradient - units * (units * gradient).sum(axis=1, keepdims=True)) / norms


class Adam:
    """Adam (arXiv 1412.6980) as PyTorch has it: the decay is a part of the gradient."""

    def __init__(self, weights: Weights, rate: float, weight_decay: float) -> None:
        """Takes the weights, which :meth:`step` replaces."""
        self._weights, self._rate, self._decay, self._steps = weights, rate, weight_decay, 0
        self._names = list(vars(weights))
        zeros = [np.zeros_like(value) for value in vars(weights).values()]
        self._means, self._squares = zeros, [value.copy() for value in zeros]

    def step(self, gradients: list[Floats]) -> None:
        """One update."""
        self._steps += 1
        for i, (name, gradient) in enumerate(zip(self._names, gradients, strict=True)):
            value = getattr(self._weights, name)
            decayed = gradient + self._decay * value
            self._means[i] = BETAS[0] * self._means[i] + (1 - BETAS[0]) * decayed
            self._squares[i] = BETAS[1] * self._squares[i] + (1 - BETAS[1]) * np.square(decayed)
            mean, square = (
                average / (1 - beta**self._steps)
                for average, beta in zip((self._means[i], self._squares[i]), BETAS, strict=True)
            )
            setattr(self._weights, name, value - self._rate * mean / (np.sqrt(square) + ADAM_EPS))


def save(adaptation: Adaptation, folder: str | os.PathLike[str], weights: str) -> Path:
    """Writes an adaptation into a model's folder, with the SHA-256 of the weights it belongs to; returns its file."""
    return save_learned(Path(folder, ADAPTATION), vars(adaptation), weights)


def load(folder: str | os.PathLike[str], weights: str) -> Adaptation | None:
    """The adaptation in a model's folder, None where there is none.

    Args:
      folder: the model's.
      weights: SHA-256 of its weights.

    Raises:
      InputError: the file is damaged, or was learned with other weights.
    """
    return load_learned(Path(folder, ADAPTATION), ARRAYS, weights, Adaptation, what="adaptation", again=AGAIN)
