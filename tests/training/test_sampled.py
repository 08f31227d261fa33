"""A head of which a step trains a sample: who takes part, and what is updated."""

import numpy as np
import pytest
import tensorflow as tf

from delg.common.errors import InputError
from tests.training.backends.test_tensorflow_step import IMAGES, LABELS, numbers
from tests.training.tiny import step_config, tiny_model
from training.averaging import AverageConfig, MovingAverage
from training.backends.tensorflow_step import TrainStep
from training.computation import METRICS, compute
from training.optimizers import build_optimizer
from training.sampled import SampledHead

pytestmark = pytest.mark.usefixtures("eager")
RULE = "sgd(momentum=0.9, weight_decay=0.01)"


def head(classes: int, optimizer: str = RULE, average: AverageConfig | None = None, **overrides):
    model, rule = tiny_model(sampled_classifier=True, **overrides), build_optimizer(optimizer)
    rule.build(model.trainable_variables)
    return model, rule, SampledHead(model, rule, classes, seed=3, average=average)


def test_the_classes_of_the_batch_take_part_and_others_by_chance():
    model, rule, sampled = head(6)
    seen = set()
    for _ in range(30):
        chosen, rows = sampled.choose(LABELS)
        ids = numbers(chosen).tolist()
        assert ids == sorted(set(ids)) and len(ids) == 6 and {0, 3, 7} <= set(ids)
        attention = model.attention_classifier
        for table, row in zip((model.classifier.class_vectors, attention.class_vectors, attention.biases), rows):
            np.testing.assert_array_equal(numbers(row), numbers(table)[ids])
        assert np.array_equal(ids, numbers(sampled.choose(LABELS)[0]))
        seen |= set(ids)
        rule.iterations.assign_add(1)
    assert seen == set(range(8))


def test_only_the_vectors_of_the_sample_and_their_momenta_change():
    model, rule, sampled = head(5)
    step = TrainStep(model, rule, step_config(4), sampled=sampled)
    tables = [model.classifier.class_vectors, model.attention_classifier.class_vectors]
    tables.append(model.attention_classifier.biases)
    before = [numbers(table).copy() for table in tables]
    chosen = numbers(sampled.choose(LABELS)[0])
    step(IMAGES, LABELS, 0.1)
    for old, table, momenta in zip(before, tables, sampled.momenta, strict=True):
        changed = [not np.array_equal(a, b) for a, b in zip(old, numbers(table))]
        assert np.flatnonzero(changed).tolist() == chosen.tolist()
        moved = numbers(momenta).reshape(8, -1).any(axis=1)
        assert np.flatnonzero(moved).tolist() == chosen.tolist()
    assert not any(v.path.startswith(("classifier", "att_fc")) for v in model.trainable_variables)


def test_losses_accuracies_and_the_scale_of_adacos_are_of_the_sample():
    model, _, sampled = head(4, classifier="adacos")
    chosen, (vectors, of_attention, biases) = sampled.choose(LABELS)
    computed = compute(model, IMAGES, LABELS, step_config(4), sample=sampled.choose(LABELS))
    out = {name: numbers(value) for name, value in computed.outputs.items()}
    x, w = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (out["global_descriptor"], numbers(vectors)))
    places = np.searchsorted(numbers(chosen), LABELS)
    true = np.eye(4)[places] > 0
    spread = np.where(true, 0, np.exp(np.sqrt(2) * np.log(8 - 1) * (x @ w.T))).sum(1).mean()
    median = np.median(np.arccos((x @ w.T)[true]))
    assert float(model.classifier.scale) == pytest.approx(np.log(spread) / np.cos(min(median, np.pi / 4)), rel=1e-4)
    attention = out["attention_pooled"] @ numbers(of_attention).T + numbers(biases)
    for name, logits in {"desc": float(model.classifier.scale) * (x @ w.T), "attn": attention}.items():
        expected = (np.log(np.exp(logits).sum(1)) - logits[true]).mean()
        assert float(computed.means[name]) == pytest.approx(expected, rel=1e-4)
        assert float(computed.means[f"{name}_accuracy"]) == np.mean(logits.argmax(1) == places)


