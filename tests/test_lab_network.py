"""`check_gradients` names broken rules of backpropagation where the cost is a lab's network's."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import Layer, check_gradients

RNG = np.random.default_rng(0)
UNITS, M = (6, 5, 4), 9
X, CLASSES = RNG.random((M, UNITS[0])), np.r_[np.arange(4), RNG.integers(0, 4, M - 4)]
Y = np.eye(UNITS[2])[CLASSES]
W1, b1 = RNG.standard_normal((5, 6)), RNG.standard_normal(5)
W2, b2 = RNG.standard_normal((4, 5)), RNG.standard_normal(4)


def s(z):
    return 1 / (1 + jnp.exp(-z))


def wrong(W1, b1, W2, b2, x, y, outputs="sigmoid"):
    """J, and a gradient whose δ2 has the derivative a alone; one example a row."""
    a2 = s(x @ W1.T + b1[None, :])
    z3 = a2 @ W2.T + b2[None, :]
    if outputs == "softmax":
        e = jnp.exp(z3)
        a3 = e / e.sum(axis=1, keepdims=True)
        J, d3 = -(y * jnp.log(a3)).sum() / len(x), (a3 - y) / len(x)
    else:
        a3 = s(z3)
        J, d3 = ((a3 - y) ** 2).sum() / (2 * len(x)), (a3 - y) * a3 * (1 - a3) / len(x)
    d2 = d3 @ W2 * a2
    return J, (d2.T @ x, d2.sum(0), d3.T @ a2, d3.sum(0))


def of_layers(params, x, y):
    (W1, b1), (W2, b2) = params
    J, (dW1, db1, dW2, db2) = wrong(W1, b1, W2, b2, x, y)
    return J, (Layer(dW1, db1), Layer(dW2, db2))


def of_dict(p, x, y):
    """W (units in, units out), in the order W1, W2, b1, b2 of the keys; labels; softmax."""
    one_hot = jnp.eye(UNITS[2])[y]
    J, (dW1, db1, dW2, db2) = wrong(
        p["W1"].T, p["b1"], p["W2"].T, p["b2"], x, one_hot, outputs="softmax"
    )
    return J, {"W1": dW1.T, "W2": dW2.T, "b1": db1, "b2": db2}


def of_columns(p, x, y):
    """One example a column, biases (n, 1), weight decay."""
    (W1, b1), (W2, b2) = p
    J, (dW1, db1, dW2, db2) = wrong(W1, b1[:, 0], W2, b2[:, 0], x.T, y.T)
    J = J + 0.15 * ((W1**2).sum() + (W2**2).sum())
    return J, [(dW1 + 0.3 * W1, db1[:, None]), (dW2 + 0.3 * W2, db2[:, None])]


def of_an_autoencoder(p, x):
    J, grads = wrong(*p, x, x)
    return J, list(grads)


@pytest.mark.parametrize(
    ("function", "params", "args", "blocks"),
    [
        (of_layers, (Layer(W1, b1), Layer(W2, b2)), (X, Y), "W1, b1"),
        (of_dict, {"W1": W1.T, "W2": W2.T, "b1": b1, "b2": b2}, (X, CLASSES), "W1, b1"),
        (of_columns, [(W1, b1[:, None]), (W2, b2[:, None])], (X.T, Y.T), "0.0, 0.1"),
        (of_an_autoencoder, [W1, b1, RNG.standard_normal((6, 5)), b1[:1].repeat(6)], (X,), "0, 1"),
    ],
    ids=["layers", "dict", "columns", "autoencoder"],
)
def test_a_broken_rule_is_named_however_parameters_come(function, params, args, blocks):
    check = check_gradients(function, params, *args)
    (mistake,) = check.mistakes
    assert (mistake.id, mistake.block) == ("derivative is a", blocks)
    assert "δ(2) is a(2) alone: it is a(2)(1 - a(2))" in str(check)


def test_numpy_is_named_as_well():
    def in_numpy(*args):
        J, grads = of_layers(*args)
        return float(J), grads

    check = check_gradients(in_numpy, (Layer(W1, b1), Layer(W2, b2)), X, Y)
    assert [mistake.id for mistake in check.mistakes] == ["derivative is a"]


def test_another_cost_has_no_rules_of_ours():
    def other(params, x, y):
        J, grads = of_layers(params, x, y)
        return J**2, grads

    check = check_gradients(other, (Layer(W1, b1), Layer(W2, b2)), X, Y)
    assert [mistake.block for mistake in check.mistakes] == ["W2, b2"]  # times 2 J
    assert "No mistake known here explains the numbers of W1, b1" in str(check)
