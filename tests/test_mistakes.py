"""Mistakes are named from the numbers alone: the right name or none, never another."""

import numpy as np
import planted
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from right_gradients import PER_NETWORK, rejected

import jaxlab
from jaxlab.gradcheck.check import check_gradients, random_params
from jaxlab.gradcheck.mistakes import name_from_numbers

LAMBDA = 0.03


def network(seed, sizes, m, output="sigmoid"):
    """Parameters, the right gradient and that of each example, by block name."""
    rng = np.random.default_rng(seed)
    p = planted.forward_backward(
        random_params(seed, sizes), rng.random((m, sizes[0])),
        np.eye(sizes[2])[rng.integers(0, sizes[2], m)], output,
    )  # fmt: skip
    params = {"W1": p.W1, "b1": p.b1, "W2": p.W2, "b2": p.b2}
    each = {
        "W1": np.einsum("mo,mi->moi", p.d2, p.x),
        "b1": p.d2,
        "W2": np.einsum("mo,mi->moi", p.d3, p.a2),
        "b2": p.d3,
    }
    return params, planted.gradient(p), each


def one(name, change):
    return lambda g, p, e, m: g | {name: change(g[name], p[name])}


def every(change):
    return lambda g, p, e, m: {name: change(g[name], m) for name in g}


def row_out(g, p, unit=-1):
    g = g.copy()
    g[unit] = 0
    return g


def column_out(g, p):
    g = g.copy()
    g[:, 0] = 0
    return g


def to_the_other_order(g, p):
    return g.ravel().reshape(g.shape, order="F")


# id: ways to make the mistake, and the blocks that have it.
PLANTED = [
    ("factor", one("W2", lambda g, p: 2 * g), "W2"),
    ("factor", one("b1", lambda g, p: 4 * g), "b1"),
    ("factor", one("W1", lambda g, p: g / 3), "W1"),
    ("factor", one("W2", lambda g, p: 0.731 * g), "W2"),
    ("sign", every(lambda g, m: -g), "W1, b1, W2, b2"),
    ("factor", every(lambda g, m: g / 2), "W1, b1, W2, b2"),
    ("1/m forgotten", every(lambda g, m: m * g), "W1, b1, W2, b2"),
    ("1/m forgotten", one("b1", lambda g, p: 11 * g), "b1"),
    ("sign and 1/m", every(lambda g, m: -m * g), "W1, b1, W2, b2"),
    ("1/m twice", every(lambda g, m: g / m), "W1, b1, W2, b2"),
    ("zero", one("b2", lambda g, p: 0 * g), "b2"),
    ("zero", one("W1", lambda g, p: 0 * g), "W1"),
    ("reshaped", one("W1", planted_order := lambda g, p: planted.every_other_order(g)), "W1"),
    ("transposed", one("W1", planted_order), "W1"),
    ("reshaped", one("W2", to_the_other_order), "W2"),
    ("unit left out", one("W1", row_out), "W1"),
    ("unit left out", one("W2", column_out), "W2"),
    ("unit left out", lambda g, p, e, m: g | {n: row_out(g[n], None, 0) for n in ("W1", "b1")},
     "W1, b1"),
    ("unit left out", one("b2", lambda g, p: np.append(g[:-2], [0, 0])), "b2"),
    ("summed over units", one("b1", lambda g, p: np.full_like(g, g.sum())), "b1"),
    ("summed over units", one("b2", lambda g, p: np.full_like(g, g.mean())), "b2"),
    ("one example", lambda g, p, e, m: {n: e[n][0] / m for n in g}, "W1, b1, W2, b2"),
    ("one example", lambda g, p, e, m: {n: e[n][3] for n in g}, "W1, b1, W2, b2"),
    ("examples left out", lambda g, p, e, m: {n: g[n] - e[n][-1] / m for n in g}, "W1, b1, W2, b2"),
    ("examples left out", lambda g, p, e, m: {n: e[n][:-3].mean(0) for n in g}, "W1, b1, W2, b2"),
    ("examples left out", lambda g, p, e, m: {n: e[n][2:].sum(0) / m for n in g}, "W1, b1, W2, b2"),
    ("decay", lambda g, p, e, m: g | {n: g[n] + LAMBDA * p[n] for n in ("W1", "W2")}, "W1, W2"),
    ("decay", lambda g, p, e, m: g | {n: g[n] - 2 * LAMBDA * p[n] for n in ("b1", "b2")}, "b1, b2"),
    ("decay", one("W2", lambda g, p: g + 0.1 * np.sign(p)), "W2"),
    ("shifted", one("W1", lambda g, p: np.roll(g, 1, axis=0)), "W1"),
    ("shifted", one("b2", lambda g, p: np.append(g[1:], 0)), "b2"),
    ("reversed", one("b1", lambda g, p: g[::-1]), "b1"),
    ("not a number", one("W2", lambda g, p: np.where(np.arange(g.shape[1]) == 1, np.nan, g)), "W2"),
]  # fmt: skip
# What is the same to the numbers: both are named.
SAME = {"transposed": {"reshaped"}, "reshaped": {"transposed"}}


