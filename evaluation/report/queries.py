"""Average precision of each query under each method, as a sortable table of the page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.report.text import fixed

MOST = 1000  # queries at either end of the table


@dataclass(frozen=True)
class Query:
    """A line of the table.

    Attributes:
      name: name of the query.
      values: average precision under each method, in percent; NaN without positives.
      change: change of the last method against the first.
    """

    name: str
    values: list[float]
    change: float

    @property
    def kind(self) -> str:
        """``"up"``, ``"down"`` or ``"same"``."""
        return "up" if self.change > 0.05 else "down" if self.change < -0.05 else "same"

    @property
    def cells(self) -> list[str]:
        """The formatted values, and the change where there are several values."""
        change = [fixed(self.change, sign=True)] if len(self.values) > 1 else []
        return [*map(fixed, self.values), *change]


@dataclass(frozen=True)
class Queries:
    """The table: names of the methods, lines with the worst first, and the number of lines left out in the middle."""

    methods: list[str]
    rows: list[Query]
    more: int


def per_query(names: Sequence[str], ap: Mapping[str, Sequence[float]]) -> Queries:
    """The table of methods on the same queries, by increasing average precision of the first method.

    Args:
      names: names of the queries.
      ap: ``{method: [percent of each query]}``.

    Returns:
      The worst 1,000 and the best 1,000 lines, or all of fewer lines; queries without positives are left out.
    """
    methods = list(ap)
    rows = []
    for q, name in enumerate(names):
        values = [ap[method][q] for method in methods]
        if not all(map(math.isnan, values)):
            rows.append(Query(name, values, values[-1] - values[0]))
    rows.sort(key=lambda query: query.values[0])
    left_out = max(len(rows) - 2 * MOST, 0)
    return Queries(methods, rows[:MOST] + rows[MOST + left_out :], left_out)
