"""The baseline that needs no training: RootSIFT with RANSAC runs beside every model on real photos by default."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.benchmarks.base import Benchmark
from evaluation.run.rerank_rows import global_only

BASELINE, RERANKER = "rootsift", "ransac"
DRAWN = ("landmarks",)  # benchmarks without real photos
MOST_IMAGES, MOST_QUERIES = 10_000, 1_000
LEFT_OUT = "The row of RootSIFT + RANSAC is left out: {reason}; --baselines=rootsift adds it."


@dataclass(frozen=True)
class Baselines:
    """The baselines of a run.

    Attributes:
      texts: the extractors' texts.
      verified: the name of the default baseline, which RANSAC reranks in any case; None where no default was added.
      left_out: a sentence on why the default was left out; None where the default runs, or the user named baselines.
    """

    texts: tuple[str, ...]
    verified: str | None = None
    left_out: str | None = None

    def rerankers(self, method: str, texts: Mapping[str, str]) -> dict[str, str]:
        """The rerankers of a method.

        Args:
          method: the method's name.
          texts: row suffix to the reranker's text, the same for all methods.

        Returns:
          ``texts``; for :attr:`verified` also RANSAC, where no reranker of ``texts`` matches local features.
        """
        local = len(global_only(texts)) < len(texts)
        return dict(texts) | ({} if local or method != self.verified else {RERANKER: RERANKER})


def choose(names: Sequence[str] | None, model: str | None, benchmark: Benchmark, streamed: bool = False) -> Baselines:
    """Chooses the baselines of a run.

    Args:
      names: the baselines that the user named, maybe none; None for the default.
      model: the model under test; None where its features exist, and the photos may be missing.
      benchmark: the benchmark; its size decides about the default.
      streamed: whether distractors are searched, too.

    Returns:
      By default RootSIFT, where the images are photos, the model is not RootSIFT and the set is not too large.
    """
    if names is not None:
        return Baselines(tuple(names))
    if benchmark.name in DRAWN or str(model).partition("(")[0] == BASELINE or not benchmark.scored:
        return Baselines(())
    count = len(benchmark.database) + (0 if benchmark.leave_one_out else len(benchmark.queries))
    reasons = {
        "the features under test exist already": not model,
        "the distractors would be extracted for it": streamed,
        f"the set has {count} images and {len(benchmark.queries)} queries": count > MOST_IMAGES
        or len(benchmark.queries) > MOST_QUERIES,
    }
    obstacles = [reason for reason, holds in reasons.items() if holds]
    return (
        Baselines((), left_out=LEFT_OUT.format(reason=obstacles[0]))
        if obstacles
        else Baselines((BASELINE,), verified=BASELINE)
    )
