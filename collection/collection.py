"""A living collection: open a folder of photos, keep it in step, ask, get an answer."""

import itertools
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np

from collection.answering import BY_EVIDENCE, Question, answer
from collection.contents import Contents
from collection.describing import THREADS
from collection.files import REMOVED, Scan, file_of, image_file, in_one_sentence, new_file, read, scan
from collection.images import Image
from collection.neighbours import Rows, check_kind
from collection.results import Changes, Match, Results
from collection.snapshot import SnapshotSource
from collection.state import State
from collection.verdicts import (
    CALIBRATION,
    RELIABILITY,
    calibrated,
    calibration_of,
    compared,
    labels_of,
    shipped_calibration,
)
from delg.common import spec
from delg.common.errors import InputError
from delg.common.files import atomic_path, write_text
from extraction.features import Features
from extraction.formats.base import FeatureSink
from extraction.formats.table import SINKS, write_features
from extraction.images import ImageRef
from matching.checks import whole
from matching.lookup import check_crop
from matching.verdict import Calibration, Verifier
from matching.verdict.calibration import FALSE_MATCH_RATE
from matching.verdict.verification import TOP_K

HIDDEN = ".delg"


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
        self._contents = Contents(folder, state, model)

    @classmethod
    def open(
        cls, folder: str | os.PathLike[str], model: str | None = None, *, state: str | os.PathLike[str] | None = None
    ) -> Self:
        """Opens the collection of a folder; :meth:`sync` describes its photos.

        Args:
          folder: of the photos, with all its sub-folders; links that lead out of the folder are not followed.
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
        return len(self._contents.current())

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
        return self._contents.describer.model

    @property
    def paths(self) -> list[str]:
        """Paths of the photos that are searched, sorted."""
        return list(self._contents.current().paths)

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
        self,
        *,
        local: bool = True,
        index: str | None = None,
        ray: str | None = None,
        progress: bool = False,
        wait: bool = True,
    ) -> Changes:
        """Brings the collection in step with its folder: describes new and changed photos, forgets removed ones.

        A photo that was renamed, moved or copied is not described again. Searches see the changes all at once, at the
        end: of a folder whose photos moved or changed, a part of the changes would be a state that it never had. In the
        first synchronisation, which only adds, they find what is described so far. After a stop at any moment, the
        next call takes the finished descriptions.

        Args:
          local: describe local features of all photos now. False leaves them to the searches where that costs nothing
            more: a search then describes its candidates.
          index: how photos are found by similarity: ``exact``, a kind of :data:`matching.indexes.table.INDEXES`, or the
            address of Milvus. None for the recorded choice, or ``exact`` up to 100,000 photos and ``ivf_sq`` above.
          ray: address of a Ray cluster whose machines see the folder and describe its photos, as ``HOST:6379``;
            ``local`` starts one in this machine. None for this process.
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
                self._contents.describer.adopt(transaction.facts())
                recorded = transaction.photos()
                self._contents.check_folder(transaction.facts())
            found = scan(self.folder, recorded)
            if recorded and not found.files and not self._contents.inside:
                raise InputError(f"{self.folder} holds no photo any more; remove {self.state_folder} if that is right.")
            wanted = {**found.added, **found.changed}
            ready, reasons, described = self._contents.described(
                wanted, found.files, local=local, progress=progress, at_once=not recorded, ray=ray
            )
            before = {photo.path: photo for photo in recorded}
            with self._state.writing() as transaction:
                self._contents.record(transaction)
                transaction.remove([*found.removed, *found.renamed.values()])
                times = [photo for path, photo in found.unchanged.items() if before.get(path, photo) != photo]
                transaction.put(times, same=True)
                transaction.put([*ready.values(), *(found.unchanged[path] for path in found.renamed)])
                transaction.forget()
            self._contents.index(index)
            if local:
                self.complete(progress=progress)
            return _changes(found, reasons, described)

    def complete(self, *, limit: int | None = None, progress: bool = False) -> int:
        """Describes the local features that are missing; see ``local`` of :meth:`sync`.

        Args:
          limit: describe no more photos than that, so that other changes need not wait; None for all.
          progress: show a progress line on the error stream.

        Returns:
          The number of photos that were described.
        """
        return self._contents.complete(limit, progress=progress)

    def calibrate(self, labels: str | Mapping[str, str] = "copies", *, progress: bool = False) -> Calibration:
        """Learns from these photos how evidence becomes a probability, for all later searches.

        Args:
          labels: ``copies`` learns from changed copies of the photos, without labels; ``folders`` from photos of one
            sub-folder, which show the same thing; or the label by path.
          progress: show a progress line on the error stream.

        Returns:
          The calibration, which lies beside the state as ``verdict.json``; ``verdict.svg`` shows how reliable its
          probabilities are, where the photos suffice for that.

        Raises:
          InputError: there are too few photos, or too few with a label that another one has.
        """
        self._state.check_writable()
        self.complete(progress=progress)
        with self._state.reading() as transaction:
            snapshot = self._contents.refreshed(transaction)
            source = SnapshotSource(self.folder, snapshot, transaction)
            files = [file_of(self.folder, path) for path in snapshot.paths]
            start = shipped_calibration(self._contents, snapshot)
            wanted = labels_of(snapshot.paths, labels)
            calibration, chart = calibrated(source, files, self._contents.describer, start, wanted, progress=progress)
        calibration.save(self.state_folder / CALIBRATION)
        if chart is None:
            (self.state_folder / RELIABILITY).unlink(missing_ok=True)
        else:
            write_text(self.state_folder / RELIABILITY, chart)
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
        target = new_file(self.folder, path)
        with self._state.alone(), in_one_sentence(path), image_file(image, self.folder) as source:
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
                ready, reasons, _ = self._contents.described({path: photo} if photo else {}, {path: target}, local=True)
                if path in reasons or path not in ready:
                    raise InputError(f"{path} cannot be used: {reasons.get(path, 'it has changed meanwhile')}.")
            except BaseException:
                if new:
                    target.unlink(missing_ok=True)
                    for place in made:
                        place.rmdir()
                raise
            with self._state.writing() as transaction:
                self._contents.record(transaction)
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
        with self._state.alone(), in_one_sentence(path), self._state.writing() as transaction:
            photo = self._contents.photo(transaction, path)
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
        target = new_file(self.folder, new)
        with self._state.alone(), in_one_sentence(path), self._state.writing() as transaction:
            photo = self._contents.photo(transaction, path)
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
        rerank: str | None = BY_EVIDENCE,
        verify: int = TOP_K,
        false_match_rate: float = FALSE_MATCH_RATE,
    ) -> Results:
        """The photos that show what a query shows, best first.

        Args:
          image: the query; a path may also be that of a photo in the collection.
          k: number of photos in the answer.
          crop: ``(x1, y1, x2, y2)`` in pixels of the query; None for the whole.
          rerank: ``auto`` compares local features of the first candidates; None for global descriptors alone; or a
            reranker, see :mod:`matching.rerankers.table`. The photos of the answer also get a verdict where it is a
            geometric one, such as ``ransac``.
          verify: number of candidates of ``auto``.
          false_match_rate: share of the queries that show nothing of the collection which may be answered ``same``.

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
        with image_file(image, self.folder) as file:
            name = str(image) if isinstance(image, str | os.PathLike) else "query"
            query = ImageRef(Path(name).stem, str(file), box)
            head = "global" if rerank is None else None
            features, digest = self._contents.query(file, box, head)
            question = Question(k, rerank, verify, false_match_rate, digest)
            results = answer(self._contents, name, (query, features), question)
            given = isinstance(image, str | os.PathLike)
            return results if given else replace(results, picture=file.read_bytes())

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
        with image_file(first, self.folder) as one, image_file(second, self.folder) as other:
            (query, _), (photo, _) = self._contents.query(one, box), self._contents.query(other, None)
        with self._verifying() as (_, verifier):
            return compared(verifier, query, photo, false_match_rate)

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
            source.extra = self._contents.local_features_of(source.snapshot, source.transaction, shown)

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
            write_features(
                SnapshotSource(self.folder, self._contents.refreshed(transaction), transaction), output, sink
            )

    @contextmanager
    def _verifying(self) -> Iterator[tuple[SnapshotSource, Verifier]]:
        """The photos as features, and what compares two of them."""
        with self._state.reading() as transaction:
            snapshot = self._contents.refreshed(transaction)
            source = SnapshotSource(self.folder, snapshot, transaction)
            yield source, Verifier(source, calibration_of(self._contents, snapshot), threads=1)


def _changes(found: Scan, reasons: Mapping[str, str], described: int) -> Changes:
    return Changes(
        added=[path for path in found.added if path not in reasons],
        removed=found.removed,
        renamed={old: new for new, old in found.renamed.items()},
        changed=[path for path in found.changed if path not in reasons],
        failed=reasons,
        described=described,
    )
