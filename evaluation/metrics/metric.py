"""A metric of a method on a benchmark."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Metric:
    """A metric under one protocol.

    Attributes:
      value: value over all queries, in percent unless the metric has another unit.
      per_query: ``(Q,)`` values of the single queries, in the unit of ``value``; NaN for a query without value. The
        report shows the values of a benchmark's first metric, with intervals; None for a metric without such values.
      places: ``(Q,)`` places of a global average precision, see :class:`evaluation.statistics.gap.Gap`; None for a
        mean.
      compared: whether the report shows intervals and paired changes of this metric, although it is not the first.
      in_table: whether the metric is a column of the tables; otherwise only in ``metrics.txt`` and ``report.json``.
    """

    value: float
    per_query: Values | None = None
    places: Values | None = None
    compared: bool = False
    in_table: bool = True

    @classmethod
    def mean(cls, per_query: Values, *, compared: bool = False) -> Self:
        """The mean of fractions ``(Q,)`` as a metric in percent; queries with NaN are left out."""
        valued = per_query[~np.isnan(per_query)]
        value = float(valued.mean()) if len(valued) else float("nan")
        return cls(100 * value, 100 * per_query, compared=compared)

    def to_json(self) -> dict[str, Any]:
        """A JSON document; :meth:`from_json` reads it."""
        arrays = {name: getattr(self, name) for name in ("per_query", "places")}
        return {
            "value": self.value,
            **{name: None if values is None else values.tolist() for name, values in arrays.items()},
            "compared": self.compared,
            "in_table": self.in_table,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """The inverse of :meth:`to_json`."""
        arrays = {
            name: None if document[name] is None else np.array(document[name], np.float64)
            for name in ("per_query", "places")
        }
        return cls(document["value"], **arrays, compared=document["compared"], in_table=document["in_table"])
