"""A model in another dtype policy: the same weights, other arithmetic."""

from delg.model import Delg
from delg.superglobal import copied_weights


def in_policy(model: Delg, policy: str) -> Delg:
    """The model, computing in a dtype policy of Keras such as ``"mixed_bfloat16"``; its weights stay float32.

    Poolings compute in float32 under every policy.

    Returns:
      ``model`` itself where it computes in the policy, else another model without classifiers.
    """
    if model.dtype_policy.name == policy:
        return model
    return copied_weights(model, Delg(**model.get_config() | {"num_classes": None}, dtype=policy))
