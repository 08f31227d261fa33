"""Gradients of a loss by the weights of a Keras model, on every backend that trains."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

Tensor = Any
Loss = Callable[..., tuple[Tensor, Any]]


def gradients_of(
    loss: Loss, variables: Sequence[Any], tensors: Sequence[Tensor] = (), *, assigned: Sequence[Any] = ()
) -> tuple[Any, list[Tensor | None]]:
    """Computes a loss once, and its gradients.

    Args:
      loss: is called with ``tensors`` and returns a scalar and further results.
      variables: Keras variables that the loss reads.
      tensors: what it is called with.
      assigned: further variables that it reads and may assign, such as statistics of batches. They hold their new
        values afterwards.

    Returns:
      The further results of the loss, and the gradients by the variables, then by the tensors. Where the loss does not
      depend on one of them, its gradient is None on TensorFlow and zero on JAX.
    """
    engines = {"jax": _jax, "tensorflow": _tensorflow}
    return engines[keras.backend.backend()](loss, variables, tensors, assigned)


def _tensorflow(
    loss: Loss, variables: Sequence[Any], tensors: Sequence[Tensor], _: Sequence[Any]
) -> tuple[Any, list[Tensor | None]]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value, results = loss(*tensors)
    return results, tape.gradient(value, [*(variable.value for variable in variables), *tensors])


def _jax(
    loss: Loss, variables: Sequence[Any], tensors: Sequence[Tensor], assigned: Sequence[Any]
) -> tuple[Any, list[Tensor | None]]:
    import jax

    before = [(variable, variable.value) for variable in assigned]

    def of(values: list[Tensor], tensors: list[Tensor]) -> tuple[Tensor, tuple[Any, list[Tensor]]]:
        with keras.StatelessScope(state_mapping=[*before, *zip(variables, values)]) as scope:
            value, results = loss(*tensors)
        return value, (results, [scope.get_current_value(variable) for variable in assigned])

    given = [variable.value for variable in variables], list(tensors)
    (_, (results, after)), gradients = jax.value_and_grad(of, argnums=(0, 1), has_aux=True)(*given)
    for variable, value in zip(assigned, after):
        variable.assign(value)
    return results, [*gradients[0], *gradients[1]]
