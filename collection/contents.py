"""What a collection holds: the folder, the state on disk, how photos are described, and the photos in memory."""

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from collection.describing import Describer
from collection.files import REMOVED, file_of, is_as_recorded, read
from collection.neighbours import EXACT, Rows, built, is_stale, kind_of, remove_unknown, removed
from collection.snapshot import Snapshot
from collection.state import Photo, State, Transaction
from delg.common.errors import InputError
from delg.common.progress import progress_bar
from extraction.features import Features
from extraction.images import BadImageError, Crop


class Contents:
    """The contents of one collection, shared by the questions and the changes. Threads may share them.

    Attributes:
      folder: of the photos.
      state: on disk.
      describer: of photos and queries.
    """

    def __init__(self, folder: Path, state: State, model: str | None):
        """Takes the folder, its state, and the text of an extractor; None for the recorded one."""
        self.folder, self.state = folder, state
        with state.reading() as transaction:
            self.describer = Describer(model, transaction.facts())
        if self.describer.differs:
            self.describer.check()
        self._snapshot = Snapshot.empty()
        self._refreshing = threading.Lock()

    def current(self) -> Snapshot:
        """The photos of the state as it is now."""
        with self.state.reading() as transaction:
            return self.refreshed(transaction)

    def refreshed(self, transaction: Transaction) -> Snapshot:
        """The snapshot of the state that a transaction sees."""
        with self._refreshing:
            snapshot = self._snapshot.updated(self.state.folder, transaction)
            if snapshot.changes >= self._snapshot.changes:
                self._snapshot = snapshot
            self.describer.adopt(snapshot.facts)
            return snapshot

    def check_folder(self, facts: Mapping[str, Any]) -> None:
        """Checks that the state is not that of another folder.

        Raises:
          InputError: it is, and that folder is still there.
        """
        recorded = Path(facts.get("folder", self.folder))
        if not self.inside and recorded.is_dir() and not recorded.samefile(self.folder):
            raise InputError(
                f"{self.state.folder} holds the descriptions of {recorded}; choose another --collection for "
                f"{self.folder}."
            )

    @property
    def inside(self) -> bool:
        """Whether the descriptions lie in the folder of the photos."""
        return self.state.folder.resolve().is_relative_to(self.folder.resolve())

    def described(
        self,
        photos: Mapping[str, Photo],
        files: Mapping[str, Path],
        *,
        local: bool,
        progress: bool = False,
        at_once: bool = False,
        ray: str | None = None,
    ) -> tuple[dict[str, Photo], dict[str, str], int]:
        """Describes files and writes the descriptions; searches find each photo ``at_once``, or none of them yet.

        Returns:
          The photos with their descriptions or the reason why they have none, without those that changed meanwhile; the
          reasons; the number of described photos.
        """
        reasons = {path: photo.reason for path, photo in photos.items() if photo.reason}
        paths_of: dict[str, list[str]] = {}
        for path, photo in photos.items():
            if path not in reasons:
                paths_of.setdefault(photo.sha256, []).append(path)
        with self.state.reading() as transaction:
            rows = {digest: transaction.described(digest) for digest in paths_of}
        new = {paths[0]: files[paths[0]] for digest, paths in paths_of.items() if rows[digest] is None}
        count = 0
        with _bar(len(new), progress, self.folder.name) as advance:
            head = None if local or ray or not new or not self.describer.separate() else "global"
            describer = self.describer
            batches = describer.describe_on_ray(new, ray, advance) if ray else describer.describe(new, head, advance)
            for batch in batches if new else ():
                with self.state.writing() as transaction:
                    self.record(transaction)
                    for path, features in batch:
                        digest = photos[path].sha256
                        if not is_as_recorded(files[path], photos[path]):
                            reasons |= dict.fromkeys(paths_of[digest], "it changed while it was read")
                        elif isinstance(features, BadImageError):
                            reasons |= dict.fromkeys(paths_of[digest], str(features))
                        else:
                            encoding = None if head else self.describer.encoding
                            added = rows[digest] = transaction.describe(digest, features, encoding)
                            count += 1
                            if at_once:
                                transaction.put(photos[one]._replace(description=added) for one in paths_of[digest])
        ready = {}
        for path, photo in photos.items():
            row = rows.get(photo.sha256)
            if row is not None:
                ready[path] = photo._replace(description=row)
            elif path not in reasons or is_as_recorded(files[path], photo) or photo.reason:
                ready[path] = photo._replace(reason=reasons.get(path))
        return ready, reasons, count

    def record(self, transaction: Transaction) -> None:
        """Writes how photos are described, once that is known."""
        recorded = transaction.facts()
        if "settings" in recorded:
            self.describer.adopt(recorded)
        elif self.describer.facts:
            transaction.set_facts({**self.describer.facts, "folder": str(self.folder.resolve())})

    def index(self, kind: str | None) -> None:
        """Builds the index of a large collection anew where that is needed.

        The index before remains until the next call, for searches that have just begun.
        """
        snapshot = self.current()
        facts, neighbours = snapshot.facts, snapshot.neighbours
        chosen = kind or facts.get("index_kind")
        text, before = kind_of(chosen, len(snapshot)), facts.get("index")
        record = before
        if text == EXACT or not len(snapshot):
            record = None
        elif neighbours is None or text != neighbours.record["kind"] or is_stale(snapshot.descriptions, neighbours):
            record = built(self.state.folder, snapshot.changes, text, snapshot.descriptions, snapshot.vectors)
        for old in facts.get("old_indexes", []):
            removed(self.state.folder, old)
        remove_unknown(self.state.folder, [one for one in (record, before) if one])
        now = {"index": record, "index_kind": chosen, "old_indexes": [before] if before and record != before else []}
        if any(facts.get(name) != value for name, value in now.items()):
            with self.state.writing() as transaction:
                transaction.set_facts({**now, "changes": transaction.changes() + 1})

    def complete(self, limit: int | None, *, progress: bool) -> int:
        """Describes local features that are missing, see :meth:`collection.collection.Collection.complete`."""
        done = 0
        with self.state.alone():
            with self.state.reading() as transaction:
                snapshot, missing = self.refreshed(transaction), set(transaction.without_local())
                places = [place for place, row in enumerate(snapshot.descriptions) if int(row) in missing]
                files = dict(itertools.islice(self._unchanged_files(snapshot, transaction, places).items(), limit))
            with _bar(len(files), progress, "local features") as advance:
                for batch in self._local_features(files, advance):
                    self._write_local(batch)
                    done += len(batch)
        return done

    def local_features_of(self, snapshot: Snapshot, transaction: Transaction, places: Rows) -> dict[int, Features]:
        """Local features of candidates that the state lacks, by description; written where nobody else writes.

        They are as the state gives them back, so that the first search answers as later ones.
        """
        missing = set(transaction.without_local({int(row) for row in snapshot.descriptions[places]}))
        wanted = [int(place) for place in places if int(snapshot.descriptions[place]) in missing]
        files = self._unchanged_files(snapshot, transaction, wanted)
        computed: dict[int, Features] = {}
        for batch in self._local_features(files):
            computed |= batch
        if computed and self.state.writable:
            with self.state.alone(wait=False) as held:
                if held:
                    self._write_local(computed)
        return {row: self._as_written(features) for row, features in computed.items()}

    def _as_written(self, features: Features) -> Features:
        coding = self.describer.encoding
        return replace(features, **coding.decode(coding.encode([features]), slice(None), 0))

    def _unchanged_files(
        self, snapshot: Snapshot, transaction: Transaction, places: Sequence[int]
    ) -> dict[str, tuple[Path, Photo]]:
        """By description one of its photos, where that has not changed since it was described."""
        files = {}
        for place in places:
            path = snapshot.paths[place]
            photo, file = transaction.photo(path), file_of(self.folder, path)
            if photo is not None and is_as_recorded(file, photo):
                files[str(photo.description)] = file, photo
        return files

    def _local_features(
        self, files: Mapping[str, tuple[Path, Photo]], advance: Callable[[int], None] = lambda number: None
    ) -> Iterator[dict[int, Features]]:
        """Local features of files by description, without files that change meanwhile."""
        paths = {name: file for name, (file, _) in files.items()}
        for batch in self.describer.describe(paths, "local", advance) if files else ():
            yield {
                int(name): features
                for name, features in batch
                if isinstance(features, Features) and is_as_recorded(*files[name])
            }

    def _write_local(self, features: Mapping[int, Features]) -> None:
        with self.state.writing() as transaction:
            for row, one in features.items():
                transaction.add_local(row, one, self.describer.encoding)

    def query(self, file: Path, crop: Crop | None, head: str | None = None) -> tuple[Features, str]:
        """The features of a query, from the state where it is a photo of the collection; SHA-256 of a whole file."""
        photo = read(file, file.name) if crop is None else None
        digest = photo.sha256 if photo else ""
        with self.state.reading() as transaction:
            row = transaction.described(digest)
            if row is not None and not transaction.without_local([row]):
                return transaction.features(row, file.stem, self.describer.encoding), digest
        return self.describer.query(file, crop, head), digest

    def photo(self, transaction: Transaction, path: str) -> Photo:
        """A photo that the user has not taken out.

        Raises:
          InputError: there is none of this path.
        """
        photo = transaction.photo(path)
        if photo is None or photo.reason == REMOVED:
            raise InputError(f"The collection has no photo {path!r}.")
        return photo


@contextmanager
def _bar(total: int, progress: bool, what: str) -> Iterator[Callable[[int], None]]:
    """A progress line, where one is wanted and there is work."""
    with progress_bar(total=total, desc=what, unit="photo", disable=not progress or not total) as bar:
        yield bar.update
