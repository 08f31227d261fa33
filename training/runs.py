"""The record of a run in its folder: its settings, and whether it is finished."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from delg.common.errors import InputError
from delg.common.files import check_writable, read_json, sha256, write_json
from delg.saving import WEIGHTS

SETTINGS = "settings.json"
DONE = "done.json"
CHECKPOINTS = "checkpoints"
REPLICAS = "replicas"  # recorded beside the settings; a run may go on with others


def check_run(logdir: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
    """Checks that a folder is writable and holds no run with other settings.

    Args:
      logdir: folder of the run; made if absent.
      settings: see :func:`training.job.settings_of`.

    Raises:
      InputError: it cannot be used.
    """
    folder = check_writable(logdir)
    begun = (folder / CHECKPOINTS / "checkpoint").is_file() or (folder / DONE).is_file()
    if not begun or not (folder / SETTINGS).is_file():
        return
    there = read_json(folder / SETTINGS)
    keys = {*there, *settings} - {REPLICAS}
    different = sorted(key for key in keys if there.get(key) != settings.get(key))
    if different:
        listed = "; ".join(f"{key}: {there.get(key)!r} there, {settings.get(key)!r} now" for key in different)
        raise InputError(f"{logdir} holds a run with other settings ({listed}); choose another --logdir.")


def start_run(logdir: str | os.PathLike[str], settings: Mapping[str, Any], replicas: int) -> None:
    """Records the settings, and on how many devices the steps that follow are made."""
    write_json(Path(logdir) / SETTINGS, {**settings, REPLICAS: replicas})


def last_replicas(logdir: str | os.PathLike[str]) -> int | None:
    """On how many devices the run was last started; None where that is not known."""
    path = Path(logdir) / SETTINGS
    recorded = read_json(path).get(REPLICAS) if path.is_file() else None
    return None if recorded is None else int(recorded)


def finish_run(logdir: str | os.PathLike[str], step: int, output_model: str | os.PathLike[str]) -> None:
    """Records that the run is over, where its model is, and the SHA-256 of the model's weights."""
    model = Path(output_model).resolve()
    write_json(Path(logdir) / DONE, {"step": step, "model": str(model), "weights": sha256(model / WEIGHTS)})


def is_finished(logdir: str | os.PathLike[str], output_model: str | os.PathLike[str]) -> bool:
    """Whether the run is over and the weights that it wrote still lie in ``output_model``."""
    path, model = Path(logdir) / DONE, Path(output_model)
    if not path.is_file() or not (model / "config.json").is_file() or not (model / WEIGHTS).is_file():
        return False
    done = read_json(path)
    return bool(done.get("model") == str(model.resolve()) and done.get("weights") == sha256(model / WEIGHTS))
