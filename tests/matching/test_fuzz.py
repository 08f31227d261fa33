"""Seeded random and broken input: each answer is a valid one, or an InputError of one line, and nothing else.

What is sound must be answered; what cannot be compared (NaN, infinite, zero, of another dimension) must be refused, or,
where it is one of many local features, match nothing.
"""

import numpy as np
import pytest

from delg.common.errors import InputError
from extraction.features import Features
from extraction.formats.checks import check_settings
from extraction.store.encoding import as_stored
from matching import lookup
from matching.indexes.table import INDEXES, build_index, search
from matching.local import MODELS
from matching.rerankers.ransac import Ransac
from matching.rerankers.table import RERANKERS, build_reranker
from matching.source import MemorySource
from tests.matching.fuzz_helpers import check_found, check_ranked, first_stage, refused, sources
from tests.matching.helpers import DATA, global_source, local, ranking, scene, unit
from tests.matching.indexes.index_helpers import Store, clustered

SMALL = {
    "alpha_dba": "alpha_dba(top_k=6, n=2)",
    "alpha_qe": "alpha_qe(top_k=6, n=2)",
    "ames": f"ames(top_k=6, weights={str(DATA / 'ames.pt')!r})",
    "auto": "auto(top_k=6)",
    "chamfer_ot": "chamfer_ot(top_k=6)",
    "diffusion": "diffusion(top_k=6, kq=2, kd=3)",
    "elvis": f"elvis(top_k=6, weights={str(DATA / 'elvis.safetensors')!r})",
    "fused": "fused(reranker='ransac(top_k=6, trials=50)', weight=0.2)",
    "gated": "gated(reranker='superglobal(m=6, k=2) | ransac(top_k=6, trials=50)', similarity=9e9)",
    "k_reciprocal": "k_reciprocal(top_k=6, k1=3, k2=2)",
    "ransac": "ransac(top_k=6, trials=50)",
    "superglobal": "superglobal(m=6, k=2)",
}
CHAINS = (
    "superglobal(m=6, k=2) | ransac(top_k=3, trials=50)",
    "ransac(top_k=6, trials=50, settled=2) | alpha_qe(n=1) | k_reciprocal(top_k=4)",
    "alpha_dba(top_k=5) | diffusion(top_k=3, kq=1, kd=1) | fused(reranker='ransac(top_k=6, trials=50)')",
)
TEXTS = (*SMALL.values(), *CHAINS)
LOCAL_ALONE = ("ames", "chamfer_ot", "elvis", "fused", "gated", "ransac(top_k=6, trials=50)")
FORMS = {  # of sound numbers
    "float32": lambda rows: rows,
    "float16": lambda rows: rows.astype(np.float16),
    "float64": lambda rows: rows.astype(np.float64),
    "strided": lambda rows: np.repeat(rows, 2, axis=0)[::2],
    "backwards": lambda rows: np.ascontiguousarray(rows[::-1, ::-1])[::-1, ::-1],
    "fortran": np.asfortranarray,
    "big endian": lambda rows: rows.astype(">f4"),
}
BROKEN = (np.nan, np.inf, -np.inf, 0.0)


def broken(rows, rng):
    """The rows, one of them zero or with a value that is not finite: each of these in turn."""
    for value in BROKEN:
        changed, row = rows.copy(), int(rng.integers(len(rows)))
        changed[row, ... if value == 0 else int(rng.integers(rows.shape[1]))] = value
        yield changed


def test_all_of_the_table_are_driven():
    assert SMALL.keys() == RERANKERS.keys()


@pytest.mark.parametrize("text", TEXTS)
def test_rerankers_answer_what_is_sound(text):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        queries, images = int(rng.integers(1, 4)), (1, 2, 3, 9, 12, 30)[seed]
        pair = sources(rng, queries, images, int(rng.integers(1, 20)))
        for name in ("float32", sorted(FORMS)[seed]):
            for source in pair:
                source.global_descriptors = FORMS[name](source.global_descriptors)
            before = first_stage(rng, queries, images)
            check_ranked(before, build_reranker(text)(*pair, before))


