"""The card of a shared model: a README.md of the Hugging Face Hub, with what is recorded of the model and no more."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from delg.common.distribution import NAME, __version__
from delg.common.errors import InputError
from delg.weights.catalogue import WEIGHTS

FILE = "README.md"
DINOV3 = "dinov3-license"
LINK = "https://ai.meta.com/resources/models-and-libraries/dinov3-license"
IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.+-]*")  # of a licence on the Hub
LEFT_OUT = ("extraction", "classifier", "arcface_margin", "arcface_scale", "sampled_classifier")  # of the arguments


def origins(provenance: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a model began with, as far as its licence is known: name, and identifier of the licence."""
    published = provenance.get("published")
    if published in WEIGHTS:
        yield published, WEIGHTS[published].licence.lower()
    if provenance.get("format") == "dinov3":
        yield published or "DINOv3", DINOV3
    if isinstance(start := provenance.get("start"), dict):
        yield from origins(start)


def licence_of(provenance: Mapping[str, Any], given: str | None) -> str | None:
    """The licence of a model that is shared.

    Args:
      provenance: see :func:`delg.saving.provenance_of`.
      given: what the user names; None for that of published weights which nobody trained further.

    Returns:
      The Hub's identifier; None where nothing is known.

    Raises:
      InputError: no identifier, or DINOv3's licence holds.
    """
    known = dict(origins(provenance))
    if DINOV3 in known.values():
        if given not in (None, DINOV3):
            raise InputError(f"The model began with DINOv3: its licence is {DINOV3}, not {given}.")
        return DINOV3
    if given is not None and not IDENTIFIER.fullmatch(given):
        raise InputError(f"--licence expects an identifier of the Hub, such as apache-2.0. Received: {given!r}")
    return given if given or "trained" in provenance else next(iter(known.values()), None)


def model_card(
    title: str,
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
    weights: Mapping[str, Any],
    *,
    licence: str | None = None,
    results: str = "",
) -> str:
    """The text of the card.

    Args:
      title: name of the model.
      config: arguments of :class:`delg.model.Delg`.
      provenance: see :func:`delg.saving.provenance_of`.
      weights: what is known of the weights, by name.
      licence: see :func:`licence_of`.
      results: Markdown with what was measured; empty for nothing.
    """
    settings = {name: value for name, value in config.items() if name not in LEFT_OUT and value is not None}
    extraction, title = config.get("extraction") or {}, re.sub(r"[^\w.-]+", "-", title)
    parts = [
        "\n".join(_front_matter(licence)),
        f"# {title}",
        f"A model of {NAME} {__version__} for instance-level image retrieval.",
        _code("sh", f"delg-extract --images_dir=photos --model=hf://OWNER/{title} --output_dir=features"),
        _code("python", f'import delg\n\nmodel = delg.load("hf://OWNER/{title}")'),
        "## Model",
        _table(settings | {f"extraction: {name}": value for name, value in extraction.items()} | dict(weights)),
        "## Data",
        *_data(provenance),
        "## Results",
        results or "No measurement was given.",
        "## Licence",
        _licence_text(provenance, licence),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(licence: str | None) -> list[str]:
    lines = [f"license: {licence}"] if licence else []
    if licence == DINOV3:
        lines = ["license: other", f"license_name: {DINOV3}", f"license_link: {LINK}"]
    tags = ["tags:", "- image-retrieval", "pipeline_tag: image-feature-extraction"]
    return ["---", *lines, f"library_name: {NAME}", *tags, "---"]


def _data(provenance: Mapping[str, Any]) -> Iterator[str]:
    """What is recorded of a training, a conversion, or published weights."""
    trained = provenance.get("trained")
    if isinstance(trained, dict):
        images, classes = trained.get("images"), trained.get("num_classes")
        yield (
            f"Trained on {images} images of {classes} classes. Settings:"
            if images and classes
            else "Trained. Settings:"
        )
        yield _table({name: value for name, value in trained.items() if value is not None and name != "images"})
    if published := provenance.get("published"):
        entry = WEIGHTS.get(published)
        place = f", {entry.distribution} {entry.version} of the package index" if entry else ""
        yield f"Published weights: {published}{place}."
    if "format" in provenance:
        yield f"Converted from weights in the format {provenance['format']}; SHA-256 of the files:"
        yield _table(provenance.get("files", {}))
    if isinstance(start := provenance.get("start"), dict):
        yield "The training began with these weights:"
        yield from _data(start)
    if not provenance:
        yield "Neither a training nor a source of the weights is recorded."


def _licence_text(provenance: Mapping[str, Any], licence: str | None) -> str:
    began = [f"Weights that the model began with, {name}, are under {theirs}." for name, theirs in origins(provenance)]
    return " ".join([f"{licence}." if licence else "None was given.", *began])


def _table(values: Mapping[str, Any]) -> str:
    rows: Sequence[tuple[str, str]] = [
        (name, value if isinstance(value, str) else json.dumps(value)) for name, value in values.items()
    ]
    lines = [f"| {name} | {value.replace('|', chr(92) + '|')} |" for name, value in [("", ""), ("---", "---"), *rows]]
    return "\n".join(lines)


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"
