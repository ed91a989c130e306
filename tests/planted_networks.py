"""Cost functions as people write them, and one line in each that is wrong.

Four independent programs: NumPy with one example a row and any depth, NumPy with one example a
column, NumPy with loops over examples and units, and JAX with a dict. `MISTAKES` replaces a line
of one of them. `write(program, loss, mistakes)` is the text of a file.
"""

from dataclasses import dataclass

LOSSES = ("squared error", "cross-entropy", "log loss")
SQUARED, ENTROPY, LOG = LOSSES

ROWS = """
import numpy as np

def sigmoid(z):
    return 1 / (1 + np.exp(-z))

def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)

def slope(a):
    return a * (1 - a)

def cost(theta, X, Y, sizes, lambda_):
    layers, start = [], 0
    for n_in, n_out in zip(sizes[:-1], sizes[1:]):
        end = start + n_in * n_out
        layers.append((theta[start:end].reshape(n_out, n_in), theta[end:end + n_out]))
        start = end + n_out
    m = X.shape[0]
    a, z = [X], [X]
    for W, b in layers:
        z.append(a[-1] @ W.T + b)
        a.append(sigmoid(z[-1]))
    a[-1] = OUTPUT(z[-1])
    J = COST / m + 0.5 * lambda_ * sum((W ** 2).sum() for W, b in layers)
    delta = DELTA
    pieces = []
    for l in range(len(layers) - 1, -1, -1):
        W, b = layers[l]
        dW = delta.T @ a[l] / m + lambda_ * W
        db = delta.sum(axis=0) / m
        pieces = [dW.ravel(), db] + pieces
        if l > 0:
            delta = (delta @ W) * slope(a[l])
    return J, np.concatenate(pieces)
"""

COLUMNS = """
import numpy as np

def sigmoid(z):
    return 1 / (1 + np.exp(-z))

def softmax(z):
    e = np.exp(z - z.max(axis=0))
    return e / e.sum(axis=0)

def cost(theta, n_input, n_hidden, n_output, data, labels):
    n1, n2 = n_hidden * n_input, n_output * n_hidden
    W1 = theta[:n1].reshape(n_hidden, n_input)
    W2 = theta[n1:n1 + n2].reshape(n_output, n_hidden)
    b1 = theta[n1 + n2:n1 + n2 + n_hidden].reshape(-1, 1)
    b2 = theta[n1 + n2 + n_hidden:].reshape(-1, 1)
    m = data.shape[1]
    Y = np.zeros((n_output, m))
    Y[labels, np.arange(m)] = 1
    z2 = W1 @ data + b1
    a2 = sigmoid(z2)
    z3 = W2 @ a2 + b2
    a3 = OUTPUT(z3)
    J = COST / m
    delta3 = DELTA
    delta2 = (W2.T @ delta3) * a2 * (1 - a2)
    W1grad = delta2 @ data.T / m
    W2grad = delta3 @ a2.T / m
    b1grad = delta2.sum(axis=1) / m
    b2grad = delta3.sum(axis=1) / m
    return J, np.concatenate([W1grad.ravel(), W2grad.ravel(), b1grad.ravel(), b2grad.ravel()])
"""

