"""A living collection: open a folder of photos, keep it in step, ask, get an answer."""

import itertools
import os
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from collection.calibrating import calibrated, labels_of
from collection.describing import AUTO, THREADS, Describer
from collection.files import REMOVED, Scan, file_of, is_as_recorded, read, scan
from collection.neighbours import EXACT, built, check_kind, is_stale, kind_of, remove_unknown, removed
from collection.results import Changes, Match, Result, Results
from collection.snapshot import Snapshot, SnapshotSource
from collection.state import Photo, State, Transaction
from delg.common import spec
from delg.common.errors import InputError, first_line
from delg.common.files import atomic_path
from delg.common.image_files import is_image_name
from delg.common.progress import progress_bar
from extraction.features import Features, Floats
from extraction.formats.base import FeatureSink
from extraction.formats.table import SINKS, write_features
from extraction.images import BadImageError, Crop, ImageRef
from matching.checks import whole
from matching.lookup import check_crop
from matching.ranking import Ranking
from matching.rerankers.table import build_reranker, suited
from matching.source import MemorySource
from matching.verdict import ABSENT, SAME, Calibration, Verdict, Verifier
from matching.verdict.calibration import FALSE_MATCH_RATE
from matching.verdict.verification import TOP_K

Image = str | os.PathLike[str] | bytes | NDArray[np.uint8]
"""A photo: a file, the bytes of a file, or ``(H, W, 3)`` uint8 RGB."""
HIDDEN = ".delg"
DIFFERENT = "different"
CERTAIN = Verdict(SAME, 1.0)
CALIBRATION = "verdict.json"  # learned from these photos, beside the state
Rows = NDArray[np.int64]


class BusyError(InputError):
    """Another process changes the collection."""


