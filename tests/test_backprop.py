"""The hand-written pass: against autograd, against numbers worked by hand, and at its door."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxlab
from jaxlab import Layer, ShapeError, backprop, cross_entropy, squared_error
from jaxlab.gradcheck.check import random_params
from jaxlab.gradcheck.result import relative_difference
from jaxlab.precision import enable_x64

LOSSES = [squared_error, cross_entropy]


def a_problem(seed, sizes, m, dtype=np.float64, one_hot=True):
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda p: jnp.asarray(p, dtype), random_params(seed, tuple(sizes)))
    x = jnp.asarray(rng.standard_normal((m, sizes[0])), dtype)
    y = np.eye(sizes[-1])[rng.integers(0, sizes[-1], m)] if one_hot else rng.random((m, sizes[-1]))
    return params, x, jnp.asarray(y, dtype)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 7), min_size=2, max_size=5),
    m=st.integers(1, 9),
    loss=st.sampled_from(LOSSES),
    seed=st.integers(0, 2**31),
)
def test_equals_autograd_for_any_network_of_up_to_four_layers(sizes, m, loss, seed):
    with enable_x64(True):
        params, x, y = a_problem(seed, sizes, m)
        J, grads = jaxlab.cost_and_grad(params, x, y, loss)
        J_auto, grads_auto = jax.value_and_grad(jaxlab.cost)(params, x, y, loss)
    assert pytest.approx(float(J_auto), rel=1e-14) == J
    for g, n in zip(jax.tree.leaves(grads), jax.tree.leaves(grads_auto), strict=True):
        # A block whose terms all cancel (softmax of one unit) is zero up to rounding.
        assert relative_difference(g, n) < 1e-12 or np.abs(g - n).max() < 1e-16


def test_worked_by_hand_squared_error():
    # x = (1, 0), W1 = (0 1), b1 = 0:  z2 = 0, a2 = ½.
    # W2 = (2), b2 = -1:               z3 = 2 · ½ - 1 = 0, a3 = ½.
    # y = 1:                           J = ½ (½ - 1)² = 1/8.
    # δ3 = (½ - 1) · ½ (1 - ½) = -1/8
    # δ2 = 2 · (-1/8) · ½ (1 - ½) = -1/16
    # ∂J/∂W2 = δ3 a2 = -1/16, ∂J/∂b2 = δ3 = -1/8
    # ∂J/∂W1 = δ2 xᵀ = (-1/16 0), ∂J/∂b1 = δ2 = -1/16
    params = (
        Layer(jnp.array([[0.0, 1.0]]), jnp.array([0.0])),
        Layer(jnp.array([[2.0]]), jnp.array([-1.0])),
    )
    J, (first, second) = jaxlab.cost_and_grad(params, jnp.array([[1.0, 0.0]]), jnp.array([[1.0]]))
    assert J == 1 / 8
    np.testing.assert_array_equal(second.W, [[-1 / 16]])
    np.testing.assert_array_equal(second.b, [-1 / 8])
    np.testing.assert_array_equal(first.W, [[-1 / 16, 0]])
    np.testing.assert_array_equal(first.b, [-1 / 16])


def test_worked_by_hand_mean_over_two_examples():
    # The example above and one with y = 0: its δ3 = ½ · ¼ = 1/8 is the other's opposite, so that
    # J = (1/8 + 1/8) / 2, b2's gradient cancels, and with x = (0, 1), W1 = (0 1):
    # z2 = 1, which is no round number; so W1 = 0 here. Then for both a2 = ½, a3 = ½,
    # δ2 = ∓1/16 and ∂J/∂W1 = ½ (-1/16 (1 0) + 1/16 (0 1)) = (-1/32 1/32).
    params = (
        Layer(jnp.zeros((1, 2)), jnp.zeros(1)),
        Layer(jnp.array([[2.0]]), jnp.array([-1.0])),
    )
    x, y = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([[1.0], [0.0]])
    J, (first, second) = jaxlab.cost_and_grad(params, x, y)
    assert J == 1 / 8
    assert jaxlab.cost(params, x, y) == 1 / 8
    np.testing.assert_array_equal(second.W, [[0]])
    np.testing.assert_array_equal(second.b, [0])
    np.testing.assert_array_equal(first.W, [[-1 / 32, 1 / 32]])
    np.testing.assert_array_equal(first.b, [0])


def test_worked_by_hand_softmax():
    # W = (log 3, 0)ᵀ, b = 0, x = 1: softmax = (3, 1) / 4. y = (0, 1): J = -log ¼ = log 4,
    # δ = (¾, ¼ - 1) = (¾, -¾).
    params = (Layer(jnp.array([[np.log(3.0)], [0.0]], jnp.float32), jnp.zeros(2)),)
    J, (layer,) = jaxlab.cost_and_grad(
        params, jnp.ones((1, 1)), jnp.array([[0.0, 1.0]]), cross_entropy
    )
    np.testing.assert_allclose(J, np.log(4), rtol=1e-6)
    np.testing.assert_allclose(layer.W, [[0.75], [-0.75]], rtol=1e-6)
    np.testing.assert_allclose(layer.b, [0.75, -0.75], rtol=1e-6)


def test_random_weights_are_those_of_the_formula():
    # √(6 / (2 + 4)) = 1 and √(6 / (4 + 2)) = 1: plain uniform numbers, row by row.
    rng = np.random.default_rng(5)
    W1, W2 = rng.uniform(-1, 1, (4, 2)), rng.uniform(-1, 1, (2, 4))
    first, second = jaxlab.initialize(5, (2, 4, 2))
    np.testing.assert_array_equal(first.W, W1.astype(np.float32))
    np.testing.assert_array_equal(second.W, W2.astype(np.float32))
    assert not first.b.any()
    assert not second.b.any()
    # √(6 / 24) = ½
    (wide,) = jaxlab.initialize(5, (20, 4))
    expected = np.random.default_rng(5).uniform(-0.5, 0.5, (4, 20))
    np.testing.assert_array_equal(wide.W, expected.astype(np.float32))
    # With a mean output: a tenth of the last weights, b = σ⁻¹(mean) - ½ Σ W, kept off 0 and 1.
    first, second = jaxlab.initialize(5, (2, 4, 2), mean_output=np.array([0.25, 1.0]))
    np.testing.assert_array_equal(first.W, W1.astype(np.float32))
    np.testing.assert_allclose(second.W, 0.1 * W2, rtol=1e-6)
    logits = np.array([-np.log(3), np.log(999)])
    np.testing.assert_allclose(second.b, logits - 0.05 * W2.sum(axis=1), rtol=1e-6)
    # Inputs lie at 0, not at ½.
    (only,) = jaxlab.initialize(5, (2, 4), mean_output=np.array([0.5, 0.25, 0.0, 0.75]))
    np.testing.assert_allclose(only.b, [0, -np.log(3), -np.log(999), np.log(3)], rtol=1e-5)
    np.testing.assert_allclose(only.W, 0.1 * W1, rtol=1e-6)


def test_what_each_layer_answers():
    # z2 = (log 3, 0): a2 = (¾, ½). z3 = 4 · ¾ - 2 · ½ - 2 = 0 and log 3: σ gives (½, ¾),
    # softmax (¼, ¾).
    params = (
        Layer(np.array([[np.log(3), 0.0], [0.0, 1.0]]), np.array([0.0, -2.0])),
        Layer(np.array([[4.0, -2.0], [0.0, 0.0]]), np.array([-2.0, np.log(3)])),
    )
    x = np.array([[1.0, 2.0]])
    assert jaxlab.backprop.layer_sizes(params) == (2, 2, 2)
    with enable_x64(True):
        np.testing.assert_allclose(jaxlab.predict(params, x), [[0.5, 0.75]], rtol=1e-14)
        np.testing.assert_allclose(
            jaxlab.predict(params, x, cross_entropy), [[0.25, 0.75]], rtol=1e-14
        )
        z, a = jaxlab.feed_forward(params, x)
        J = jaxlab.cost(params, x, np.array([[0.5, 0.25]]))  # ½ (¾ - ¼)²
        np.testing.assert_allclose(J, 1 / 8, rtol=1e-14)
    assert (z.keys(), a.keys()) == ({2, 3}, {1, 2, 3})
    np.testing.assert_allclose(z[3], [[0, np.log(3)]], atol=1e-15)
    np.testing.assert_allclose(a[2], [[0.75, 0.5]], rtol=1e-14)
    assert jaxlab.backprop.layer_sizes((Layer(np.zeros((3, 5)), np.zeros(3)),)) == (5, 3)


GOOD = {"x": np.zeros((4, 3)), "y": np.zeros((4, 2)), "W1": np.zeros((6, 3)), "b1": np.zeros(6),
        "W2": np.zeros((2, 6)), "b2": np.zeros(2)}  # fmt: skip
BAD = [
    ({"W2": np.zeros((2, 5))}, "W2 has 5 columns, layer 1 has 6 units"),
    ({"W1": np.zeros((6, 4))}, "W1 has 4 columns, x has 3 columns"),
    ({"b1": np.zeros(1)}, "W1 has 6 rows, b1 has 1 entries"),
    ({"y": np.zeros((4, 1))}, "y has 1 columns, the output layer has 2 units"),
    ({"y": np.zeros((1, 2))}, "x has 4 examples, y has 1"),
    ({"x": np.zeros(3)}, r"x has shape \(3,\)"),
    ({"y": np.zeros(4)}, r"y has shape \(4,\)"),
    ({"b2": np.zeros((1, 2))}, r"b2 has shape \(1, 2\)"),
    ({"W1": np.zeros(6)}, r"W1 has shape \(6,\)"),
    ({"x": np.zeros(())}, r"x has shape \(\)"),
    ({"W1": np.zeros((6, 3), np.float16)}, "share one floating-point dtype, .* W1 is float16"),
    ({"x": np.zeros((0, 3)), "y": np.zeros((0, 2))}, "at least 1 is needed"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message for _, message in BAD])
def test_shapes_that_do_not_fit_are_refused_by_name(change, message):
    arrays = {name: jnp.asarray(a, a.dtype if a.dtype == np.float16 else np.float32)
              for name, a in (GOOD | change).items()}  # fmt: skip
    params = (Layer(arrays["W1"], arrays["b1"]), Layer(arrays["W2"], arrays["b2"]))
    # Past the type annotations, which would refuse some of these first: as a user calls it.
    check = getattr(jaxlab.backprop.check_shapes, "__wrapped__", jaxlab.backprop.check_shapes)
    with pytest.raises(ShapeError, match=message):
        check(params, arrays["x"], arrays["y"])


def test_no_layers_and_whole_numbers_are_refused():
    x, y = jnp.zeros((4, 3)), jnp.zeros((4, 2))
    with pytest.raises(ShapeError, match="params is empty"):
        jaxlab.backprop.check_shapes((), x, y)
    whole = [jnp.zeros(shape, jnp.int32) for shape in ((2, 3), (2,), (4, 3), (4, 2))]
    check = getattr(jaxlab.backprop.check_shapes, "__wrapped__", jaxlab.backprop.check_shapes)
    with pytest.raises(ShapeError, match="one floating-point dtype, but x is int32, y is int32"):
        check((Layer(*whole[:2]),), *whole[2:])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_is_stable_at_logits_of_a_thousand(dtype):
    # One layer without inputs that matter: the logits are the biases.
    with enable_x64(True):
        params = (Layer(jnp.zeros((3, 1), dtype), jnp.array([1000, -1000, 0], dtype)),)
        x = jnp.ones((2, 1), dtype)
        y = jnp.array([[0, 1, 0], [1, 0, 0]], dtype)
        J, (layer,) = jaxlab.cost_and_grad(params, x, y, cross_entropy)
    # -log softmax is 2000 for the first example and 0 for the second.
    assert float(J) == 1000
    np.testing.assert_array_equal(layer.b, [0.5, -0.5, 0])


def test_saturated_sigmoids_give_no_nan():
    params = (Layer(jnp.full((2, 1), 1e4), jnp.array([0.0, -3e4])),)
    J, grads = jaxlab.cost_and_grad(params, jnp.ones((1, 1)), jnp.array([[0.0, 1.0]]))
    assert J == 1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize("loss", LOSSES)
def test_output_error_is_the_derivative_of_the_cost(loss):
    with enable_x64(True):
        _, z, y = a_problem(1, (4, 4), 6)
        expected = jax.grad(lambda z: loss.cost(z, y).sum())(z)
        np.testing.assert_allclose(loss.output_error(z, y), expected, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("loss", LOSSES)
def test_flat_form_is_the_same_gradient(loss):
    sizes = (3, 4, 5, 2)
    with enable_x64(True):
        params, x, y = a_problem(0, sizes, 5)
        theta = jaxlab.flatten(params)
        J, g = jaxlab.cost_and_grad_flat(theta, x, y, sizes, loss)
        J_tree, grads = jaxlab.cost_and_grad(params, x, y, loss)
        assert J == J_tree
        np.testing.assert_array_equal(g, jaxlab.flatten(grads))
        assert jax.tree.all(jax.tree.map(np.array_equal, jaxlab.unflatten(theta, sizes), params))
        # W1 row by row first, then b1.
        np.testing.assert_array_equal(np.asarray(theta)[:12], np.ravel(params[0].W))
        np.testing.assert_array_equal(np.asarray(theta)[12:16], params[0].b)


@pytest.mark.parametrize("loss", LOSSES)
def test_jax_grad_of_differentiable_cost_is_the_hand_written_gradient(loss):
    params, x, y = a_problem(2, (3, 4, 2), 5, np.float32)
    grads = jax.jit(jax.grad(jaxlab.differentiable_cost), static_argnums=3)(params, x, y, loss)
    expected = jaxlab.cost_and_grad(params, x, y, loss)[1]
    for g, e in zip(jax.tree.leaves(grads), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-6)


@pytest.mark.parametrize("argnum", [1, 2])
def test_differentiating_by_x_or_y_is_refused_rather_than_zero(argnum):
    params, x, y = a_problem(2, (3, 4, 2), 5, np.float32)
    with pytest.raises(TypeError, match="with respect to params alone"):
        jax.grad(jaxlab.differentiable_cost, argnums=argnum)(params, x, y)


def test_works_under_vmap():
    with enable_x64(True):
        problems = [a_problem(seed, (3, 4, 2), 5) for seed in range(3)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
        costs, grads = jax.vmap(jaxlab.cost_and_grad)(*stacked)
        many = jax.vmap(jax.grad(jaxlab.differentiable_cost))(*stacked)
        for i, problem in enumerate(problems):
            J, one = jaxlab.cost_and_grad(*problem)
            assert costs[i] == pytest.approx(float(J), rel=1e-14)
            for g, v, e in zip(*map(jax.tree.leaves, (grads, many, one)), strict=True):
                np.testing.assert_allclose(g[i], e, rtol=1e-12, atol=1e-16)
                np.testing.assert_allclose(v[i], e, rtol=1e-12, atol=1e-16)


def test_compiles_once_a_shape():
    params, x, y = a_problem(0, (3, 2, 2), 4, np.float32)
    traces = 0

    def counting_cost(z, y):
        nonlocal traces
        traces += 1
        return squared_error.cost(z, y)

    loss = squared_error._replace(name="counting", cost=counting_cost)
    for shift in (0.0, 1.0, 2.0):
        jaxlab.cost_and_grad(params, x + shift, y, loss)
    assert traces == 1


def test_optax_line_search_uses_it():
    params, x, y = a_problem(0, (3, 4, 2), 20, np.float32)
    trained = jaxlab.minimize(params, x, y, optimizer=optax.lbfgs(), iterations=30)
    assert trained.history[-1] < 0.7 * trained.history[0]


def test_the_door_is_guarded():
    params, x, y = a_problem(0, (3, 4, 2), 5, np.float32)
    for call in (jaxlab.cost_and_grad, jaxlab.cost, partial(jaxlab.minimize, iterations=1)):
        with pytest.raises(ShapeError, match="y has 1 columns, the output layer has 2 units"):
            call(params, x, y[:, :1])
    with pytest.raises(ShapeError, match=r"layers of 3-4-2 units have 26 parameters"):
        jaxlab.unflatten(jnp.zeros(25), (3, 4, 2))


def test_mean_output_is_what_the_untrained_network_answers():
    mean = np.array([0.02, 0.5, 0.9])
    params = jaxlab.initialize(0, (20, 10, 3), mean_output=mean)
    x = np.random.default_rng(0).random((50, 20), np.float32) * 0.2
    np.testing.assert_allclose(jaxlab.predict(params, x).mean(axis=0), mean, atol=0.05)


def test_a_public_name_is_looked_up_once(monkeypatch):
    monkeypatch.delitem(vars(jaxlab), "cost_and_grad", raising=False)
    assert jaxlab.cost_and_grad is backprop.cost_and_grad
    assert vars(jaxlab)["cost_and_grad"] is backprop.cost_and_grad


@pytest.mark.parametrize(
    ("sizes", "mean", "text"),
    [
        ((8,), None, "two layers or more"),
        ((8, 0, 3), None, "two layers or more, from 1"),
        ((8, 3), np.full(1, 0.5), r"must be \(3,\)"),
    ],
)
def test_layers_that_cannot_be_are_refused(sizes, mean, text):
    with pytest.raises(ShapeError, match=text):
        jaxlab.initialize(0, sizes, mean_output=mean)


def test_predict_refuses_what_does_not_fit():
    params = jaxlab.initialize(0, (4, 3))
    assert jaxlab.predict(params, np.ones((2, 4), np.float32)).shape == (2, 3)
    with pytest.raises(ShapeError, match="W1 has 4 columns, x has 5 columns"):
        jaxlab.predict(params, np.ones((2, 5), np.float32))
