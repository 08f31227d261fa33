"""Variants of a trained network with the same weights: SuperGlobal's changes, and other dtypes (arXiv 2308.06954)."""

from dataclasses import dataclass

from delg.common.spec import parse, render, split
from delg.model import Delg


@dataclass(frozen=True)
class Switches:
    """What is changed; the default changes nothing. No switch needs other weights, or training.

    Attributes:
      gem_plus: GeM with p = 4.6 and epsilon 1e-8 in place of the model's pooling.
      regional_gem: Regional-GeM before the pooling.
      relup: ReLUP in place of some ReLUs of the first three stages; local features change with them.
      stage1_inner_leak: ReLUP inside the units of the first stage also without ``relup``, as the released code does.
      normalize_pooled: L2-normalise the pooled vector before the whitening layer; None leaves it to the model.
    """

    gem_plus: bool = False
    regional_gem: bool = False
    relup: bool = False
    stage1_inner_leak: bool = False
    normalize_pooled: bool | None = None


def adapted(model: Delg, switches: Switches) -> Delg:
    """The model as the switches want it, for inference.

    Args:
      model: any model; it stays as it is.
      switches: what to change.

    Returns:
      ``model`` itself where nothing is changed; else another model without classifiers, with a copy of its weights.

    Raises:
      InputError: the model's backbone does not have the switch.
    """
    changes = _changes(model, switches)
    if all(model.config[key] == value for key, value in changes.items()):
        return model
    other = Delg(**model.get_config() | changes | {"num_classes": None}, dtype=model.dtype_policy)
    return copied_weights(model, other)


def copied_weights(source: Delg, target: Delg) -> Delg:
    """``target`` with the weights of ``source``, by their paths; weights that only the source has stay behind."""
    trained = {variable.path: variable for variable in source.weights}
    for variable in target.weights:
        variable.assign(trained[variable.path])
    return target


def in_policy(model: Delg, policy: str) -> Delg:
    """The model, computing in a dtype policy of Keras such as ``"mixed_bfloat16"``; its weights stay float32.

    Poolings compute in float32 under every policy.

    Returns:
      ``model`` itself where it computes in the policy, else another model without classifiers.
    """
    if model.dtype_policy.name == policy:
        return model
    return copied_weights(model, Delg(**model.get_config() | {"num_classes": None}, dtype=policy))


def _changes(model: Delg, switches: Switches) -> dict[str, str | bool]:
    """Arguments of :class:`Delg` that the switches replace."""
    backbone, arguments = parse(model.config["backbone"])
    for key in ("relup", "stage1_inner_leak"):
        if getattr(switches, key) and not arguments.get(key):
            arguments[key] = True
    built_in = split(model.config["pooling"])
    *filters, pooling = built_in
    if switches.regional_gem and not any(parse(text)[0] == "regional_gem" for text in filters):
        filters.append("regional_gem")
    if switches.gem_plus:
        pooling = "gem_plus"
    changes: dict[str, str | bool] = {}
    if [parse(text) for text in (*filters, pooling)] != [parse(text) for text in built_in]:
        changes["pooling"] = ", ".join([*filters, pooling])
    if arguments != parse(model.config["backbone"])[1]:
        changes["backbone"] = render(backbone, arguments)
    if switches.normalize_pooled is not None:
        changes["normalize_pooled"] = switches.normalize_pooled
    return changes
