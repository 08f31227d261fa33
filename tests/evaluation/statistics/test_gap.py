"""The global average precision with other queries: each draw against the metric itself on the drawn files."""

import itertools
import math

import numpy as np
import pytest

from evaluation.benchmarks.gldv2 import Recognition, Retrieval
from evaluation.benchmarks.gldv2_files import RecognitionSolution, RetrievalSolution
from evaluation.metrics.gldv2 import Prediction, gap_gains, mean_of_valued
from evaluation.statistics import bootstrap
from evaluation.statistics.gap import Gap, resamples
from scripts.studies.coverage import gap_of


def world(seed, count, skill=0.5, truth=0):
    """Answers and a solution: a third of the images show no landmark, a tenth has no answer."""
    shown = np.random.default_rng(truth).random(count) < 2 / 3
    random = np.random.default_rng([seed, 9])
    solution = {f"q{i:03d}": (1,) if shown[i] else () for i in range(count)}
    right = random.random(count) < skill
    answers = {
        name: Prediction(1 if right[i] else 2, float(random.random() + 0.3 * right[i]))
        for i, name in enumerate(solution)
        if random.random() < 0.9
    }
    return answers, solution


def gap(answers, solution, ignore=False):
    return mean_of_valued(gap_gains(answers, solution, ignore)[0])


def sample(answers, solution, grouped=None, ignore=False):
    gains, places = gap_gains(answers, solution, ignore)
    return Gap(100 * gains, places, np.arange(len(solution)) if grouped is None else grouped)


def drawn_value(answers, solution, times, ignore=False):
    """The metric of files in which each image is there as often as it was drawn."""
    copies = [(f"{name}#{copy}", name) for name, t in zip(solution, times, strict=True) for copy in range(t)]
    repeated = {copy: answers[name] for copy, name in copies if name in answers}
    return 100 * gap(repeated, {copy: solution[name] for copy, name in copies}, ignore)


@pytest.mark.parametrize("ignore", [False, True])
def test_a_draw_is_the_metric_of_the_drawn_images(ignore):
    answers, solution = world(1, 30)
    own = sample(answers, solution, ignore=ignore)
    assert own.value == pytest.approx(100 * gap(answers, solution, ignore), abs=1e-12)
    times = np.random.default_rng(2).multinomial(30, np.full(30, 1 / 30), size=5).astype(np.int32)
    assert times.max() > 2
    expected = [drawn_value(answers, solution, row, ignore) for row in times]
    np.testing.assert_allclose(own.resampled(times, np.arange(30)), expected, atol=1e-9)


def test_the_interval_is_that_of_a_slow_loop(monkeypatch):
    monkeypatch.setattr(bootstrap, "DRAWS", 400)
    answers, solution = world(3, 60)
    random = np.random.default_rng(5)
    slow = [drawn_value(answers, solution, random.multinomial(60, np.full(60, 1 / 60))) for _ in range(400)]
    found = sample(answers, solution).interval()
    assert found.low < found.mean < found.high
    assert (found.low, found.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=3)


def test_groups_that_agree_widen_the_interval():
    answers, solution = world(4, 40)
    five = {f"{name}{c}": right for name, right in solution.items() for c in range(5)}
    same = {f"{name}{c}": answer for name, answer in answers.items() for c in range(5)}
    alone, grouped = sample(same, five).interval(), sample(same, five, np.repeat(np.arange(40), 5)).interval()
    assert (grouped.high - grouped.low) / (alone.high - alone.low) == pytest.approx(math.sqrt(5), rel=0.2)


def test_the_interval_of_few_groups_holds_the_truth_as_often_as_it_says(monkeypatch):
    """Percentiles alone hold it 80 times in 100. The truth is the value of very many such groups."""
    monkeypatch.setattr(bootstrap, "DRAWS", 300)
    random, held = np.random.default_rng(0), 0
    gains, *_ = gap_of(random, 200_000)
    for _ in range(400):
        found = Gap(*gap_of(random, 5)).interval()
        held += found.low <= gains.mean() <= found.high
    assert 0.91 <= held / 400 <= 0.985, held