LOOPS = """
import numpy as np

def sigmoid(z):
    return 1 / (1 + np.exp(-z))

def softmax(z):
    return np.exp(z - z.max()) / np.exp(z - z.max()).sum()

def cost(theta, x, y, n_in, n_hid, n_out):
    W1 = theta[:n_hid * n_in].reshape(n_hid, n_in)
    b1 = theta[n_hid * n_in:n_hid * n_in + n_hid]
    rest = theta[n_hid * n_in + n_hid:]
    W2 = rest[:n_out * n_hid].reshape(n_out, n_hid)
    b2 = rest[n_out * n_hid:]
    m = len(x)
    J = 0
    dW1, db1 = np.zeros_like(W1), np.zeros_like(b1)
    dW2, db2 = np.zeros_like(W2), np.zeros_like(b2)
    for i in range(m):
        t = np.zeros(n_out)
        t[y[i] - 1] = 1
        a2 = sigmoid(W1 @ x[i] + b1)
        z3 = W2 @ a2 + b2
        a3 = OUTPUT(z3)
        J += COST / m
    for i in range(m):
        t = np.zeros(n_out)
        t[y[i] - 1] = 1
        z2 = W1 @ x[i] + b1
        a2 = sigmoid(z2)
        z3 = W2 @ a2 + b2
        a3 = OUTPUT(z3)
        d3 = DELTA
        d2 = np.zeros(n_hid)
        for j in range(n_hid):
            for k in range(n_out):
                d2[j] += W2[k, j] * d3[k]
            d2[j] *= a2[j] * (1 - a2[j])
        for k in range(n_out):
            db2[k] += d3[k] / m
            for j in range(n_hid):
                dW2[k, j] += d3[k] * a2[j] / m
        for j in range(n_hid):
            db1[j] += d2[j] / m
            for n in range(n_in):
                dW1[j, n] += d2[j] * x[i, n] / m
    return J, np.concatenate([dW1.ravel(), db1, dW2.ravel(), db2])
"""

JAX = """
import jax
import jax.numpy as jnp

def cost(params, X, Y, reg=0.0):
    W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
    m = X.shape[0]
    z2 = X @ W1 + b1[None, :]
    a2 = jax.nn.sigmoid(z2)
    z3 = a2 @ W2 + b2[None, :]
    a3 = OUTPUT(z3)
    J = COST / m + reg / (2 * m) * ((W1 ** 2).sum() + (W2 ** 2).sum())
    d3 = DELTA
    d2 = (d3 @ W2.T) * a2 * (1 - a2)
    g = {}
    g["W2"] = a2.T @ d3 / m + reg / m * W2
    g["b2"] = d3.sum(axis=0) / m
    g["W1"] = X.T @ d2 / m + reg / m * W1
    g["b1"] = d2.sum(axis=0) / m
    return J, g
"""

# (a, y, z) as each program calls them, and its module.
NAMES = {
    "rows": ("a[-1]", "Y", "z[-1]", "np"),
    "columns": ("a3", "Y", "z3", "np"),
    "loops": ("a3", "t", "z3", "np"),
    "jax": ("a3", "Y", "z3", "jnp"),
}
PROGRAMS = {"rows": ROWS, "columns": COLUMNS, "loops": LOOPS, "jax": JAX}


@dataclass(frozen=True)
class Planted:
    """One line replaced. ids: the names that are right for it; losses: where it can be made.

    square: only where layers have equally many units.
    """

    name: str
    ids: frozenset[str]
    program: str
    old: str
    new: str
    losses: tuple[str, ...] = LOSSES
    square: bool = False


def text_of(program: str, loss: str) -> dict[str, str]:
    """What stands for OUTPUT, COST and DELTA."""
    a, y, _, np = NAMES[program]
    if loss == SQUARED:
        cost, delta = f"0.5 * (({a} - {y}) ** 2).sum()", f"({a} - {y}) * {a} * (1 - {a})"
    elif loss == ENTROPY:
        cost, delta = f"-({y} * {np}.log({a})).sum()", f"{a} - {y}"
    else:
        cost = f"-({y} * {np}.log({a}) + (1 - {y}) * {np}.log(1 - {a})).sum()"
        delta = f"{a} - {y}"
    output = "softmax" if loss == ENTROPY else "sigmoid"
    if program == "jax":
        output = f"jax.nn.{output}"
    return {"OUTPUT": output, "COST": cost, "DELTA": delta}


