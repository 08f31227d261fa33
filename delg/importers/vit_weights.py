"""Weights of DINOv2, DINOv3 and SigLIP: safetensors of the Hugging Face Hub, and files of the original repositories.

Names come in generations: those on the Hub, those of the modules in transformers 5, and those of the repositories of
DINOv2 and DINOv3, which join query, key and value, and both inputs of a gated MLP. One table reads them all.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from inspect import signature
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np

from delg.backbones.table import BACKBONES, DINOV2, DINOV3, SIGLIP, VitSize
from delg.backbones.vit import KEY, OFFSET, QUERY, VALUE
from delg.common.errors import InputError
from delg.common.files import read_json
from delg.common.safetensors_file import SUFFIX, is_safetensors, read_safetensors
from delg.common.spec import factory_of, parse, render, split
from delg.common.torch_file import state_dict
from delg.importers.source import Stored, WeightSource
from delg.normalization import SATELLITE_MEAN
from delg.presets import PRESETS, SATELLITE

DINOV2_FORMAT, DINOV3_FORMAT, SIGLIP_FORMAT = FAMILIES = ("dinov2", "dinov3", "siglip")
SIZES = {DINOV2_FORMAT: DINOV2, DINOV3_FORMAT: DINOV3, SIGLIP_FORMAT: SIGLIP}
PREFIX = re.compile(r"^(?:(?:module|backbone|model|dinov2|dinov2_with_registers|vision_model)\.)+")
BLOCK = re.compile(r"(?:encoder\.layers?|layer|blocks)\.(\d+)\.(.+)")
LEFT_OUT = re.compile(  # what a model of ours has no place for: training, classifiers, the text tower, what is computed
    r"(?:embeddings\.)?mask_token|local_cls_norm\..+|classifier\..+|rope_embed\.periods|.+\.bias_mask"
    r"|text_model\..+|logit_scale|logit_bias"
)
# Our names, and those in the files: on the Hub of DINOv2, DINOv3 and SigLIP, then others. A name without a leaf stands
# for a weight and a bias.
WHOLE = {
    "embedding/class": ("embeddings.cls_token", "embeddings.cls_token", "", "cls_token"),
    "embedding/registers": ("embeddings.register_tokens", "embeddings.register_tokens", "", "register_tokens",
                            "storage_tokens"),
    "embedding/positions": ("embeddings.position_embeddings", "", "embeddings.position_embedding.weight", "pos_embed"),
    "pooling/probe": ("", "", "head.probe"),
}  # fmt: skip
LAYERS = {
    "patch_embedding": ("embeddings.patch_embeddings.projection", "embeddings.patch_embeddings",
                        "embeddings.patch_embedding", "patch_embed.proj"),
    "norm": ("layernorm", "norm", "post_layernorm"),
    "pooling/attention/projection": ("", "", "head.attention.out_proj"),
    "pooling/norm": ("", "", "head.layernorm"),
    "pooling/mlp/up": ("", "", "head.mlp.fc1"),
    "pooling/mlp/down": ("", "", "head.mlp.fc2"),
}  # fmt: skip
OF_BLOCK = {
    "norm1": ("norm1", "norm1", "layer_norm1"),
    "attention/query": ("attention.attention.query", "attention.q_proj", "self_attn.q_proj"),
    "attention/key": ("attention.attention.key", "attention.k_proj", "self_attn.k_proj"),
    "attention/value": ("attention.attention.value", "attention.v_proj", "self_attn.v_proj"),
    "attention/projection": ("attention.output.dense", "attention.o_proj", "self_attn.out_proj", "attn.proj"),
    "scale1": ("layer_scale1", "layer_scale1", "", "ls1"),
    "norm2": ("norm2", "norm2", "layer_norm2"),
    "mlp/gate": ("mlp.gate_proj", "mlp.gate_proj", "", "mlp.w1"),
    "mlp/up": ("mlp.fc1", "mlp.up_proj", "mlp.fc1", "mlp.w2"),
    "mlp/down": ("mlp.fc2", "mlp.down_proj", "mlp.fc2", "mlp.weights_out", "mlp.w3"),
    "scale2": ("layer_scale2", "layer_scale2", "", "ls2"),
}
BLOCKS = ("encoder.layer.", "layer.", "encoder.layers.")  # of each family on the Hub
JOINED = {  # equal parts along the first axis
    "attn.qkv": ("attention/query", "attention/key", "attention/value"),
    "mlp.weights_in": ("mlp/gate", "mlp/up"),
    "mlp.w12": ("mlp/gate", "mlp/up"),
}
JOINED_POOLING = {
    f"head.attention.in_proj_{leaf}": tuple(f"pooling/attention/{part}/{ours}" for part in (QUERY, KEY, VALUE))
    for leaf, ours in (("weight", "kernel"), ("bias", "bias"))
}
# Values of a config.json beside the file that the architecture of each family takes for granted.
EXPECTED: dict[str, dict[str, tuple[Any, ...]]] = {
    DINOV2_FORMAT: {"layer_norm_eps": (1e-6,), "hidden_act": ("gelu",), "qkv_bias": (True,)},
    DINOV3_FORMAT: {"layer_norm_eps": (1e-5,), "rope_theta": (100.0,)},
    SIGLIP_FORMAT: {"layer_norm_eps": (1e-6,), "hidden_act": ("gelu_pytorch_tanh",)},
}
LICENCE = ("Weights of DINOv3 are under Meta's DINOv3 License, which also holds for this copy of them.",)
Places = dict[str, tuple[str, Stored]]


def dinov2(path: Path, pooling: str | None = None) -> WeightSource:
    """DINOv2, with or without registers; its files hold no pooling."""
    return _source(path, DINOV2_FORMAT)


def dinov3(path: Path, pooling: str | None = None) -> WeightSource:
    """DINOv3; its transformers, not its convolutional networks; its files hold no pooling."""
    return _source(path, DINOV3_FORMAT)


def siglip(path: Path, pooling: str | None = None) -> WeightSource:
    """The vision tower of SigLIP and SigLIP 2 of one image size; the text tower is left out.

    Args:
      path: of the file or the folder.
      pooling: of the model that is made; with another one than ``attention`` the file's is left out.
    """
    source = _source(path, SIGLIP_FORMAT)
    if pooling is None or parse(split(pooling)[-1])[0] == "attention":
        return source
    stored = {
        name: stored
        for name, stored in source.stored.items()
        if not any(variable.startswith("pooling/") for variable in our_paths(name.partition(" [")[0]))
    }
    return replace(source, stored=stored)


def vit_format(names: Mapping[str, Any]) -> str | None:
    """The family that the names of a file belong to; None for another network."""
    paths = {path for name in names for path in our_paths(name)}
    if "patch_embedding/kernel" not in paths:
        return None
    if "embedding/class" not in paths:
        return SIGLIP_FORMAT
    return DINOV2_FORMAT if "embedding/positions" in paths else DINOV3_FORMAT


def safetensors_format(path: Path) -> str:
    """The family of a safetensors file, or of those in a folder.

    Raises:
      InputError: it cannot be read, or its names are those of no family.
    """
    family = vit_format(_read(path)[1])
    if family is None:
        raise InputError(f"{path} holds tensors of another network than {', '.join(FAMILIES)}.")
    return family


def our_paths(name: str) -> tuple[str, ...]:
    """The paths of our variables that an entry of a file holds, in its order along the first axis; () for none.

    >>> our_paths("blocks.3.attn.qkv.bias")
    ('block3/attention/query/bias', 'block3/attention/key/bias', 'block3/attention/value/bias')
    >>> our_paths("model.layer.0.layer_scale1.lambda1")
    ('block0/scale1/factors',)
    """
    name = PREFIX.sub("", name)
    if name in JOINED_POOLING:
        return JOINED_POOLING[name]
    for path, spellings in WHOLE.items():
        if name in spellings:
            return (path,)
    block = BLOCK.fullmatch(name)
    place, _, leaf = (block[2] if block else name).rpartition(".")
    table = OF_BLOCK if block else LAYERS
    parts = JOINED[place] if block and place in JOINED else tuple(p for p in table if place and place in table[p])
    before = f"block{block[1]}/" if block else ""
    return tuple(f"{before}{part}/{ours}" for part in parts if (ours := _our_leaf(part, leaf)))


def _our_leaf(part: str, leaf: str) -> str | None:
    if "scale" in part:
        return "factors" if leaf in ("lambda1", "gamma") else None
    names = ("gamma", "beta") if "norm" in part else ("kernel", "bias")
    return dict(zip(("weight", "bias"), names)).get(leaf)


def hub_name(path: str, family: str) -> str:
    """What the Hub calls one of our variables.

    >>> hub_name("block3/norm2/beta", "siglip")
    'vision_model.encoder.layers.3.layer_norm2.bias'
    """
    which = FAMILIES.index(family)
    before = "vision_model." if family == SIGLIP_FORMAT else ""
    if path in WHOLE:
        return before + WHOLE[path][which]
    for joined, paths in JOINED_POOLING.items():
        if path in paths:
            return _part_name(before + joined, path)
    part, _, leaf = path.rpartition("/")
    block = re.match(r"block(\d+)/", part)
    spelling = OF_BLOCK[part[block.end() :]] if block else LAYERS[part]
    theirs = "lambda1" if leaf == "factors" else {"gamma": "weight", "kernel": "weight"}.get(leaf, "bias")
    return f"{before}{f'{BLOCKS[which]}{block[1]}.' if block else ''}{spelling[which]}.{theirs}"


def _part_name(name: str, path: str) -> str:
    """What an error calls a part of a joined entry: ``blocks.3.attn.qkv.bias [query]``."""
    return f"{name} [{path.split('/')[-2]}]"


@dataclass(frozen=True)
class VitWeights(WeightSource):
    """Kernels lie as PyTorch has them; tokens and positions have an axis of one picture, but not SigLIP's positions."""

    def in_file(self, path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one of our variables in the file."""
        if self._with_batch(path):
            return (1, *shape)
        return (shape[-1], shape[-2], *shape[:-2]) if path.endswith("/kernel") else shape

    def ours(self, path: str, array: np.ndarray) -> np.ndarray:
        """An array of the file in the layout of one of our variables."""
        if self._with_batch(path):
            return array[0]
        return np.moveaxis(array, (0, 1), (-1, -2)) if path.endswith("/kernel") else array

    def _with_batch(self, path: str) -> bool:
        return path in WHOLE and (path != "embedding/positions" or self.format != SIGLIP_FORMAT)


def _read(path: Path) -> tuple[tuple[Path, ...], dict[str, Stored]]:
    """The files of an input, and their tensors by name.

    Raises:
      InputError: one cannot be read, or two hold the same name.
    """
    if not path.is_dir():
        if is_safetensors(path):
            return (path,), read_safetensors(path)
        return (path,), {name: Stored(tensor.shape, tensor.array) for name, tensor in state_dict(path).items()}
    files = tuple(sorted(path.glob(f"*{SUFFIX}")))
    if not files:
        raise InputError(f"{path} holds no file *{SUFFIX}.")
    tensors: dict[str, Stored] = {}
    for file in files:
        more = read_safetensors(file)
        twice = sorted(set(more) & set(tensors))
        if twice:
            raise InputError(f"{path} holds the weight {twice[0]} in two files.")
        tensors |= more
    return files, tensors


def _source(path: Path, family: str) -> WeightSource:
    files, tensors = _read(path)
    places, unknown = _places(path, tensors, family)
    weights = dict(places.values()) | unknown
    original = any(re.search(r"(^|\.)blocks\.\d+\.", name) for name in tensors)
    preset, overrides = _model(path, files[0], family, places, original)
    left_out = [name for name in tensors if LEFT_OUT.fullmatch(PREFIX.sub("", name))]
    return VitWeights(
        format=family,
        preset=preset,
        overrides=overrides,
        files=files,
        stored=weights,
        name=lambda variable: places[variable][0] if variable in places else _missing(variable, family, places),
        torch_layout=True,
        notes=(
            f"{len(left_out)} of {len(tensors)} entries have no place in this model and were left out.",
            *(LICENCE if family == DINOV3_FORMAT else ()),
        ),
    )


def _missing(variable: str, family: str, places: Places) -> str | None:
    """The name of a variable that the file lacks, as in its other blocks; None for heads that no such file has."""
    if variable == "pooling/p" or variable.startswith(("embedding_layer/", "local_head/", "classifier/", "att_fc/")):
        return None
    block, _, part = variable.partition("/")
    for other, (name, _) in places.items():
        if block.startswith("block") and other.partition("/")[2] == part and other.startswith("block"):
            return re.sub(r"(layers?|blocks)\.\d+\.", rf"\1.{block.removeprefix('block')}.", name, count=1)
    return hub_name(variable, family)


def _places(path: Path, tensors: Mapping[str, Stored], family: str) -> tuple[Places, dict[str, Stored]]:
    """For each of our variables the name of its entry and its values; and the entries that are not known."""
    places: Places = {}
    unknown: dict[str, Stored] = {}
    for name, stored in tensors.items():
        paths = our_paths(name)
        if not paths or (len(paths) > 1 and (not stored.shape or stored.shape[0] % len(paths))):
            if not LEFT_OUT.fullmatch(PREFIX.sub("", name)):
                unknown[name] = stored
            continue
        for i, variable in enumerate(paths):
            if len(paths) > 1 and family == DINOV3_FORMAT and variable.endswith("/key/bias"):
                continue  # masked to 0 in the original; the numbers in the file mean nothing
            if variable in places:
                raise InputError(f"{path} holds one weight under two names, {places[variable][0]} and {name}.")
            whole = (name, stored) if len(paths) == 1 else (_part_name(name, variable), _part(stored, i, len(paths)))
            places[variable] = whole
    return places, unknown


def _part(stored: Stored, i: int, count: int) -> Stored:
    size = stored.shape[0] // count
    return Stored((size, *stored.shape[1:]), lambda: stored.read()[i * size : (i + 1) * size])


def _model(path: Path, file: Path, family: str, places: Places, original: bool) -> tuple[str, dict[str, Any]]:
    """The preset of a file, and what its model has otherwise.

    Raises:
      InputError: the file lacks what the size follows from, or nothing says the number of attention heads.
    """

    def shape(variable: str, axes: int) -> tuple[int, ...]:
        if variable not in places or len(places[variable][1].shape) != axes:
            raise InputError(
                f"{path} holds no {family}: {hub_name(variable, family)} is missing or has not {axes} axes, so "
                "nothing of it is used."
            )
        return places[variable][1].shape

    patches = shape("patch_embedding/kernel", 4)
    depth = 1 + max((int(match[1]) for name in places if (match := re.match(r"block(\d+)/", name))), default=0)
    gated = "block0/mlp/gate/kernel" in places
    width, hidden = patches[0], shape("block0/mlp/up/kernel", 2)[0]
    biased = family != DINOV3_FORMAT or "block0/attention/query/bias" in places
    sizes = {name: size for name, size in SIZES[family].items() if size._replace(heads=0) == (
        width, depth, 0, hidden, gated, biased)}  # fmt: skip
    expected = EXPECTED[family]
    if family == DINOV3_FORMAT:
        expected = expected | {"hidden_act": ("silu" if gated else "gelu",)}
    document = _config(file, family, expected)
    heads = _heads(path, document, sizes, width)
    name, size = next(iter(sizes.items()), ("", VitSize(width, depth, heads, hidden, gated, biased)))
    arguments: dict[str, Any] = {"size": name if sizes else tuple(size)}
    if family != DINOV3_FORMAT:
        positions = shape("embedding/positions", 2 if family == SIGLIP_FORMAT else 3)
        arguments["grid"] = isqrt(positions[-2])
    if family != SIGLIP_FORMAT:
        arguments["registers"] = shape("embedding/registers", 3)[1] if "embedding/registers" in places else 0
    if family == DINOV2_FORMAT and original and not arguments["registers"]:
        arguments["positions"] = OFFSET
    arguments["patch"] = patches[2]
    preset = _preset(file, family, name, arguments)
    overrides: dict[str, Any] = {}
    if _whole(render(family, arguments)) != _whole(PRESETS[preset]["backbone"]):
        overrides["backbone"] = render(family, arguments)
    pooling = render("attention", {"heads": size.heads, "hidden": size.hidden})
    if family == SIGLIP_FORMAT and pooling != PRESETS[preset]["pooling"]:
        overrides["pooling"] = pooling
    return preset, overrides


def _whole(text: str) -> dict[str, Any]:
    """All arguments that a backbone is made with."""
    name, arguments = parse(text)
    parameters = signature(factory_of(name, BACKBONES, "backbone")).parameters
    return {key: arguments.get(key, parameter.default) for key, parameter in parameters.items()}


def _config(file: Path, family: str, expected: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """The part for images of the config.json beside a file; empty where there is none.

    Raises:
      InputError: it describes another architecture.
    """
    config = file.with_name("config.json")
    document = read_json(config) if config.is_file() else {}
    if not isinstance(document, dict):
        raise InputError(f"{config} is no JSON object.")
    if isinstance(document.get("vision_config"), dict):
        document = document["vision_config"]
    for key, values in expected.items():
        if key in document and document[key] not in values:
            raise InputError(
                f"{config} has {key} {json.dumps(document[key])}; a {family} of this package has "
                f"{' or '.join(json.dumps(value) for value in values)}."
            )
    return dict(document)


def _heads(path: Path, config: Mapping[str, Any], sizes: Mapping[str, VitSize], width: int) -> int:
    """The number of attention heads, which no weight shows: of the config.json beside the file, or of the size.

    Raises:
      InputError: neither says the number, or the config.json has another one than the published size.
    """
    published = {size.heads for size in sizes.values()}
    heads = config.get("num_attention_heads", next(iter(published), None))
    if type(heads) is not int or heads < 1 or width % heads or (published and heads not in published):
        reason = f"config.json beside it has {heads} heads" if config else "there is no config.json beside it"
        raise InputError(
            f"{path} has {width} channels; the number of attention heads does not follow from its weights, "
            f"and {reason}."
        )
    return heads


def is_for_satellite_images(file: Path) -> bool:
    """Whether weights of DINOv3 are for satellite images, which have another normalisation; no weight shows this.

    ``preprocessor_config.json`` beside the file decides by its mean. Without this file the name of the weights decides,
    or that of their folder.
    """
    processor = file.with_name("preprocessor_config.json")
    document = read_json(processor) if processor.is_file() else None
    if isinstance(document, dict) and "image_mean" in document:
        return document["image_mean"] == list(SATELLITE_MEAN)
    return SATELLITE in file.name or SATELLITE in file.absolute().parent.name


def _preset(file: Path, family: str, size: str, arguments: Mapping[str, Any]) -> str:
    """The published model of this size, or the first one of the family."""
    if family == DINOV2_FORMAT:
        name = f"dinov2_{size}" + ("_registers" if arguments["registers"] else "")
    elif family == DINOV3_FORMAT:
        name = f"dinov3_{size}" + (f"_{SATELLITE}" if is_for_satellite_images(file) else "")
    else:
        image = arguments["grid"] * arguments["patch"]
        name = f"siglip2_{size}_p{arguments['patch']}_{384 if image == 378 else image}"
    return name if name in PRESETS else next(preset for preset in PRESETS if preset.startswith(family))