@pytest.mark.parametrize("text", [text for text in TEXTS if not text.startswith(LOCAL_ALONE)])
def test_rerankers_refuse_broken_global_descriptors(text):
    rng = np.random.default_rng(0)
    queries, database = sources(rng, 2, 5, 6)
    before = ranking([[0, 1, 2, 3, 4]] * 2, [[5, 4, 3, 2, 1]] * 2)
    for side in (queries, database):
        sound = side.global_descriptors
        for side.global_descriptors in broken(sound, rng):
            with refused():
                build_reranker(text)(queries, database, before)
        side.global_descriptors = sound
    across = np.eye(6, dtype=np.float32)[[1, 2, 1, 3, 2]] * np.float32(
        1e30
    )  # finite with the query, not among themselves
    try:
        check_ranked(before, build_reranker(text)(global_source(np.eye(6)[[0, 0]]), global_source(across), before))
    except InputError as error:
        assert "not finite" in str(error)
    huge = global_source(unit(rng.normal(size=(5, 6))) * 3e38)
    with refused():
        build_reranker(text)(huge, huge, ranking([[0, 1, 2, 3, 4]] * 5, [[5, 4, 3, 2, 1]] * 5))
    for dimension in (0, 5):
        other = global_source(np.ones((2, dimension)))
        with refused():
            build_reranker(text)(other, database, ranking([[0, 1]] * 2, [[5, 4]] * 2))


def shapes(rng):
    """Images that are each broken or odd in another way, with whether they are broken."""
    keypoints, descriptors = scene(n=24)
    nan_point, nan_value = keypoints.copy(), descriptors.copy()
    nan_point[3, 1], nan_value[7, 5] = np.nan, -np.inf
    far, zero = keypoints * 1e18, descriptors * 0
    bits = as_stored(local(keypoints, descriptors), "binary")
    one = np.repeat(keypoints[:1], 24, axis=0)
    flat = keypoints * [1, 0]
    return [
        (local(keypoints, descriptors), False),
        (local(keypoints[:0], descriptors[:0]), False),
        (local(keypoints[:1], descriptors[:1]), False),
        (local(keypoints[:4], descriptors[:4]), False),
        (local(one, descriptors), False),
        (local(flat, descriptors), False),
        (local(far, descriptors), False),
        (local(keypoints, zero), False),
        (local(keypoints, np.repeat(descriptors[:1], 24, axis=0)), False),
        (local(nan_point, descriptors), True),
        (local(keypoints, nan_value), True),
        (local(keypoints, descriptors[:, :64]), True),
        (local(keypoints, descriptors[:, :0]), True),
        (bits, True),
        *((odd(keypoints, form(descriptors)), False) for form in FORMS.values()),
    ]


def odd(keypoints, descriptors):
    n = len(keypoints)
    one = np.ones(n, np.float32)
    return Features("odd", (9, 9), keypoints=keypoints, descriptors=descriptors, scores=one, scales=one)


def comparable(image, released):
    """Whether an image can be compared with itself."""
    finite = np.isfinite(image.keypoints).all() and np.isfinite(image.descriptors).all()
    return finite and image.descriptors.shape[1] > 0 and not (released and image.binary)


