"""Average precision of each query by each method, as a table that the page can sort."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.report.text import fixed

MOST = 1000  # queries of either end of a page


@dataclass(frozen=True)
class Query:
    """One line.

    Attributes:
      name: of the query.
      values: its average precision by each method, in percent; NaN without positives.
      change: of the last method against the first.
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
        """The values, and the change where there are several, for reading."""
        change = [fixed(self.change, sign=True)] if len(self.values) > 1 else []
        return [*map(fixed, self.values), *change]


@dataclass(frozen=True)
class Queries:
    """The table: names of its methods, its lines, worst first, and how many more stand in its middle, left out."""

    methods: list[str]
    rows: list[Query]
    more: int


def per_query(names: Sequence[str], ap: Mapping[str, Sequence[float]]) -> Queries:
    """The table of some methods on the same queries, by increasing average precision of the first.

    Args:
      names: of the queries.
      ap: ``{method: [percent of each query]}``.

    Returns:
      The worst 1,000 lines and the best 1,000, or all where they are fewer; queries without positives are left out.
    """
    methods = list(ap)
    found = []
    for q, name in enumerate(names):
        values = [ap[method][q] for method in methods]
        if not all(map(math.isnan, values)):
            found.append(Query(name, values, values[-1] - values[0]))
    found.sort(key=lambda query: query.values[0])
    more = max(len(found) - 2 * MOST, 0)
    return Queries(methods, found[:MOST] + found[MOST + more :], more)
