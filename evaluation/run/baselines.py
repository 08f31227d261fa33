"""The row that needs no training: RootSIFT with RANSAC, beside every model on real photos unless asked otherwise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.benchmarks.base import Benchmark
from evaluation.run.rerank_rows import global_only

BASELINE, RERANKER = "rootsift", "ransac"
DRAWN = ("landmarks",)  # benchmarks that are not of photos
MOST_IMAGES, MOST_QUERIES = 10_000, 1_000
LEFT_OUT = "The row of RootSIFT + RANSAC is left out: {reason}; --baselines=rootsift adds it."


@dataclass(frozen=True)
class Baselines:
    """The baselines of a run.

    Attributes:
      texts: of the extractors.
      verified: the name of that which was added unasked, and is reranked by RANSAC whatever else is asked for; None
        where nothing was added.
      left_out: a sentence on why it was not added; None where it was, or baselines were asked for.
    """

    texts: tuple[str, ...]
    verified: str | None = None
    left_out: str | None = None

    def rerankers(self, method: str, asked: Mapping[str, str]) -> dict[str, str]:
        """What reranks a method.

        Args:
          method: its name.
          asked: row suffix to the reranker's text, of all methods.

        Returns:
          The same, for :attr:`verified` with RANSAC where none of them matches local features.
        """
        local = len(global_only(asked)) < len(asked)
        return dict(asked) | ({} if local or method != self.verified else {RERANKER: RERANKER})


def choose(asked: Sequence[str] | None, model: str | None, chosen: Benchmark, streamed: bool = False) -> Baselines:
    """The baselines that are run.

    Args:
      asked: those that are asked for, maybe none; None leaves it to this function.
      model: the model under test; None where its features exist, and photos may not.
      chosen: the benchmark, whose size decides.
      streamed: whether distractors are searched, too.

    Returns:
      RootSIFT on photos, where it is not the model itself and the set is not too large.
    """
    if asked is not None:
        return Baselines(tuple(asked))
    if chosen.name in DRAWN or str(model).partition("(")[0] == BASELINE or not chosen.scored:
        return Baselines(())
    count = len(chosen.database) + (0 if chosen.leave_one_out else len(chosen.queries))
    reasons = {
        "the features under test exist already": not model,
        "the distractors would be extracted for it": streamed,
        f"the set has {count} images and {len(chosen.queries)} queries": count > MOST_IMAGES
        or len(chosen.queries) > MOST_QUERIES,
    }
    found = [reason for reason, holds in reasons.items() if holds]
    return (
        Baselines((), left_out=LEFT_OUT.format(reason=found[0])) if found else Baselines((BASELINE,), verified=BASELINE)
    )
