"""Several devices or machines by name, on TensorFlow's own strategies, and the view of one process of them.

The replicas hold the same weights. Each computes its part of the global batch, losses being divided by the global batch
size; the gradients are summed over all replicas, then clipped, then applied by each replica to its own copy, so that
the number of replicas does not change the result.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from delg.common.errors import InputError, first_line
from delg.common.spec import build
from training.backends.cluster import check_divisible, check_logical_cpus, read_cluster, required_cluster
from training.input.config import Share

Strategy = Any  # tf.distribute.Strategy
Tensor = Any


def auto() -> Strategy:
    """The machines of ``TF_CONFIG`` where it names several, else all GPUs, else one device."""
    if len(read_cluster().workers) > 1:
        return multi_worker()
    return mirrored() if len(tf.config.list_physical_devices("GPU")) > 1 else none()


def none() -> Strategy:
    """One device."""
    return tf.distribute.get_strategy()


def mirrored(logical_cpus: int | None = None) -> Strategy:
    """All devices of this machine: its GPUs, or, to try things out, its processor divided.

    Args:
      logical_cpus: divide the processor into so many devices and take these.
    """
    if logical_cpus is None:
        return tf.distribute.MirroredStrategy()
    check_logical_cpus(logical_cpus)
    devices = [tf.config.LogicalDeviceConfiguration() for _ in range(logical_cpus)]
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(logical_cpus)])


def multi_worker() -> Strategy:
    """All devices of several machines; ``TF_CONFIG`` lists them and gives each process its index."""
    required_cluster()
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise InputError(f"The workers of TF_CONFIG cannot be joined: {first_line(error)}") from error


STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "auto": auto,
    "none": none,
    "mirrored": mirrored,
    "multi_worker": multi_worker,
}


def build_strategy(text: str) -> Strategy:
    """Builds a choice such as ``"mirrored"``; must come before the first operation of the process.

    Raises:
      InputError: an unknown name, a bad argument, or an environment that does not fit.
    """
    return build(text, STRATEGIES, "distribution")


def share_of(strategy: Strategy, batch_size: int) -> Share:
    """The part of every global batch that this process prepares.

    Raises:
      InputError: the replicas do not divide the batch.
    """
    replicas = strategy.num_replicas_in_sync
    check_divisible(batch_size, replicas)
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.cluster_spec():
        return Share(replicas=replicas)
    return Share(resolver.task_id, len(resolver.cluster_spec().as_dict()["worker"]), replicas)


def is_chief(strategy: Strategy) -> bool:
    """Whether this process writes files and prints."""
    return share_of(strategy, strategy.num_replicas_in_sync).worker == 0


def wait(strategy: Strategy) -> None:
    """Returns when every process of the training has come here."""
    if share_of(strategy, strategy.num_replicas_in_sync).workers > 1:
        total = tf.function(
            lambda: strategy.reduce("SUM", strategy.run(lambda: tf.ones(())), axis=None), autograph=False
        )
        total().numpy()


def of_first(strategy: Strategy, values: Sequence[NDArray]) -> list[NDArray]:
    """What the first process gives, in every process; all call it with arrays of the same forms."""
    if share_of(strategy, strategy.num_replicas_in_sync).workers == 1:
        return list(values)

    def own() -> Tensor:
        is_first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
        return all_reduce([tf.where(is_first, value, tf.zeros_like(value)) for value in values])

    total = tf.function(lambda: strategy.run(own), autograph=False)()
    return [first(strategy, value).numpy() for value in total]


def distributed(strategy: Strategy, batches: tf.data.Dataset) -> Iterator[Any]:
    """The batches of this process, or where it has several replicas, tuples of these."""
    if strategy.num_replicas_in_sync == 1:
        return iter(batches)
    return iter(strategy.distribute_datasets_from_function(lambda _: batches))


def first(strategy: Strategy, value: Any) -> Any:
    """What the first replica of this process gave."""
    return strategy.experimental_local_results(value)[0]


def all_reduce(values: Any) -> Any:
    """The sum over all replicas of tensors, inside a replica; the tensors themselves where there is one replica."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return values
    return context.all_reduce(tf.distribute.ReduceOp.SUM, values)


def all_gather(values: Any) -> Any:
    """The vectors of all replicas, one after the other, inside a replica; every replica has as many values."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return values
    count = values.shape[0]
    places = context.replica_id_in_sync_group * count + tf.range(count)
    own = tf.scatter_nd(places[:, None], values, [count * context.num_replicas_in_sync])
    return context.all_reduce(tf.distribute.ReduceOp.SUM, own)