@pytest.mark.parametrize("nesterov", [False, True])
def test_with_all_classes_it_is_the_full_head(nesterov):
    rule_text = f"sgd(momentum=0.9, weight_decay=0.01, nesterov={nesterov})"
    model, rule, sampled = head(99, rule_text)
    assert sampled.classes == 8
    full, full_rule = tiny_model(), build_optimizer(rule_text)
    full_rule.build(full.trainable_variables)
    full.classifier.cosine_weights.assign(numbers(model.classifier.class_vectors).T)
    full.attention_classifier.kernel.assign(numbers(model.attention_classifier.class_vectors).T)
    steps = [
        TrainStep(model, rule, step_config(4, clip_norm=0.5), sampled=sampled),
        TrainStep(full, full_rule, step_config(4, clip_norm=0.5)),
    ]
    for _ in range(3):
        metrics = [dict(zip(METRICS, numbers(step(IMAGES, LABELS, 0.05).metrics).tolist())) for step in steps]
        assert metrics[0] == pytest.approx(metrics[1], rel=1e-4, abs=1e-6)
    (vectors, of_attention, biases), attention = sampled.tables, full.attention_classifier
    np.testing.assert_allclose(numbers(vectors), numbers(full.classifier.cosine_weights).T, atol=2e-6)
    np.testing.assert_allclose(numbers(of_attention), numbers(attention.kernel).T, atol=2e-6)
    np.testing.assert_allclose(numbers(biases), numbers(attention.bias), atol=2e-6)


@pytest.mark.parametrize("config", [AverageConfig(0.8), AverageConfig(0.9, start_step=2, dynamic=True)], ids=str)
def test_the_averages_of_all_rows_are_those_that_every_step_would_give(config):
    model, rule, sampled = head(4, "sgd(momentum=0.9)", config)
    followed = [model.classifier.class_vectors, *model.attention_classifier.weights]
    dense = MovingAverage(followed, config)
    step = TrainStep(model, rule, step_config(4), sampled=sampled)
    start, marks = [numbers(v).copy() for v in followed], set()
    for number in range(7):
        step(IMAGES, LABELS if number < 3 else tf.constant([0, 1, 1, 0], tf.int64), 0.1)
        dense.update(tf.constant(number))
        if number % 3:
            continue
        state = [numbers(v).copy() for v in sampled.variables]
        with sampled.average.applied():
            for v, average, first in zip(followed, dense.averages, start, strict=True):
                np.testing.assert_allclose(numbers(v), numbers(average), rtol=1e-5, atol=1e-7)
                assert number < 3 or not np.allclose(numbers(v), first, rtol=1e-3, atol=1e-5)
        assert all(np.array_equal(numbers(v), old) for v, old in zip(sampled.variables, state, strict=True))
        marks |= {len(set(numbers(m).tolist())) for m in sampled.average.marks}
    assert max(marks) > 2, "some rows were left alone for several steps"
    own = [numbers(v).copy() for v in followed]
    sampled.average.reset()
    with sampled.average.applied():
        assert all(np.array_equal(numbers(v), value) for v, value in zip(followed, own))


def test_a_step_on_nan_leaves_the_head_and_its_averages_alone():
    model, rule, sampled = head(6, average=AverageConfig(0.5))
    step = TrainStep(model, rule, step_config(4), sampled=sampled)
    step(IMAGES, LABELS, 0.1)
    before = [numbers(v).copy() for v in sampled.variables]
    step(IMAGES * np.nan, LABELS, 0.1)
    assert all(np.array_equal(old, numbers(v)) for old, v in zip(before, sampled.variables))
    assert all(numbers(m).any() for m in (*sampled.momenta, *sampled.average.marks))


def test_rows_of_the_sample_are_looked_at_where_a_step_is_not_finite():
    model, rule, sampled = head(4)
    step, table = TrainStep(model, rule, step_config(4), sampled=sampled), model.attention_classifier.class_vectors
    start, chosen = numbers(table).copy(), numbers(sampled.choose(LABELS)[0]).tolist()
    left_out = min(set(range(8)) - set(chosen))
    for row, name in ((left_out, "the gradient norm"), (chosen[1], "the weight att_fc/class_vectors")):
        values = start.copy()
        values[row] = np.nan
        table.assign(values)
        assert step.first_not_finite(IMAGES, LABELS) == name
    table.assign(start)
    assert step.first_not_finite(IMAGES, LABELS) == "the gradient norm"


@pytest.mark.parametrize("optimizer", ["adamw", "sgdw_addons(weight_decay=0.001)"])
def test_other_optimizers_are_refused(optimizer):
    with pytest.raises(InputError, match="--sample_rate needs --optimizer=sgd"):
        head(6, optimizer)


def test_the_draw_depends_on_the_seed():
    model, rule, sampled = head(4)
    other = SampledHead(model, rule, 4, seed=4)
    draws = [[], []]
    for _ in range(10):
        rule.iterations.assign_add(1)
        for draw, one in zip(draws, (sampled, other)):
            draw.append(tuple(numbers(one.choose(tf.constant([0], tf.int64))[0]).tolist()))
    assert draws[0] != draws[1]
