"""Records to batches: order, decoding, cropping, caching, errors."""

import io
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from delg.common.errors import InputError
from tests.training.pictures import picture
from training.input import pipeline
from training.input.augment import Augmentation, Crop, build_augmentation
from training.input.pipeline import InputConfig, load_cache, measure_input, training_batches, validation_batches
from training.records.examples import EncodedPhoto, write_example
from training.records.recordset import RecordSet, open_records

PLAIN = InputConfig(batch_size=8, image_size=32, augmentation=Augmentation(), threads=2)
CROPPED = InputConfig(batch_size=8, image_size=32, augmentation=build_augmentation("crop"), threads=2)


def take(dataset: tf.data.Dataset, count: int) -> tuple[np.ndarray, np.ndarray]:
    pairs = list(dataset.take(count).as_numpy_iterator())
    return np.concatenate([images for images, _ in pairs]), np.concatenate([labels for _, labels in pairs])


def encode(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write(path: Path, items: list[tuple[bytes, int]], size: tuple[int, int], num_classes: int = 8) -> RecordSet:
    """One shard of the given files, all of one size (height, width)."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number, (data, label) in enumerate(items):
            writer.write(write_example(EncodedPhoto(data, "JPEG", *size), label, f"image {number}"))
    return RecordSet((str(path),), num_classes, len(items), len(items) * size[0] * size[1] * 3, "x")


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("config", [PLAIN, CROPPED], ids=["plain", "crop"])
def test_batches_have_the_promised_form(records_dir, cached, config):
    records = open_records(str(records_dir / "train*"))
    cache = load_cache(records, config) if cached else None
    images, labels = next(iter(training_batches(records, config, cache=cache)))
    assert images.shape == (8, 32, 32, 3) and images.dtype == tf.float32
    assert labels.shape == (8,) and labels.dtype == tf.int64
    assert images.numpy().min() >= 0 and 200 < images.numpy().max() <= 255


def test_cached_order_is_a_permutation_in_every_epoch_and_differs_between_epochs_and_seeds(records_dir):
    records = open_records(str(records_dir / "train*"))
    cache = load_cache(records, PLAIN)
    assert len(cache) == 32
    images, labels = take(training_batches(records, PLAIN, cache=cache), 12)
    epochs = images.reshape(3, 32, -1).sum(-1)
    assert all(len(set(epoch)) == 32 for epoch in epochs)
    assert np.array_equal(np.sort(epochs[0]), np.sort(epochs[1]))
    assert not np.array_equal(epochs[0], epochs[1]) and not np.array_equal(epochs[1], epochs[2])
    assert np.bincount(labels).tolist() == [12] * 8
    other = InputConfig(batch_size=8, image_size=32, augmentation=Augmentation(), seed=1, threads=1)
    assert not np.array_equal(take(training_batches(records, other, cache=cache), 4)[0], images[:32])


def test_a_cached_stream_continues_where_it_stopped(records_dir):
    records = open_records(str(records_dir / "train*"))
    config = InputConfig(8, 32, build_augmentation("crop, flip, color_jitter, random_erasing"), seed=5, threads=2)
    cache = load_cache(records, config)
    whole = take(training_batches(records, config, cache=cache), 9)
    rest = take(training_batches(records, config, start_step=5, cache=cache), 4)
    assert np.array_equal(whole[0][40:], rest[0]) and np.array_equal(whole[1][40:], rest[1])
    assert not np.array_equal(whole[0][:32], rest[0])


def test_streamed_order_is_new_in_every_epoch_and_for_every_seed(records_dir):
    records = open_records(str(records_dir / "train*"))
    first = take(training_batches(records, PLAIN), 12)
    assert np.array_equal(first[0], take(training_batches(records, PLAIN), 12)[0])
    assert not np.array_equal(first[0][:32], first[0][32:64])
    other = InputConfig(batch_size=8, image_size=32, augmentation=Augmentation(), seed=1, threads=2)
    assert not np.array_equal(first[0][:32], take(training_batches(records, other), 4)[0])
    assert np.bincount(first[1][:32]).tolist() == np.bincount(first[1][32:64]).tolist() == [4] * 8
    assert len({round(float(value), 3) for value in first[0].reshape(96, -1).sum(1)}) == 32
    counts = np.bincount(first[1], minlength=8)
    assert counts.min() >= 6 and counts.sum() == 96


def test_grey_cmyk_and_png_records_give_three_channels(tmp_path):
    red = Image.fromarray(np.zeros((16, 20, 3), np.uint8) + np.array([200, 20, 10], np.uint8))
    grey = Image.fromarray(np.full((16, 20), 90, np.uint8))
    files = [encode(red), encode(red, "PNG"), encode(red.convert("CMYK")), encode(grey), encode(grey, "PNG")]
    records = write(tmp_path / "shard", [(data, label) for label, data in enumerate(files)], (16, 20))
    expected = np.array([[200, 20, 10]] * 3 + [[90, 90, 90]] * 2)
    for config in (PLAIN, CROPPED):
        for cache in (load_cache(records, config), None):
            images, labels = take(training_batches(records, config, cache=cache), 4)
            assert np.abs(images - expected[labels][:, None, None]).max() <= 12
    images, labels = take(validation_batches(records, PLAIN, 9), 9)
    assert labels.tolist() == [0, 1, 2, 3, 4]
    assert np.abs(images - expected[:, None, None]).max() <= 12


def test_alpha_and_palettes_of_foreign_records_give_three_channels(tmp_path):
    """delg-records converts such files; records of other programs may hold them."""
    pixels = np.zeros((16, 20, 4), np.uint8) + np.array([200, 20, 10, 90], np.uint8)
    image = Image.fromarray(pixels)
    files = [encode(image, "PNG"), encode(image.convert("RGB").quantize(2), "PNG"), encode(image.convert("LA"), "PNG")]
    records = write(tmp_path / "shard", [(data, label) for label, data in enumerate(files)], (16, 20))
    for config in (PLAIN, CROPPED):
        images, labels = take(training_batches(records, config), 2)
        colours = np.array([[200, 20, 10], [200, 20, 10], [73, 73, 73]])[labels]
        assert np.abs(images - colours[:, None, None]).max() <= 12


@pytest.mark.parametrize("cached", [True, False])
def test_the_aspect_is_kept_and_the_rest_is_grey(tmp_path, cached):
    photo = np.full((24, 64, 3), 250, np.uint8)
    records = write(tmp_path / "shard", [(encode(Image.fromarray(photo), "PNG"), 1)] * 4, (24, 64))
    config = InputConfig(batch_size=4, image_size=32, augmentation=Augmentation(), keep_aspect=True)
    cache = load_cache(records, config) if cached else None
    expected = np.full((32, 32, 3), 128.0)
    expected[10:22] = 250
    for images, _ in (
        take(training_batches(records, config, cache=cache), 1),
        take(validation_batches(records, config, 1), 1),
    ):
        np.testing.assert_allclose(images, np.stack([expected] * 4), atol=1e-3)
    narrow = write(tmp_path / "narrow", [(encode(Image.fromarray(photo[:, :1]), "PNG"), 1)] * 4, (24, 1))
    images, _ = take(training_batches(narrow, config), 1)
    assert (images[:, :, 15] == 250).all() and (images[:, :, :15] == 128).all()
    crops = InputConfig(batch_size=4, image_size=32, augmentation=build_augmentation("crop"), keep_aspect=True)
    images, _ = take(training_batches(records, crops, cache=cache), 2)
    assert (np.isclose(images, 250, atol=1) | np.isclose(images, 128, atol=1)).all() and (images == 128).any()


def test_validation_images_are_resized_bilinearly_without_antialiasing_and_seen_once(tmp_path):
    photo = picture(2, 0, (24, 64))
    records = write(tmp_path / "shard", [(encode(Image.fromarray(photo), "PNG"), 1)] * 11, (24, 64))
    config = InputConfig(batch_size=4, image_size=32, augmentation=build_augmentation("crop, flip"))
    sizes = [len(labels) for _, labels in validation_batches(records, config, 99).as_numpy_iterator()]
    assert sizes == [4, 4, 3]
    assert len(list(validation_batches(records, config, 2))) == 2
    images, _ = take(validation_batches(records, config, 1), 1)
    ys = np.clip((np.arange(32) + 0.5) * 24 / 32 - 0.5, 0, 23)
    low = np.floor(ys).astype(int)
    part = (ys - low)[:, None, None]
    rows = photo[low] * (1 - part) + photo[np.minimum(low + 1, 23)] * part
    expected = (rows[:, 0::2] + rows[:, 1::2]) / 2
    np.testing.assert_allclose(images[0], expected, atol=1e-3)


def test_training_images_are_area_means_of_the_window(tmp_path):
    photo = picture(2, 0, (64, 96))
    records = write(tmp_path / "shard", [(encode(Image.fromarray(photo), "PNG"), 1)], (64, 96))

    class Fixed(Crop):
        def window(self, shape, seed):
            assert shape.shape == (3,)
            return tf.constant([10, 20, 32, 64])

    config = InputConfig(batch_size=1, image_size=16, augmentation=Augmentation(Fixed()))
    expected = photo[10:42, 20:84].reshape(16, 2, 16, 4, 3).mean((1, 3))
    for cache in (load_cache(records, config), None):
        images, _ = take(training_batches(records, config, cache=cache), 1)
        np.testing.assert_allclose(images[0], expected, atol=1e-3)


def test_decoding_only_the_window_of_a_jpeg_equals_cutting_it(tmp_path):
    photo = encode(Image.fromarray(picture(3, 1, (64, 96))), quality=95, subsampling=0)
    window = tf.constant([9, 17, 30, 50])

    class Fixed(Crop):
        def window(self, shape, seed):
            return window

    cut = pipeline.decode_crop(tf.constant(photo), Fixed(), tf.constant([0, 0], tf.int64)).numpy()
    whole = tf.io.decode_jpeg(photo, channels=3, dct_method="INTEGER_ACCURATE").numpy()[9:39, 17:67]
    assert cut.shape == whole.shape
    assert np.array_equal(cut, whole)
    with Image.open(io.BytesIO(photo)) as image:
        assert np.abs(np.asarray(image)[9:39, 17:67].astype(int) - whole).max() <= 1


def test_a_label_out_of_range_is_named(tmp_path):
    photo = encode(Image.fromarray(picture(0, 0)))
    for label in (8, -1):
        records = write(tmp_path / f"shard{label}", [(photo, 0), (photo, label)], (40, 48))
        with pytest.raises(InputError, match=rf"label {label}, and its manifest.json has 8 classes\.$"):
            load_cache(records, PLAIN)
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            take(training_batches(records, PLAIN), 2)
        assert pipeline.input_failure(caught.value).endswith(f"label {label}, and its manifest.json has 8 classes.")


def test_records_that_are_not_what_the_manifest_says(tmp_path):
    photo = encode(Image.fromarray(picture(0, 0)))
    more = write(tmp_path / "more", [(photo, 0)] * 3, (40, 48))
    for images in (2, 4):
        claimed = RecordSet(more.files, 8, images, images * 40 * 48 * 3, "x")
        with pytest.raises(InputError, match=r"do not hold the images that their manifest.json lists"):
            load_cache(claimed, PLAIN)
    broken = write(tmp_path / "broken", [(b"no image", 0)], (40, 48))
    with pytest.raises(InputError, match="A training record cannot be read"):
        load_cache(broken, PLAIN)


def test_a_changed_byte_of_a_shard_ends_in_one_sentence_however_it_is_read(broken_dir):
    records = open_records(str(broken_dir / "train*"))
    for read in (
        lambda: load_cache(records, PLAIN),
        lambda: measure_input(training_batches(records, PLAIN), 8),
        lambda: list(pipeline.readable(validation_batches(records, PLAIN, 9))),
    ):
        with pytest.raises(InputError, match=r"^A training record cannot be read: corrupted record at \d+\. \(delg"):
            read()


def test_what_is_cached_without_being_asked():
    config = PLAIN
    for size, cached in ((2 << 30, True), ((2 << 30) + 1, False)):
        assert pipeline.is_cached(RecordSet((), 2, 1, size, ""), config) is cached
    forced = InputConfig(8, 32, Augmentation(), cache=True)
    assert pipeline.is_cached(RecordSet((), 2, 1, 1 << 40, ""), forced)


def test_measure_counts_images_after_those_that_lay_ready(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(pipeline, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    taken = []

    def batches():
        for number in itertools.count():
            taken.append(number)
            yield number

    assert measure_input(batches(), 7, seconds=3.0) == 2 * 7 / 4  # asked at 0, 1, 2, 3 and, for the end, at 4
    assert len(taken) == pipeline.PREFETCH + 1 + 2
