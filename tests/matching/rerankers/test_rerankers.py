"""What every reranker of the table, a plug-in, and a chain of them must hold."""

import inspect
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from delg.commands import MODULES
from delg.common.errors import InputError
from delg.common.spec import factory_of
from matching.rerankers.base import GeometricReranker
from matching.rerankers.ransac import Ransac
from matching.rerankers.table import RERANKERS, build_reranker, links, suited
from matching.source import MemorySource
from tests.matching.helpers import DATA, global_source, local, ranking, scene, unit

ROOT = Path(__file__).parents[3]
COMMANDS = set(MODULES.values())
HEAD_OF_FIVE = {
    "alpha_dba": "alpha_dba(top_k=5, n=2)",
    "alpha_qe": "alpha_qe(top_k=5, n=2)",
    "ames": f"ames(top_k=5, weights={str(DATA / 'ames.pt')!r}, weight=0)",
    "auto": "auto(top_k=5)",
    "chamfer_ot": "chamfer_ot(top_k=5)",
    "diffusion": "diffusion(top_k=5, kq=2, kd=3, gamma=1)",
    "elvis": f"elvis(top_k=5, weights={str(DATA / 'elvis.safetensors')!r}, weight=0, temperature=0.1)",
    "fused": "fused(reranker='ransac(top_k=5)')",
    "gated": "gated(reranker='ransac(top_k=5)', similarity=2)",
    "k_reciprocal": "k_reciprocal(top_k=5, k1=2, k2=2)",
    "ransac": "ransac(top_k=5)",
    "superglobal": "superglobal(m=5, k=2)",
}
CHAIN = "superglobal(m=5, k=2) | ransac(top_k=3)"
PLUG_INS = ["own_rerankers:Weighted(top_k=5)", "own_rerankers:Matches(top_k=5)"]
OWN_CHAIN = "own_rerankers:Matches(top_k=5) | alpha_qe(top_k=4)"
TEXTS = [*HEAD_OF_FIVE.values(), *PLUG_INS, OWN_CHAIN, CHAIN, "ransac(top_k=5, settled=2)"]
TEXTS += ["superglobal(m=5, k=2) | fused(reranker='alpha_qe(top_k=4, n=2) | ransac(top_k=3)', weight=0.1)"]
NEED_LOCAL = ("ames", "auto", "chamfer_ot", "elvis", "fused", "gated", "ransac")
BY_GLOBAL = [text for text in HEAD_OF_FIVE.values() if not text.startswith(NEED_LOCAL)]


@pytest.fixture(autouse=True)
def in_the_folder_of_the_plug_ins(monkeypatch):
    monkeypatch.chdir(Path(__file__).parent / "plug_ins")


@pytest.fixture
def sources():
    rng = np.random.default_rng(0)
    keypoints, descriptors = scene(n=20)
    images = []
    for i in range(12):
        rows = rng.permutation(20)[: 8 + i]
        images.append(local(keypoints[rows], descriptors[rows], f"image{i}", unit(np.abs(rng.normal(size=8)))))
    return MemorySource(images[:3]), MemorySource(images)


def first_stage():
    return ranking(
        [[0, 3, 6, 9, 1, 4, 7, 10], [11, 2, 5, 8, -1, -1, -1, -1], [-1] * 8],
        [np.linspace(0.9, 0.1, 8), [0.8, 0.6, 0.4, 0.2] + [-np.inf] * 4, [-np.inf] * 8],
    )


def test_every_reranker_of_the_table_is_tested():
    assert HEAD_OF_FIVE.keys() == RERANKERS.keys()


@pytest.mark.parametrize("text", TEXTS)
def test_permutes_the_head_and_keeps_the_rest(text, sources):
    before = first_stage()
    kept = before.indices.copy(), before.scores.copy()
    reranker = build_reranker(text)
    assert reranker.top_k == 5
    after = reranker(*sources, before)
    np.testing.assert_array_equal(np.sort(after.indices[:, :5]), np.sort(before.indices[:, :5]))
    np.testing.assert_array_equal(after.indices[:, 5:], before.indices[:, 5:])
    assert (after.indices != before.indices).any()
    assert after.indices.dtype == np.int64
    assert after.scores.dtype == np.float32
    for row, scores in zip(after.indices, after.scores):
        n = int((row >= 0).sum())
        assert (row[:n] >= 0).all(), "the filling stays at the end"
        assert (np.diff(scores[:n]) <= 0).all()
        assert np.isfinite(scores[:n]).all()
        assert np.isneginf(scores[n:]).all()
    np.testing.assert_array_equal(before.indices, kept[0])
    np.testing.assert_array_equal(before.scores, kept[1])


