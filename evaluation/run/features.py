"""The feature stores that a benchmark runs on: opened where they exist, extracted where they do not."""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from delg.common import spec
from delg.common.errors import InputError
from delg.common.files import read_json, read_text, write_text
from evaluation.benchmarks.base import Benchmark
from evaluation.run.distractors import check_store
from evaluation.run.method import FIRST_STAGE, Alignment, Method
from extraction.extractors.base import Extractor, select_heads
from extraction.extractors.table import EXTRACTORS, build_extractor
from extraction.formats.base import FeatureSource
from extraction.formats.checks import differing
from extraction.formats.table import open_features
from extraction.images import ImageRef, Reading, list_images
from extraction.pipeline import check_local_dtype, extract
from extraction.settings import recorded_settings
from extraction.store.encoding import LOCAL_DTYPES
from extraction.store.image_lists import fingerprint, image_lists
from extraction.store.reader import PLAN, FeatureStore

TEXT = "extractor.txt"  # beside stores that are a run's own: what they were asked for by


@dataclass(frozen=True)
class MethodSource:
    """Where the features of one method come from.

    Attributes:
      name: the method's name.
      extractor: text of the extractor, a model folder or ``name(argument=value)``.
    """

    name: str
    extractor: str


def sources(model: str | None, baselines: Sequence[str]) -> list[MethodSource]:
    """The methods that are to be extracted: the model under test, then the baselines.

    Args:
      model: a model folder or an extractor's text; None when the features are there already.
      baselines: extractors' texts; ``untrained`` is the model under test with fresh weights.

    Returns:
      A source for each, with different names.

    Raises:
      InputError: an unknown baseline, one twice, or ``untrained`` without a model.
    """
    found = [MethodSource(FIRST_STAGE, model)] if model else []
    for text in baselines:
        name, _ = spec.parse(text)
        if name == "delg" or (name not in EXTRACTORS and ":" not in name):
            choices = ", ".join(sorted(EXTRACTORS.keys() - {"delg"}))
            raise InputError(f"Unknown baseline {name!r}; the choices are {choices}.")
        found.append(MethodSource(name, _untrained(text, model) if name == "untrained" else text))
    names = [source.name for source in found]
    if len(set(names)) < len(names):
        raise InputError(f"A baseline is named twice: {', '.join(baselines)}.")
    return found


def _untrained(text: str, model: str | None) -> str:
    """Completes ``untrained`` by the model under test and the options it is run with."""
    name, arguments = spec.parse(text)
    if "model" not in arguments:
        given: dict[str, object] = {}
        if model and Path(model).is_dir():
            given = {"model": model}
        elif model and model.startswith("delg("):
            given = spec.parse(model)[1]
        if "model" not in given:
            raise InputError(f"The baseline untrained expects --model to be a model folder. Received: {model}")
        arguments = {"seed": 0} | given | arguments
    return spec.render(name, arguments)


def own_texts(found: Sequence[MethodSource], features_dir: str | None) -> dict[str, str]:
    """By method the extractor's text, where the run keeps features for itself; none where they are kept for others."""
    return {} if features_dir else {source.name: source.extractor for source in found}


def check_kept(some: bool, features_dir: str | None, local_dtype: str) -> None:
    """Checks that no option of extracted features is given where none are extracted.

    Args:
      some: whether some are extracted.
      features_dir: where they are to be kept; None where that is not said.
      local_dtype: how their local features are to be stored.

    Raises:
      InputError: something is asked for that nothing would read.
    """
    asked = {"--features_dir": features_dir is not None, "--local_dtype": local_dtype != LOCAL_DTYPES[0]}
    unread = [flag for flag, given in asked.items() if given]
    if unread and not some:
        raise InputError(f"Expected no {' and no '.join(unread)}: all features exist already, and none are extracted.")


def exif_of(asked: str | None, benchmark: Benchmark, given: FeatureSource | None = None) -> str:
    """Whether the orientation tag of a benchmark's photos is obeyed: ``"apply"`` or ``"ignore"``.

    Args:
      asked: by the user; None for the default.
      benchmark: your own photos are turned unless asked otherwise, those of a published protocol never.
      given: features that exist already, which others are made like.

    Raises:
      InputError: something is asked for that the benchmark or the features do not leave open.
    """
    default = "apply" if benchmark.own_photos else "ignore"
    if given is not None:
        default = Reading.of(given.settings).exif
    if asked not in (None, default) and (given is not None or not benchmark.own_photos):
        what = f"the features in {given.folder}" if given is not None else f"the protocol of {benchmark.name}"
        raise InputError(f"--exif={asked} is for your own photos only; {what} say exif={default}.")
    return asked or default


def build(found: Sequence[MethodSource], local_dtype: str = "float32") -> dict[str, Extractor]:
    """The extractors, all of them before any is run, so that a mistake costs nothing.

    Raises:
      InputError: a model folder is missing or broken, an argument is wrong, or the local features of an extractor
        cannot be stored as ``local_dtype``.
    """
    extractors = {source.name: build_extractor(source.extractor) for source in found}
    for extractor in extractors.values():
        check_local_dtype(extractor, local_dtype)
    return extractors


