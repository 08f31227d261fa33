"""Images per second of the input pipeline against the released serial reader on the same records.

512 photos of 640 x 480 in 4 shards, random crops at 321 pixels, batches of 32. The reference reads the files one after
the other, shuffles 100 records and maps without parallelism or prefetching, in the order of the released code. Before
anything is timed both must give the same images without augmentation, and the same area means of a given window. The
bound is the decoding of the windows alone on all cores.
"""

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scripts.bench.measure import Options, check, interleaved

PHOTOS, SHARDS, BATCH, SIDE = 512, 4, 32, 321
ROUND = 12 * BATCH  # images of one measurement


def write_photos(folder: Path) -> Any:
    """Records of smooth coloured noise, whose JPEG files are of the size of photos."""
    import cv2

    from training.shards import RecordsConfig, write_records
    from training.sources import Photo, Source

    if not (folder / "records" / "manifest.json").is_file():
        rng = np.random.default_rng(0)
        photos = []
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(PHOTOS):
            coarse = rng.uniform(0, 255, (60, 80, 3)).astype(np.float32)
            image = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC) + rng.normal(0, 6, (480, 640, 3))
            path = folder / f"{number}.jpg"
            Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(path, quality=90)
            photos.append(Photo(path.name, path, number % 8))
        source = Source(tuple(photos), tuple("01234567"))
        write_records(source, folder / "records", RecordsConfig(num_shards=SHARDS), workers=2)
    from training.recordset import open_records

    return open_records(str(folder / "records" / "train*"))


def released_reader(files: list[str], augment: bool, dct_method: str = "") -> Any:
    """The released input pipeline, from its description; TensorFlow's default decoder is a fast, less exact one."""
    import tensorflow as tf

    def decode(encoded: Any) -> Any:
        return tf.io.decode_jpeg(encoded, channels=3, dct_method=dct_method)

    def prepare(serialized: Any) -> tuple[Any, Any]:
        features = {
            "image/encoded": tf.io.FixedLenFeature((), tf.string, ""),
            "image/class/label": tf.io.FixedLenFeature((), tf.int64, 0),
        }
        example = tf.io.parse_single_example(serialized, features)
        image = (tf.cast(decode(example["image/encoded"]), tf.float32) - 128.0) / 128.0
        if not augment:
            return tf.image.resize(image, (SIDE, SIDE)), example["image/class/label"]
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            tf.shape(image), [[[0.0, 0.0, 1.0, 1.0]]], min_object_covered=0.1, aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(0.08, 1.0), max_attempts=100, use_image_if_no_bounding_boxes=True,
        )  # fmt: skip
        window = tf.ensure_shape(tf.slice(image, begin, size), (None, None, 3))
        return tf.image.resize(window, (SIDE, SIDE), "area"), example["image/class/label"]

    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.TFRecordDataset(files).repeat().shuffle(100, seed=0)
    return dataset.map(prepare).batch(BATCH).with_options(options)