@pytest.mark.parametrize("text", TEXTS)
def test_no_candidate_one_candidate_and_no_query(text, sources):
    queries, database = sources
    for indices in ([[-1, -1], [7, -1], [5, -1]], [[7], [-1], [-1]], [[], [], []]):
        before = ranking(indices, np.where(np.array(indices) >= 0, 0.5, -np.inf))
        after = build_reranker(text)(queries, database, before)
        np.testing.assert_array_equal(after.indices, before.indices)
        assert (np.isfinite(after.scores) == (after.indices >= 0)).all()
    none = MemorySource([])
    none.global_descriptors = np.zeros((0, 8), np.float32)
    before = ranking(np.zeros((0, 4)), np.zeros((0, 4)))
    assert build_reranker(text)(none, database, before).indices.shape == (0, 4)


@pytest.mark.parametrize("text", TEXTS)
def test_repetition_and_threads_change_nothing(text, sources):
    answers = [build_reranker(text)(*sources, first_stage()) for _ in range(2)]
    for threads in (1, 3):
        answer = first_stage()
        for name, arguments in links(text):
            factory = factory_of(name, RERANKERS, "reranker")
            more = {"threads": threads} if "threads" in inspect.signature(factory).parameters else {}
            answer = factory(**arguments, **more)(*sources, answer)
        answers.append(answer)
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer.indices, answers[0].indices)
        np.testing.assert_array_equal(answer.scores, answers[0].scores)


@pytest.mark.parametrize("text", BY_GLOBAL)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(text, value):
    rng = np.random.default_rng(1)
    good, rows = unit(rng.normal(size=(6, 4))), [[0, 1, 2, 3]]
    for side in ("query", "candidate"):
        queries, database = unit(rng.normal(size=(1, 4))), good.copy()
        (queries[0] if side == "query" else database[3])[2] = value
        with pytest.raises(InputError, match="not finite"):
            build_reranker(text)(global_source(queries), global_source(database), ranking(rows, [[0.9, 0.8, 0.7, 0.6]]))
    database = good.copy()
    database[5] = value  # not among the candidates
    build_reranker(text)(global_source(queries[:1] * 0 + 1), global_source(database), ranking(rows, [[4, 3, 2, 1]]))


@pytest.mark.parametrize("text", BY_GLOBAL)
def test_dimensions_are_checked(text):
    rng = np.random.default_rng(2)
    database = global_source(rng.normal(size=(6, 4)))
    before = ranking([[0, 1]], [[0.9, 0.8]])
    with pytest.raises(InputError, match="differ in dimension: 3 and 4"):
        build_reranker(text)(global_source(rng.normal(size=(1, 3))), database, before)
    with pytest.raises(InputError, match="no global descriptor"):
        build_reranker(text)(global_source(np.zeros((1, 0))), global_source(np.zeros((6, 0))), before)


@pytest.mark.parametrize("text", BY_GLOBAL)
def test_equal_descriptors_give_finite_scores_and_zero_ones_a_sentence(text):
    before = ranking([[0, 1, 2, 3, 4, 5]], [[6, 5, 4, 3, 2, 1]])
    query = global_source([[1, 0, 0]])
    for database in (np.ones((6, 3)) / 3**0.5, -np.ones((6, 3)) / 3**0.5, np.eye(3)[[1, 2, 1, 2, 1, 1]]):
        after = build_reranker(text)(query, global_source(database), before)
        assert np.isfinite(after.scores).all()
        np.testing.assert_array_equal(np.sort(after.indices), before.indices)
        with pytest.raises(InputError, match="is zero, which is like no image"):
            build_reranker(text)(global_source([[0, 0, 0]]), global_source(database), before)
        database[4] = 0
        with pytest.raises(InputError, match="is zero, which is like no image"):
            build_reranker(text)(query, global_source(database), before)


@pytest.mark.parametrize("text", TEXTS)
def test_a_ranking_of_something_else_is_refused(text, sources):
    for indices, scores, message in (
        (first_stage().indices[:2], first_stage().scores[:2], "for each of 3 queries. Received: 2 rows"),
        ([[0, 12]] * 3, [[0.9, 0.8]] * 3, "of 12 images. Received: row 0 to 12"),
        ([[0, -2]] * 3, [[0.9, 0.8]] * 3, "of 12 images. Received: row -2 to 0"),
        ([[3, -1, 5]] * 3, [[0.9, 0.8, 0.7]] * 3, "-1 at the ends"),
        ([[3, 5]] * 3, [[0.9, np.nan]] * 3, "finite scores"),
    ):
        with pytest.raises(InputError, match=message):
            build_reranker(text)(*sources, ranking(indices, scores))


