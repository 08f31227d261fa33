"""Several devices or machines on JAX, by ``keras.distribution``: the names of ``tensorflow_distribution``.

The weights lie on every device; every batch is one array that lies divided over the devices, and the compiler puts the
sums in. Whatever is computed of a batch is therefore of the global batch: losses, batch statistics, pairs.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import jax
import keras
import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError, first_line
from delg.common.spec import build
from training.backends.cluster import check_divisible, check_logical_cpus, read_cluster, required_cluster

Array = Any


@dataclass(frozen=True)
class Devices:
    """Where arrays lie.

    Attributes:
      distribution: over several devices; None for one device.
    """

    distribution: keras.distribution.DataParallel | None = None

    @property
    def num_replicas_in_sync(self) -> int:
        """Devices of all processes."""
        return self.distribution.num_model_replicas if self.distribution else 1

    def scope(self) -> AbstractContextManager[Any]:
        """Keras variables that are made inside lie on all devices."""
        return self.distribution.scope() if self.distribution else nullcontext()

    @property
    def everywhere(self) -> Any:
        """The sharding of an array that lies whole on every device; None for one device."""
        if self.distribution is None:
            return None
        return jax.sharding.NamedSharding(self.distribution.device_mesh.backend_mesh, jax.sharding.PartitionSpec())

    def divided(self, part: np.ndarray) -> Array:
        """The array of which this process holds a part, divided along its first axis.

        Args:
          part: ``(B / processes, ...)``, in the order of the processes.
        """
        if self.distribution is None:
            return jax.device_put(part)
        layout = self.distribution.get_data_layout(part.shape).backend_layout
        return jax.make_array_from_process_local_data(layout, part)


def auto() -> Devices:
    """The machines of ``TF_CONFIG`` where it names several, else all accelerators, else one device."""
    if len(read_cluster().workers) > 1:
        return multi_worker()
    return mirrored() if jax.default_backend() != "cpu" and jax.device_count() > 1 else none()


def none() -> Devices:
    """One device."""
    return Devices()


def mirrored(logical_cpus: int | None = None) -> Devices:
    """All devices of this machine: its accelerators, or, to try things out, its processor divided.

    Args:
      logical_cpus: divide the processor into so many devices and take these.
    """
    if logical_cpus is None:
        return _parallel(jax.devices())
    check_logical_cpus(logical_cpus)
    jax.config.update("jax_num_cpu_devices", logical_cpus)
    return _parallel(jax.devices("cpu"))


def multi_worker() -> Devices:
    """All devices of several machines; ``TF_CONFIG`` lists them and gives each process its index."""
    cluster = required_cluster()
    try:
        keras.distribution.initialize(",".join(cluster.workers), len(cluster.workers), cluster.index)
        return _parallel(jax.devices())
    except (ValueError, RuntimeError) as error:
        raise InputError(f"The workers of TF_CONFIG cannot be joined: {first_line(error)}") from error


CHOICES: dict[str, Callable[..., Devices]] = {
    "auto": auto,
    "none": none,
    "mirrored": mirrored,
    "multi_worker": multi_worker,
}


def build_strategy(text: str) -> Devices:
    """Builds a choice such as ``"mirrored"``; must come before the first operation of the process.

    Raises:
      InputError: an unknown name, a bad argument, or an environment that does not fit.
    """
    return build(text, CHOICES, "distribution")


def share_of(strategy: Devices, batch_size: int) -> Any:
    """The part of every global batch that this process prepares, in one piece for all its devices.

    Raises:
      InputError: the devices do not divide the batch.
    """
    from training.input.config import Share  # of the input pipeline, which is TensorFlow's

    replicas = strategy.num_replicas_in_sync
    check_divisible(batch_size, replicas)
    return Share(jax.process_index(), jax.process_count(), jax.process_count())


def is_chief(strategy: Devices) -> bool:
    """Whether this process writes files and prints."""
    return jax.process_index() == 0


def wait(strategy: Devices) -> None:
    """Returns when every process of the training has come here."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices("training")


def of_first(strategy: Devices, values: Sequence[NDArray]) -> list[NDArray]:
    """What the first process gives, in every process; all call it with arrays of the same forms."""
    if jax.process_count() == 1:
        return list(values)
    from jax.experimental import multihost_utils

    return [np.asarray(value) for value in multihost_utils.broadcast_one_to_all(list(values))]


def first(strategy: Devices, value: Array) -> np.ndarray:
    """What lies on the first device of this process."""
    return np.asarray(value.addressable_data(0))


def distributed(strategy: Devices, batches: Any) -> Iterator[tuple[Array, Array]]:
    """The batches as arrays on the devices; the next one is on its way while one is in use.

    Args:
      strategy: the devices.
      batches: of this process: images ``(B, S, S, 3)`` and labels ``(B,)``.
    """
    ready = None
    for images, labels in batches:
        coming = strategy.divided(np.asarray(images)), strategy.divided(np.asarray(labels, np.int32))
        if ready is not None:
            yield ready
        ready = coming
    if ready is not None:
        yield ready


def _parallel(devices: list[Any]) -> Devices:
    names = [f"{device.platform}:{device.id}" for device in devices]
    return Devices(keras.distribution.DataParallel(devices=names, auto_shard_dataset=False))
