"""Images per second of the input pipeline against the released serial reader on the same records.

512 photos of 640 x 480 in 4 shards, random crops at 321 pixels, batches of 32. The reference reads the files one after
the other, shuffles 100 records and maps without parallelism or prefetching, in the order of the released code. Before
anything is timed both must give the same images without augmentation, and the same area means of a given window. The
bound is the decoding of the windows alone on all cores. Where the time goes is measured in the running pipeline, from
which all stages after one are left out; what a stage adds is the difference of two medians of processor time, which
other programs on the machine disturb less than the clock.
"""

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scripts.bench.measure import Options, check

PHOTOS, SHARDS, BATCH, SIDE = 512, 4, 32, 321
ROUND = 12 * BATCH  # images of one measurement
READY, SETTLE = 6, 0.3  # batches at hand when nobody takes them, at most; seconds in which they are made
STAGES = ("read and shuffle", "parse", "draw a window", "decode it", "resize it", "make batches")


def write_photos(folder: Path) -> Any:
    """Records of smooth coloured noise, whose JPEG files are of the size of photos."""
    import cv2

    from training.records.shards import RecordsConfig, write_records
    from training.records.sources import LabelledPhotos, Photo

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
        source = LabelledPhotos(tuple(photos), tuple("01234567"))
        write_records(source, folder / "records", RecordsConfig(num_shards=SHARDS), workers=2)
    from training.records.recordset import open_records

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
    """Without augmentation, and with our decoder, the images of an epoch and their labels are the same."""
    from training.input.pipeline import validation_batches

    reader = released_reader(list(records.files), augment=False, dct_method="INTEGER_ACCURATE")
    sets = (validation_batches(records, config, 3), reader.take(PHOTOS // BATCH + 4))
    (ours, our_labels), (theirs, their_labels) = (
        [np.concatenate(values) for values in zip(*batches.as_numpy_iterator())] for batches in sets
    )
    theirs = 128.0 * theirs + 128.0
    small = theirs[:, ::40, ::40].reshape(len(theirs), -1)
    for image, label in zip(ours, our_labels):
        twin = np.abs(small - image[::40, ::40].ravel()).sum(axis=1).argmin()
        apart = np.abs(theirs[twin] - image).max()
        check(apart < 0.01, f"a whole image, by {apart:.3f}")
        check(their_labels[twin] == label, f"a label, {their_labels[twin]} and {label}")


def check_window(encoded: bytes) -> None:
    """The area means of a window: ours, which decodes no more than it, and those of the whole image."""
    import tensorflow as tf

    from training.input import pipeline

    window = tf.constant([31, 57, 300, 400])
    accurate = "INTEGER_ACCURATE"
    ours = pipeline._resize_area(
        tf.io.decode_and_crop_jpeg(encoded, window, 3, dct_method=accurate), tf.constant([SIDE, SIDE])
    )
    whole = tf.cast(tf.io.decode_jpeg(encoded, channels=3, dct_method=accurate), tf.float32)[31:331, 57:457]
    apart = float(tf.reduce_max(tf.abs(ours - tf.image.resize(whole, (SIDE, SIDE), "area"))))
    check(apart < 0.01, f"the area means of a window, by {apart:.3f}")


def stage(records: Any, config: Any, depth: int) -> Any:
    """Our pipeline as far as one of :data:`STAGES`, from the same stream and in as many threads.

    What comes after that stage is left out: endless batches, before the last stage of a number or four of each image.
    """
    import tensorflow as tf

    from training.input import pipeline
    from training.input.config import dataset_options, threads
    from training.input.stream import stream
    from training.records.examples import parse_example

    def prepare(position: Any, serialized: Any) -> Any:
        if depth == 0:
            return position
        encoded = parse_example(serialized).encoded
        if depth == 1:
            return tf.strings.length(encoded)
        seed, crop = pipeline._seed(config.seed, position), config.augmentation.crop
        if depth == 2:
            return crop.window(tf.io.extract_jpeg_shape(encoded), seed)
        window = pipeline.decode_crop(encoded, crop, seed)
        return window[0, 0, 0] if depth == 3 else pipeline._resize(window, config, area=True)[0, 0, 0]

    if depth == len(STAGES) - 1:
        return pipeline.training_batches(records, config)
    positions = tf.data.Dataset.counter(0, dtype=tf.int64)
    dataset = tf.data.Dataset.zip(positions, stream(records, config.seed, config.shuffle_buffer, 0))
    dataset = dataset.map(prepare, num_parallel_calls=threads(config), deterministic=True).batch(BATCH)
    return dataset.prefetch(pipeline.PREFETCH).with_options(dataset_options(config))


def parts(work: dict[str, float]) -> dict[str, float]:
    """What each stage adds to the milliseconds of one core that an image takes; together, those of the whole."""
    totals = [1000 * work[name] for name in STAGES]
    added = [total - before for total, before in zip(totals, [0.0, *totals])]
    return {f"core ms, {name}": round(value, 3) for name, value in zip((*STAGES, "all"), (*added, totals[-1]))}


def steady(iterators: dict[str, Any], repeats: int) -> dict[str, tuple[float, float]]:
    """Medians per image of the seconds of each, and of the processor's on all cores; they take turns.

    Nothing is timed before the others' buffers have been filled and what lay ready in its own has been taken.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in iterators}
    for _ in range(repeats):
        for name, iterator in iterators.items():
            time.sleep(SETTLE)
            for _ in range(READY):
                next(iterator)
            wall, work = time.perf_counter(), time.process_time()
            for _ in range(ROUND // BATCH):
                next(iterator)
            found[name].append((time.perf_counter() - wall, time.process_time() - work))
    return {name: tuple(statistics.median(column) / ROUND for column in zip(*rows)) for name, rows in found.items()}


def row(options: Options) -> dict:
    """Measures per image."""
    import tensorflow as tf

    from training.input.augment import build_augmentation
    from training.input.pipeline import InputConfig, training_batches

    records = write_photos(options.folder / "input_photos")
    config = InputConfig(BATCH, SIDE, build_augmentation("crop"), cache=False, threads=options.threads)
    check_same(records, config)
    serialized = next(iter(tf.data.TFRecordDataset(list(records.files)).as_numpy_iterator()))
    encoded = tf.io.parse_single_example(serialized, {"image/encoded": tf.io.FixedLenFeature((), tf.string)})
    data = encoded["image/encoded"].numpy()
    check_window(data)
    check(tf.io.extract_jpeg_shape(data).numpy().tolist() == [480, 640, 3], "the size of a photo")

    def decoded(encoded: Any) -> Any:
        return tf.io.decode_and_crop_jpeg(encoded, [70, 90, 339, 452], 3)[0, 0, 0]

    alone = tf.data.Dataset.from_tensors(data).repeat().map(decoded, num_parallel_calls=options.threads).batch(BATCH)
    single = InputConfig(BATCH, SIDE, build_augmentation("crop"), cache=False, threads=1)
    iterators = {
        "ours": iter(training_batches(records, config)),
        "reference": iter(released_reader(list(records.files), augment=True)),
        "bound": iter(alone),
        "one thread": iter(training_batches(records, single)),
        **{name: iter(stage(records, config, depth)) for depth, name in enumerate(STAGES)},
    }
    found = steady(iterators, options.repeats)
    each = {name: wall for name, (wall, _) in found.items()}
    speeds = {f"images/s, {name}": round(1 / each[name]) for name in ("ours", "reference", "one thread")}
    cores = {f"cores busy, {name}": round(found[name][1] / each[name], 2) for name in ("ours", "reference")}
    return {"name": "input_pipeline", "unit": "image", **{name: each[name] for name in ("ours", "reference", "bound")},
            "notes": speeds | cores | parts({name: work for name, (_, work) in found.items()})}  # fmt: skip
