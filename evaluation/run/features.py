"""The feature stores of a benchmark run: existing stores are opened, missing stores are extracted."""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from delg.common import spec
from delg.common.errors import InputError
from delg.common.files import read_json, read_text, write_text
from evaluation.benchmarks.base import Benchmark, names_of
from evaluation.benchmarks.method import FIRST_STAGE, Method
from evaluation.run.distractors import check_store
from extraction.extractors.base import Extractor, select_heads
from extraction.extractors.table import NAMES, build_extractor
from extraction.formats.base import FeatureSource
from extraction.formats.checks import differing
from extraction.formats.table import open_features
from extraction.images import ImageRef, Reading, list_images
from extraction.pipeline import check_local_dtype, extract
from extraction.settings import recorded_settings
from extraction.store.image_lists import fingerprint, image_lists
from extraction.store.reader import PLAN, FeatureStore

TEXT = "extractor.txt"  # beside the stores of a run's own folder: the extractor's text


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
    """The methods whose features are extracted: the model under test, then the baselines.

    Args:
      model: a model folder or an extractor's text; None when the features exist already.
      baselines: extractors' texts; ``untrained`` is the model under test with fresh weights.

    Returns:
      A source for each method, with different names.

    Raises:
      InputError: an unknown baseline, a repeated baseline, or ``untrained`` without a model.
    """
    methods = [MethodSource(FIRST_STAGE, model)] if model else []
    for text in baselines:
        name, _ = spec.parse(text)
        if name == "delg" or (name not in NAMES and ":" not in name):
            choices = ", ".join(sorted(NAMES - {"delg"}))
            raise InputError(f"Unknown baseline {name!r}; the choices are {choices}.")
        methods.append(MethodSource(name, _untrained(text, model) if name == "untrained" else text))
    names = [source.name for source in methods]
    if len(set(names)) < len(names):
        raise InputError(f"A baseline is named twice: {', '.join(baselines)}.")
    return methods


def _untrained(text: str, model: str | None) -> str:
    """Adds the model under test and its arguments to the text of ``untrained``."""
    name, arguments = spec.parse(text)
    if "model" not in arguments:
        model_arguments: dict[str, object] = {}
        if model and Path(model).is_dir():
            model_arguments = {"model": model}
        elif model and model.startswith("delg("):
            model_arguments = spec.parse(model)[1]
        if "model" not in model_arguments:
            raise InputError(f"The baseline untrained expects --model to be a model folder. Received: {model}")
        arguments = {"seed": 0} | model_arguments | arguments
    return spec.render(name, arguments)


def own_texts(methods: Sequence[MethodSource], features_dir: str | None) -> dict[str, str]:
    """The extractor's text by method, where the run has its own feature folder; empty with ``--features_dir``."""
    return {} if features_dir else {source.name: source.extractor for source in methods}


def check_extraction_options(extracts: bool, features_dir: str | None, local_dtype: str | None) -> None:
    """Checks that no option of extraction is set where nothing is extracted.

    Args:
      extracts: whether features are extracted.
      features_dir: folder of extracted features; None by default.
      local_dtype: storage of extracted local features; None by default.

    Raises:
      InputError: an option is set that no step of the run reads.
    """
    non_default = {"--features_dir": features_dir is not None, "--local_dtype": local_dtype is not None}
    unread = [flag for flag, is_set in non_default.items() if is_set]
    if unread and not extracts:
        raise InputError(f"Expected no {' and no '.join(unread)}: all features exist already, and none are extracted.")


def exif_of(choice: str | None, benchmark: Benchmark, existing: FeatureSource | None = None) -> str:
    """How the orientation tag of a benchmark's photos is read: ``"apply"`` or ``"ignore"``.

    Args:
      choice: the value of ``--exif``; None for the default.
      benchmark: your own photos are turned by default, photos of a published protocol never.
      existing: existing features, whose setting all further features share.

    Raises:
      InputError: ``choice`` contradicts the benchmark or the existing features.
    """
    default = "apply" if benchmark.own_photos else "ignore"
    if existing is not None:
        default = Reading.of(existing.settings).exif
    if choice not in (None, default) and (existing is not None or not benchmark.own_photos):
        origin = f"the features in {existing.folder}" if existing is not None else f"the protocol of {benchmark.name}"
        raise InputError(f"--exif={choice} is for your own photos only; {origin} say exif={default}.")
    return choice or default


def build(methods: Sequence[MethodSource], local_dtype: str | None = None) -> dict[str, Extractor]:
    """Builds all extractors before any extractor runs, so that mistakes end the run early.

    Raises:
      InputError: a model folder is missing or broken, an argument is wrong, or the local features of an extractor
        cannot be stored as ``local_dtype``.
    """
    extractors = {source.name: build_extractor(source.extractor) for source in methods}
    for source in methods:
        extractor = extractors[source.name]
        if "global" not in extractor.heads:
            raise InputError(
                f"{source.extractor} gives no global descriptor to search by; give it as the local part of a pair: "
                f"{spec.render('pair', {'global': 'efficientnet_lite2', 'local': source.extractor})}."
            )
        check_local_dtype(extractor, local_dtype)
    return extractors


