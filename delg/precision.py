"""A model in another dtype policy: the same weights, other arithmetic."""

import keras

from delg.model import Delg
from delg.superglobal import copied_weights


def in_policy(model: Delg, policy: str) -> Delg:
    """The model, computing in a dtype policy of Keras such as ``"mixed_bfloat16"``; its weights stay float32.

    Poolings compute in float32 under every policy.

    Returns:
      ``model`` itself for ``"float32"``, else another model without classifiers.
    """
    if policy == "float32":
        return model
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        other = Delg(**model.get_config() | {"num_classes": None})
    finally:
        keras.config.set_dtype_policy(before)
    return copied_weights(model, other)
