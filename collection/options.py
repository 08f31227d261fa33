"""Options of the commands of a collection."""

from dataclasses import dataclass

from delg.common.options import option

LABELS = ("copies", "folders")


@dataclass(frozen=True)
class SyncOptions:
    """Options of delg-sync."""

    collection: str | None = option(None, "Where the descriptions lie. Default: .delg in the folder.")
    model: str | None = option(
        None, "A model folder, or an extractor. Default: auto; later the one that the collection records."
    )
    index: str | None = option(
        None,
        "How photos are found by similarity: exact, ivf_sq, hnsw and other kinds of delg-index, or the address of "
        "Milvus, http://host:19530#name. Default: the recorded choice; at first exact, ivf_sq above 100,000 photos.",
    )
    dry_run: bool = option(False, "Show what has changed, and change nothing.")
    calibrate: str | None = option(
        None,
        "Afterwards learn from the photos how evidence becomes a verdict: from changed copies of them, or from folders "
        "with photos of the same thing.",
        choices=LABELS,
    )
    export: str | None = option(None, "Afterwards write all features into this folder as a feature store.")
