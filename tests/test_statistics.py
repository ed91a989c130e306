"""Intervals and tests, against numbers from tables and worked by hand."""

import numpy as np
import pytest

from jaxlab import ShapeError, statistics
from jaxlab.exercises.ex4 import pca_reconstruction, principal_components
from jaxlab.exercises.ex5 import decompose


def test_interval_over_seeds():
    # Mean 0.95, standard deviation 0.01, t(4; 0.975) = 2.776: half width 2.776 · 0.01 / √5.
    values = [0.94, 0.94, 0.95, 0.96, 0.96]
    entry = statistics.over_seeds(values, 2000)
    half = 2.776 * 0.01 / 5**0.5
    assert entry["mean"] == pytest.approx(0.95)
    assert entry["ci95"] == pytest.approx([0.95 - half, 0.95 + half], abs=1e-5)
    assert entry["per_seed"] == values
    assert entry["examples"] == 2000


def test_two_networks_have_a_range_and_no_interval():
    assert statistics.over_seeds([0.9, 0.7], 100)["ci95"] == [0.7, 0.9]


def test_wilson():
    # Newcombe (1998), table I: 81 of 263 gives 0.2553 to 0.3662.
    assert statistics.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert statistics.wilson(0, 20)[0] == 0
    one = statistics.over_seeds([81 / 263], 263)
    assert one["ci95"] == pytest.approx([0.2553, 0.3662], abs=5e-5)


def test_mcnemar():
    # 1 against 5: 2 · (C(6,0) + C(6,1)) / 2⁶ = 14/64.
    one = np.array([True] * 1 + [False] * 5 + [True] * 4)
    other = np.array([False] * 1 + [True] * 5 + [True] * 4)
    assert statistics.mcnemar(one, other) == (1, 5, pytest.approx(14 / 64))
    assert statistics.mcnemar(one, one)[2] == 1
    with pytest.raises(ShapeError):
        statistics.mcnemar(one, other[:-1])


def test_confusion():
    counts = statistics.confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 1, 0], [1, 0, 0]])


def test_bias_and_variance_of_known_estimators():
    # f ~ N(y + 0.3, 0.5²) in each of 2 outputs: bias² = 2 · 0.09, variance = 2 · 0.25.
    rng = np.random.default_rng(0)
    y = rng.random((2000, 2))
    answers = y[None] + 0.3 + 0.5 * rng.standard_normal((4, 2000, 2))
    bias, variance = decompose(answers, y)
    assert bias == pytest.approx(0.18, abs=0.02)
    assert variance == pytest.approx(0.5, abs=0.02)
    # And they sum to the mean squared error, exactly.
    assert bias + variance == pytest.approx(((answers - y[None]) ** 2).sum(axis=2).mean())


def test_pca_is_the_best_linear_code():
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((200, 3)) @ rng.standard_normal((3, 8))).astype(np.float32)
    pca = principal_components(x)
    np.testing.assert_allclose(pca_reconstruction(pca, x, 3), x, atol=1e-4)
    # With fewer components, what is lost is the smaller singular values (Eckart and Young 1936).
    singular = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    lost = ((pca_reconstruction(pca, x, 2) - x) ** 2).sum()
    assert lost == pytest.approx(singular[2] ** 2, rel=1e-3)
