"""delg-train-reranker: trains the reranker elvis on the features of labelled photos.

The first folder of a name is the class. Triplets are an image, a near one of its class and a near one of another. The
features need global descriptors and local features. A training that was interrupted starts anew.

delg-extract --images_dir=photos/train --output_dir=features
delg-train-reranker --features_dir=features --output=elvis.safetensors
delg-benchmark --benchmark=folders --data_dir=photos/test --rerank='elvis(weights="elvis.safetensors")' \
  --output_dir=report
"""

from typing import TYPE_CHECKING

from delg.common.options import define_flags, from_flags, require
from training.options import TrainRerankerOptions

if TYPE_CHECKING:
    from training.reranker_job import Epoch

define_flags(TrainRerankerOptions)


def main() -> None:
    """Turns the flags into options and trains."""
    from pathlib import Path

    from delg.common.files import check_writable

    options = from_flags(TrainRerankerOptions)
    require(options, ["features_dir", "output"])
    output = Path(str(options.output))
    check_writable(output.absolute().parent)
    from extraction.formats.table import open_features

    source = open_features(str(options.features_dir))
    from training import reranker_job

    labels = reranker_job.classes_of(source)
    reranker_job.save(reranker_job.train(source, labels, options, _report), output)
    print(f"{output}: ELViS trained on {len(labels)} photos of {len(set(labels))} classes")


def _report(epoch: "Epoch") -> None:
    print(
        f"epoch {epoch.number}: loss {epoch.loss:.4f}, right {100 * epoch.accuracy:.1f} %, {epoch.seconds:.0f} s",
        flush=True,
    )