@pytest.mark.parametrize(("id", "make", "block"), PLANTED)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.tuples(st.integers(3, 9), st.integers(3, 9), st.integers(3, 9)),
    softmax=st.booleans(),
    noise=st.sampled_from([0, 1e-16, 1e-13]),
)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_a_planted_mistake_has_its_name_and_no_other(id, make, block, seed, sizes, softmax, noise):
    m = 11
    # δ3 of softmax sums to zero: summed over the units it is left at zero.
    softmax = softmax and id != "summed over units"
    params, right, each = network(seed, sizes, m, "softmax" if softmax else "sigmoid")
    rng = np.random.default_rng(seed)
    mine = {
        name: g * (1 + noise * rng.standard_normal(np.shape(g)))
        for name, g in make(right, params, each, m).items()
    }
    mistakes = name_from_numbers(mine, right, params, m=m, per_example=each)
    assert (id, block) in [(m.id, m.block) for m in mistakes]
    assert {m.id for m in mistakes} <= {id} | SAME.get(id, set())


@given(seed=st.integers(0, 10**6), m=st.integers(1, 20), scale=st.integers(-3, 3))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_right_gradients_have_no_mistakes(seed, m, scale):
    sizes = np.random.default_rng(seed).integers(1, 6, 3)
    params, right, each = network(seed, tuple(map(int, sizes)), m)
    params = {name: 10.0**scale * p for name, p in params.items()}
    mine = {name: g * (1 + 1e-12) for name, g in right.items()}
    assert name_from_numbers(mine, right, params, m=m, per_example=each) == []


UNNAMEABLE = [
    name
    for name in planted.SQUARED_ERROR
    if name.startswith(("no σ′", "σ", "δ2", "W2 not", "bias column", "x in", "z2 in", "target"))
]


@pytest.mark.parametrize("name", UNNAMEABLE)
@pytest.mark.parametrize("m", [1, 2, 7])
@pytest.mark.parametrize("units", [2, 4])
def test_what_the_numbers_do_not_show_is_not_named(name, m, units):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        p = planted.forward_backward(
            random_params(seed, (units,) * 3), rng.random((m, units)),
            np.eye(units)[rng.integers(0, units, m)],
        )  # fmt: skip
        params = {"W1": p.W1, "b1": p.b1, "W2": p.W2, "b2": p.b2}
        mistake, _ = planted.SQUARED_ERROR[name]
        assert name_from_numbers(mistake(p), planted.gradient(p), params, m=m) == []


def test_m_and_a_number_of_units_are_both_named():
    params, right, _ = network(0, (4, 5, 6), 6)
    mistakes = name_from_numbers(right | {"W2": 6 * right["W2"]}, right, params, m=6)
    assert [m.id for m in mistakes] == ["1/m forgotten", "factor"]
    assert "m = 6 times" in mistakes[0].explanation
    assert "number of units" in mistakes[0].explanation
    (unknown,) = name_from_numbers(right | {"W2": 50 * right["W2"]}, right, params)
    assert "if there are 50 examples, 1/m is forgotten" in unknown.explanation


