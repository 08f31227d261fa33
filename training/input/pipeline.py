"""Training records to batches of images: read, shuffle, decode, crop, augment, batch, prefetch.

A set that fits in memory is decoded once and then drawn by index; a larger set is streamed from its shards, see
:mod:`training.input.stream`. In both cases the order and every crop are a function of ``(seed, position)`` alone, so
that a stopped training continues with the batches of an uninterrupted training. Photos stay uint8 until they are
resized.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from delg.common.errors import InputError
from training.input.augment import Crop
from training.input.config import WHOLE, InputConfig, Share, as_written, dataset_options, threads
from training.input.stream import READ_BYTES, stream
from training.records.examples import parse_example
from training.records.recordset import RecordSet

Tensor = Any
CACHE_LIMIT = 2 << 30
PREFETCH = 2
UNREADABLE = (
    tf.errors.InvalidArgumentError,
    tf.errors.DataLossError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
    tf.errors.FailedPreconditionError,
)
CONTRADICTION = "The training records do not hold the images that their manifest.json lists."


@dataclass(frozen=True)
class Cache:
    """Decoded photos of different sizes in one array.

    Attributes:
      pixels: ``(sum of H * W * 3,)`` uint8.
      offsets: ``(N,)`` int64 start of each photo in ``pixels``.
      sizes: ``(N, 2)`` int32, height and width.
      labels: ``(N,)`` int64.
    """

    pixels: Tensor
    offsets: Tensor
    sizes: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def photo(self, index: Tensor) -> Tensor:
        """One photo ``(H, W, 3)`` uint8."""
        size = self.sizes[index]
        length = tf.cast(size[0] * size[1] * 3, tf.int64)
        return tf.reshape(tf.slice(self.pixels, [self.offsets[index]], [length]), [size[0], size[1], 3])


def is_cached(records: RecordSet, config: InputConfig) -> bool:
    """Whether the photos stay in memory: as configured, or when they need at most 2 GiB."""
    return records.decoded_bytes <= CACHE_LIMIT if config.cache is None else config.cache


def training_batches(
    records: RecordSet,
    config: InputConfig,
    start_step: int = 0,
    cache: Cache | None = None,
    share: Share = WHOLE,
) -> tf.data.Dataset:
    """An endless stream of augmented batches.

    Args:
      records: the training shards.
      config: the settings.
      start_step: number of the first batch; the batches are those of an uninterrupted run.
      cache: the decoded photos, see :func:`load_cache`; None streams from the shards.
      share: the part of the global batch; the images of the batch do not depend on its division. Every process reads
        all streamed records and decodes its own images.

    Returns:
      Batches of images ``(B, S, S, 3)`` float32 in 0..255 and labels ``(B,)`` int64. With several replicas ``B`` is the
      size for one replica, and the batches of the process' replicas follow each other.
    """
    start = start_step * config.batch_size
    if cache is None:
        dataset = stream(records, config.seed, config.shuffle_buffer, start)
        positions = tf.data.Dataset.counter(start, dtype=tf.int64)
        dataset = tf.data.Dataset.zip(positions, dataset)
        if share.workers > 1:
            dataset = dataset.filter(as_written(lambda position, _: _is_own(position, config.batch_size, share)))
    else:
        dataset = tf.data.Dataset.counter(start, dtype=tf.int64)
        if share.workers > 1:
            dataset = dataset.filter(as_written(lambda position: _is_own(position, config.batch_size, share)))
    prepare = _prepare_record(records.num_classes, config) if cache is None else _prepare_cached(cache, config)
    dataset = dataset.map(as_written(prepare), num_parallel_calls=threads(config), deterministic=True)
    dataset = dataset.batch(config.batch_size // share.replicas, drop_remainder=True)
    return dataset.prefetch(PREFETCH).with_options(dataset_options(config))


def validation_batches(records: RecordSet, config: InputConfig, max_batches: int) -> tf.data.Dataset:
    """Every validation image once, whole, resized to the square without augmentation; the last batch may be smaller."""

    def prepare(serialized: Tensor) -> tuple[Tensor, Tensor]:
        example = parse_example(serialized)
        image = _resize(_decode(example.encoded), config)
        return image, _checked_label(example.label, records.num_classes)

    dataset = tf.data.TFRecordDataset(list(records.files), buffer_size=READ_BYTES)
    dataset = dataset.map(as_written(prepare), num_parallel_calls=threads(config), deterministic=True)
    return dataset.batch(config.batch_size).take(max_batches).prefetch(PREFETCH).with_options(dataset_options(config))


def load_cache(records: RecordSet, config: InputConfig) -> Cache:
    """Decodes every record once.

    Raises:
      InputError: a label is out of range, or a record is broken.
    """

    def decode(serialized: Tensor) -> tuple[Tensor, Tensor]:
        example = parse_example(serialized)
        return _decode(example.encoded), _checked_label(example.label, records.num_classes)

    dataset = tf.data.TFRecordDataset(list(records.files), buffer_size=READ_BYTES).map(
        as_written(decode), num_parallel_calls=threads(config)
    )
    pixels = np.empty(records.decoded_bytes, np.uint8)
    offsets, sizes, labels, end = [], [], [], 0
    for image, label in readable(dataset.with_options(dataset_options(config)).as_numpy_iterator()):
        if end + image.size > pixels.size:
            raise InputError(CONTRADICTION)
        pixels[end : end + image.size] = image.ravel()
        offsets.append(end)
        sizes.append(image.shape[:2])
        labels.append(label)
        end += image.size
    if end != pixels.size or len(labels) != records.num_images:
        raise InputError(CONTRADICTION)
    with tf.device("CPU:0"):
        return Cache(
            tf.convert_to_tensor(pixels),
            tf.constant(offsets, tf.int64),
            tf.constant(sizes, tf.int32),
            tf.constant(labels, tf.int64),
        )


def measure_input(dataset: tf.data.Dataset, batch_size: int, seconds: float = 5.0) -> float:
    """Images per second of the input pipeline alone, after its first batches.

    Raises:
      InputError: a label is out of range, or a record is broken.
    """
    iterator = readable(dataset)
    for _ in range(PREFETCH + 1):
        next(iterator)
    images, started = 0, time.monotonic()
    while time.monotonic() - started < seconds:
        next(iterator)
        images += batch_size
    return images / (time.monotonic() - started)


def readable(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches of a pipeline, with errors as one sentence.

    Raises:
      InputError: a label is out of range, or a record is broken.
    """
    iterator = iter(batches)
    while True:
        try:
            batch = next(iterator)
        except StopIteration:
            return
        except UNREADABLE as error:
            raise InputError(input_failure(error)) from error
        yield batch
        del batch  # the next batch may take its memory