def extracted(
    name: str,
    extractor: Extractor,
    benchmark: Benchmark,
    folder: Path,
    local_dtype: str = "float32",
    *,
    text: str | None = None,
) -> Method:
    """Features of a benchmark by one extractor; what is on disk already is not made again.

    Args:
      name: the method's name.
      extractor: what describes an image.
      benchmark: whose images.
      folder: holds the stores ``database`` and, unless the queries are the database, ``queries``.
      local_dtype: how local features are stored.
      text: the extractor's, where the folder is the run's own: features that the same text made, with other weights,
        code or settings behind it, are then made anew. None keeps what is there.

    Returns:
      The method.

    Raises:
      InputError: the stores on disk were made with other settings.
    """
    if text is not None:
        _remove_outdated(extractor, folder, text)
    database = _extract(extractor, benchmark.database, folder / "database", local_dtype)
    if benchmark.leave_one_out:
        return Method(name, database, database)
    return Method(name, _extract(extractor, benchmark.queries, folder / "queries", local_dtype), database)


def _extract(extractor: Extractor, images: Sequence[ImageRef], place: Path, local_dtype: str) -> FeatureStore:
    """Features of some images; where the photos are not those that a store is of, the sentence names one of them.

    Raises:
      InputError: the store on disk is of other photos, or was made with other settings.
    """
    try:
        return extract(extractor, list(images), place, local_dtype=local_dtype)
    except InputError as error:
        changed = _changed(list(images), place)
        raise InputError(changed) if changed else error from error


def _remove_outdated(extractor: Extractor, folder: Path, text: str) -> None:
    """Removes features of a text that now stands for something else, such as other weights, and records the text."""
    record = folder / TEXT
    same = record.is_file() and read_text(record).strip() == text
    wanted = json.loads(json.dumps(recorded_settings(extractor)))
    for place in (folder / "database", folder / "queries") if same else ():
        try:
            there = {key: value for key, value in read_json(place / PLAN)["settings"].items() if key != "crop"}
        except (InputError, KeyError, TypeError, AttributeError):
            continue
        if lines := differing(there, wanted):
            print(f"{place}: made anew, as what {text} stands for has changed: {'; '.join(lines)}.", file=sys.stderr)
            shutil.rmtree(place)
    if not same and not any((folder / part / PLAN).is_file() for part in ("database", "queries")):
        write_text(record, f"{text}\n")


def _changed(images: list[ImageRef], place: Path) -> str | None:
    """A sentence where a store was made of as many photos, and not of these; None otherwise."""
    plan = place / PLAN
    try:
        first = image_lists(read_json(plan)["contents"])[0]
    except (InputError, KeyError, TypeError):
        return None
    if first["images"] != len(images) or first["fingerprint"] == fingerprint(images):
        return None
    made = plan.stat().st_mtime
    later = [image.path for image in images if Path(image.path).is_file() and Path(image.path).stat().st_ctime > made]
    others = f" and {len(later) - 1} more" if len(later) > 1 else ""
    what = f"{later[0]}{others} changed since" if later else "their names, boxes or sizes are others"
    return f"The features in {place} are of other photos: {what}. Remove that folder, or choose another --features_dir."


def with_distractors(
    method: Method, extractor: Extractor, images_dir: str | None, local_dtype: str, *, local: bool = True
) -> Method:
    """The method with features of distractor images beside its database; as it is where there are none.

    Args:
      method: whose database store says where they go.
      extractor: what it was extracted by.
      images_dir: folder of the distractors; None without.
      local_dtype: how local features are stored.
      local: whether their local features are matched; otherwise only their global descriptors are made.

    Returns:
      The method.

    Raises:
      InputError: the folder is missing or empty, or the store on disk was made with other settings.
    """
    if images_dir is None:
        return method
    place = method.database.folder.parent / "distractors"
    begun = _of_local(place)
    if local and begun is False:
        raise InputError(
            f"The features of the distractors in {place} hold no local ones, which a reranker is to match; choose "
            "another --features_dir, or remove that folder."
        )
    if not local and "local" in extractor.heads and not begun:
        extractor = select_heads(extractor, ("global",))
    return replace(method, distractors=_extract(extractor, list_images(images_dir), place, local_dtype))


def _of_local(place: Path) -> bool | None:
    """Whether a store that was begun is one with local features; None where none was, or none that can be read."""
    try:
        return bool(read_json(place / PLAN)["settings"].get("use_local_features", True))
    except (InputError, KeyError, TypeError, AttributeError):
        return None


def opened(
    benchmark: Benchmark, query_dir: str | None, index_dir: str, distractors_dir: str | None = None
) -> tuple[Method, Benchmark]:
    """The model under test from features that exist: stores, or files as the released programs write them.

    Args:
      benchmark: what they are checked against.
      query_dir: features of the queries; may be None where every database image is a query.
      index_dir: features of the database.
      distractors_dir: feature store of the distractors, where there are some.

    Returns:
      The method, and the benchmark of the images that have features.

    Raises:
      InputError: features are missing, or are of other images.
    """
    if not query_dir and not benchmark.leave_one_out:
        raise InputError("Expected --query_features_dir beside --index_features_dir.")
    names = [[image.name for image in images] or None for images in (benchmark.database, benchmark.queries)]
    database = open_features(index_dir, names[0])
    queries = open_features(query_dir, names[1]) if query_dir else database
    distractors = open_features(distractors_dir) if distractors_dir else None
    if distractors is not None:
        for store in (queries, database):
            check_store(store, distractors)
    method = Method(FIRST_STAGE, queries, database, distractors)
    benchmark = benchmark.with_features(queries.names, database.names)
    Alignment(benchmark, method)
    return method, benchmark