def write(program: str, loss: str, mistakes: tuple[Planted, ...] = ()) -> str:
    """The text of a file with the mistakes planted in it."""
    source, words = PROGRAMS[program], text_of(program, loss)
    a, y, z, np = NAMES[program]
    words |= {"A_L": a, "Y_L": y, "Z_L": z, "NP": np}

    def filled(text: str) -> str:
        for word, value in words.items():
            text = text.replace(word, value)
        return text

    source = filled(source)
    for planted in mistakes:
        old, new = filled(planted.old), filled(planted.new)
        assert source.count(old) == 1, (planted.name, old)
        source = source.replace(old, new)
    return source


def collected(rows) -> list[Planted]:
    planted = []
    for name, ids, programs, old, new, *rest in rows:
        for program in programs.split():
            planted.append(Planted(name, frozenset(ids.split("|")), program, old, new, *rest))
    return planted


DELTA_LINE = {"rows": "delta = DELTA", "columns": "delta3 = DELTA", "loops": "d3 = DELTA",
              "jax": "d3 = DELTA"}  # fmt: skip

# What δ of the output may be in place of what it is: for every program.
OUTPUT_MISTAKES = [
    ("no σ′ at the output", "derivative missing", "A_L - Y_L", (SQUARED,)),
    ("σ′(a) at the output", "derivative of a in place of z",
     "(A_L - Y_L) / (1 + NP.exp(-A_L)) * (1 - 1 / (1 + NP.exp(-A_L)))", (SQUARED,)),
    ("a(1+a) at the output", "a(1+a)", "(A_L - Y_L) * A_L * (1 + A_L)", (SQUARED,)),
    ("only a at the output", "derivative is a", "(A_L - Y_L) * A_L", (SQUARED,)),
    ("only 1-a at the output", "derivative is 1-a", "(A_L - Y_L) * (1 - A_L)", (SQUARED,)),
    ("σ′ twice at the output", "derivative twice",
     "(A_L - Y_L) * (A_L * (1 - A_L)) ** 2", (SQUARED,)),
    ("z(1-z) at the output", "derivative from z", "(A_L - Y_L) * Z_L * (1 - Z_L)", (SQUARED,)),
    ("1-a² at the output", "derivative of tanh", "(A_L - Y_L) * (1 - A_L ** 2)", (SQUARED,)),
    ("the cost in place of its derivative", "error squared",
     "0.5 * (A_L - Y_L) ** 2 * A_L * (1 - A_L)", (SQUARED,)),
    ("absolute error", "absolute error", "NP.abs(A_L - Y_L) * A_L * (1 - A_L)", (SQUARED,)),
    ("y - a", "sign", "-(DELTA)", (SQUARED, LOG)),
    ("2 at the output", "factor", "2 * (DELTA)", (SQUARED, ENTROPY, LOG)),
    ("y never subtracted", "target missing", "A_L * A_L * (1 - A_L)", (SQUARED,)),
    ("y never subtracted (entropy)", "target missing", "A_L + 0 * Y_L", (ENTROPY, LOG)),
    ("σ′ where cross-entropy cancels it", "derivative where cross-entropy cancels it",
     "(A_L - Y_L) * A_L * (1 - A_L)", (ENTROPY, LOG)),
    ("softmax elementwise", "softmax treated elementwise", "-Y_L * (1 - A_L)", (ENTROPY, LOG)),
    ("∂J/∂a for δ", "derivative of the output missing", "-Y_L / A_L", (ENTROPY,)),
    ("∂J/∂a for δ, log loss", "derivative of the output missing",
     "(A_L - Y_L) / (A_L * (1 - A_L))", (LOG,)),
    ("only the right class", "softmax treated elementwise", "(A_L - Y_L) * Y_L", (ENTROPY, LOG)),
    ("z - y", "z in place of a at the output", "Z_L - Y_L", (ENTROPY, LOG)),
    ("sigmoid for softmax", "sigmoid in place of softmax",
     "1 / (1 + NP.exp(-Z_L)) - Y_L", (ENTROPY,)),
]  # fmt: skip

