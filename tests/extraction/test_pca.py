"""PCA: the released rule, worked out by hand; its files; and how an extractor takes it."""

import numpy as np
import pytest

import delg
from delg.common.errors import InputError
from extraction.extractors.delg import DelgExtractor, ExtractionConfig
from extraction.pca import NO_PCA, Pca, Projections, load_pca
from protos.arrays import write_datum
from tests.extraction.pictures import Counting, picture
from tests.tiny import BACKBONE

MEAN = np.array([0.1, 0.2, 0.0], np.float32)
ROWS = np.array([[0, 1, 0], [2, 0, 0], [0, 0, 1]], np.float32)


def test_without_whitening():
    # unit (3, 4, 0) / 5 = (.6, .8, 0); minus the mean (.5, .6, 0); rows give (.6, 1.0, 0); norm sqrt(1.36)
    found = Pca(MEAN, ROWS)(np.array([3.0, 4.0, 0.0]))
    np.testing.assert_allclose(found, np.array([0.6, 1.0, 0.0]) / np.sqrt(1.36), atol=1e-7)
    assert found.dtype == np.float64


def test_with_whitening():
    # (.6, 1.0) / sqrt(4, .25) = (.3, 2.0); norm sqrt(4.09)
    found = Pca(MEAN, ROWS[:2], np.array([4.0, 0.25]))(np.array([3.0, 4.0, 0.0]))
    np.testing.assert_allclose(found, np.array([0.3, 2.0]) / np.sqrt(4.09), atol=1e-7)


def test_many_vectors_at_once():
    vectors = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    pca = Pca(MEAN, ROWS[:2], np.array([4.0, 0.25]))
    found = pca(vectors)
    assert found.shape == (5, 4, 2) and found.dtype == np.float32
    np.testing.assert_allclose(found[3, 1], pca(vectors[3, 1]), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, atol=1e-6)
    assert np.all(pca(np.tile(MEAN / np.linalg.norm(MEAN), (2, 1))) == pca(MEAN))  # any norm
    assert np.all(np.isfinite(Pca(np.zeros(3), ROWS)(np.zeros((1, 3)))))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((MEAN[:2], ROWS), r"Received: \(2,\), \(3, 3\)"),
        ((MEAN[None], ROWS), "PCA expects a mean"),
        ((MEAN, ROWS[0]), "PCA expects a mean"),
        ((MEAN, ROWS[:0]), "PCA expects a mean"),
        ((MEAN, ROWS, np.ones(2)), r"\(3, 3\), \(2,\)"),
        ((MEAN, ROWS, np.array([1.0, 0.0, 1.0])), "variances above 0"),
    ],
)
def test_arrays_that_do_not_fit(parts, message):
    with pytest.raises(InputError, match=message):
        Pca(*parts)


def test_vectors_of_another_dimension():
    with pytest.raises(InputError, match="descriptors with 3 values; the model's have 4"):
        Pca(MEAN, ROWS)(np.ones(4))


@pytest.fixture
def files(tmp_path):
    paths = [str(tmp_path / name) for name in ("mean.datum", "rows.datum", "variances.datum")]
    for path, array in zip(paths, (MEAN, ROWS, np.array([4.0, 0.25, 9.0]))):
        write_datum(path, array)
    return paths


def test_files_are_cut_to_the_dimension(files):
    mean, rows, variances = files
    x = np.array([3.0, 4.0, 0.0])
    np.testing.assert_array_equal(load_pca(mean, rows, 2)(x), Pca(MEAN, ROWS[:2])(x))
    np.testing.assert_allclose(load_pca(mean, rows, 2, variances)(x), np.array([0.3, 2.0]) / np.sqrt(4.09), atol=1e-7)
    assert load_pca(mean, rows, 3, variances).variances.tolist() == [4.0, 0.25, 9.0]