def test_a_chain_is_its_links_one_after_the_other(sources):
    chain, superglobal, ransac = map(build_reranker, (CHAIN, *CHAIN.split(" | ")))
    expected = ransac(*sources, superglobal(*sources, first_stage()))
    answer = chain(*sources, first_stage())
    np.testing.assert_array_equal(answer.indices, expected.indices)
    np.testing.assert_array_equal(answer.scores, expected.scores)
    assert (answer.indices != ransac(*sources, first_stage()).indices).any()
    assert chain.top_k == 5
    assert build_reranker("ransac(top_k=2)|superglobal(m=9)|ransac(top_k=3)").top_k == 9


GEOMETRIC = ["ransac", "own_rerankers:Matches(top_k=5)", "ransac(top_k=2, residual=1.0) | superglobal", OWN_CHAIN]
GEOMETRIC += ["fused(reranker='ransac')", "gated(reranker='superglobal | ransac', gap=0.1)"]


@pytest.mark.parametrize("text", GEOMETRIC)
def test_geometric_rerankers_find_inliers_and_transforms(text, sources):
    queries, database = sources
    reranker = build_reranker(text)
    assert isinstance(reranker.geometric, GeometricReranker) and reranker.uses_local
    inliers = reranker.geometric.inliers(queries.features(0), database.features(0))
    assert inliers.pairs.tolist() == [[i, i] for i in range(8)]
    np.testing.assert_allclose(inliers.transform, np.eye(2, 3), atol=1e-3)


def test_other_rerankers_are_not_geometric_and_leave_local_features_alone(sources):
    queries, database = sources
    database.features = None  # a call would raise
    for text in (*BY_GLOBAL, "own_rerankers:Weighted", "superglobal | alpha_qe"):
        reranker = build_reranker(text)
        assert reranker.geometric is None and not reranker.uses_local
        reranker(queries, database, first_stage())


def test_a_plug_in_orders_by_its_scores(sources):
    queries, database = sources
    after = build_reranker(PLUG_INS[0])(queries, database, first_stage())
    expected = database.global_descriptors[[0, 3, 6, 9, 1]] ** 2 @ queries.global_descriptors[0]
    np.testing.assert_array_equal(after.scores[0, :5], np.sort(expected)[::-1])
    geometric, query = build_reranker(PLUG_INS[1]), queries.features(1)
    counts = [len(geometric.inliers(query, database.features(row))) for row in (11, 2, 5, 8)]
    assert geometric(queries, database, first_stage()).scores[1, :4].tolist() == sorted(counts, reverse=True)


def test_a_plug_in_that_does_not_fit_is_named(sources):
    with pytest.raises(InputError, match="own_rerankers:no_reranker"):
        build_reranker("own_rerankers:no_reranker")
    with pytest.raises(InputError, match="own_rerankers:Absent"):
        build_reranker("own_rerankers:Absent")
    with pytest.raises(InputError, match="absent_module"):
        build_reranker("absent_module:Reranker")
    with pytest.raises(InputError, match="Short expects 8 finite scores for query 0"):
        build_reranker("own_rerankers:Short(top_k=9)")(*sources, first_stage())


@pytest.mark.parametrize("text", TEXTS)
def test_the_identity_is_of_arguments(text):
    identity = build_reranker(text).identity()
    assert json.loads(json.dumps(identity)) == identity == build_reranker(text).identity()
    for change in ("top_k=5", "top_k=4", "m=5"):
        if change in text:
            assert build_reranker(text.replace(change, change[:-1] + "6")).identity() != identity
            break
    else:
        pytest.fail("no argument was changed")


def test_the_identity_is_of_defaults_as_of_arguments_that_are_given():
    assert build_reranker("ransac").identity() == build_reranker("ransac(top_k=100)").identity()
    assert Ransac(100).identity() == Ransac(top_k=100).identity()
    assert build_reranker("superglobal | ransac").identity() != build_reranker("ransac | superglobal").identity()


def test_the_identity_is_of_the_files_that_arguments_name(tmp_path):
    def identity(name):
        return build_reranker(f"own_rerankers:Weighted(weights={str(tmp_path / name)!r})").identity()

    (tmp_path / "a").write_text("2")
    first = identity("a")
    (tmp_path / "a").write_text("3")
    assert identity("a") != first
    (tmp_path / "a").write_text("2")
    assert identity("a") == first


def test_the_identity_is_of_the_source_of_a_plug_in(tmp_path):
    source = Path("own_rerankers.py").read_text(encoding="utf-8")
    identities = []
    for text in (source, source, source.replace("** self.weight", "* self.weight")):
        (tmp_path / "own_rerankers.py").write_text(text)
        code = "from matching.rerankers.table import build_reranker as build\n"
        code += f"print([build(text).identity() for text in {PLUG_INS}])"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        identities.append(done.stdout)
    assert identities[0] == identities[1] != identities[2]