OTHERS = [
    # 1/m, sums, factors
    ("1/m forgotten in W", "1/m forgotten", "rows", "dW = delta.T @ a[l] / m",
     "dW = delta.T @ a[l]"),
    ("1/m twice in W1", "1/m twice", "columns", "data.T / m", "data.T / m / m"),
    ("2/m for 1/m in b", "factor", "rows", "axis=0) / m", "axis=0) * 2 / m"),
    ("b1 summed, not averaged", "1/m forgotten", "columns", "delta2.sum(axis=1) / m",
     "delta2.sum(axis=1)"),
    ("W2 times 2", "factor", "columns", "W2grad = delta3", "W2grad = 2 * delta3"),
    ("b1 times 4", "factor", "jax", 'g["b1"] = d2', 'g["b1"] = 4 * d2'),
    ("m - 1", "1/(m-1)", "columns", "delta3 @ a2.T / m", "delta3 @ a2.T / (m - 1)"),
    ("b2 summed over everything", "summed over everything", "columns",
     "b2grad = delta3.sum(axis=1) / m", "b2grad = np.full(n_output, delta3.sum() / m)"),
    ("b1 averaged over everything", "summed over everything", "columns",
     "b1grad = delta2.sum(axis=1) / m", "b1grad = np.full(n_hidden, delta2.mean())"),
    ("b1 never given", "zero", "jax", 'd2.sum(axis=0) / m', 'jnp.zeros_like(b1)'),
    ("b2 never given", "zero", "columns", "b2grad = delta3.sum(axis=1) / m",
     "b2grad = np.zeros(n_output)"),
    ("W1 sign", "sign", "columns", "W1grad = delta2", "W1grad = -delta2"),
    # hidden σ′
    ("no σ′ hidden", "derivative missing", "columns jax", " * a2 * (1 - a2)", ""),
    ("no σ′ in any hidden layer", "derivative missing", "rows", "* slope(a[l])", ""),
    ("no σ′ hidden, loop", "derivative missing", "loops", "d2[j] *= a2[j] * (1 - a2[j])", "pass"),
    ("σ′ of a, hidden", "derivative of a in place of z", "columns",
     "a2 * (1 - a2)", "sigmoid(a2) * (1 - sigmoid(a2))"),
    ("σ′ of a in all layers", "derivative of a in place of z", "rows", "slope(a[l])",
     "slope(sigmoid(a[l]))"),
    ("a(1+a) hidden", "a(1+a)", "columns jax", "a2 * (1 - a2)", "a2 * (1 + a2)"),
    ("a(1+a), loop", "a(1+a)", "loops", "a2[j] * (1 - a2[j])", "a2[j] * (1 + a2[j])"),
    ("a hidden", "derivative is a", "jax", "a2 * (1 - a2)", "a2"),
    ("1-a hidden", "derivative is 1-a", "loops", "a2[j] * (1 - a2[j])", "1 - a2[j]"),
    ("σ′ twice hidden", "derivative twice", "columns", "a2 * (1 - a2)", "(a2 * (1 - a2)) ** 2"),
    ("z(1-z) hidden", "derivative from z", "columns", "a2 * (1 - a2)",
     "z2 * (1 - z2)"),
    ("tanh's σ′", "derivative of tanh", "jax", "a2 * (1 - a2)", "(1 - a2 ** 2)"),
    ("tanh's σ′ in all layers", "derivative of tanh", "rows", "slope(a[l])", "(1 - a[l] ** 2)"),
    ("a² (1-a)", "a²(1-a)", "columns", "a2 * (1 - a2)", "a2 ** 2 * (1 - a2)"),
    # the chain
    ("δ2 from the raw error", "δ without derivative", "columns", "W2.T @ delta3",
     "W2.T @ (a3 - Y)", (SQUARED,)),
    ("δ2 from the raw error, loop", "δ without derivative", "loops", "W2[k, j] * d3[k]",
     "W2[k, j] * (a3[k] - t[k])", (SQUARED,)),
    ("W2 not transposed", "W not transposed", "columns", "W2.T @ delta3", "W2 @ delta3",
     LOSSES, True),
    ("W2 not transposed, loop", "W not transposed", "loops", "W2[k, j] * d3", "W2[j, k] * d3",
     LOSSES, True),
    ("W2 in the other order", "W reshaped", "columns", "W2.T @ delta3",
     "W2.reshape(n_hidden, n_output) @ delta3"),
    ("W2 missing", "W missing in δ", "columns", "(W2.T @ delta3)", "delta3.sum(axis=0)"),
    ("W2 updated", "W already updated", "columns", "delta2 = (W2.T",
     "delta2 = ((W2 - 0.1 * delta3 @ a2.T / m).T"),
    ("W2 updated, rows", "W already updated", "jax", "(d3 @ W2.T)",
     "(d3 @ (W2 - 0.5 * a2.T @ d3 / m).T)"),
    ("W2's gradient for W2", "gradient of W in place of W", "jax", "(d3 @ W2.T)",
     "(d3 @ (a2.T @ d3 / m).T)"),
    ("bias column kept", "bias column kept", "columns", "W2.T @ delta3",
     "np.hstack([b2, W2])[:, :-1].T @ delta3"),
    ("bias column last", "bias column kept", "columns", "W2.T @ delta3",
     "np.hstack([W2, b2])[:, 1:].T @ delta3"),
    ("δ3 for δ2 in b1", "δ of another layer", "jax", "d2.sum(axis=0)", "d3.sum(axis=0)",
     LOSSES, True),
    ("δ3 for δ2 in W1", "δ of another layer", "columns", "W1grad = delta2", "W1grad = delta3",
     LOSSES, True),
    ("raw error in W2", "δ without derivative", "columns", "W2grad = delta3", "W2grad = (a3 - Y)",
     (SQUARED,)),
    ("raw error in b2", "δ without derivative", "loops", "db2[k] += d3[k]",
     "db2[k] += (a3[k] - t[k])", (SQUARED,)),
    ("first hidden unit left out", "unit left out", "loops",
     "for j in range(n_hid):\n            for k in",
     "for j in range(1, n_hid):\n            for k in"),
    ("last hidden unit left out", "unit left out", "loops",
     "for j in range(n_hid):\n            for k in",
     "for j in range(n_hid - 1):\n            for k in"),
    ("last output left out of δ2", "unit left out", "loops",
     "for k in range(n_out):\n                d2",
     "for k in range(n_out - 1):\n                d2"),
    ("last output left out", "unit left out", "loops", "for k in range(n_out):\n            db2",
     "for k in range(n_out - 1):\n            db2"),
    ("last input left out", "input left out", "loops", "for n in range(n_in)",
     "for n in range(n_in - 1)"),
    # activations and blocks
    ("x for a2", "a of another layer", "columns", "delta3 @ a2.T", "delta3 @ data.T", LOSSES, True),
    ("a2 for x", "a of another layer", "jax", "X.T @ d2", "a2.T @ d2", LOSSES, True),
    ("z2 for a2", "z in place of a", "columns", "delta3 @ a2.T", "delta3 @ z2.T"),
    ("z for a in all layers", "z in place of a", "rows", "delta.T @ a[l]", "delta.T @ z[l]"),
    ("σ(a2)", "σ applied twice", "columns", "delta3 @ a2.T", "delta3 @ sigmoid(a2).T"),
    ("1 - a2", "1-a in place of a", "jax", "a2.T @ d3 / m + reg", "(1 - a2).T @ d3 / m + reg"),
    ("σ′ for a2", "derivative in place of a", "columns", "delta3 @ a2.T",
     "delta3 @ (a2 * (1 - a2)).T"),
    ("W2's gradient transposed", "transposed", "columns", "W2grad.ravel()", "W2grad.T.ravel()",
     LOSSES, True),
    ("W1 in the other order", "reshaped", "columns", "W1grad.ravel()", 'W1grad.ravel(order="F")'),
    ("W1 and W2 swapped", "swapped", "columns", "[W1grad.ravel(), W2grad.ravel()",
     "[W2grad.ravel(), W1grad.ravel()", LOSSES, True),
    ("biases swapped", "swapped", "columns", "b1grad.ravel(), b2grad.ravel()",
     "b2grad.ravel(), b1grad.ravel()", LOSSES, True),
    ("packed in another order", "packed in another order", "columns",
     "W1grad.ravel(), W2grad.ravel(), b1grad.ravel(), b2grad.ravel()",
     "W1grad.ravel(), b1grad.ravel(), W2grad.ravel(), b2grad.ravel()"),
    ("product of averages", "mean of a in place of a", "columns", "delta3 @ a2.T / m",
     "delta3.mean(axis=1, keepdims=True) @ a2.mean(axis=1, keepdims=True).T"),
    # examples
    ("last example missed", "last examples missed", "loops",
     "for i in range(m):\n        t = np.zeros(n_out)\n        t[y[i] - 1] = 1\n        z2",
     "for i in range(m - 1):\n        t = np.zeros(n_out)\n        t[y[i] - 1] = 1\n        z2"),
    ("first example missed", "first examples missed", "loops",
     "for i in range(m):\n        t = np.zeros(n_out)\n        t[y[i] - 1] = 1\n        z2",
     "for i in range(1, m):\n        t = np.zeros(n_out)\n        t[y[i] - 1] = 1\n        z2"),
    ("db1 of the last example", "last example only", "loops", "db1[j] += d2[j] / m",
     "db1[j] = d2[j]"),
    ("dW2 of the last example", "last example only", "loops", "dW2[k, j] += d3", "dW2[k, j] = d3"),
    ("target one too high", "target shifted", "loops",
     "t[y[i] - 1] = 1\n        z2", "t[y[i] % n_out] = 1\n        z2"),
    ("target one too low", "target shifted", "loops",
     "t[y[i] - 1] = 1\n        z2", "t[y[i] - 2] = 1\n        z2"),
    ("target of the example before", "wrong target", "loops",
     "t[y[i] - 1] = 1\n        z2", "t[y[i - 1] - 1] = 1\n        z2"),
    ("softmax over the wrong axis", "softmax over the wrong axis", "jax", "d3 = DELTA",
     "d3 = jax.nn.softmax(z3, axis=0) - Y", (ENTROPY,)),
    ("softmax over everything", "softmax over everything", "columns", "delta3 = DELTA",
     "delta3 = np.exp(z3) / np.exp(z3).sum() - Y", (ENTROPY,)),
    # weight decay
    ("decay in the cost alone", "decay missing", "rows", " + lambda_ * W\n", "\n"),
    ("decay sign", "decay sign", "rows", "+ lambda_ * W\n", "- lambda_ * W\n"),
    ("λ/m for λ", "decay factor", "rows", "+ lambda_ * W\n", "+ lambda_ / m * W\n"),
    ("2λ for λ", "decay factor", "rows", "+ lambda_ * W\n", "+ 2 * lambda_ * W\n"),
    ("λ for λ/m", "decay factor", "jax", "reg / m * W1", "reg * W1"),
    ("bias decayed", "bias decayed", "rows", "db = delta.sum(axis=0) / m",
     "db = delta.sum(axis=0) / m + lambda_ * b"),
    ("W2 not decayed", "decay missing", "jax", " + reg / m * W2", ""),
    ("decay not in the cost", "decay not in the cost", "columns", "delta3 @ a2.T / m",
     "delta3 @ a2.T / m + 0.01 * W2"),
]  # fmt: skip

MISTAKES = collected(
    [
        (name, ids, program, line, line.replace("DELTA", f"({new})"), losses)
        for name, ids, new, losses in OUTPUT_MISTAKES
        for program, line in DELTA_LINE.items()
    ]
    + OTHERS
)