def check_same(records: Any, config: Any) -> None:
    """Without augmentation, and with our decoder, the images of an epoch are the same."""
    from training.pipeline import validation_batches

    ours = np.concatenate([images for images, _ in validation_batches(records, config, 4).as_numpy_iterator()])
    reader = released_reader(list(records.files), augment=False, dct_method="INTEGER_ACCURATE")
    theirs = np.concatenate([images for images, _ in reader.take(PHOTOS // BATCH).as_numpy_iterator()])
    theirs = 128.0 * theirs + 128.0
    small = theirs[:, ::40, ::40].reshape(len(theirs), -1)
    for image in ours[:BATCH]:
        twin = theirs[np.abs(small - image[::40, ::40].ravel()).sum(axis=1).argmin()]
        apart = np.abs(twin - image)
        check(apart.max() < 0.01, f"a whole image, by {apart.max():.3f}")


def check_window(encoded: bytes) -> None:
    """The area means of a window: ours, which decodes no more than it, and those of the whole image."""
    import tensorflow as tf

    from training import pipeline

    window = tf.constant([31, 57, 300, 400])
    ours = pipeline._resize_area(
        tf.io.decode_and_crop_jpeg(encoded, window, 3, dct_method="INTEGER_ACCURATE"), tf.constant([SIDE, SIDE])
    )
    whole = tf.cast(tf.io.decode_jpeg(encoded, channels=3), tf.float32)[31:331, 57:457]
    theirs = tf.image.resize(whole, (SIDE, SIDE), "area")
    check(float(tf.reduce_mean(tf.abs(ours - theirs))) < 1.0, "the area means of a window")


def parts(encoded: bytes, serialized: bytes) -> dict[str, float]:
    """Milliseconds of one core for the parts of an image's preparation, with a window of half the area."""
    import tensorflow as tf

    from training import pipeline
    from training.augment import Crop
    from training.examples import parse_example

    window = tf.constant([70, 90, 339, 452])
    seed = tf.constant([0, 0], tf.int64)
    cut = tf.io.decode_and_crop_jpeg(encoded, window, 3)
    actions = {
        "parse": (lambda x: parse_example(x).label, tf.constant(serialized)),
        "draw the window": (lambda x: Crop().window(x, seed), tf.constant([480, 640, 3])),
        "decode the window": (
            lambda x: tf.io.decode_and_crop_jpeg(x, window, 3, dct_method="INTEGER_ACCURATE"), tf.constant(encoded)
        ),
        "(decode all)": (lambda x: tf.io.decode_jpeg(x, channels=3), tf.constant(encoded)),
        "resize": (lambda x: pipeline._resize_area(x, tf.constant([SIDE, SIDE])), cut),
    }  # fmt: skip
    found = {}
    for name, (action, argument) in actions.items():
        graph = tf.function(action, autograph=False)
        graph(argument)
        start = time.perf_counter()
        for _ in range(60):
            graph(argument)
        found[f"{name}, ms"] = round(1000 * (time.perf_counter() - start) / 60, 3)
    return found


def busy(iterator: Any) -> float:
    """Cores that are at work while the batches are taken as fast as they come."""
    wall, work = time.perf_counter(), time.process_time()
    for _ in range(3 * ROUND // BATCH):
        next(iterator)
    return (time.process_time() - work) / (time.perf_counter() - wall)


def row(options: Options) -> dict:
    """Measures per image."""
    import tensorflow as tf

    from training.augment import build_augmentation
    from training.pipeline import InputConfig, training_batches

    records = write_photos(options.folder / "input_photos")
    config = InputConfig(BATCH, SIDE, build_augmentation("crop"), cache=False, threads=options.threads)
    check_same(records, config)
    serialized = next(iter(tf.data.TFRecordDataset(list(records.files)).as_numpy_iterator()))
    encoded = tf.io.parse_single_example(serialized, {"image/encoded": tf.io.FixedLenFeature((), tf.string)})
    data = encoded["image/encoded"].numpy()
    check_window(data)
    buffer = io.BytesIO(data)
    check(Image.open(buffer).size == (640, 480), "the size of a photo")

    def decoded(encoded: Any) -> Any:
        return tf.io.decode_and_crop_jpeg(encoded, [70, 90, 339, 452], 3)[0, 0, 0]

    alone = tf.data.Dataset.from_tensors(data).repeat().map(decoded, num_parallel_calls=options.threads).batch(BATCH)
    single = InputConfig(BATCH, SIDE, build_augmentation("crop"), cache=False, threads=1)
    iterators = {
        "ours": iter(training_batches(records, config)),
        "reference": iter(released_reader(list(records.files), augment=True)),
        "bound": iter(alone),
        "one thread": iter(training_batches(records, single)),
    }
    for iterator in iterators.values():
        for _ in range(4):
            next(iterator)

    def read(name: str) -> Any:
        return lambda _: [next(iterators[name]) for _ in range(ROUND // BATCH)]

    seconds = interleaved({name: read(name) for name in iterators}, options.repeats)
    cores = {f"cores busy, {name}": round(busy(iterators[name]), 2) for name in ("ours", "reference")}
    each = {name: total / ROUND for name, total in seconds.items()}
    speeds = {f"images/s, {name}": round(1 / value) for name, value in each.items() if name != "bound"}
    return {"name": "input_pipeline", "unit": "image", **{name: each[name] for name in ("ours", "reference", "bound")},
            "notes": speeds | cores | parts(data, serialized)}  # fmt: skip
