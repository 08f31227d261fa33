"""The best model of a training so far, by what a retrieval check gives."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from delg.common.files import read_json, write_json
from delg.saving import save

FOLDER, RECORD, METRIC = "best", "best.json", "mAP"


class BestModel:
    """Keeps ``{logdir}/best``, a model folder, with ``best.json``: the step and the values.

    Args:
      logdir: folder of the run.
    """

    def __init__(self, logdir: str | os.PathLike[str]) -> None:
        self.folder = Path(logdir) / FOLDER
        record = self.folder / RECORD
        self.value = float(read_json(record)["values"][METRIC]) if record.is_file() else -math.inf

    def offer(self, model: Any, step: int, values: Mapping[str, float]) -> bool:
        """Saves the model where its mAP is above all before.

        Args:
          model: a :class:`delg.model.Delg` with the weights that were measured.
          step: steps done.
          values: what the check gave; without a mAP nothing is kept.

        Returns:
          Whether it was saved.
        """
        value = values.get(METRIC, math.nan)
        if not value > self.value:
            return False
        save(model, self.folder)
        write_json(self.folder / RECORD, {"step": step, "values": dict(values)})
        self.value = value
        return True
