"""Augmentation: what each step does to an image, and how chains are named."""

import numpy as np
import pytest
import tensorflow as tf

from delg.common.errors import InputError
from tests.training.pictures import picture
from training.input import image_ops
from training.input.augment import (
    AUGMENTATIONS,
    Crop,
    build_augmentation,
    color_jitter,
    cutout,
    flip,
    gaussian_blur,
    hsv_jitter,
    random_erasing,
    rotate,
)
from training.input.config import as_written

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


def test_rotate_turns_counter_clockwise_and_both_ways():
    wheel = tf.constant(np.arange(27.0).reshape(3, 3, 3), tf.float32)
    quarter = image_ops.rotate(wheel, tf.constant(np.pi / 2, tf.float32), "bilinear").numpy()
    np.testing.assert_allclose(quarter, np.rot90(wheel.numpy()), atol=1e-4)
    turned = draws(rotate(degrees=90.0, p=0.7, fill_value=128.0), 100)
    changed = (turned != IMAGE.numpy()).any((1, 2, 3))
    assert 50 < changed.sum() < 90
    # what was right of the centre goes up when turned counter-clockwise, down when clockwise
    dot = np.zeros((33, 33, 3), np.float32)
    dot[16, 28] = 255.0
    step = rotate(degrees=60.0, fill_value=0.0)
    rows = [int(step(tf.constant(dot), seed(i)).numpy()[..., 0].argmax()) // 33 for i in range(60)]
    assert min(rows) == 16 - 10 and max(rows) == 16 + 10  # 12 sin 60 = 10.4
    assert (draws(rotate(degrees=0.0, p=1.0), 3) == IMAGE.numpy()).all()
    assert draws(rotate(degrees=45.0, fill_value=7.0), 20)[:, 0, 0].min() == 7.0


def test_cutout_paints_a_rectangle_wholly_inside():
    images = draws(cutout(size=(4, 10), p=0.8, value=300.0))
    painted = (images == 300.0).all(-1)
    hit = painted.any((1, 2))
    assert 130 < hit.sum() < 190
    assert (painted[hit].sum((1, 2)) == 40).all()
    tops = painted[hit].any(2).argmax(1)
    lefts = painted[hit].any(1).argmax(1)
    assert tops.min() == 0 and tops.max() == 27 and lefts.min() == 0 and lefts.max() == 21  # the last place is free
    assert (painted[hit].any(2).sum(1) == 4).all() and (painted[hit].any(1).sum(1) == 10).all()
    assert (images[hit][~painted[hit]] == np.broadcast_to(IMAGE, (hit.sum(), 32, 32, 3))[~painted[hit]]).all()
    assert (draws(cutout(size=32), 2) == 128.0).all()


def test_blur_keeps_the_mean_and_takes_detail():
    images = draws(gaussian_blur(size=7, min_sigma=0.5, max_sigma=3.0, p=0.5), 100)
    detail = np.abs(np.diff(images, axis=2)).mean((1, 2, 3))
    same = (images == IMAGE.numpy()).all((1, 2, 3))
    assert 30 < same.sum() < 70
    assert (detail[~same] < detail[same].min()).all() and len(set(detail[~same].tolist())) == (~same).sum()
    flat = image_ops.gaussian_blur(tf.fill((9, 9, 3), 100.0), 5, tf.constant(1.0)).numpy()
    np.testing.assert_allclose(flat, 100.0, rtol=1e-6)
    point = np.zeros((9, 9, 1), np.float32)
    point[4, 4] = 1.0
    blurred = image_ops.gaussian_blur(tf.constant(point), 3, tf.constant(1.0)).numpy()[..., 0]
    weights = np.exp([-0.5, 0.0, -0.5]) / np.exp([-0.5, 0.0, -0.5]).sum()
    np.testing.assert_allclose(blurred[3:6, 3:6], np.outer(weights, weights), rtol=1e-6)
    assert blurred.sum() == pytest.approx(1.0, rel=1e-6)


def test_hsv_jitter_changes_each_within_its_bounds():
    grey = tf.fill((2, 2, 3), 100.0)
    values = np.array([hsv_jitter(0.5, 0.5, 2.0, 0.6, 1.1)(grey, seed(i)).numpy().mean() for i in range(200)])
    assert 60 <= values.min() < 65 and 105 < values.max() <= 110 + 1e-3
    red = tf.constant([[[150.0, 100.0, 100.0]]])
    chroma = []
    for i in range(200):
        yiq = hsv_jitter(0.5, 0.5, 1.5, 1.0, 1.0)(red, seed(i)).numpy()[0, 0] @ image_ops.YIQ.T
        chroma.append(yiq[1] + 1j * yiq[2])
    chroma = np.array(chroma) / complex(*(image_ops.YIQ @ red.numpy()[0, 0])[1:])
    assert -0.5 <= np.angle(chroma).min() < -0.45 and 0.45 < np.angle(chroma).max() <= 0.5
    assert 0.5 <= np.abs(chroma).min() < 0.55 and 1.45 < np.abs(chroma).max() <= 1.5 + 1e-4
    np.testing.assert_allclose(draws(hsv_jitter(0.0, 1.0, 1.0, 1.0, 1.0), 2), np.stack([IMAGE] * 2), atol=1e-3)
    assert draws(hsv_jitter(0.0, 1.0, 1.0, 3.0, 3.0), 1).max() == 255.0


def test_steps_of_a_chain_draw_different_numbers():
    augmentation = build_augmentation("flip(p=0.5), flip(p=0.5)")
    flips = [np.array_equal(augmentation.apply(IMAGE, seed(i)), IMAGE) for i in range(40)]
    assert any(flips) and not all(flips)


def test_chains_by_name():
    assert build_augmentation("").crop is None and build_augmentation("").steps == ()
    assert build_augmentation("crop").crop == Crop(0.08, 1.0, 3 / 4, 4 / 3)
    chain = build_augmentation("flip, crop(min_area=0.3, max_aspect=2.0), random_erasing(p=0.1)")
    assert chain.crop == Crop(min_area=0.3, max_aspect=2.0) and len(chain.steps) == 2
    assert sorted(AUGMENTATIONS) == [
        "color_jitter", "crop", "cutout", "flip", "gaussian_blur", "hsv_jitter", "random_erasing", "rotate",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mirror", "Unknown augmentation 'mirror'; the choices are color_jitter, crop, cutout, flip, gaussian_blur, "),
        ("flip(chance=1)", "its arguments are p"),
        ("flip(p=1.5)", "probability p in 0..1"),
        ("crop(min_area=0)", "0 < min_area"),
        ("crop(min_area=0.5, max_area=0.4)", "0 < min_area"),
        ("crop, crop", "at most one crop"),
        ("color_jitter(contrast=1.0)", "strengths from 0 to below 1"),
        ("random_erasing(max_area=1.0)", "0 < min_area <= max_area < 1"),
        ("rotate(degrees=181)", r"degrees in 0\.\.180"),
        ("rotate(interpolation='cubic')", "interpolation among nearest, bilinear"),
        ("rotate(fill_mode='zero')", "fill_mode among constant, reflect, wrap, nearest"),
        ("cutout(size=5)", "size of even whole numbers"),
        ("cutout(size=(4, 0))", "size of even whole numbers"),
        ("gaussian_blur(size=1)", r"whole size in 2\.\.63"),
        ("gaussian_blur(min_sigma=0)", "0 < min_sigma <= max_sigma"),
        ("hsv_jitter(max_delta_hue=-0.1)", "0 <= max_delta_hue <= pi"),
        ("hsv_jitter(lower_value=1.3)", "0 <= lower <= upper"),
        ("cutout(p=2)", r"probability p in 0\.\.1"),
    ],
)
def test_chains_that_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        build_augmentation(text)


def lifted(by: float):
    """A user's own step, with a branch on a tensor."""

    def step(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        if tf.reduce_max(image) < 1e3:
            image += by
        return image

    return step


def test_a_step_of_the_user_s_own_may_branch_on_tensors():
    augmentation = build_augmentation(f"{__name__}:lifted(by=2.0), color_jitter")
    dataset = tf.data.Dataset.from_tensors(IMAGE).map(as_written(lambda image: augmentation.apply(image, seed(0))))
    expected = build_augmentation("flip(p=0), color_jitter").apply(IMAGE + 2.0, seed(0))
    np.testing.assert_allclose(next(iter(dataset)), expected, atol=1e-3)
