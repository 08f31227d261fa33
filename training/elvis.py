"""ELViS in TensorFlow, as it is trained: scores of batches of pairs, with padding as the released code counts it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.special import logit

from matching.rerankers.elvis_network import ElvisNetwork, shapes_for
from matching.rerankers.transport import ITERATIONS

REGULARISATION = float(np.float32(0.1))  # as the released code rounds
WHOLE_VOTE = 8.0  # logit of the weight of a whole vote at the start, over that of no vote

Weights = Mapping[str, Any]


def initial_weights(mean: np.ndarray, seed: int, width: int = 128) -> dict[str, np.ndarray]:
    """Start of a training: matrices uniform as by Glorot, factors of normalisations 1, ``dust_bin`` 1, biases 0.

    The published start differs in what a short training needs: projections are centred, since descriptors such as
    RootSIFT lie in one corner of their space; the biases before the normalisation of votes are random, since with zeros
    the normalisation removes the vote; and a score grows with its votes, a logit with its score. Otherwise the count of
    features, not the votes, makes the first scores, and the training may end with scores that are smaller for the same
    thing.

    Args:
      mean: ``(D,)`` mean of local descriptors.
      seed: of the random numbers.
      width: values of a projected descriptor.

    Returns:
      float32 arrays by name.
    """
    random = np.random.default_rng(seed)
    arrays = {}
    for name, shape in shapes_for(width, len(mean)).items():
        if len(shape) == 2:
            limit = (6 / sum(shape)) ** 0.5
            arrays[name] = random.uniform(-limit, limit, shape).astype(np.float32)
        else:
            arrays[name] = np.full(shape, float(name.endswith((".1.weight", "dust_bin"))), np.float32)
    arrays["remap_local.0.bias"] = -(arrays["remap_local.0.weight"] @ mean).astype(np.float32)
    arrays["f.0.bias"] = random.uniform(-1, 1, arrays["f.0.bias"].shape).astype(np.float32)
    first = arrays["f.0.weight"].T
    arrays["f.3.weight"] = np.copysign(arrays["f.3.weight"], first - first.mean())
    none, full = logit(ElvisNetwork(arrays).weighted(np.array([0, 1], np.float32)))
    factor = WHOLE_VOTE / (full - none)
    arrays["f.3.weight"] *= factor
    arrays["f.3.bias"] -= WHOLE_VOTE + factor * none
    for name in ("g.0.weight", "g.2.weight"):
        arrays[name] = np.abs(arrays[name])
    return arrays


def logits(weights: Weights, scores: Any) -> Any:
    """``(B,)`` scores of pairs to logits: positive where both images show the same thing. For the training alone."""
    hidden = _gelu(scores[:, None] * weights["g.0.weight"][:, 0] + weights["g.0.bias"])
    return tf.linalg.matvec(hidden, weights["g.2.weight"][0]) + weights["g.2.bias"]


def scores(weights: Weights, query: Any, query_mask: Any, image: Any, image_mask: Any) -> Any:
    """Sums of votes of pairs.

    Args:
      weights: tensors by the names of :func:`matching.rerankers.elvis_network.shapes_for`; their dtype is that of all.
      query: ``(B, m, D)`` unit vectors, zeros where there is padding.
      query_mask: ``(B, m)`` bool, True for padding.
      image: ``(B, n, D)``.
      image_mask: ``(B, n)``.

    Returns:
      ``(B,)``.
    """
    left, right = _projected(weights, query), _projected(weights, image)
    present = [tf.cast(~mask, query.dtype) for mask in (query_mask, image_mask)]
    kernel = tf.exp(tf.matmul(left, right, transpose_b=True) / REGULARISATION)
    kernel *= present[0][:, :, None] * present[1][:, None, :]
    bins = [tf.exp(_gains(weights, side) / REGULARISATION) for side in (left, right)]
    u, v = scalings(kernel, *bins, tf.exp(weights["dust_bin"] / REGULARISATION))
    plan = kernel * u[:, :, None] * v[:, None, :]
    votes = tf.concat([tf.reduce_max(plan, axis=2), tf.reduce_max(plan, axis=1)], axis=1)[:, :, None]
    hidden = _layer_norm(votes * weights["f.0.weight"][:, 0] + weights["f.0.bias"], 1e-6)
    hidden = _gelu(hidden * weights["f.1.weight"] + weights["f.1.bias"])
    values = tf.sigmoid(tf.linalg.matvec(hidden, weights["f.3.weight"][0]) + weights["f.3.bias"])
    return tf.reduce_sum(values * tf.concat(present, axis=1), axis=1)


def centre_logits(weights: Mapping[str, tf.Variable], first: np.ndarray) -> None:
    """Changes the start so that the scores of a first batch become logits of mean near 0 and moderate size.

    Otherwise hundreds of votes make logits so large that the first steps end where no gradient is left.

    Args:
      weights: variables, changed in place.
      first: ``(B,)`` scores.
    """
    slope = weights["g.0.weight"] / max(float(first.std()), 1e-3)
    weights["g.0.weight"].assign(slope)
    weights["g.0.bias"].assign(-slope[:, 0] * float(first.mean()))


@tf.custom_gradient
def scalings(kernel: Any, rows_to_bin: Any, bin_to_columns: Any, corner: Any) -> Any:
    """Factors of the rows and columns of a transport plan, by ten iterations, rows first.

    See :func:`matching.rerankers.transport.plans`, of which this is the form with padding as rows and columns of zeros.
    The gradient of the kernel is one product over all iterations; recorded operation by operation it would be twenty
    matrices.

    Args:
      kernel: ``(B, m, n)``, the exponentials of similarities.
      rows_to_bin: ``(B, m)``, likewise to the dust bin.
      bin_to_columns: ``(B, n)``.
      corner: scalar, that of the two dust bins.

    Returns:
      ``(B, m)`` and ``(B, n)``.
    """
    shape = tf.shape(kernel)
    row_masses = _with_last(tf.ones_like(rows_to_bin), _mass(shape[2]))
    column_masses = _with_last(tf.ones_like(bin_to_columns), _mass(shape[1]))

    def right(v: Any) -> Any:
        """Kernel with dust bins times v."""
        body = tf.linalg.matvec(kernel, v[:, :-1]) + rows_to_bin * v[:, -1:]
        return tf.concat([body, tf.reduce_sum(bin_to_columns * v[:, :-1], 1, True) + corner * v[:, -1:]], 1)

    def left(u: Any) -> Any:
        """Transposed kernel with dust bins times u."""
        body = tf.linalg.matvec(kernel, u[:, :-1], transpose_a=True) + bin_to_columns * u[:, -1:]
        return tf.concat([body, tf.reduce_sum(rows_to_bin * u[:, :-1], 1, True) + corner * u[:, -1:]], 1)

    all_u, all_v = [], [tf.ones_like(column_masses)]
    for _ in range(ITERATIONS):
        all_u.append(row_masses / right(all_v[-1]))
        all_v.append(column_masses / left(all_u[-1]))

    def gradient(of_u: Any, of_v: Any) -> Any:
        grad_u, grad_v = _with_last(of_u, 0), _with_last(of_v, 0)
        left_factors, right_factors = [], []  # the gradient of the kernel is the sum of their products
        for step in reversed(range(ITERATIONS)):
            inner = -grad_v * all_v[step + 1] ** 2 / column_masses
            left_factors.append(all_u[step])
            right_factors.append(inner)
            grad_u += right(inner)
            inner = -grad_u * all_u[step] ** 2 / row_masses
            left_factors.append(inner)
            right_factors.append(all_v[step])
            grad_v, grad_u = left(inner), tf.zeros_like(grad_u)
        a, b = tf.stack(left_factors, axis=2), tf.stack(right_factors, axis=2)  # (B, m + 1, 20), (B, n + 1, 20)
        return (
            tf.matmul(a[:, :-1], b[:, :-1], transpose_b=True),
            tf.linalg.matvec(a[:, :-1], b[:, -1]),
            tf.linalg.matvec(b[:, :-1], a[:, -1]),
            tf.reduce_sum(a[:, -1] * b[:, -1]),
        )

    return (all_u[-1][:, :-1], all_v[-1][:, :-1]), gradient


def _mass(count: Any) -> Any:
    """Mass of a dust bin, ``count`` but for the released code's logarithm in float32; float64."""
    return tf.exp(tf.cast(tf.math.log(tf.cast(count, tf.float32)), tf.float64))


