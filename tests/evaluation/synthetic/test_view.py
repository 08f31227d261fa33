"""The geometry and the light of views: what the homographies say is where the pixels are."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from delg.common.errors import InputError
from evaluation.synthetic import camera, occluders, photometry, view
from evaluation.synthetic.dataset import LandmarkSetOptions, landmarks, look
from evaluation.synthetic.facade import Facade
from evaluation.synthetic.truth import load_homographies, project, transfer

BOX = np.array([(0.0, 0.0), (319.0, 0.0), (319.0, 299.0), (0.0, 299.0)])
CLEAN = replace(
    camera.HARD,
    occlusion=(0, 0),
    gain=(1, 1),
    gamma=(1, 1),
    cast=0,
    shadow=0,
    blur=(0, 0),
    noise=(0, 0),
    quality=(95, 95),
)


def test_project_divides_by_the_third_coordinate():
    homography = np.array([[2.0, 0, 1], [0, 3, -1], [0.1, 0, 1]])
    np.testing.assert_allclose(project([(10, 4)], homography), [[10.5, 5.5]])


def test_transfer_goes_through_the_plane():
    first, second = np.array([[2.0, 0, 4], [0, 2, 6], [0, 0, 1]]), np.array([[0.0, -1, 7], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(transfer([(14, 26)], first, second), [[-3, 5]], atol=1e-12)


@pytest.mark.parametrize(
    ("angles", "vector", "image"),
    [((90, 0, 0), (1, 0, 0), (0, 0, -1)), ((0, 90, 0), (0, 1, 0), (0, 0, 1)), ((0, 0, 90), (1, 0, 0), (0, 1, 0))],
)
def test_rotation_axes_and_signs(angles, vector, image):
    np.testing.assert_allclose(camera.rotation(*angles) @ vector, image, atol=1e-12)


def test_upright_plane_projects_to_a_centred_upright_box():
    flat = camera.plane_to_image(np.array([(0.0, 0), (6, 0), (6, 8), (0, 8)]), np.eye(3), 2.0)
    np.testing.assert_allclose(project([(3, 4), (6, 8), (0, 8)], flat), [[0, 0], [0.3, 0.4], [-0.3, 0.4]], atol=1e-12)


@pytest.mark.parametrize("name", ["EASY", "HARD", "TINY", "SLIVER"])
@pytest.mark.parametrize("size", [(256, 192), (192, 256)])
def test_camera_keeps_the_admitted_part_in_the_frame(name, size):
    ranges = getattr(camera, name)
    for seed in range(40):
        homography = camera.draw_camera(np.random.default_rng(seed), ranges, BOX, size)
        corners = project(BOX, homography)
        depth = np.column_stack([BOX, np.ones(4)]) @ homography[2]
        assert (depth > 0).all()
        whole = cv2.contourArea(corners.astype(np.float32))
        part = cv2.countNonZero(camera.silhouette(BOX, homography, size)) / whole
        assert ranges.in_frame[0] <= min(part, 1.0) <= ranges.in_frame[1]
        extent = (np.ptp(corners, axis=0) / size).max()
        assert ranges.extent[0] - 1e-6 <= extent <= ranges.extent[1] + 1e-6


def test_without_shift_the_landmark_is_centred():
    for seed in range(5):
        homography = camera.draw_camera(np.random.default_rng(seed), replace(camera.EASY, shift=0.0), BOX, (256, 192))
        corners = project(BOX, homography)
        np.testing.assert_allclose((corners.min(0) + corners.max(0)) / 2, [128, 96], atol=1e-6)


def test_enlarge_keeps_pixel_centres():
    np.testing.assert_allclose(project([(0, 0), (3, 1)], view.enlarge(np.eye(3), 2)), [[0.5, 0.5], [6.5, 2.5]])


@pytest.mark.parametrize("seed", range(6))
def test_marked_points_are_where_the_homography_says(seed):
    """Renders through the whole chain with and without dots; the difference shows the dots alone."""
    points = np.array([(60, 50), (250, 60), (160, 150), (70, 240), (255, 245)])
    blank = np.full((300, 320, 3), 90, np.uint8)
    marked = blank.copy()
    for x, y in points.tolist():
        cv2.circle(marked, (x, y), 9, (250, 250, 250), -1)
    planned = view.plan_view(np.random.default_rng(seed), "easy", BOX, 256)
    planned = replace(planned, occluders=[], difficulty=CLEAN)
    images = []
    for texture in (blank, marked):
        data = view.render_view(np.random.default_rng(9), planned, Facade(texture, BOX))
        images.append(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE).astype(int))
    assert images[0].shape[::-1] == planned.size
    changed = np.abs(images[1] - images[0])
    changed[changed < 25] = 0
    ys, xs = np.mgrid[: changed.shape[0], : changed.shape[1]]
    checked = 0
    for x, y in project(points, planned.homography):
        near = (np.hypot(xs - x, ys - y) < 11) * changed
        if 12 < x < changed.shape[1] - 12 and 12 < y < changed.shape[0] - 12:
            found = np.array([(near * xs).sum(), (near * ys).sum()]) / near.sum()
            assert np.hypot(*(found - (x, y))) < 0.35
            checked += 1
    assert checked >= 3


@pytest.mark.parametrize("kind", ["easy", "hard", "junk"])
def test_box_holds_the_projected_outline_clipped_to_the_image(kind):
    for seed in range(25):
        planned = view.plan_view(np.random.default_rng(seed), kind, BOX, 256)
        x1, y1, x2, y2 = planned.bbx
        width, height = planned.size
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
        corners = project(BOX, planned.homography)
        inside = ((corners >= 0) & (corners <= (width - 1, height - 1))).all(1)
        for x, y in corners[inside]:
            assert x1 - 1 <= x <= x2 and y1 - 1 <= y <= y2
        if inside.all():
            tight = [*np.floor(corners.min(0)), *(np.ceil(corners.max(0)) + 1)]
            np.testing.assert_allclose(planned.bbx, tight, atol=1.01)


def test_kinds_differ_in_what_can_be_seen():
    plans = {
        k: [view.plan_view(np.random.default_rng(s), k, BOX, 256) for s in range(60)] for k in ("easy", "hard", "junk")
    }
    assert min(p.visible for p in plans["easy"]) > 0.65
    assert min(p.visible for p in plans["hard"]) > 0.6 * 0.76 - 0.02
    assert np.mean([p.visible for p in plans["hard"]]) < np.mean([p.visible for p in plans["easy"]]) - 0.1
    for planned in plans["junk"]:
        assert planned.visible < 0.15 or planned.coverage < 0.04


def test_image_size_is_the_longer_side():
    sizes = {view.plan_view(np.random.default_rng(s), "easy", BOX, 128).size for s in range(20)}
    assert sizes == {(128, 96), (96, 128)}


def test_occluders_hide_what_they_claim_and_no_more_than_admitted():
    landmark = np.zeros((192, 256), np.uint8)
    landmark[40:160, 50:210] = 255
    shares = []
    for seed in range(30):
        chosen, hidden = occluders.draw_occluders(np.random.default_rng(seed), landmark, (0.1, 0.45))
        covered = occluders.cover(chosen, (256, 192))
        assert hidden == pytest.approx((covered[40:160, 50:210] > 0).mean())
        assert hidden <= 0.45
        shares.append(hidden)
    assert np.mean(shares) > 0.15
    assert occluders.draw_occluders(np.random.default_rng(0), landmark, (0.0, 0.0)) == ([], 0.0)


@pytest.mark.parametrize("name", sorted(occluders.OCCLUDERS))
def test_painted_occluders_lie_under_their_cover(name):
    shape = occluders.OCCLUDERS[name](np.random.default_rng(3), np.array([100.0, 90.0]), 150.0)
    canvas = np.zeros((384, 512, 3), np.uint8)
    occluders.paint(canvas, [[occluders.Patch(p.points, (200, 200, 200)) for p in shape]], 2)
    small = cv2.resize(canvas, (256, 192), interpolation=cv2.INTER_AREA)[..., 0] > 100
    covered = occluders.cover([shape], (256, 192)) > 0
    assert covered.any()
    assert (small != covered).sum() <= 0.3 * covered.sum()
    assert not (small & ~cv2.dilate(covered.astype(np.uint8), np.ones((3, 3))).astype(bool)).any()


def test_paint_scales_about_pixel_edges():
    canvas = np.zeros((40, 80, 3), np.uint8)
    box = np.array([(9.6, 4.6), (19.4, 4.6), (19.4, 14.4), (9.6, 14.4)])
    occluders.paint(canvas, [[occluders.Patch(box, (1, 2, 3))]], 2)
    ys, xs = np.nonzero(canvas[..., 0])
    assert xs.mean() == pytest.approx(29.5, abs=0.2) and ys.mean() == pytest.approx(19.5, abs=0.2)
    assert len(np.unique(xs)) == pytest.approx(20, abs=1) and canvas[20, 30].tolist() == [1, 2, 3]


def test_gain_gamma_and_noise_by_hand():
    image = np.full((40, 60, 3), 128, np.uint8)
    rng = np.random.default_rng
    assert (photometry.light(image, rng(0), replace(CLEAN, gain=(1.5, 1.5))) == 192).all()
    assert (photometry.light(image, rng(0), replace(CLEAN, gamma=(2, 2))) == 64).all()
    assert (photometry.light(image, rng(0), replace(CLEAN, gain=(3, 3))) == 255).all()
    tinted = photometry.light(image, rng(0), replace(CLEAN, cast=0.2))[0, 0]
    assert len(set(tinted.tolist())) == 3 and (np.abs(tinted - 128.0) <= 26).all()
    noisy = photometry.expose(image, rng(0), replace(CLEAN, noise=(10, 10))).astype(float)
    assert noisy.mean() == pytest.approx(128, abs=0.5) and noisy.std() == pytest.approx(10, abs=0.4)


def test_shadow_darkens_and_blur_keeps_the_mean():
    image = np.full((48, 64, 3), 200, np.uint8)
    dark = photometry.shadow(image, np.random.default_rng(1))
    assert dark.max() <= 200 and dark.min() < 160
    image[20:30, 20:30] = 0
    for seed in range(6):
        soft = photometry.blur(image, np.random.default_rng(seed), 1.5)
        assert soft.mean() == pytest.approx(image.mean(), abs=1.0)
        assert soft[25, 25, 0] < 40 and 20 < soft[25, 20, 0] < 180


def test_colours_are_red_green_blue():
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 220
    decoded = cv2.imdecode(np.frombuffer(photometry.encode(red, 95), np.uint8), cv2.IMREAD_COLOR)
    assert decoded[16, 16, 2] > 200 and decoded[16, 16, 0] < 20


def test_scene_is_cut_out_by_the_silhouette():
    outline = np.array([(10.0, 0.0), (40, 30), (10, 60)])
    canvas = np.zeros((80, 80, 3), np.uint8)
    view.place(
        canvas, Facade(np.full((61, 50, 3), 255, np.uint8), outline), np.array([[1.0, 0, 5], [0, 1, 5], [0, 0, 1]])
    )
    assert canvas[35, 30, 0] == 255 and canvas[35, 46, 0] == 0 and canvas[8, 40, 0] == 0 and canvas[35, 12, 0] == 0


def test_missing_homographies_are_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"homographies\.npz"):
        load_homographies(tmp_path)
    (tmp_path / "homographies.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(InputError, match=r"homographies\.npz"):
        load_homographies(tmp_path)
    np.savez(tmp_path / "homographies.npz", a=np.eye(3))
    with pytest.raises(InputError, match="'b'"):
        load_homographies(tmp_path, ["b"])
    assert list(load_homographies(tmp_path)) == ["a"]
    flat = np.outer([1.0, 2.0, 3.0], [1.0, 1.0, 1.0])
    for matrix in (flat, np.full((3, 3), np.nan), np.eye(2), np.array([object()]), np.array("x")):
        np.savez(tmp_path / "homographies.npz", a=matrix)
        with pytest.raises(InputError, match=r"homographies\.npz cannot be read"):
            load_homographies(tmp_path)
    for content in (b"", b"PK\x03\x04", (tmp_path / "homographies.npz").read_bytes()[:-30]):
        (tmp_path / "homographies.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"homographies\.npz cannot be read"):
            load_homographies(tmp_path)


def test_outlines_lie_in_the_texture():
    for mark in landmarks(LandmarkSetOptions(num_classes=30, num_queries=1, num_distractors=0)):
        style, outline, eaves = look(0, mark)
        assert (outline >= 0).all() and (outline <= (style.width - 1, style.height - 1)).all()
        assert outline[:, 1].max() == style.height - 1 and outline[:, 1].min() < eaves < 0.3 * style.height
