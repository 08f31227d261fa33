"""Learning rates at given steps, and optimizers against hand-worked updates."""

import keras
import numpy as np
import pytest
from keras import ops

from delg.common.errors import InputError
from training.optimizers import build_optimizer, clip_by_global_norm
from training.schedules import build_schedule


def test_linear_is_the_released_schedule():
    rate = build_schedule("linear", 0.01, 500_000)
    assert [rate(0), rate(125_000), rate(499_999), rate(500_000)] == pytest.approx([0.01, 0.0075, 2e-8, 0.0], abs=1e-12)


def test_warmup_grows_to_the_initial_rate_and_the_fall_starts_there():
    rate = build_schedule("linear(warmup=4)", 0.8, 12)
    assert [rate(step) for step in range(13)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    )


def test_cosine_and_constant():
    rate = build_schedule("cosine(warmup=2)", 2.0, 10)
    assert [rate(0), rate(1), rate(2), rate(4), rate(6), rate(10)] == pytest.approx(
        [1.0, 2.0, 2.0, 1.0 + 2**-0.5, 1.0, 0.0]
    )
    rate = build_schedule("constant(warmup=2)", 2.0, 10)
    assert [rate(0), rate(1), rate(5), rate(10)] == [1.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step", "Unknown schedule 'step'; the choices are constant, cosine, linear"),
        ("linear(warmup=10)", "from 0 to below 10"),
        ("linear(warmup=-1)", "from 0 to below 10"),
        ("linear(warmup=0.5)", "whole number"),
        ("linear(steps=3)", "its arguments are warmup"),
    ],
)
def test_schedules_that_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        build_schedule(text, 0.1, 10)


def updated(text: str, gradients: list[float], rates: list[float], name: str = "kernel") -> list[float]:
    optimizer, weight = build_optimizer(text), keras.Variable([1.0], name=name)
    optimizer.build([weight])
    values = []
    for gradient, rate in zip(gradients, rates):
        optimizer.learning_rate.assign(rate)
        optimizer.apply([ops.convert_to_tensor([gradient])], [weight])
        values.append(float(weight[0]))
    return values


def test_sgd_has_the_released_momentum():
    # v1 = -0.1 * 2 = -0.2; v2 = 0.9 * -0.2 - 0.05 * 1 = -0.23
    assert updated("sgd", [2.0, 1.0], [0.1, 0.05]) == pytest.approx([0.8, 0.57])
    assert updated("sgd(momentum=0.0)", [2.0, 1.0], [0.1, 0.05]) == pytest.approx([0.8, 0.75])


def test_adamw_decays_kernels_only():
    # the first step of Adam is rate * sign; the decay takes rate * weight_decay * weight
    assert updated("adamw(weight_decay=0.5)", [3.0], [0.1]) == pytest.approx([1.0 - 0.05 - 0.1], abs=1e-6)
    for name in ("bias", "gamma", "beta"):
        assert updated("adamw(weight_decay=0.5)", [3.0], [0.1], name) == pytest.approx([0.9], abs=1e-6)


def test_decay_with_and_without_the_learning_rate():
    # the gradient is 0: what changes is the decay
    still = {"gradients": [0.0, 0.0], "rates": [0.1, 0.01]}
    assert updated("sgd(weight_decay=0.5)", **still) == pytest.approx([0.95, 0.95 * 0.995])
    assert updated("sgd", **still) == [1.0, 1.0]
    assert updated("sgdw_addons(weight_decay=0.5)", **still) == pytest.approx([0.5, 0.25])
    assert updated("adamw_addons(weight_decay=0.5)", **still) == pytest.approx([0.5, 0.25])
    # 1 - 0.5 * 1 - 0.1 * 2
    assert updated("sgdw_addons(weight_decay=0.5)", [2.0], [0.1]) == pytest.approx([0.3])
    for name in ("bias", "gamma", "beta", "p"):
        assert updated("sgd(weight_decay=0.5)", **still, name=name) == [1.0, 1.0]
        assert updated("sgdw_addons(weight_decay=0.5)", **still, name=name) == pytest.approx([0.5, 0.25])
        for kind in ("sgdw_addons", "adamw_addons"):
            assert updated(f"{kind}(weight_decay=0.5, kernels_only=True)", **still, name=name) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adam", "Unknown optimizer 'adam'; the choices are adamw, adamw_addons, sgd, sgdw_addons"),
        ("sgd(momentum=1.0)", "momentum in 0 <= momentum < 1"),
        ("adamw(weight_decay=-1)", "weight_decay of 0 or more"),
        ("sgd(weight_decay=-1)", "sgd expects a weight_decay of 0 or more"),
        ("sgdw_addons(weight_decay=-1)", "weight_decay of 0 or more"),
        ("adamw_addons", "missing a required argument: 'weight_decay'"),
        ("decimal:Decimal", "expected an object of keras.*Optimizer"),
    ],
)
def test_optimizers_that_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        build_optimizer(text)


def test_clipping_by_the_global_norm():
    gradients = [ops.convert_to_tensor([3.0, 0.0]), ops.convert_to_tensor([[4.0]])]
    clipped, norm = clip_by_global_norm(gradients, 10.0)
    assert float(norm) == 5.0 and ops.convert_to_numpy(clipped[0]).tolist() == [3.0, 0.0]
    clipped, norm = clip_by_global_norm(gradients, 2.5)
    assert float(norm) == 5.0
    np.testing.assert_allclose(np.concatenate([np.ravel(g) for g in clipped]), [1.5, 0.0, 2.0], rtol=1e-6)


def test_the_norm_of_gradients_that_are_not_finite_says_so():
    for bad in (np.nan, np.inf):
        gradients = [ops.convert_to_tensor([1.0, bad]), ops.convert_to_tensor([2.0])]
        assert not np.isfinite(float(clip_by_global_norm(gradients, 1.0)[1]))