def test_chains_as_text():
    assert links("ransac") == [("ransac", {})]
    assert links("a|b(x='|', y=(1, 2)) | c") == [("a", {}), ("b", {"x": "|", "y": (1, 2)}), ("c", {})]
    for text in ("superglobal |", "| ransac", "superglobal || ransac"):
        with pytest.raises(InputError, match="one '\\|' between"):
            build_reranker(text)
    with pytest.raises(InputError, match="Unknown reranker 'asmk'"):
        build_reranker("superglobal | asmk")
    with pytest.raises(InputError, match="top_k expects"):
        build_reranker("superglobal | ransac(top_k=0)")


def test_built_from_text_with_the_released_defaults():
    ransac, superglobal = build_reranker("ransac"), build_reranker("superglobal")
    assert (ransac.top_k, superglobal.top_k) == (100, 400)
    released = {"matching_threshold": 1.0, "ratio": None, "mutual": False, "model": "affine", "residual": 20.0}
    released |= {"trials": 1000, "seed": 0, "settled": None, "one_per_place": False}
    assert released.items() <= ransac.arguments.items()
    assert build_reranker("ransac(top_k=7, model='homography')").top_k == 7


def test_own_photos_are_matched_as_their_features_record():
    def ransac(text, settings):
        built = build_reranker(suited(text, settings))
        return built.links[-1].arguments if "|" in text else built.arguments

    recorded = {"matching": {"mutual": True, "residual_share": 0.01}}
    suiting = {"mutual": True, "residual_share": 0.01, "one_per_place": True, "top_k": 7}
    assert suiting.items() <= ransac("ransac(top_k=7)", recorded).items()
    assert suiting.items() <= ransac("superglobal | ransac(top_k=7)", recorded).items()
    given = ransac("ransac(residual=8, mutual=False, one_per_place=False)", recorded)
    assert (given["residual"], given["residual_share"], given["mutual"], given["one_per_place"]) == (
        8,
        None,
        False,
        False,
    )
    released = build_reranker("ransac").arguments
    assert ransac("ransac", {}) == released | {"one_per_place": True}
    assert ransac("ransac(released=True)", recorded) == released | {"released": True}


def test_a_share_of_the_photo_is_the_residual_of_its_size():
    keypoints, descriptors = scene(n=20)
    errors = np.where(np.arange(20) % 2, 6.0, 0.0)[:, None]
    index = local(keypoints, descriptors)
    small = local(keypoints + errors, descriptors)
    large = replace(small, image_size=(4000, 3000))
    reranker = Ransac(residual_share=0.002)
    assert len(Ransac(residual=8).inliers(large, index)) == len(reranker.inliers(large, index)) == 20
    assert len(Ransac(residual=2).inliers(small, index)) == len(reranker.inliers(small, index)) < 20
    unknown = replace(small, image_size=(0, 0))
    assert reranker.residual(unknown) == 20, "where the size is not recorded, the released residual"
    with pytest.raises(InputError, match="residual_share"):
        Ransac(residual_share=1.5)


def test_unknown_names_and_arguments_answer_with_the_choices():
    with pytest.raises(InputError, match=r"Unknown reranker 'asmk'; the choices are .*ransac.*superglobal"):
        build_reranker("asmk")
    with pytest.raises(InputError, match="its arguments are m, k, beta"):
        build_reranker("superglobal(top=3)")
    for text in ("superglobal(m=", ""):
        with pytest.raises(InputError, match="name"):
            build_reranker(text)


def test_memory_source():
    image = local(np.zeros((0, 2)), np.zeros((0, 0)), "a", [1.0, 0.0])
    source = MemorySource([image, local(np.zeros((0, 2)), np.zeros((0, 0)), "b", [0.0, 1.0])])
    assert len(source) == 2
    assert source.names == ["a", "b"]
    assert source.global_descriptors.tolist() == [[1, 0], [0, 1]]
    assert source.features(0) is image
    assert MemorySource([]).global_descriptors.shape == (0, 0)
    with pytest.raises(InputError, match=r"one dimension. Received: \[0, 2\]"):
        MemorySource([image, local(np.zeros((0, 2)), np.zeros((0, 0)))])


def test_no_module_imports_tensorflow_or_keras():
    paths = [path.relative_to(ROOT) for path in (ROOT / "matching").rglob("*.py") if path.stem != "__init__"]
    modules = [".".join(path.with_suffix("").parts) for path in paths]
    assert len(modules) > 20
    rooms = [name for name in modules if name not in COMMANDS]
    for group in (rooms, *([name] for name in modules if name in COMMANDS)):
        code = f"import sys, importlib; [importlib.import_module(m) for m in {group}]; "
        code += "print([m for m in ('tensorflow', 'keras', 'torch', 'jax') if m in sys.modules])"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == "[]", done.stderr
