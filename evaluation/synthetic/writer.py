"""Writes the folder of a set with several processes; resumable at any moment, the manifest comes last."""

import io
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from delg.common.errors import InputError
from delg.common.files import check_writable, read_json, remove_leftovers, write_bytes, write_json
from delg.common.progress import progress_bar
from evaluation.synthetic.dataset import (
    VERSION,
    Landmark,
    LandmarkSetOptions,
    draw_landmark,
    ground_truth,
    landmarks,
    look,
    stream,
)
from evaluation.synthetic.view import plan_view, render_view

CONFIG, MANIFEST = "config.json", "manifest.json"

Record = dict[str, Any]


def write_landmark(config: LandmarkSetOptions, folder: Path, landmark: Landmark) -> dict[str, Record]:
    """Writes the missing images of one landmark.

    Returns:
      For every view of it: landmark, kind, size, homography, bbx, visible, coverage, and whether it was written now.
    """
    _, outline, _ = look(config.seed, landmark)
    facade, records = None, {}
    for shot in landmark.shots:
        where = (config.seed, landmark.split, landmark.number)
        view = plan_view(stream(*where, "geometry", shot.number), shot.kind, outline, config.image_size)
        missing = not (folder / shot.file).exists()
        if missing:
            facade = facade or draw_landmark(config.seed, landmark)
            write_bytes(folder / shot.file, render_view(stream(*where, "appearance", shot.number), view, facade))
        records[shot.name] = {
            "landmark": landmark.name,
            "kind": shot.kind,
            "size": list(view.size),
            "homography": view.homography,
            "bbx": list(view.bbx),
            "visible": round(view.visible, 4),
            "coverage": round(view.coverage, 4),
            "written": missing,
        }
    return records


def _start_worker() -> None:
    """One thread of OpenCV per process, and no worker outlives a parent that was killed."""
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()

    def leave() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=leave, daemon=True).start()


def _job(arguments: tuple[LandmarkSetOptions, Path, Landmark]) -> dict[str, Record]:
    return write_landmark(*arguments)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """A context in which Ctrl-C has no effect on this process and new processes; for the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _results(
    config: LandmarkSetOptions, folder: Path, marks: list[Landmark], workers: int
) -> Iterator[Iterator[dict[str, Record]]]:
    """The records of every landmark in order, made here or by worker processes."""
    jobs = [(config, folder, mark) for mark in marks]
    if workers == 1:
        yield map(_job, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        try:
            with _interrupts_ignored():  # workers inherit this: a worker finishes its landmark first
                results = pool.map(_job, jobs)
            yield results
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _check_folder(config: LandmarkSetOptions, output_dir: str | os.PathLike[str]) -> tuple[Path, bool]:
    """The folder, checked to be writable and without other content; and whether the set is complete."""
    folder = check_writable(output_dir)
    expected = {"version": VERSION, **asdict(config)}
    if (folder / CONFIG).exists():
        recorded = read_json(folder / CONFIG)
        if recorded != expected:
            differing = [k for k in expected if not isinstance(recorded, dict) or recorded.get(k) != expected[k]]
            raise InputError(
                f"{folder} holds a landmark set made with another {', '.join(differing) or CONFIG}; "
                "choose another --output_dir or delete it."
            )
    elif any((folder / name).exists() for name in ("train", "jpg")):
        raise InputError(f"{folder} holds a train or jpg folder but no {CONFIG}: not a landmark set; choose another.")
    else:
        write_json(folder / CONFIG, expected)
    return folder, (folder / MANIFEST).exists()


def write_set(
    config: LandmarkSetOptions, output_dir: str | os.PathLike[str], workers: int = 1, progress: bool = True
) -> dict[str, Any]:
    """Writes a landmark set, or the missing part of the set.

    Args:
      config: options of the set.
      output_dir: the folder; made if absent.
      workers: number of processes; 1 uses the current process.
      progress: whether to show a progress bar.

    Returns:
      The manifest, with ``"written"``: the number of images written by this call (0 for a complete set).

    Raises:
      InputError: the folder cannot be written, or has other content.
    """
    if workers < 1:
        raise InputError(f"--num_workers must be at least 1. Received: {workers}")
    folder, complete = _check_folder(config, output_dir)
    if complete:
        return {**read_json(folder / MANIFEST), "written": 0}
    for place in (folder, folder / "jpg", *(folder / "train").glob("*")):
        remove_leftovers(place, "*")
    marks = list(landmarks(config))
    records: dict[str, Record] = {}
    with _results(config, folder, marks, workers) as results:
        for written in progress_bar(results, total=len(marks), desc="landmarks", unit="landmark", disable=not progress):
            records.update(written)
    return _finish(config, folder, records)


def _finish(config: LandmarkSetOptions, folder: Path, records: dict[str, Record]) -> dict[str, Any]:
    """Writes ground truth, homographies and views, and the manifest last."""
    written = sum(record.pop("written") for record in records.values())
    buffer = io.BytesIO()
    homographies = {name: record.pop("homography") for name, record in records.items()}
    np.savez(buffer, **homographies)
    write_bytes(folder / "homographies.npz", buffer.getvalue())
    boxes = {name: record["bbx"] for name, record in records.items() if name.endswith("_query")}
    truth = ground_truth(config, boxes)
    write_bytes(folder / "gnd_landmarks.pkl", pickle.dumps(truth, protocol=4))
    write_json(folder / "views.json", records)
    counts = {
        "training_images": config.num_classes * config.views_per_class,
        "queries": len(truth["qimlist"]),
        "database_images": len(truth["imlist"]),
    }
    manifest = {"config": {"version": VERSION, **asdict(config)}, "counts": counts}
    write_json(folder / MANIFEST, manifest)
    return {**manifest, "written": written}