@pytest.mark.parametrize("released", [False, True])
def test_local_matching(released):
    rng = np.random.default_rng(0)
    good = local(*scene(n=24))
    for i, (image, wrong) in enumerate(shapes(rng)):
        options = {"trials": 50, "ratio": (None, 0.9)[i % 3 == 0], "matching_threshold": (1.0, 9.0)[i // 2 % 2]}
        options |= {} if released else {"mutual": bool(i % 2), "model": MODELS[i % len(MODELS)]}
        matcher = Ransac(released=released, **options)
        for pair in ((good, image), (image, good), (image, image)):
            if wrong and not (pair[0] is pair[1] and comparable(image, released)):
                with refused():
                    matcher.inliers(*pair)
                continue
            found = matcher.inliers(*pair)
            assert found.pairs.shape == (len(found), 2) and found.pairs.dtype == np.int64
            telling = np.count_nonzero(pair[0].descriptors.any(axis=1)) if not pair[0].binary else len(pair[0])
            assert len(found) <= found.tentative <= telling
            assert found.transform is None or np.isfinite(found.transform).all()
            for side, own in enumerate(pair):
                assert not len(found) or 0 <= found.pairs[:, side].min() <= found.pairs[:, side].max() < len(own)
                if not own.binary:
                    assert own.descriptors[found.pairs[:, side]].any(axis=1).all()


@pytest.mark.parametrize("text", [text for text in TEXTS if "ransac" in text])
def test_rerankers_refuse_broken_local_features(text):
    rng = np.random.default_rng(1)
    vectors = unit(rng.normal(size=(4, 6)))
    good, before = scene(n=24), ranking([[0, 1, 2, 3]], [[4, 3, 2, 1]])
    for image, wrong in shapes(rng):
        images = [local(*good, str(i), vector) for i, vector in enumerate(vectors)]
        images[2] = Features(**vars(image) | {"global_descriptor": vectors[2]})
        reranker = build_reranker(text.replace("top_k=3", "top_k=6"))
        if wrong:
            with refused():
                reranker(MemorySource(images[:1]), MemorySource(images), before)
        else:
            check_ranked(before, reranker(MemorySource(images[:1]), MemorySource(images), before))


@pytest.mark.parametrize("name", sorted(INDEXES))
def test_indexes_and_search(name, tmp_path):
    text = "faiss(factory='IVF4,SQ8', nprobe=4)" if name == "faiss" else name
    for seed in range(3):
        rng = np.random.default_rng(seed)
        database, queries = clustered(60, 8, seed), clustered(4, 8, seed + 1)
        form = FORMS[sorted(FORMS)[(seed + len(name)) % len(FORMS)]]
        index = build_index(Store(form(database)), tmp_path / str(seed), text)
        for answer in (index.search(form(queries), 7), search(form(queries), form(database), 7)):
            check_found(answer, np.asarray(form(queries), np.float64), np.asarray(form(database), np.float64))
        for wrong in (*broken(queries, rng), queries[:, :5], queries[0], queries[:, :0], queries.astype(str)):
            with refused():
                index.search(wrong, 7)
            with refused():
                search(wrong, database, 7)
        for wrong in (*broken(database, rng), database[:0], database[:, :0]):
            with refused():
                build_index(Store(wrong), tmp_path / "wrong", text)
            with refused():
                search(queries, wrong, 7)
        for top_k in (0, -3, 2.5, "3", True, float("nan")):
            with refused():
                index.search(queries, top_k)
    single = Store(database[:1])
    try:
        assert build_index(single, tmp_path / "single", text).search(queries, 9).indices.tolist() == [[0]] * 4
    except InputError as error:
        assert "image" in str(error) or "cannot train" in str(error)


def test_what_the_commands_call(tmp_path):
    rng = np.random.default_rng(0)
    values = (-np.inf, -3.0, 0.0, 1.5, 7.0, np.inf, np.nan)
    for _ in range(300):
        try:
            x1, y1, x2, y2 = lookup.check_crop(rng.choice(values, int(rng.integers(3, 6))).tolist())
            assert x1 < x2 and y1 < y2 and np.isfinite([x1, y1, x2, y2]).all()
        except InputError as error:
            assert "\n" not in str(error)
    for left, right in (({"extractor": "a"}, {"extractor": "b"}), ({}, {"extractor": "b"}), ({"x": [1.0]}, {"x": [1]})):
        if left != right:
            with refused():
                check_settings(left, right, "These")
    queries, database = sources(rng, 1, 6, 5)
    query = queries.features(0)
    for top_k in (1, 3, 99):
        for text in (None, *TEXTS):
            found = lookup.find(query, database, top_k, build_reranker(text) if text else None)
            assert len(found) == min(top_k, 6) == len({result.row for result in found})
            assert (np.diff([result.score for result in found]) <= 0).all()
    for wrong in (np.zeros(5), np.full(5, np.nan), np.ones(4), np.zeros(0)):
        with refused():
            lookup.find(local(*scene(n=3), "q", wrong), database, 3, build_reranker("ransac"))
    with refused():
        lookup.find(query, MemorySource([]), 3)
