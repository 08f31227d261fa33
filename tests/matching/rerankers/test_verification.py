from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from matching.rerankers import verification
from matching.rerankers.verification import UNKNOWN, settle, windowed


def test_windowed_gives_all_in_order_and_hands_out_no_more_than_its_window():
    taken, given = [], []

    def items():
        for i in range(20):
            taken.append(i)
            yield i

    with ThreadPoolExecutor(3) as pool:
        for result in windowed(pool, lambda i: i * i, items(), 4):
            given.append(result)
            assert len(taken) - len(given) <= 4
        assert given == [i * i for i in range(20)]
        assert list(windowed(pool, abs, [], 1)) == []
        with pytest.raises(ZeroDivisionError):
            list(windowed(pool, lambda i: 1 / i, [1, 0, 1], 2))


def settled(counts, bounds, places):
    """The order that follows from what was verified, and how many were."""
    asked = []

    def verify(chosen):
        asked.extend(chosen.tolist())
        return counts[chosen]

    found = settle(bounds, places, verify)
    assert sorted(asked) == np.flatnonzero(found != UNKNOWN).tolist(), "each once"
    np.testing.assert_array_equal(found[asked], counts[asked])
    return np.argsort(-np.maximum(found, 0), kind="stable").tolist(), len(asked)


def test_worked_by_hand(monkeypatch):
    """Bounds 9 8 8 5 5 3, counts 5 1 2 5 5 3: when places 1 and 2 are certain."""
    monkeypatch.setattr(verification, "WAVE", 1)
    bounds, counts = np.array([9, 8, 8, 5, 5, 3]), np.array([5, 1, 2, 5, 5, 3])
    assert settled(counts, bounds, 1) == ([0, 2, 1, 3, 4, 5], 3)
    order, verified = settled(counts, bounds, 2)
    assert (order[:2], verified) == ([0, 3], 4), (
        "a bound that equals the last place, of a later candidate, is no threat"
    )
    order, verified = settled(counts[::-1].copy(), bounds[::-1].copy(), 1)
    assert (order[0], verified) == (1, 4), "that of an earlier candidate is: it would go first"
    assert settled(np.array([9, 0]), np.array([9, 5]), 1)[1] == 1
    monkeypatch.setattr(verification, "WAVE", 4)
    assert settled(counts, bounds, 1)[1] == 4
    assert settled(counts, bounds, 9)[1] == 6


@pytest.mark.parametrize("wave", [1, 4, 16])
def test_first_places_are_those_of_all(wave, monkeypatch):
    monkeypatch.setattr(verification, "WAVE", wave)
    rng = np.random.default_rng(wave)
    saved = 0
    for _ in range(300):
        n = int(rng.integers(1, 40))
        bounds = rng.integers(0, 12, n)
        counts = (bounds * rng.random(n)).round().astype(np.int64)
        places = int(rng.integers(1, 6))
        expected = np.argsort(-counts, kind="stable").tolist()
        order, verified = settled(counts, bounds, places)
        assert order[:places] == expected[:places]
        saved += n - verified
    assert saved > 150


def test_no_candidates():
    assert settle(np.zeros(0, np.int64), 3, lambda chosen: []).tolist() == []
