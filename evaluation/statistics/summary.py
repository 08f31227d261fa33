"""The measures of a report as samples for the bootstrap, and their intervals and paired changes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from evaluation.statistics.bootstrap import Mean, Sample, between, summary
from evaluation.statistics.clusters import Groups
from evaluation.statistics.gap import Gap

Samples = dict[str, dict[str, Sample]]  # row, protocol


def grouped_of(queries: Mapping[str, Any]) -> Groups:
    """``(Q,)`` the group of each query; a group per query where the report records no groups."""
    return np.array(queries.get("groups", range(len(queries["names"]))), np.int64)


def samples(queries: Mapping[str, Any], measure: str) -> dict[str, Samples]:
    """The measures of a report.

    Args:
      queries: see :class:`evaluation.report.model.Report`.
      measure: name of the main measure.

    Returns:
      ``{measure: {row: {protocol: sample}}}``, the first measure first.
    """
    grouped, places = grouped_of(queries), queries.get("places")
    samples_of_measure: dict[str, Samples] = {measure: {}}
    for row, protocols in queries["ap"].items():
        samples_of_measure[measure][row] = {
            protocol: Gap(np.array(values, np.float64), np.array(places[row][protocol], np.float64), grouped)
            if places
            else Mean(values, grouped)
            for protocol, values in protocols.items()
        }
    for name, rows in queries.get("hits", {}).items():
        samples_of_measure[name] = {
            row: {p: Mean(values, grouped) for p, values in protocols.items()} for row, protocols in rows.items()
        }
    return samples_of_measure


def trusted(queries: Mapping[str, Any], measure: str) -> dict[str, Any]:
    """Intervals and paired changes of all measures.

    Args:
      queries: see :class:`evaluation.report.model.Report`.
      measure: name of the main measure.

    Returns:
      For the main measure the result of :func:`evaluation.statistics.bootstrap.summary`, and under ``between`` that of
      :func:`evaluation.statistics.bootstrap.between`; for other measures ``{measure:
      {"intervals", "paired"}}`` under ``hits``. p-values are corrected within a measure and protocol.
    """
    found = samples(queries, measure)
    summaries = {name: summary(rows) for name, rows in found.items()}
    first = summaries.pop(measure) | {"between": between(found[measure])}
    hits = {name: {key: entry[key] for key in ("intervals", "paired")} for name, entry in summaries.items()}
    return first | ({"hits": hits} if hits else {})
