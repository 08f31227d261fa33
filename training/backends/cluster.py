"""The machines of a distributed training, from ``TF_CONFIG``, and the checks that all backends share."""

import json
import os
from dataclasses import dataclass

from delg.common.errors import InputError

EXAMPLE = '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Cluster:
    """The processes of a training.

    Attributes:
      workers: their addresses, ``host:port``; none where ``TF_CONFIG`` is not set.
      index: which of them this process is.
    """

    workers: tuple[str, ...] = ()
    index: int = 0


def read_cluster() -> Cluster:
    """What ``TF_CONFIG`` says.

    Raises:
      InputError: it is of another form.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        return Cluster()
    try:
        document = json.loads(text)
        workers = tuple(document.get("cluster", {}).get("worker", []))
        return Cluster(workers, int(document.get("task", {}).get("index", 0)))
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"TF_CONFIG is not of the form {EXAMPLE}. Received: {text!r}") from error


def required_cluster() -> Cluster:
    """:func:`read_cluster`, for what cannot do without.

    Raises:
      InputError: ``TF_CONFIG`` is not set, names no worker, or is of another form.
    """
    cluster = read_cluster()
    if not cluster.workers:
        raise InputError(f"multi_worker needs TF_CONFIG in the environment, such as {EXAMPLE}.")
    return cluster


def check_logical_cpus(count: object) -> None:
    """Checks the argument of ``mirrored``.

    Raises:
      InputError: it is not a number of 1 or more.
    """
    if not isinstance(count, int) or count < 1:
        raise InputError(f"mirrored expects logical_cpus of 1 or more. Received: {count!r}")


def check_divisible(batch_size: int, replicas: int) -> None:
    """Checks that the devices divide the global batch.

    Raises:
      InputError: they do not.
    """
    if batch_size % replicas:
        raise InputError(f"--batch_size must be a multiple of the {replicas} replicas. Received: {batch_size}")