def extracted(
    name: str,
    extractor: Extractor,
    benchmark: Benchmark,
    folder: Path,
    local_dtype: str | None = None,
    *,
    text: str | None = None,
) -> Method:
    """Features of a benchmark by one extractor; features on disk are reused.

    Args:
      name: the method's name.
      extractor: describes the images.
      benchmark: its images are described.
      folder: folder of the stores ``database`` and, unless the queries are the database, ``queries``.
      local_dtype: storage of local features; None for the extractor's own.
      text: the extractor's text, where the folder is the run's own: existing features of the same text are made anew
        where weights, code or settings have changed. None reuses existing features.

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


def _extract(extractor: Extractor, images: Sequence[ImageRef], place: Path, local_dtype: str | None) -> FeatureStore:
    """Features of images.

    Raises:
      InputError: the store on disk is of other photos, and the message names one, or was made with other settings.
    """
    try:
        return extract(extractor, list(images), place, local_dtype=local_dtype)
    except InputError as error:
        changed = _changed(list(images), place)
        raise InputError(changed) if changed else error from error


def _remove_outdated(extractor: Extractor, folder: Path, text: str) -> None:
    """Removes features whose text now stands for other settings, such as other weights, and records the text."""
    record = folder / TEXT
    same = record.is_file() and read_text(record).strip() == text
    expected = json.loads(json.dumps(recorded_settings(extractor)))
    for place in (folder / "database", folder / "queries") if same else ():
        try:
            recorded = {key: value for key, value in read_json(place / PLAN)["settings"].items() if key != "crop"}
        except (InputError, KeyError, TypeError, AttributeError):
            continue
        if lines := differing(recorded, expected):
            print(f"{place}: made anew, as what {text} stands for has changed: {'; '.join(lines)}.", file=sys.stderr)
            shutil.rmtree(place)
    if not same and not any((folder / part / PLAN).is_file() for part in ("database", "queries")):
        write_text(record, f"{text}\n")


def _changed(images: list[ImageRef], place: Path) -> str | None:
    """A sentence where a store holds as many photos, but other photos; None otherwise."""
    plan = place / PLAN
    try:
        first = image_lists(read_json(plan)["contents"])[0]
    except (InputError, KeyError, TypeError):
        return None
    if first["images"] != len(images) or first["fingerprint"] == fingerprint(images):
        return None
    plan_time = plan.stat().st_mtime
    later = [
        image.path for image in images if Path(image.path).is_file() and Path(image.path).stat().st_ctime > plan_time
    ]
    further = f" and {len(later) - 1} more" if len(later) > 1 else ""
    reason = f"{later[0]}{further} changed since" if later else "their names, boxes or sizes are others"
    return (
        f"The features in {place} are of other photos: {reason}. Remove that folder, or choose another --features_dir."
    )


def with_distractors(
    method: Method, extractor: Extractor, images_dir: str | None, local_dtype: str | None, *, local: bool = True
) -> Method:
    """Adds the features of distractor images to a method; without distractors the method stays as it is.

    Args:
      method: the features of the distractors lie beside the method's database store.
      extractor: the extractor of the method.
      images_dir: folder of the distractors; None without distractors.
      local_dtype: storage of local features; None for the extractor's own.
      local: whether the distractors' local features are matched; otherwise only global descriptors are extracted.

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
    """Whether a store that was begun has local features; None where no store can be read."""
    try:
        return bool(read_json(place / PLAN)["settings"].get("use_local_features", True))
    except (InputError, KeyError, TypeError, AttributeError):
        return None


def opened(
    benchmark: Benchmark, query_dir: str | None, index_dir: str, distractors_dir: str | None = None
) -> tuple[Method, Benchmark]:
    """Opens existing features of the model under test: stores, or files as the released programs write them.

    Args:
      benchmark: the features are checked against its images.
      query_dir: features of the queries; may be None where every database image is a query.
      index_dir: features of the database.
      distractors_dir: feature store of the distractors; None without distractors.

    Returns:
      The method, and the benchmark of the images that have features.

    Raises:
      InputError: features are missing, or are of other images.
    """
    if not query_dir and not benchmark.leave_one_out:
        raise InputError("Expected --query_features_dir beside --index_features_dir.")
    names = [names_of(images) or None for images in (benchmark.database, benchmark.queries)]
    database = open_features(index_dir, names[0])
    queries = open_features(query_dir, names[1]) if query_dir else database
    distractors = open_features(distractors_dir) if distractors_dir else None
    if distractors is not None:
        for store in (queries, database):
            check_store(store, distractors)
    method = Method(FIRST_STAGE, queries, database, distractors)
    benchmark = benchmark.with_features(queries.names, database.names)
    method.aligned(benchmark)
    return method, benchmark