def test_draws_of_few_groups_leave_room_for_many_answers():
    assert {len(block) for block in itertools.islice(resamples(3, bootstrap.BLOCK // 4), 5)} == {4}


def test_the_test_is_that_of_all_exchanges():
    (one, solution), (other, _) = world(6, 8, 0.4), world(7, 8, 0.9)
    before, after = sample(one, solution), sample(other, solution)
    places = [dict(zip(solution, s.places)) for s in (before, after)]
    seen, reached = after.value - before.value, []
    for flips in itertools.product((0, 1), repeat=8):
        mixed = []
        for side in (0, 1):
            answers = {}
            for name, flip in zip(solution, flips):
                source = side ^ flip
                given = (one, other)[source].get(name)
                if given:
                    answers[name] = Prediction(given.landmark, -places[source][name])
            mixed.append(100 * gap(answers, solution))
        reached.append(abs(mixed[1] - mixed[0]) >= abs(seen) - 1e-9)
    found = after.change_from(before)
    assert found.p == np.mean(reached) and found.difference == pytest.approx(seen)
    assert found.low < seen < found.high and 0.02 < found.p < 0.98


def test_noise_is_called_progress_as_seldom_as_it_says(monkeypatch):
    monkeypatch.setattr(bootstrap, "DRAWS", 200)
    p = []
    for seed in range(150):
        (one, solution), (other, _) = world(2 * seed, 40, truth=seed), world(2 * seed + 1, 40, truth=seed)
        p.append(sample(other, solution).change_from(sample(one, solution)).p)
    assert 0.0 < np.mean(np.array(p) <= 0.05) <= 0.1


def test_nothing_changed_and_nothing_to_draw():
    answers, solution = world(8, 20)
    own = sample(answers, solution)
    same = own.change_from(own)
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)
    lone = Gap(own.gains, own.places, np.zeros(20, np.int64))
    assert math.isnan(lone.interval().low) and math.isnan(lone.change_from(lone).p)
    two = Gap(own.gains, own.places, np.where(np.isnan(own.gains), np.arange(20), np.arange(20) % 2))
    assert math.isnan(two.interval().low) and math.isnan(two.change_from(two).low) and two.change_from(two).p == 1
    empty = Gap(np.array([np.nan]), np.array([np.nan]), np.zeros(1, np.int64))
    assert math.isnan(empty.value) and not empty.valued.any()


def test_scores_of_any_scale_give_the_same_p():
    (one, solution), (other, _) = world(9, 30, 0.4), world(10, 30, 0.8)
    scaled = {name: Prediction(a.landmark, 1000 * a.score + 5) for name, a in other.items()}
    before = sample(one, solution)
    assert sample(other, solution).change_from(before) == sample(scaled, solution).change_from(before)


def test_queries_of_a_landmark_are_drawn_together():
    public = {f"p{i}": (i // 2,) for i in range(16)} | {"none": (), "also": ()}
    solution = RecognitionSolution(public, {"x": (3,), "two": (90, 91), "one": (91,)})
    found = np.array(Recognition("gldv2_recognition", [], [], {}, solution=solution).clusters()["groups"])
    assert found[:16].tolist() == np.repeat(np.arange(8), 2).tolist() and found[16] != found[17]
    assert found[18] == found[6] and found[19] == found[20] and len(np.unique(found)) == 8 + 2 + 1
    images = {f"q{i}": tuple(f"i{j}" for j in range(3 * (i // 2), 3 * (i // 2) + 3)) for i in range(20)}
    relevant = Retrieval("gldv2_retrieval", [], [], {}, solution=RetrievalSolution({}, images))
    assert relevant.clusters()["groups"] == np.repeat(np.arange(10), 2).tolist()
