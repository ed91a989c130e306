"""Backward passes with a mistake planted in each, written in NumPy, independent of jaxlab.

MISTAKES has what people really get wrong. Each takes the pieces of a right backward pass through
a network of one hidden layer (`Pass`) and returns a gradient with one rule broken. Layers have
equally many units, so that every transposition still fits.
"""

from types import SimpleNamespace

import numpy as np

LAMBDA = 0.1


def sigma(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def forward_backward(params, x, y, output="sigmoid"):
    """Every piece of a right pass, by name, in the symbols of the lab sheet."""
    (W1, b1), (W2, b2) = [(np.asarray(W), np.asarray(b)) for W, b in params]
    x, y = np.asarray(x), np.asarray(y)
    z2 = x @ W1.T + b1
    a2 = sigma(z2)
    z3 = a2 @ W2.T + b2
    a3 = sigma(z3) if output == "sigmoid" else softmax(z3)
    d3 = (a3 - y) * a3 * (1 - a3) if output == "sigmoid" else a3 - y
    p = SimpleNamespace(m=len(x), **locals())
    p.d2 = hidden_delta(p)
    p.J = (0.5 * ((a3 - y) ** 2).sum() if output == "sigmoid" else -(y * np.log(a3)).sum()) / p.m
    return p


def hidden_delta(p, d3=None, W2=None, prime=None):
    d3 = p.d3 if d3 is None else d3
    W2 = p.W2 if W2 is None else W2
    prime = p.a2 * (1 - p.a2) if prime is None else prime
    return (d3 @ W2) * prime


def gradient(p, d3=None, d2=None, **replaced):
    """W1, b1, W2, b2 from the error terms, with some of them replaced."""
    d3 = p.d3 if d3 is None else d3
    d2 = p.d2 if d2 is None else d2
    right = {
        "W1": d2.T @ p.x / p.m,
        "b1": d2.sum(axis=0) / p.m,
        "W2": d3.T @ p.a2 / p.m,
        "b2": d3.sum(axis=0) / p.m,
    }
    return right | replaced


def with_delta3(p, d3):
    """Output error replaced, and everything behind it with it."""
    return gradient(p, d3, hidden_delta(p, d3))


def scaled(p, factor):
    return {name: factor * g for name, g in gradient(p).items()}


def changed(p, name, change):
    g = gradient(p)
    return g | {name: change(g[name])}


def without(index):
    def zero(g):
        g = g.copy()
        g[index] = 0
        return g

    return zero


def every_other_order(g):
    return g.reshape(-1, order="F").reshape(g.shape)


def decayed(p, W=LAMBDA, b=0.0):
    g = gradient(p)
    return {
        "W1": g["W1"] + W * p.W1,
        "b1": g["b1"] + b * p.b1,
        "W2": g["W2"] + W * p.W2,
        "b2": g["b2"] + b * p.b2,
    }


ALL = {"W1", "b1", "W2", "b2"}
HIDDEN, OUTPUT = {"W1", "b1"}, {"W2", "b2"}

# name: (the broken gradient, the blocks that are wrong)
SQUARED_ERROR = {
    "1/m forgotten": (lambda p: scaled(p, p.m), ALL),
    "1/m twice": (lambda p: scaled(p, 1 / p.m), ALL),
    "½ forgotten": (lambda p: scaled(p, 2), ALL),
    "y - a for a - y": (lambda p: scaled(p, -1), ALL),
    "W2 times 2": (lambda p: changed(p, "W2", lambda g: 2 * g), {"W2"}),
    "b1 times 4": (lambda p: changed(p, "b1", lambda g: 4 * g), {"b1"}),
    "b2 summed over everything": (
        lambda p: gradient(p, b2=np.full_like(p.b2, p.d3.sum() / p.m)), {"b2"}),
    "b1 summed, not averaged": (lambda p: changed(p, "b1", lambda g: p.m * g), {"b1"}),
    "b1 never given": (lambda p: changed(p, "b1", np.zeros_like), {"b1"}),
    "b2 never given": (lambda p: changed(p, "b2", np.zeros_like), {"b2"}),
    "no σ′ at the output": (lambda p: with_delta3(p, p.a3 - p.y), ALL),
    "no σ′ in the hidden layer": (lambda p: gradient(p, d2=p.d3 @ p.W2), HIDDEN),
    "σ′ of a in place of z, hidden": (
        lambda p: gradient(p, d2=hidden_delta(p, prime=sigma(p.a2) * (1 - sigma(p.a2)))), HIDDEN),
    "σ′ of a in place of z, output": (
        lambda p: with_delta3(p, (p.a3 - p.y) * sigma(p.a3) * (1 - sigma(p.a3))), ALL),
    "σ′ = a(1 + a)": (lambda p: gradient(p, d2=hidden_delta(p, prime=p.a2 * (1 + p.a2))), HIDDEN),
    "σ with a minus sign": (lambda p: gradient(p, W2=p.d3.T @ (1 - p.a2) / p.m), {"W2"}),
    "δ2 from W2 already updated": (
        lambda p: gradient(p, d2=hidden_delta(p, W2=p.W2 - 0.5 * p.d3.T @ p.a2 / p.m)), HIDDEN),
    "δ2 from the raw error": (lambda p: gradient(p, d2=hidden_delta(p, p.a3 - p.y)), HIDDEN),
    "W2 not transposed": (lambda p: gradient(p, d2=hidden_delta(p, W2=p.W2.T)), HIDDEN),
    "outer product transposed": (lambda p: changed(p, "W2", np.transpose), {"W2"}),
    "W1 reshaped in the other order": (lambda p: changed(p, "W1", every_other_order), {"W1"}),
    "bias column kept in W2": (
        lambda p: gradient(p, d2=hidden_delta(p, W2=np.column_stack([p.b2, p.W2])[:, :-1])),
        HIDDEN),
    "δ3 in place of δ2": (lambda p: gradient(p, b1=p.d3.sum(axis=0) / p.m), {"b1"}),
    "x in place of a2": (lambda p: gradient(p, W2=p.d3.T @ p.x / p.m), {"W2"}),
    "z2 in place of a2": (lambda p: gradient(p, W2=p.d3.T @ p.z2 / p.m), {"W2"}),
    "W1 and W2 swapped": (
        lambda p: gradient(p) | {"W1": gradient(p)["W2"], "W2": gradient(p)["W1"]}, {"W1", "W2"}),
    "last example missed": (lambda p: with_delta3(p, without(-1)(p.d3)), ALL),
    "first example only": (lambda p: with_delta3(p, without(slice(1, None))(p.d3)), ALL),
    "first hidden unit left out": (lambda p: gradient(p, d2=without(np.s_[:, 0])(p.d2)), HIDDEN),
    "last output unit left out": (lambda p: gradient(p, without(np.s_[:, -1])(p.d3)), OUTPUT),
    "one row of W1 left out": (lambda p: changed(p, "W1", without(1)), {"W1"}),
    "target shifted by one": (
        lambda p: with_delta3(p, (p.a3 - np.roll(p.y, 1, axis=1)) * p.a3 * (1 - p.a3)), ALL),
    "decay that is not in the cost": (decayed, {"W1", "W2"}),
    "only the bias decayed": (lambda p: decayed(p, W=0, b=LAMBDA), {"b1", "b2"}),
}  # fmt: skip

CROSS_ENTROPY = {
    "σ′ where cross-entropy cancels it": (
        lambda p: with_delta3(p, (p.a3 - p.y) * p.a3 * (1 - p.a3)), ALL),
    "softmax over the wrong axis": (lambda p: with_delta3(p, softmax(p.z3.T).T - p.y), ALL),
    "sigmoid in place of softmax": (lambda p: with_delta3(p, sigma(p.z3) - p.y), ALL),
    "1/m forgotten": (lambda p: scaled(p, p.m), ALL),
}  # fmt: skip

# Judged against a cost with ½ λ (‖W1‖² + ‖W2‖²) in it.
WITH_DECAY = {
    "decay in the cost alone": (gradient, {"W1", "W2"}),
    "decay with the wrong sign": (lambda p: decayed(p, W=-LAMBDA), {"W1", "W2"}),
    "λ/m for λ": (lambda p: decayed(p, W=LAMBDA / p.m), {"W1", "W2"}),
    "2 λ for λ": (lambda p: decayed(p, W=2 * LAMBDA), {"W1", "W2"}),
    "bias decayed too": (lambda p: decayed(p, b=LAMBDA), {"b1", "b2"}),
}
