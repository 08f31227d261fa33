"""Options of the commands of a collection."""

from dataclasses import dataclass

from delg.common.options import option
from extraction.options import ENGINES

LABELS = ("copies", "folders")


@dataclass(frozen=True)
class SyncOptions:
    """Options of delg-sync."""

    collection: str | None = option(
        None, "Where the descriptions lie. Default: .delg in the folder.", subject="Collection"
    )
    model: str | None = option(
        None, "A model folder, or an extractor. Default: auto; later the one that the collection records."
    )
    index: str | None = option(
        None,
        "How photos are found by similarity: exact, ivf_sq, hnsw and other kinds of delg-index, or the address of "
        "Milvus, http://host:19530#name. Default: the recorded choice; at first exact, ivf_sq above 100,000 photos.",
    )
    dry_run: bool = option(False, "Show what has changed, and change nothing.", subject="Work")
    calibrate: str | None = option(
        None,
        "Afterwards learn from the photos how evidence becomes a verdict: from changed copies of them, or from folders "
        "with photos of the same thing.",
        choices=LABELS,
    )
    export: str | None = option(None, "Afterwards write all features into this folder as a feature store.")
    engine: str = option(
        ENGINES[0], "Where photos are described; ray needs the extra of its name.", choices=ENGINES, subject="Cluster"
    )
    ray_address: str | None = option(
        None, "A running Ray cluster, such as HOST:6379; default: one in this machine for this command."
    )


@dataclass(frozen=True)
class ServeOptions:
    """Options of delg-serve."""

    collection: str | None = option(
        None, "Where the descriptions lie. Default: .delg in the folder.", subject="Collection"
    )
    model: str | None = option(
        None, "A model folder, or an extractor. Default: auto; later the one that the collection records."
    )
    sync_every: float = option(60.0, "Seconds between two looks into the folder; 0 for none.", lower_bound=0.0)
    host: str = option(
        "127.0.0.1",
        "Address to listen at; another one than that of this machine alone needs a token.",
        subject="Address and access",
    )
    port: int = option(8000, "Port to listen at; 0 for a free one.", lower_bound=0, upper_bound=65535)
    token: str | None = option(
        None, "What clients have to send as Authorization: Bearer TOKEN. Default: the variable DELG_TOKEN."
    )
    names: tuple[str, ...] | None = option(
        None, "Host names under which clients reach the service besides its address, as behind a proxy; needs a token."
    )
    max_megabytes: int = option(32, "Largest request.", lower_bound=1, subject="Limits")
    max_megapixels: int = option(100, "Largest photo that is taken or shown, in million pixels.", lower_bound=1)
    queue: int = option(
        64, "Requests at a time, half of them from one address; further ones are refused.", lower_bound=2
    )
    seconds: float = option(60.0, "Longest time of a request.", lower_bound=1.0)