def test_wrong_files_are_named(files, tmp_path):
    mean, rows, variances = files
    for dim in (0, 4):
        with pytest.raises(InputError, match=rf"pca_dim expects 1 to the rows of .*rows\.datum.*Received: {dim}"):
            load_pca(mean, rows, dim)
    with pytest.raises(InputError, match=r"pca_dim expects .*mean\.datum, which is \(3,\)"):
        load_pca(mean, mean, 1)
    with pytest.raises(InputError, match=r"The PCA of .*rows\.datum does not fit together: PCA expects"):
        load_pca(rows, rows, 2)
    with pytest.raises(InputError, match=r"none cannot be read"):
        load_pca(mean, rows, 2, str(tmp_path / "none"))
    write_datum(variances, np.array([1.0]))
    with pytest.raises(InputError, match=r"does not fit together.*\(1,\)"):
        load_pca(mean, rows, 2, variances)


def test_projections():
    vectors = np.random.default_rng(0).normal(size=(4, 3))
    assert NO_PCA.settings == {}
    assert NO_PCA.reduce_global(vectors) is vectors and NO_PCA.reduce_local(vectors) is vectors
    both = Projections(Pca(MEAN, ROWS), Pca(MEAN, ROWS[:2]))
    assert both.reduce_global(vectors[0]).shape == (3,) and both.reduce_local(vectors).shape == (4, 2)
    assert both.reduce_local(np.zeros((0, 0))).shape == (0, 0)
    settings = both.settings
    assert list(settings) == ["global_pca", "local_pca"] and settings["local_pca"].startswith("2 ")
    others = [Pca(MEAN, 2 * ROWS), Pca(MEAN + 1, ROWS), Pca(MEAN, ROWS, np.ones(3)), Pca(MEAN, ROWS[:2])]
    assert len({pca.digest() for pca in (*others, Pca(MEAN, ROWS))}) == 5
    assert list(Projections(of_local=Pca(MEAN, ROWS)).settings) == ["local_pca"]


@pytest.mark.parametrize("head", ["global", "local"])
def test_another_dimension_is_found_before_the_first_image(head):
    extractor = Counting()
    extractor.pca, extractor.dimensions = NO_PCA, {"global": 3, "local": 3} | {head: 4}
    both = Projections(Pca(MEAN, ROWS), Pca(MEAN, ROWS))
    with pytest.raises(InputError, match=f"The PCA of {head} descriptors expects 3 values; the model's have 4"):
        extractor.project(both)
    assert extractor.pca is NO_PCA
    del extractor.dimensions[head]  # not known
    extractor.project(both)
    assert vars(extractor.pca) == vars(both)


def test_an_extractor_takes_it_or_says_so():
    pca = Projections(Pca(MEAN, ROWS))
    extractor = Counting()
    extractor.project(NO_PCA)
    with pytest.raises(InputError, match="extractor 'counting' takes no PCA"):
        extractor.project(pca)
    assert extractor.settings == {"extractor": "counting"}
    extractor.pca = NO_PCA
    extractor.project(pca)
    assert vars(extractor.pca) == vars(pca) and extractor.settings == {"extractor": "counting"} | pca.settings


@pytest.mark.slow
def test_a_model_projects_each_scale_and_its_local_descriptors():
    model = delg.create("delg_small", backbone=BACKBONE, num_classes=None, seed=0)
    image, random = picture(72, 96), np.random.default_rng(0)

    def extractor(*scales):
        config = ExtractionConfig(scales, tuple(range(len(scales))), max_image_size=-1, max_feature_num=20)
        return DelgExtractor(model, config)

    plain, projecting = extractor(0.75, 1.0)(image, "x"), extractor(0.75, 1.0)
    sizes = plain.global_descriptor.size, plain.descriptors.shape[1]
    pcas = [Pca(0.01 * random.normal(size=n), random.normal(size=(d, n))) for n, d in zip(sizes, (16, 8))]
    projecting.project(Projections(*pcas))
    found = projecting(image, "x")
    total = sum(pcas[0](extractor(scale)(image, "x").global_descriptor.astype(np.float64)) for scale in (0.75, 1.0))
    np.testing.assert_allclose(found.global_descriptor, total / np.linalg.norm(total), atol=1e-6)
    assert found.global_descriptor.shape == (16,) and found.descriptors.shape == (20, 8)
    np.testing.assert_allclose(found.descriptors, pcas[1](plain.descriptors), atol=1e-6)
    np.testing.assert_array_equal(found.keypoints, plain.keypoints)