def input_failure(error: tf.errors.OpError) -> str:
    """The sentence for an error inside the pipeline."""
    text = str(error.message)
    marker = "Label out of range: "
    if marker in text:
        return text[text.index(marker) :].partition(" classes")[0] + " classes."
    reason = re.sub(r"\{\{.*?\}\} *| *\[Op:.*", "", text.splitlines()[0]).strip().rstrip(".")
    return f"A training record cannot be read: {reason}. (delg-records --check lists all that is broken in a set.)"


def _is_own(position: Tensor, batch_size: int, share: Share) -> Tensor:
    """Whether an image of the global stream belongs to this process."""
    return position % batch_size // (batch_size // share.workers) == share.worker


def _prepare_record(num_classes: int, config: InputConfig) -> Callable[..., tuple[Tensor, Tensor]]:
    crop = config.augmentation.crop

    def prepare(position: Tensor, serialized: Tensor) -> tuple[Tensor, Tensor]:
        example = parse_example(serialized)
        label = _checked_label(example.label, num_classes)
        seed = _seed(config.seed, position)
        if crop is None:
            image = _resize(_decode(example.encoded), config)
        else:
            image = _resize(decode_crop(example.encoded, crop, seed), config, area=True)
        return config.augmentation.apply(image, seed), label

    return prepare


def _prepare_cached(cache: Cache, config: InputConfig) -> Callable[..., tuple[Tensor, Tensor]]:
    crop, count = config.augmentation.crop, len(cache)

    def prepare(position: Tensor) -> tuple[Tensor, Tensor]:
        epoch_seed = tf.stack([tf.constant(config.seed, tf.int64), position // count])
        index = tf.random.experimental.index_shuffle(position % count, epoch_seed, max_index=count - 1)
        photo, seed = cache.photo(index), _seed(config.seed, position)
        if crop is None:
            image = _resize(photo, config)
        else:
            window = crop.window(tf.shape(photo), seed)
            cut = tf.slice(photo, [window[0], window[1], 0], [window[2], window[3], 3])
            image = _resize(cut, config, area=True)
        return config.augmentation.apply(image, seed), cache.labels[index]

    return prepare


def _seed(seed: int, position: Tensor) -> Tensor:
    return tf.stack([tf.constant(seed, tf.int64), position])


def _decode(encoded: Tensor) -> Tensor:
    """``(H, W, 3)`` uint8; grey and CMYK files become RGB. PNG files are recognised too."""
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def decode_crop(encoded: Tensor, crop: Crop, seed: Tensor) -> Tensor:
    """A random window of the photo; decodes only the window of a JPEG."""

    def jpeg() -> Tensor:
        window = crop.window(tf.io.extract_jpeg_shape(encoded), seed)
        return tf.io.decode_and_crop_jpeg(encoded, window, channels=3, dct_method="INTEGER_ACCURATE")

    def other() -> Tensor:
        photo = _decode(encoded)
        window = crop.window(tf.shape(photo), seed)
        return tf.slice(photo, [window[0], window[1], 0], [window[2], window[3], 3])

    return tf.cond(tf.io.is_jpeg(encoded), jpeg, other)


def _resize(image: Tensor, config: InputConfig, area: bool = False) -> Tensor:
    """Resizes to the square, float32; with ``keep_aspect`` the image fills a part of the square."""
    side = config.image_size
    resize = _resize_area if area else _resize_bilinear
    if not config.keep_aspect:
        return tf.ensure_shape(resize(image, tf.constant([side, side])), (side, side, 3))
    extent = tf.cast(tf.shape(image)[:2], tf.float32)
    size = tf.maximum(tf.cast(tf.round(extent * (side / tf.reduce_max(extent))), tf.int32), 1)
    before = (side - size) // 2
    padding = tf.stack([before, side - size - before], axis=1)
    padded = tf.pad(resize(image, size), tf.concat([padding, [[0, 0]]], 0), constant_values=128.0)
    return tf.ensure_shape(padded, (side, side, 3))


def _resize_area(image: Tensor, size: Tensor) -> Tensor:
    """Each output pixel is the mean of the area that it covers (released training); float32."""
    return tf.raw_ops.ResizeArea(images=image[None], size=size)[0]


def _resize_bilinear(image: Tensor, size: Tensor) -> Tensor:
    """Bilinear, without antialiasing (released validation); float32."""
    return tf.image.resize(image, size)


def _checked_label(label: Tensor, num_classes: int) -> Tensor:
    message = tf.strings.format(
        f"Label out of range: a record has the label {{}}, and its manifest.json has {num_classes} classes.", label
    )
    valid = tf.debugging.Assert((label >= 0) & (label < num_classes), [message])
    with tf.control_dependencies([valid] if valid is not None else []):
        return tf.identity(label)
