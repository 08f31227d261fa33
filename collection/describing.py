"""How a collection describes photos: with one extractor, which is built when the first photo needs it."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from delg.common.errors import InputError
from extraction.extractors.table import AUTO, ExtractorRecipe, absolute
from extraction.features import Features
from extraction.formats.checks import differences
from extraction.images import BadImageError, Crop, ImageRef
from extraction.store.encoding import Encoding, as_stored, encoding

if TYPE_CHECKING:
    from extraction.extractors.base import Extractor

FACTS = ("model", "settings", "local_dtype", "heads")
BATCH = 16  # photos whose descriptions are written together
THREADS = 2


class Describer:
    """Describes photos and queries of one collection.

    Attributes:
      facts: what the state records: ``model``, ``settings`` and ``local_dtype``; empty before the first description.
    """

    def __init__(self, model: str | None, facts: Mapping[str, Any]):
        """Takes the text of an extractor, see :func:`extraction.extractors.table.build_extractor`.

        Args:
          model: None for the recorded one, or ``auto`` where nothing is recorded.
          facts: what the state records.
        """
        self._model, self.facts = model, {key: facts[key] for key in FACTS if key in facts}
        self._built: Extractor | None = None
        self._text = ""  # that it was built from
        self._building = Lock()

    def adopt(self, facts: Mapping[str, Any]) -> None:
        """Takes what the state records now.

        Raises:
          InputError: another process has meanwhile described photos by another extractor.
        """
        recorded = {key: facts[key] for key in FACTS if key in facts}
        if not recorded or recorded == self.facts:
            return
        with self._building:
            if self._built is not None:
                self._check(self._built, recorded)
            self.facts = recorded
        if self.differs:
            self.check()

    @property
    def differs(self) -> bool:
        """Whether another extractor is asked for than the recorded one, by their texts."""
        return self._model is not None and "model" in self.facts and absolute(self._model) != self.facts["model"]

    def check(self) -> None:
        """Builds the extractor, which raises InputError where it describes photos otherwise than the state records."""
        assert self.extractor

    @property
    def extractor(self) -> "Extractor":
        """The extractor.

        Raises:
          InputError: it cannot be built, or describes photos otherwise than the state records.
        """
        with self._building:
            if self._built is None:
                self._built = self._build()
            return self._built

    @property
    def model(self) -> str:
        """The text of the extractor."""
        return str(self._model or self.facts.get("model") or AUTO)

    @property
    def encoding(self) -> Encoding:
        """Of the local features in the state."""
        return encoding(self.facts["local_dtype"])

    def separate(self) -> bool:
        """Whether global descriptors can be computed first and local features later, at no more cost."""
        return bool(self.extractor.parts_of_heads())

    def describe(
        self, photos: Mapping[str, Path], head: str | None, advance: Callable[[int], None]
    ) -> Iterator[list[tuple[str, Features | BadImageError]]]:
        """Describes files.

        Args:
          photos: the files by name.
          head: ``"global"`` or ``"local"`` for one head where :meth:`separate`; None for both.
          advance: called with the number of photos that are done.

        Yields:
          Names, and features or why there are none, of :data:`BATCH` photos at a time.
        """
        from extraction.batching import in_order

        lists = _lists(photos)
        done = in_order(self._part(head), lists, THREADS, BATCH, lambda described: advance(len(described)))
        for of_list, described in zip(lists, done, strict=True):
            yield [(ref.name, one) for ref, one in zip(of_list, described, strict=True)]

    def describe_on_ray(
        self, photos: Mapping[str, Path], address: str, advance: Callable[[int], None]
    ) -> Iterator[list[tuple[str, Features | BadImageError]]]:
        """As :meth:`describe` both heads, on a Ray cluster whose machines see the files.

        Args:
          photos: see :meth:`describe`.
          address: of the cluster; ``local`` starts one in this machine and ends it.
          advance: see :meth:`describe`.

        Raises:
          InputError: the extra ``ray`` is not installed, or the cluster cannot be reached.
        """
        from extraction.ray_engine import described_on_ray

        assert self.extractor  # or the recipe is not known
        recipe, lists = ExtractorRecipe(self._text, {}, {}), dict(enumerate(_lists(photos)))
        for place, described in described_on_ray(recipe, lists, address=address, num_threads=THREADS, batch_size=BATCH):
            advance(len(described))
            yield [(ref.name, one) for ref, one in zip(lists[place], described, strict=True)]

    def query(self, file: Path, crop: Crop | None, head: str | None = None) -> Features:
        """The features of a query, comparable with those of the state.

        Args:
          file: of the query.
          crop: of the query in its pixels; None for the whole.
          head: see :meth:`describe`.

        Raises:
          InputError: the file is no image that can be described, or the crop lies outside of it.
        """
        from extraction.describing import describe

        try:
            features = describe(self._part(head), ImageRef(file.stem, str(file), crop))
        except BadImageError as error:
            raise InputError(f"The query {file} cannot be used: {error}.") from error
        return self.as_read(features)

    def as_read(self, features: Features) -> Features:
        """Features that can be compared with those that the state gives back."""
        return as_stored(features, self.facts["local_dtype"])

    def _part(self, head: str | None) -> "Extractor":
        """What describes one head, where that costs less; the whole extractor for None."""
        parts = self.extractor.parts_of_heads()
        return parts[head] if head and parts else self.extractor

    def _build(self) -> "Extractor":
        from delg.quiet import silence_tensorflow
        from extraction.extractors.table import build_extractor, made_by
        from extraction.settings import recorded_settings

        silence_tensorflow()
        recorded = self.facts.get("settings")
        text = self.model
        extractor = build_extractor(text)
        if recorded and text == AUTO and differences(extractor.settings, recorded) and (usual := made_by(recorded)):
            extractor, text = build_extractor(usual), usual
        self._text = text
        self._check(extractor, self.facts)
        if "global" not in extractor.heads:
            raise InputError(f"A collection needs global descriptors; {text} gives none.")
        if recorded is None:
            self.facts = {
                "model": absolute(self.model),
                "settings": json.loads(json.dumps(recorded_settings(extractor))),
                "local_dtype": extractor.local_dtype,
                "heads": list(extractor.heads),
            }
        return extractor

    def _check(self, extractor: "Extractor", recorded: Mapping[str, Any]) -> None:
        lines = differences(extractor.settings, recorded["settings"]) if "settings" in recorded else []
        if lines:
            raise InputError(
                f"The collection was described by {recorded.get('model')}, and {self.model} describes photos "
                f"otherwise: {'; '.join(lines)}. Leave the model out, or choose another place with --collection."
            )


def _lists(photos: Mapping[str, Path]) -> list[list[ImageRef]]:
    """Photos as lists of images, each of :data:`BATCH`."""
    refs = [ImageRef(name, str(file)) for name, file in photos.items()]
    return [refs[start : start + BATCH] for start in range(0, len(refs), BATCH)]