def _with_last(values: Any, last: Any) -> Any:
    """A column more, of one value."""
    return tf.concat([values, tf.fill([tf.shape(values)[0], 1], tf.cast(last, values.dtype))], axis=1)


def _projected(weights: Weights, descriptors: Any) -> Any:
    """``(B, N, D)`` to ``(B, N, w)`` unit vectors."""
    rows = tf.matmul(descriptors, weights["remap_local.0.weight"], transpose_b=True) + weights["remap_local.0.bias"]
    rows = _layer_norm(rows, 1e-5) * weights["remap_local.1.weight"] + weights["remap_local.1.bias"]
    return tf.math.l2_normalize(rows, axis=-1, epsilon=1e-24)


def _gains(weights: Weights, projected: Any) -> Any:
    """``(B, N)`` similarities to the dust bin."""
    hidden = tf.matmul(projected, weights["dust_bin_mlp.0.weight"], transpose_b=True) + weights["dust_bin_mlp.0.bias"]
    hidden = _gelu(hidden)
    return tf.tanh(tf.linalg.matvec(hidden, weights["dust_bin_mlp.2.weight"][0]) + weights["dust_bin_mlp.2.bias"])


def _gelu(values: Any) -> Any:
    """Exact; that of TensorFlow takes the root of 2 in float32, of float64 values too."""
    return 0.5 * values * (1 + tf.math.erf(values * 0.5**0.5))


def _layer_norm(rows: Any, epsilon: float) -> Any:
    mean, variance = tf.nn.moments(rows, axes=[-1], keepdims=True)
    return (rows - mean) * tf.math.rsqrt(variance + epsilon)