class Collection:
    """The photos of a folder, described once and searched from then on.

    What is computed lies in :data:`HIDDEN` in the folder, or in another place. Threads may share a collection, and
    several processes may search it while one changes it; a search sees the photos before a change or after it.
    TensorFlow is imported when the first photo has to be described.

    Example:
        >>> collection = delg.Collection.open("photos")
        >>> collection.sync()
        <Changes: 890 added>
        >>> print(collection.search("query.jpg", k=3))

    Attributes:
      folder: of the photos.
    """

    def __init__(self, folder: Path, state: State, model: str | None):
        """See :meth:`open`."""
        self.folder, self._state = folder, state
        with state.reading() as transaction:
            self._describer = Describer(model, transaction.facts())
        if self._describer.differs:
            self._describer.check()
        self._snapshot = Snapshot.empty()
        self._refreshing = threading.Lock()

    @classmethod
    def open(
        cls, folder: str | os.PathLike[str], model: str | None = None, *, state: str | os.PathLike[str] | None = None
    ) -> Self:
        """Opens the collection of a folder; :meth:`sync` describes its photos.

        Args:
          folder: of the photos, with all its sub-folders.
          model: a model folder or an extractor, see :func:`extraction.extractors.table.build_extractor`. None is the
            recorded one; ``auto`` where nothing is recorded yet.
          state: the folder for what is computed; None is ``.delg`` in the folder of the photos.

        Raises:
          InputError: there is no such folder, the state cannot be made or read, or ``model`` describes photos otherwise
            than the recorded one.
        """
        root = Path(folder)
        if not root.is_dir():
            raise InputError(f"The image folder {root} does not exist or is not a folder.")
        place = root / HIDDEN if state is None else Path(state)
        if state is None and not place.exists() and not os.access(root, os.W_OK):
            raise InputError(f"{root} cannot be written; choose another place for what is computed with --collection.")
        return cls(root, State(place), model)

    def __len__(self) -> int:
        """Number of photos that are searched."""
        return len(self._current())

    def __repr__(self) -> str:
        """Folder and number of photos."""
        return f"<Collection of {len(self)} photos in {self.folder}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files; a further use opens them again."""
        self._state.close()

    @property
    def writable(self) -> bool:
        """Whether this process may change the collection."""
        return self._state.writable

    @property
    def state_folder(self) -> Path:
        """Where the descriptions lie."""
        return self._state.folder

    @property
    def model(self) -> str:
        """The text of the extractor; ``auto`` before the first photo is described, where no other one is given."""
        return self._describer.model

    @property
    def paths(self) -> list[str]:
        """Paths of the photos that are searched, sorted."""
        return list(self._current().paths)

    @property
    def failed(self) -> dict[str, str]:
        """Reason by path of each file that cannot be described."""
        with self._state.reading() as transaction:
            return {one.path: one.reason for one in transaction.photos() if one.reason and one.reason != REMOVED}

    def pending(self) -> Changes:
        """What :meth:`sync` would do; new and changed files are read, and nothing is described."""
        with self._state.reading() as transaction:
            recorded = transaction.photos()
        return _changes(scan(self.folder, recorded), {}, 0)

    # Changes

    def sync(
        self, *, local: bool = True, index: str | None = None, progress: bool = False, wait: bool = True
    ) -> Changes:
        """Brings the collection in step with its folder: describes new and changed photos, forgets removed ones.

        A photo that was renamed, moved or copied is not described again. Searches see the changes all at once, at the
        end; in the first synchronisation they find what is described so far. After a stop at any moment, the next call
        takes the finished descriptions.

        Args:
          local: describe local features of all photos now. False leaves them to the searches where that costs nothing
            more: a search then describes its candidates.
          index: how photos are found by similarity: ``exact``, a kind of :data:`matching.indexes.table.INDEXES`, or the
            address of Milvus. None for the recorded choice, or ``exact`` up to 100,000 photos and ``ivf_sq`` above.
          progress: show a progress line on the error stream.
          wait: for another process that changes the collection.

        Returns:
          What has changed.

        Raises:
          BusyError: another process changes the collection, and ``wait`` is False.
          InputError: the folder or the state cannot be used, or the extractor cannot be built.
        """
        check_kind(index)
        with self._state.alone(wait=wait) as held:
            if not held:
                raise BusyError(f"Another process describes the photos of {self.folder}; try again when it has ended.")
            with self._state.reading() as transaction:
                self._describer.adopt(transaction.facts())
                recorded = transaction.photos()
                self._check_folder(transaction.facts())
            found = scan(self.folder, recorded)
            if recorded and not found.files and not self._inside:
                raise InputError(f"{self.folder} holds no photo any more; remove {self.state_folder} if that is right.")
            wanted = {**found.added, **found.changed}
            ready, reasons, described = self._described(
                wanted, found.files, local=local, progress=progress, at_once=not recorded
            )
            before = {photo.path: photo for photo in recorded}
            with self._state.writing() as transaction:
                self._record(transaction)
                transaction.remove([*found.removed, *found.renamed.values()])
                times = [photo for path, photo in found.unchanged.items() if before.get(path, photo) != photo]
                transaction.put(times, same=True)
                transaction.put([*ready.values(), *(found.unchanged[path] for path in found.renamed)])
                transaction.forget()
            self._index(index)
            if local:
                self.complete(progress=progress)
            return _changes(found, reasons, described)

    def _index(self, kind: str | None) -> None:
        """Builds the index of a large collection anew where that is needed.

        The index before remains until the next call, for searches that have just begun.
        """
        snapshot = self._current()
        facts, neighbours = snapshot.facts, snapshot.neighbours
        chosen = kind or facts.get("index_kind")
        text, before = kind_of(chosen, len(snapshot)), facts.get("index")
        record = before
        if text == EXACT or not len(snapshot):
            record = None
        elif neighbours is None or text != neighbours.record["kind"] or is_stale(snapshot.descriptions, neighbours):
            record = built(self.state_folder, snapshot.changes, text, snapshot.descriptions, snapshot.vectors)
        for old in facts.get("old_indexes", []):
            removed(self.state_folder, old)
        remove_unknown(self.state_folder, [one for one in (record, before) if one])
        now = {"index": record, "index_kind": chosen, "old_indexes": [before] if before and record != before else []}
        if any(facts.get(name) != value for name, value in now.items()):
            with self._state.writing() as transaction:
                transaction.set_facts({**now, "changes": transaction.changes() + 1})

    def complete(self, *, limit: int | None = None, progress: bool = False) -> int:
        """Describes the local features that are missing; see ``local`` of :meth:`sync`.

        Args:
          limit: describe no more photos than that, so that other changes need not wait; None for all.
          progress: show a progress line on the error stream.

        Returns:
          The number of photos that were described.
        """
        done = 0
        with self._state.alone():
            with self._state.reading() as transaction:
                snapshot, missing = self._refreshed(transaction), set(transaction.without_local())
                places = [place for place, row in enumerate(snapshot.descriptions) if int(row) in missing]
                files = dict(itertools.islice(self._unchanged_files(snapshot, transaction, places).items(), limit))
            with _bar(len(files), progress, "local features") as advance:
                for batch in self._local_features(files, advance):
                    self._write_local(batch)
                    done += len(batch)
        return done

    def calibrate(self, labels: str | Mapping[str, str] = "copies", *, progress: bool = False) -> Calibration:
        """Learns from these photos how evidence becomes a probability, for all later searches.

        Args:
          labels: ``copies`` learns from changed copies of the photos, without labels; ``folders`` from photos of one
            sub-folder, which show the same thing; or the label by path.
          progress: show a progress line on the error stream.

        Returns:
          The calibration, which lies beside the state as ``verdict.json``.

        Raises:
          InputError: there are too few photos, or too few with a label that another one has.
        """
        self._state.check_writable()
        self.complete(progress=progress)
        with self._state.reading() as transaction:
            snapshot = self._refreshed(transaction)
            source = SnapshotSource(self.folder, snapshot, transaction)
            files = [file_of(self.folder, path) for path in snapshot.paths]
            start = self._calibration(snapshot, shipped=True)
            wanted = labels_of(snapshot.paths, labels)
            calibration = calibrated(source, files, self._describer, start, wanted, progress=progress)
        calibration.save(self.state_folder / CALIBRATION)
        return calibration

    def add(self, image: Image, path: str | None = None) -> str:
        """Adds one photo: writes its file into the folder, unless it lies there already, and describes it.

        Args:
          image: the photo.
          path: of the photo below the folder; None for the name of the file.

        Returns:
          The path.

        Raises:
          InputError: the photo cannot be described (its file is then not kept), the path lies outside of the folder or
            belongs to another photo, or the folder cannot be written.
        """
        if path is None:
            if not isinstance(image, str | os.PathLike):
                raise InputError("A photo that is not a file needs a path in the collection.")
            source = Path(image)
            inside = source.resolve().is_relative_to(self.folder.resolve())
            path = source.resolve().relative_to(self.folder.resolve()).as_posix() if inside else source.name
        path = PurePosixPath(path).as_posix()
        target = self._place(path)
        with self._state.alone(), _one_sentence(path), self._file(image) as source:
            new = not target.exists()
            if not new and not target.samefile(source):
                raise InputError(f"The collection has a file {path!r} already.")
            made = [place for place in target.parents if not place.exists()]
            try:
                if new:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with atomic_path(target) as place:
                        shutil.copyfile(source, place)
                photo = read(target, path)
                ready, reasons, _ = self._described({path: photo} if photo else {}, {path: target}, local=True)
                if path in reasons or path not in ready:
                    raise InputError(f"{path} cannot be used: {reasons.get(path, 'it has changed meanwhile')}.")
            except BaseException:
                if new:
                    target.unlink(missing_ok=True)
                    for place in made:
                        place.rmdir()
                raise
            with self._state.writing() as transaction:
                self._record(transaction)
                transaction.put([ready[path]])
        return path

    def remove(self, path: str, *, delete: bool = False) -> None:
        """Takes a photo out of the collection, also for later synchronisations; :meth:`add` brings it back.

        Args:
          path: of the photo.
          delete: delete its file, too.

        Raises:
          InputError: there is no such photo.
        """
        path = PurePosixPath(path).as_posix()
        with self._state.alone(), _one_sentence(path), self._state.writing() as transaction:
            photo = self._photo(transaction, path)
            if delete:
                file_of(self.folder, path).unlink(missing_ok=True)
            transaction.remove([path])
            if not delete:
                transaction.put([photo._replace(description=None, reason=REMOVED)])

    def rename(self, path: str, new: str) -> None:
        """Renames or moves the file of a photo inside the folder; its description stays.

        Raises:
          InputError: there is no such photo, or the new path lies outside of the folder or is taken.
        """
        path, new = PurePosixPath(path).as_posix(), PurePosixPath(new).as_posix()
        target = self._place(new)
        with self._state.alone(), _one_sentence(path), self._state.writing() as transaction:
            photo = self._photo(transaction, path)
            if target.exists() and not target.samefile(file_of(self.folder, path)):
                raise InputError(f"The collection has a file {new!r} already.")
            target.parent.mkdir(parents=True, exist_ok=True)
            file_of(self.folder, path).rename(target)
            now = read(target, new)
            if now is not None and now.sha256 == photo.sha256:
                moved = now._replace(description=photo.description, reason=photo.reason)
            else:  # the next synchronisation describes it
                moved = photo._replace(path=new)
            transaction.remove([path])
            transaction.put([moved])

    # Questions

    def search(
        self,
        image: Image,
        k: int = 10,
        *,
        crop: Sequence[float] | None = None,
        rerank: str | None = AUTO,
        verify: int = TOP_K,
        false_match_rate: float = FALSE_MATCH_RATE,
    ) -> Results:
        """The photos that show what a query shows, best first.

        Args:
          image: the query; a path may also be that of a photo in the collection.
          k: number of photos in the answer.
          crop: ``(x1, y1, x2, y2)`` in pixels of the query; None for the whole.
          rerank: ``auto`` compares local features of the first candidates; None for global descriptors alone; or a
            reranker, see :mod:`matching.rerankers.table`.
          verify: number of candidates of ``auto``.
          false_match_rate: share of the queries that show nothing of the collection which ``auto`` may answer ``same``.

        Raises:
          InputError: the query cannot be used, an argument is out of range, or the collection holds no photo.
        """
        k, verify = whole("k", k), whole("verify", verify)
        box = check_crop(crop)
        if not len(self):
            state = (
                f"none of its {len(self.failed)} files can be described" if self.failed else "delg sync describes them"
            )
            raise InputError(f"The collection of {self.folder} holds no photo that is described; {state}.")
        with self._file(image) as file:
            name = str(image) if isinstance(image, str | os.PathLike) else "query"
            query = ImageRef(Path(name).stem, str(file), box)
            asked = _Asked(k, rerank, verify, false_match_rate)
            head = "global" if rerank is None else None
            features, digest = self._query(file, box, head)
            return self._answer(name, (query, features), replace(asked, digest=digest))

    def search_many(self, images: Iterable[Image], k: int = 10, **options: Any) -> Iterator[Results]:
        """Answers of :meth:`search` for several queries, in their order, computed ahead in threads."""
        rest = iter(images)
        with ThreadPoolExecutor(THREADS) as pool:
            running = deque(pool.submit(self.search, one, k, **options) for one in itertools.islice(rest, 2 * THREADS))
            while running:
                yield running.popleft().result()
                running.extend(pool.submit(self.search, one, k, **options) for one in itertools.islice(rest, 1))

    def match(
        self,
        first: Image,
        second: Image,
        *,
        crop: Sequence[float] | None = None,
        false_match_rate: float = FALSE_MATCH_RATE,
    ) -> Match:
        """Compares two photos, which need not be in the collection.

        Args:
          first: a photo.
          second: another one.
          crop: ``(x1, y1, x2, y2)`` in pixels of the first photo; None for the whole.
          false_match_rate: see :meth:`search`.

        Raises:
          InputError: a photo cannot be used.
        """
        box = check_crop(crop)
        with self._file(first) as one, self._file(second) as other:
            (query, _), (photo, _) = self._query(one, box), self._query(other, None)
        with self._verifying() as (_, verifier):
            found = verifier.pair(query, photo, false_match_rate)
        pairs = found.inliers.pairs
        points = np.concatenate([query.keypoints[pairs[:, 0]], photo.keypoints[pairs[:, 1]]], axis=1)
        return Match(
            found.similarity, points, found.probability, _of_pair(found.verdict.label), _square(found.transform)
        )

    @contextmanager
    def inliers_of(self, answer: Results) -> Iterator[Callable[[int], tuple[Features, Rows]]]:
        """A function for the page of an answer.

        Yields:
          By the place of a photo in the answer its features, and ``(M, 2)`` its inliers with the query, rows of local
          features.
        """
        assert answer.described is not None
        query = answer.described[1]
        with self._verifying() as (source, verifier):
            rows = {name: row for row, name in enumerate(source.names)}
            shown = np.array([rows[one.path] for one in answer if one.path in rows], np.int64)
            source.extra = self._local_features_of(source.snapshot, source.transaction, shown)

            def inliers(place: int) -> tuple[Features, Rows]:
                path = answer[place].path
                if path not in rows:  # removed since
                    return Features(path, (1, 1)), np.zeros((0, 2), np.int64)
                features = source.features(rows[path])
                return features, verifier.pair(query, features).inliers.pairs

            yield inliers

    def export(self, output: str | os.PathLike[str], to: str = "store") -> None:
        """Writes the features of all photos in another format, see :data:`extraction.formats.table.SINKS`.

        Local features that are missing are described first.

        Raises:
          InputError: the format is unknown, or the folder cannot be written or holds something else.
        """
        sink = spec.build(to, SINKS, "feature format", base=FeatureSink)
        if self._state.writable:
            self.complete()
        with self._state.reading() as transaction:
            write_features(SnapshotSource(self.folder, self._refreshed(transaction), transaction), output, sink)

    # Inner workings

    def _check_folder(self, facts: Mapping[str, Any]) -> None:
        """Checks that the state is not that of another folder.

        Raises:
          InputError: it is, and that folder is still there.
        """
        recorded = Path(facts.get("folder", self.folder))
        if not self._inside and recorded.is_dir() and not recorded.samefile(self.folder):
            raise InputError(
                f"{self.state_folder} holds the descriptions of {recorded}; choose another --collection for "
                f"{self.folder}."
            )

    @property
    def _inside(self) -> bool:
        """Whether the descriptions lie in the folder of the photos."""
        return self.state_folder.resolve().is_relative_to(self.folder.resolve())

    def _described(
        self,
        photos: Mapping[str, Photo],
        files: Mapping[str, Path],
        *,
        local: bool,
        progress: bool = False,
        at_once: bool = False,
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
        with self._state.reading() as transaction:
            rows = {digest: transaction.described(digest) for digest in paths_of}
        new = {paths[0]: files[paths[0]] for digest, paths in paths_of.items() if rows[digest] is None}
        count = 0
        with _bar(len(new), progress, self.folder.name) as advance:
            head = None if local or not new or not self._describer.separate() else "global"
            for batch in self._describer.describe(new, head, advance) if new else ():
                with self._state.writing() as transaction:
                    self._record(transaction)
                    for path, features in batch:
                        digest = photos[path].sha256
                        if not is_as_recorded(files[path], photos[path]):
                            reasons |= dict.fromkeys(paths_of[digest], "it changed while it was read")
                        elif isinstance(features, BadImageError):
                            reasons |= dict.fromkeys(paths_of[digest], str(features))
                        else:
                            encoding = None if head else self._describer.encoding
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

    def _record(self, transaction: Transaction) -> None:
        """Writes how photos are described, once that is known."""
        recorded = transaction.facts()
        if "settings" in recorded:
            self._describer.adopt(recorded)
        elif self._describer.facts:
            transaction.set_facts({**self._describer.facts, "folder": str(self.folder.resolve())})

    def _current(self) -> Snapshot:
        with self._state.reading() as transaction:
            return self._refreshed(transaction)

    def _refreshed(self, transaction: Transaction) -> Snapshot:
        """The snapshot of the state that a transaction sees."""
        with self._refreshing:
            snapshot = self._snapshot.updated(self.state_folder, transaction)
            if snapshot.changes >= self._snapshot.changes:
                self._snapshot = snapshot
            self._describer.adopt(snapshot.facts)
            return snapshot

    def _query(self, file: Path, crop: Crop | None, head: str | None = None) -> tuple[Features, str]:
        """The features of a query, from the state where it is a photo of the collection; SHA-256 of a whole file."""
        photo = read(file, file.name) if crop is None else None
        digest = photo.sha256 if photo else ""
        with self._state.reading() as transaction:
            row = transaction.described(digest)
            if row is not None and not transaction.without_local([row]):
                return transaction.features(row, file.stem, self._describer.encoding), digest
        return self._describer.query(file, crop, head), digest

    def _answer(self, name: str, described: tuple[ImageRef, Features], asked: "_Asked") -> Results:
        (_, query), k = described, asked.k
        verified = asked.rerank == AUTO
        settings = self._describer.facts.get("settings", {})
        reranker = build_reranker(suited(asked.rerank, settings)) if asked.rerank and not verified else None
        top_k = asked.verify if verified else reranker.top_k if reranker else 0
        with self._state.reading() as transaction:
            snapshot = self._refreshed(transaction)
            places, similarities = self._nearest(snapshot, query, max(k, top_k))
            source = SnapshotSource(self.folder, snapshot, transaction)
            if verified or (reranker and reranker.uses_local):
                source.extra = self._local_features_of(snapshot, transaction, places[:top_k])
            order, verdict, candidates = places, None, {}
            if reranker is not None:
                ranking = Ranking(places[None], similarities[None])
                order = reranker(MemorySource([query]), source, ranking).row(0)
            elif verified:
                verifier = Verifier(source, self._calibration(snapshot), top_k=top_k)
                answer = verifier(query, places, similarities, asked.false_match_rate)
                order = np.concatenate([places[: len(answer.candidates)][answer.order], places[top_k:]])
                verdict, candidates = answer.verdict, {one.row: one for one in answer.candidates}
                own = transaction.described(asked.digest)
                same = [
                    place for place in order.tolist() if place in candidates and snapshot.descriptions[place] == own
                ]
                if same:  # the same bytes
                    order, verdict = np.array([*same, *order[~np.isin(order, same)]], np.int64), CERTAIN
                    candidates |= {place: replace(candidates[place], verdict=CERTAIN) for place in same}
            changed = [self._has_changed(transaction, snapshot.paths[place]) for place in order[:k]]
        before = {place: (rank, s) for rank, (place, s) in enumerate(zip(places.tolist(), similarities.tolist()), 1)}
        results = []
        for rank, place in enumerate(order[:k].tolist(), 1):
            path, candidate = snapshot.paths[place], candidates.get(place)
            file = file_of(self.folder, path)
            result = Result(path, file, before[place][1], rank, before[place][0], changed=changed[rank - 1])
            if candidate is not None:
                result = replace(
                    result,
                    inliers=len(candidate.inliers),
                    probability=candidate.probability,
                    verdict=_of_pair(candidate.verdict.label),
                    transform=_square(candidate.transform),
                )
            results.append(result)
        return Results(
            name,
            tuple(results),
            len(snapshot),
            probability=verdict.probability if verdict else None,
            verdict=verdict.label if verdict else "",
            described=described,
        )

    @contextmanager
    def _verifying(self) -> Iterator[tuple[SnapshotSource, Verifier]]:
        """The photos as features, and what compares two of them."""
        with self._state.reading() as transaction:
            snapshot = self._refreshed(transaction)
            source = SnapshotSource(self.folder, snapshot, transaction)
            yield source, Verifier(source, self._calibration(snapshot), threads=1)

    def _calibration(self, snapshot: Snapshot, *, shipped: bool = False) -> Calibration:
        """From evidence to probabilities: the collection's own, if there is one and it is wanted, or the package's."""
        own = self.state_folder / CALIBRATION
        if "settings" not in snapshot.facts:
            raise InputError(f"The collection of {self.folder} holds no photo that is described; delg sync does that.")
        if own.is_file() and not shipped:
            return Calibration.load(own)
        return Calibration.of(snapshot.facts["settings"], snapshot.facts["heads"])

    def _nearest(self, snapshot: Snapshot, query: Features, count: int) -> tuple[Rows, Floats]:
        """The most similar photos whose files are still there, and their similarities."""
        if query.global_descriptor.size != snapshot.vectors.shape[1]:
            raise InputError(
                f"The query's global descriptor has {query.global_descriptor.size} values, those of the collection "
                f"{snapshot.vectors.shape[1]}."
            )
        wanted = count
        while True:
            places, similarities = snapshot.nearest(query.global_descriptor, min(count, len(snapshot)))
            present = np.array([self._present(snapshot.paths[place]) for place in places], bool)
            if present.sum() >= wanted or len(places) == len(snapshot):
                return places[present][:wanted], similarities[present][:wanted]
            count *= 2

    def _present(self, path: str) -> bool:
        """Whether the file of a photo is there; True where the whole folder is away, as an unmounted disk is."""
        return os.path.lexists(file_of(self.folder, path)) or not self.folder.is_dir()

    def _has_changed(self, transaction: Transaction, path: str) -> bool:
        """Whether a file has another size or time than when it was described; False where it is gone."""
        photo = transaction.photo(path)
        try:
            now = file_of(self.folder, path).stat()
        except OSError:
            return False
        if photo is None:
            return False
        return (now.st_size, now.st_mtime_ns) != (photo.size, photo.mtime_ns)

    def _local_features_of(self, snapshot: Snapshot, transaction: Transaction, places: Rows) -> dict[int, Features]:
        """Local features of candidates that the state lacks, by description; written where nobody else writes."""
        missing = set(transaction.without_local({int(row) for row in snapshot.descriptions[places]}))
        wanted = [int(place) for place in places if int(snapshot.descriptions[place]) in missing]
        files = self._unchanged_files(snapshot, transaction, wanted)
        computed: dict[int, Features] = {}
        for batch in self._local_features(files):
            computed |= batch
        if computed and self._state.writable:
            with self._state.alone(wait=False) as held:
                if held:
                    self._write_local(computed)
        return computed

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
        for batch in self._describer.describe(paths, "local", advance) if files else ():
            yield {
                int(name): features
                for name, features in batch
                if isinstance(features, Features) and is_as_recorded(*files[name])
            }

    def _write_local(self, features: Mapping[int, Features]) -> None:
        with self._state.writing() as transaction:
            for row, one in features.items():
                transaction.add_local(row, one, self._describer.encoding)

    @contextmanager
    def _file(self, image: Image) -> Iterator[Path]:
        """A file that holds an image; a path that does not exist may be that of a photo in the collection.

        Raises:
          InputError: it is no file, or the array is no image.
        """
        if isinstance(image, str | os.PathLike):
            if "\0" in os.fspath(image):
                raise InputError(f"Expected the path of a file. Received: {image!r}")
            with _one_sentence(image):
                file, inside = Path(image), file_of(self.folder, os.fspath(image))
                found = inside if not file.exists() and inside.exists() else file
            yield found
            return
        if not isinstance(image, bytes | np.ndarray):
            raise InputError(f"Expected a file, its bytes, or an array as a photo. Received: {type(image).__name__}")
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
                raise InputError(f"Expected (H, W, 3) uint8 RGB. Received: {image.shape} {image.dtype}")
            ok, coded = cv2.imencode(".png", image[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
            assert ok
            image = coded.tobytes()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "query")
            file.write_bytes(image)
            yield file

    def _place(self, path: str) -> Path:
        """The file of a new photo.

        Raises:
          InputError: the path is not that of an image below the folder.
        """
        parts = PurePosixPath(path).parts
        inside = parts and not path.startswith("/") and not any(part in ("", "..") or part[0] == "." for part in parts)
        target = self.folder / path
        if not inside or "\\" in path or "\0" in path or not is_image_name(path):
            raise InputError(
                f"Expected the path of an image below the folder, such as 'album/1.jpg'. Received: {path!r}"
            )
        if not target.parent.resolve().is_relative_to(self.folder.resolve()):
            raise InputError(f"{path!r} leads out of the folder by a link.")
        return target

    def _photo(self, transaction: Transaction, path: str) -> Photo:
        photo = transaction.photo(path)
        if photo is None or photo.reason == REMOVED:
            raise InputError(f"The collection has no photo {path!r}.")
        return photo


@dataclass(frozen=True)
class _Asked:
    """The arguments of :meth:`Collection.search` besides the query, and the SHA-256 of a query that is a whole file."""

    k: int
    rerank: str | None
    verify: int
    false_match_rate: float
    digest: str = ""


@contextmanager
def _one_sentence(path: str | os.PathLike[str]) -> Iterator[None]:
    """Within it an error of the file system becomes an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{error.filename or path!s}: {error.strerror or first_line(error)}.") from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path!s}: {first_line(error)}.") from error


def _of_pair(label: str) -> str:
    """A verdict on two photos."""
    return DIFFERENT if label == ABSENT else label


def _square(transform: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """A transform as a ``(3, 3)`` matrix."""
    if transform is None or len(transform) == 3:
        return transform
    return np.vstack([transform, [0.0, 0.0, 1.0]])


def _changes(found: Scan, reasons: Mapping[str, str], described: int) -> Changes:
    return Changes(
        added=[path for path in found.added if path not in reasons],
        removed=found.removed,
        renamed={old: new for new, old in found.renamed.items()},
        changed=[path for path in found.changed if path not in reasons],
        failed=reasons,
        described=described,
    )


@contextmanager
def _bar(total: int, progress: bool, what: str) -> Iterator[Callable[[int], None]]:
    """A progress line, where one is wanted and there is work."""
    with progress_bar(total=total, desc=what, unit="photo", disable=not progress or not total) as bar:
        yield bar.update