@pytest.mark.parametrize("in_columns", [False, True])
def test_the_axis_of_the_examples_is_found_of_inputs_alone(in_columns):
    x = np.random.default_rng(0).random((20, 8))

    def autoencoder(params, x):
        x = x.T if in_columns else x
        J, (first, second) = jaxlab.cost_and_grad(params, x, x)
        return J, (first, second._replace(b=20 * second.b))

    (mistake,) = check_gradients(
        autoencoder, random_params(0, (8, 5, 8)), x.T if in_columns else x
    ).mistakes
    assert (mistake.id, mistake.block) == ("1/m forgotten", "b2")


def test_swapped_blocks():
    params, right, _ = network(0, (4, 4, 4), 5)
    mine = right | {"W1": right["W2"], "W2": right["W1"]}
    (mistake,) = name_from_numbers(mine, right, params)
    assert (mistake.id, mistake.block) == ("swapped", "W1, W2")
    (copied,) = name_from_numbers(right | {"b1": right["b2"]}, right, params)
    assert (copied.id, copied.block) == ("swapped", "b1")
    assert copied.explanation == "b1 has the gradient of b2"


@pytest.mark.parametrize(
    ("change", "ids"),
    [
        (lambda g, p: 2 * planted.every_other_order(g), {"factor", "reshaped", "transposed"}),
        (lambda g, p: -row_out(g, p), {"sign", "unit left out"}),
        (lambda g, p: 2 * g + 0.1 * p, {"factor", "decay"}),
        (lambda g, p: 11 * g - 0.1 * p, {"1/m forgotten", "decay"}),
    ],
)
def test_two_mistakes_at_once_are_both_named(change, ids):
    params, right, _ = network(0, (4, 6, 3), 11)
    mistakes = name_from_numbers(
        right | {"W1": change(right["W1"], params["W1"])}, right, params, m=11
    )
    assert {m.id for m in mistakes} == ids
    assert {m.block for m in mistakes} == {"W1"}


def test_several_mistakes_in_several_blocks():
    params, right, _ = network(0, (4, 6, 3), 11)
    mine = right | {"W1": 2 * right["W1"], "W2": 2 * right["W2"], "b1": 0 * right["b1"]}
    found = {(m.id, m.block) for m in name_from_numbers(mine, right, params, m=11)}
    assert found == {("factor", "W1, W2"), ("zero", "b1")}


def test_numbers_of_any_size():
    params, right, _ = network(0, (4, 6, 3), 11)
    for scale in (1e-300, 1e-160, 1e160, 1e300):
        scaled = {name: scale * g for name, g in right.items()}
        (mistake,) = name_from_numbers(scaled | {"W1": -scaled["W1"]}, scaled, params)
        assert (mistake.id, mistake.block) == ("sign", "W1")


# --- right gradients ---


# Softmax and many layers; an autoencoder; 500 examples.
@pytest.mark.parametrize("number", [2, 3, 9])
def test_right_gradients_are_let_through(number):
    assert rejected(25, first=PER_NETWORK * number) == []


@pytest.mark.slow
def test_a_thousand_right_gradients_are_let_through():
    assert rejected(1_000, first=1_000) == []


@pytest.mark.parametrize("seed", range(25))
def test_right_gradients_in_numpy_are_let_through_without_any_other_witness(seed):
    rng = np.random.default_rng(seed)
    sizes = tuple(map(int, rng.integers(1, 8, 3)))
    m, scale = int(rng.integers(1, 40)), 10 ** rng.uniform(-3, 3)
    x, y = rng.random((m, sizes[0])), np.eye(sizes[2])[rng.integers(0, sizes[2], m)]

    def cost_and_grad(params, x, y):
        with np.errstate(over="ignore"):
            p = planted.forward_backward(
                [(params["W1"], params["b1"]), (params["W2"], params["b2"])], x, y
            )
        return float(p.J), planted.gradient(p)

    (W1, b1), (W2, b2) = random_params(seed, sizes)
    params = {"W1": scale * W1, "b1": scale * b1, "W2": scale * W2, "b2": scale * b2}
    check = check_gradients(cost_and_grad, params, x, y)
    assert check, f"scale {scale}, m {m}, sizes {sizes}\n{check}"
