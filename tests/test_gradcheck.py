"""The gradient check: planted mistakes are caught, right gradients are let through."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import planted
import pytest

import jaxlab
from jaxlab import (
    CheckError,
    Layer,
    OptionError,
    ShapeError,
    check_gradients,
    cross_entropy,
    figures,
    squared_error,
)
from jaxlab.gradcheck.check import random_params
from jaxlab.gradcheck.table import WITNESSES

ALL_WITNESSES = {*WITNESSES, "taylor_order"}
UNITS, M = 4, 7

# One object a loss: a program is compiled once for each cost and shape.
COST = {loss: partial(jaxlab.cost, loss=loss) for loss in (squared_error, cross_entropy)}
COST_AND_GRAD = {
    loss: partial(jaxlab.cost_and_grad, loss=loss) for loss in (squared_error, cross_entropy)
}


@jax.jit
def cost_with_decay(params, x, y):
    decay = sum((layer.W**2).sum() for layer in params)
    return jaxlab.cost(params, x, y) + 0.5 * planted.LAMBDA * decay


def batch(seed, m=M, inputs=UNITS, outputs=UNITS):
    rng = np.random.default_rng(seed)
    return rng.random((m, inputs)), np.eye(outputs)[rng.integers(0, outputs, m)]


CASES = [
    (output, name, cost, *case)
    for output, cost, mistakes in (
        ("sigmoid", COST[squared_error], planted.SQUARED_ERROR),
        ("softmax", COST[cross_entropy], planted.CROSS_ENTROPY),
        ("sigmoid", cost_with_decay, planted.WITH_DECAY),
    )
    for name, case in mistakes.items()
]


@pytest.mark.parametrize(
    ("output", "name", "cost", "mistake", "blocks"), CASES, ids=[f"{c[0]}: {c[1]}" for c in CASES]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_witness_catches_every_planted_mistake(output, name, cost, mistake, blocks, seed):
    def wrong(params, x, y):
        p = planted.forward_backward(params, x, y, output)
        g = mistake(p)
        # Where the cost has a decay, the mistaken pass knows of it; only the gradient is wrong.
        J = float(cost(params, x, y)) if cost is cost_with_decay else p.J
        return J, (Layer(g["W1"], g["b1"]), Layer(g["W2"], g["b2"]))

    params = random_params(seed, (UNITS, UNITS, UNITS))
    check = check_gradients(wrong, params, *batch(seed), cost=cost, seed=seed)
    assert not check
    assert set(check.wrong) == blocks
    for block in check.blocks:
        assert set(block.objections) == (ALL_WITNESSES if block.name in blocks else set())


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_the_planting_itself_is_right_without_a_mistake(output):
    def right(params, x, y):
        p = planted.forward_backward(params, x, y, output)
        g = planted.gradient(p)
        return p.J, (Layer(g["W1"], g["b1"]), Layer(g["W2"], g["b2"]))

    cost = COST[squared_error if output == "sigmoid" else cross_entropy]
    assert check_gradients(right, random_params(0, (UNITS,) * 3), *batch(0), cost=cost)


def test_a_tied_autoencoder_with_one_of_its_two_terms_missing():
    def tied(params, x):
        a2 = jax.lax.logistic(x @ params["W"].T)
        a3 = jax.lax.logistic(a2 @ params["W"])
        return 0.5 * ((a3 - x) ** 2).sum() / x.shape[0]

    def decoder_only(params, x):
        a2 = jax.lax.logistic(x @ params["W"].T)
        J = tied(params, x)
        return J, {"W": jax.grad(lambda W: 0.5 * ((jax.lax.logistic(a2 @ W) - x) ** 2).sum())(
            params["W"]) / x.shape[0]}  # fmt: skip

    params, x = {"W": np.random.default_rng(0).standard_normal((3, UNITS))}, batch(0)[0]
    assert check_gradients(jax.value_and_grad(tied), params, x, cost=tied)
    check = check_gradients(decoder_only, params, x, cost=tied)
    assert check.wrong == ("W",)
    assert set(check.blocks[0].objections) == ALL_WITNESSES


@pytest.mark.parametrize("loss", [squared_error, cross_entropy], ids=["squared", "entropy"])
def test_a_right_gradient_is_never_rejected(loss):
    # One shape, so that nothing is compiled again; scales from all but linear to saturated.
    rng = np.random.default_rng(0)
    for draw in range(300):
        scale = 10 ** rng.uniform(-3, 1.5)
        params = jax.tree.map(lambda p, s=scale: s * p, random_params(draw, (5, 4, 3)))
        x, y = batch(draw, 6, 5, 3)
        check = check_gradients(COST_AND_GRAD[loss], params, x, y, cost=COST[loss], seed=draw)
        assert check, f"draw {draw}, scale {scale}\n{check}"


def test_exercise_1_to_the_digits_that_are_promised():
    for seed in range(10):
        params = random_params(seed, (8, 5, 10))
        check = check_gradients(
            jaxlab.cost_and_grad, params, *batch(seed, 100, 8, 10), cost=jaxlab.cost, seed=seed
        )
        for row in (check, *check.blocks):
            assert row.diff["finite_difference"] < 1e-9
            assert row.diff["complex_step"] < 1e-15
            assert row.diff["autograd"] < 1e-15
            assert row.taylor_order == pytest.approx(2, abs=0.01)


def test_the_verdict_in_words():
    def doubled(params, x, y):
        J, (first, second) = jaxlab.cost_and_grad(params, x, y)
        return J, (first, Layer(2 * second.W, second.b))

    params, (x, y) = random_params(0, (3, 2, 2)), batch(0, 4, 3, 2)
    with pytest.raises(AssertionError, match="wrong gradient in W2\n") as failure:
        jaxlab.assert_gradients(doubled, params, x, y, cost=jaxlab.cost)
    lines = str(failure.value).splitlines()
    rows = {line.split()[0]: line for line in lines if line.endswith(("right", "WRONG"))}
    # ‖2g - g‖ / ‖2g + g‖ = 1/3.
    assert rows["W2"].endswith("WRONG")
    assert rows["W2"].count("3.3e-01") == 3
    assert rows["W1"].endswith("right")
    assert rows["all"].endswith("WRONG")
    jaxlab.assert_gradients(jaxlab.cost_and_grad, params, x, y, cost=jaxlab.cost)


def test_sampled_coordinates_and_progress():
    done = []
    check = check_gradients(
        jaxlab.cost_and_grad, random_params(0, (30, 20, 4)), *batch(0, 5, 30, 4),
        cost=jaxlab.cost, coordinates=7, advance=done.append,
    )  # fmt: skip
    assert check
    assert [block.checked for block in check.blocks] == [7, 7, 7, 4]
    assert sum(done) == 2 * (7 + 7 + 7 + 4)


def test_more_coordinates_than_one_chunk_holds(monkeypatch):
    whole = check_gradients(
        jaxlab.cost_and_grad, random_params(0, (9, 5, 4)), *batch(0, 5, 9, 4), cost=jaxlab.cost
    )
    monkeypatch.setattr("jaxlab.gradcheck.numerical.MOST_COORDINATES_AT_ONCE", 16)
    chunked = check_gradients(
        jaxlab.cost_and_grad, random_params(0, (9, 5, 4)), *batch(0, 5, 9, 4), cost=jaxlab.cost
    )
    assert whole.blocks[0].diff["autograd"] == chunked.blocks[0].diff["autograd"]
    assert chunked
    assert chunked.diff["finite_difference"] < 1e-9


def test_float64_is_on_for_the_check_alone():
    check_gradients(
        jaxlab.cost_and_grad, random_params(0, (3, 2, 2)), *batch(0, 4, 3, 2), cost=jaxlab.cost
    )
    assert not jax.config.jax_enable_x64
    assert jnp.ones(1).dtype == jnp.float32


def test_products_keep_every_digit_on_a_gpu_which_takes_three_of_float32(monkeypatch):
    monkeypatch.setattr("jaxlab.precision.jax.default_backend", lambda: "gpu")
    monkeypatch.setattr("jaxlab.gradcheck.numerical.MOST_COORDINATES_AT_ONCE", 2)  # two threads
    traced = []

    def cost(params, x, y):
        traced.append(jax.config.jax_default_matmul_precision)
        return jaxlab.cost(params, x, y)

    params, (x, y) = random_params(0, (5, 4, 3)), batch(0, 6, 5, 3)
    in_float32 = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), (params, x, y))
    for dtype, arguments in ("float64", (params, x, y)), ("float32", in_float32):
        assert check_gradients(jaxlab.cost_and_grad, *arguments, cost=cost, dtype=dtype)
        assert set(traced) == {"highest"}
        traced.clear()
    assert jax.config.jax_default_matmul_precision is None


def test_a_cost_too_large_for_float32_is_none_in_float32():
    check = check_gradients(lambda t: (1e100 * (t**2).sum(), 2e100 * t), np.arange(1.0, 4.0))
    assert check
    assert check.precision == "float64"


def test_a_gradient_that_is_not_a_number_is_wrong():
    def broken(params, x, y):
        J, (first, second) = jaxlab.cost_and_grad(params, x, y)
        return J, (first, Layer(second.W, second.b * jnp.nan))

    params, (x, y) = random_params(0, (3, 2, 2)), batch(0, 4, 3, 2)
    check = check_gradients(broken, params, x, y, cost=jaxlab.cost)
    assert check.wrong == ("b2",)
    assert set(check.blocks[3].objections) >= set(WITNESSES)


def test_a_cost_that_is_another_one_is_noticed():
    def without_half(params, x, y):
        J, grads = jaxlab.cost_and_grad(params, x, y)
        return 2 * J, grads

    params, (x, y) = random_params(0, (3, 2, 2)), batch(0, 4, 3, 2)
    check = check_gradients(without_half, params, x, y, cost=jaxlab.cost)
    assert check.wrong == ("J",)
    assert check.cost_diff == pytest.approx(1 / 3)
    assert "J is not the cost checked against: they differ by 3.3e-01" in str(check)


def test_where_the_derivative_is_not_finite_nothing_is_called_right():
    params, (x, y) = random_params(0, (3, 2, 2)), batch(0, 4, 3, 2)
    x[0, 0] = np.inf
    with pytest.raises(CheckError, match=r"jax\.grad is not finite"):
        check_gradients(jaxlab.cost_and_grad, params, x, y, cost=jaxlab.cost)


def test_a_gradient_of_zero_is_checked_wherever_J_can_change():
    params, (x, y) = random_params(0, (3, 2, 2)), batch(0, 4, 3, 2)
    # σ(±1000) is 0 or 1 to the last bit, and so is every derivative 0.
    saturated = tuple(Layer(1000 * layer.W, 1000 + 0 * layer.b) for layer in params)
    check = check_gradients(jaxlab.cost_and_grad, saturated, x, y, cost=jaxlab.cost)
    assert check
    assert "zero in every place (saturated or dead units" in str(check)

    minimum = check_gradients(lambda w, x: (w**2, 2 * w), np.array(0.0), x)
    assert minimum, str(minimum)

    def unfinished(params, x, y):
        return 0.0, jax.tree.map(np.zeros_like, params)

    with pytest.raises(CheckError, match="is the function finished"):
        check_gradients(unfinished, params, x, y)
    with pytest.raises(CheckError, match="softmax over a single output"):
        check_gradients(
            jaxlab.cost_and_grad, random_params(0, (3, 2, 1)), x, np.ones((4, 1)),
            jaxlab.cross_entropy, cost=jaxlab.cost,
        )  # fmt: skip


def test_right_gradients_that_are_hard_for_one_witness_are_let_through():
    params, (x, y) = random_params(0, (8, 5, 10)), batch(0, 100, 8, 10)
    # Pixels that nobody divided by 255: the step of central differences is too long for them.
    pixels = check_gradients(jaxlab.cost_and_grad, params, 255 * x, y, cost=jaxlab.cost)
    assert pixels, str(pixels)

    def flat_spot(p):  # without curvature the remainder is of order 3
        return (p**3).sum() + p.sum()

    assert check_gradients(jax.value_and_grad(flat_spot), np.zeros(3), cost=flat_spot)

    def not_analytic(p):
        return jnp.abs(p).sum()

    p = np.array([1.0, -2.0, 3.0])
    check = check_gradients(jax.value_and_grad(not_analytic), p, cost=not_analytic)
    assert check
    assert not check.analytic
    assert "complex step was left out" in str(check)
    wrong = check_gradients(lambda p: (not_analytic(p), 2 * jnp.sign(p)), p, cost=not_analytic)
    assert wrong.wrong == ("theta",)


def test_a_cost_that_changed_with_a_global_variable_is_compiled_again():
    weight = {"decay": 0.1}

    def decay(p):
        return 0.5 * weight["decay"] * (p**2).sum()

    p = np.array([1.0, -2.0, 3.0])
    assert check_gradients(jax.value_and_grad(decay), p, cost=decay)
    weight["decay"] = 0.5
    assert check_gradients(jax.value_and_grad(decay), p, cost=decay)


def test_a_wrong_gradient_can_be_seen_in_the_figure():
    rows = {"W1": dict.fromkeys(WITNESSES, 0.3), "b1": dict.fromkeys(WITNESSES, 1e-16)}
    (axes,) = figures.differences({"a network": rows}).axes
    low, high = axes.get_ylim()
    assert low < 1e-16 < 0.3 < high


def test_powers_of_ten_stand_in_plain_characters(tmp_path):
    steps = np.logspace(-12, -1, 12)
    figure = figures.errors_against_step(steps, steps, steps, 1e-4)
    figures.save(figure, tmp_path / "steps.svg")
    (axes,) = figure.axes
    names = [label.get_text() for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    assert {"10⁻¹²", "10⁻²"} <= {*names}
    assert not any("$" in name for name in names)
    place = axes.get_position().bounds
    figures.save(figure, tmp_path / "steps.png")
    assert axes.get_position().bounds == place


def test_a_gradient_of_another_form_is_refused():
    params, (x, y) = random_params(0, (3, 2, 2)), batch(0, 4, 3, 2)

    def transposed(params, x, y):
        J, (first, second) = jaxlab.cost_and_grad(params, x, y)
        return J, (Layer(first.W.T, first.b), second)

    def one_short(params, x, y):
        J, grads = jaxlab.cost_and_grad(params, x, y)
        return J, grads[:1]

    with pytest.raises(ShapeError, match=r"W1 has shape \(2, 3\), its gradient \(3, 2\)"):
        check_gradients(transposed, params, x, y, cost=jaxlab.cost)
    with pytest.raises(ShapeError, match="not built like params"):
        check_gradients(one_short, params, x, y, cost=jaxlab.cost)
    with pytest.raises(OptionError, match="coordinates is 0"):
        check_gradients(jaxlab.cost_and_grad, params, x, y, cost=jaxlab.cost, coordinates=0)


def test_what_is_hidden_from_autograd_alone_is_no_mistake():
    def hidden(w, x):
        return 0.5 * jnp.sum(jax.lax.stop_gradient(w) * w * x), w * x

    rng = np.random.default_rng(0)
    w, x = rng.standard_normal(6), rng.standard_normal(6)
    check = check_gradients(hidden, w, x)
    assert check, str(check)
    assert "a part of J is hidden from it" in str(check)
    assert not check_gradients(lambda w, x: (hidden(w, x)[0], w * x / 2), w, x)
