"""Augmentation: what each step does to an image, and how chains are named."""

import numpy as np
import pytest
import tensorflow as tf

from protos.errors import InputError
from tests.training.pictures import picture
from training.augment import AUGMENTATIONS, Crop, build_augmentation, color_jitter, flip, random_erasing

IMAGE = tf.constant(picture(1, 0, (32, 32)), tf.float32)


def seed(number: int) -> tf.Tensor:
    return tf.constant([3, number], tf.int64)


def draws(step, count: int = 200) -> np.ndarray:
    return np.stack([step(IMAGE, seed(i)).numpy() for i in range(count)])


def test_windows_keep_area_aspect_and_border():
    crop, shape = Crop(), tf.constant([90, 160, 3])
    windows = np.array([crop.window(shape, seed(i)).numpy() for i in range(400)])
    top, left, height, width = windows.T
    assert (top >= 0).all() and (left >= 0).all() and (top + height <= 90).all() and (left + width <= 160).all()
    area, aspect = height * width / (90 * 160), width / height
    assert area.min() >= 0.075 and area.max() > 0.6 and area.min() < 0.12
    assert 0.72 <= aspect.min() < 0.8 and 1.25 < aspect.max() <= 1.37
    assert len({tuple(window) for window in windows}) > 350
    large = np.array([Crop(min_area=0.5).window(shape, seed(i)).numpy() for i in range(50)])
    assert (large[:, 2] * large[:, 3] / (90 * 160)).min() >= 0.48


def test_flip_mirrors_left_and_right_half_of_the_time():
    images = draws(flip())
    mirrored = np.array([np.array_equal(image, IMAGE[:, ::-1]) for image in images])
    same = np.array([np.array_equal(image, IMAGE) for image in images])
    assert (mirrored ^ same).all() and 70 < mirrored.sum() < 130
    assert (draws(flip(p=0.0), 5) == IMAGE.numpy()).all()
    assert (draws(flip(p=1.0), 5) == IMAGE.numpy()[:, ::-1]).all()


def test_color_jitter_of_strength_zero_changes_nothing_and_each_strength_does_its_part():
    nothing = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "cast": 0.0}
    np.testing.assert_allclose(draws(color_jitter(**nothing), 3), np.stack([IMAGE] * 3), atol=1e-3)
    mid = tf.clip_by_value(IMAGE, 60.0, 180.0)
    grey = mid.numpy().mean(-1, keepdims=True)
    for i in range(20):
        bright = color_jitter(**nothing | {"brightness": 0.3})(mid, seed(i)).numpy() / mid.numpy()
        assert np.ptp(bright) < 1e-4 and 0.7 <= bright.mean() <= 1.3
        contrast = color_jitter(**nothing | {"contrast": 0.3})(mid, seed(i)).numpy()
        assert abs(contrast.mean() - mid.numpy().mean()) < 1e-2 and 0.7 <= contrast.std() / mid.numpy().std() <= 1.3
        saturated = color_jitter(**nothing | {"saturation": 0.3})(mid, seed(i)).numpy()
        np.testing.assert_allclose(saturated.mean(-1, keepdims=True), grey, atol=1e-3)
        cast = color_jitter(**nothing | {"cast": 0.1})(mid, seed(i)).numpy() / mid.numpy()
        assert np.ptp(cast, axis=(0, 1)).max() < 1e-4 and 0 < np.ptp(cast[0, 0]) <= 0.2
    assert np.abs(bright.mean() - 1) > 1e-3
    extreme = draws(color_jitter(0.9, 0.9, 0.9, 0.5), 50)
    assert extreme.min() == 0 and extreme.max() == 255


def test_random_erasing_paints_one_rectangle():
    images = draws(random_erasing(p=0.4))
    changed = (images != IMAGE.numpy()).any(-1)
    hit = changed.any((1, 2))
    assert 50 < hit.sum() < 110
    for mask, image in zip(changed[hit], images[hit]):
        rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
        box = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (box == 128).all()
        assert 0.01 <= box.shape[0] * box.shape[1] / 1024 <= 0.32
    assert not (draws(random_erasing(p=0.0), 20) != IMAGE.numpy()).any()


def test_steps_of_a_chain_draw_different_numbers():
    augmentation = build_augmentation("flip(p=0.5), flip(p=0.5)")
    flips = [np.array_equal(augmentation.apply(IMAGE, seed(i)), IMAGE) for i in range(40)]
    assert any(flips) and not all(flips)


def test_chains_by_name():
    assert build_augmentation("").crop is None and build_augmentation("").steps == ()
    assert build_augmentation("crop").crop == Crop(0.08, 1.0, 3 / 4, 4 / 3)
    chain = build_augmentation("flip, crop(min_area=0.3, max_aspect=2.0), random_erasing(p=0.1)")
    assert chain.crop == Crop(min_area=0.3, max_aspect=2.0) and len(chain.steps) == 2
    assert sorted(AUGMENTATIONS) == ["color_jitter", "crop", "flip", "random_erasing"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mirror", "Unknown augmentation 'mirror'; the choices are color_jitter, crop, flip, random_erasing"),
        ("flip(chance=1)", "its arguments are p"),
        ("flip(p=1.5)", "probability p in 0..1"),
        ("crop(min_area=0)", "0 < min_area"),
        ("crop(min_area=0.5, max_area=0.4)", "0 < min_area"),
        ("crop, crop", "at most one crop"),
        ("color_jitter(contrast=1.0)", "strengths from 0 to below 1"),
        ("random_erasing(max_area=1.0)", "0 < min_area <= max_area < 1"),
    ],
)
def test_chains_that_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        build_augmentation(text)
