"""Forms in which `jaxlab check` must find a gradient: regressions, loops, pairs, notebooks."""

import json

import pytest

from jaxlab.gradcheck.files.calls import Options
from jaxlab.gradcheck.files.judge import check_file

REGULARISED = """
import numpy as np

def cost(theta, X, y, lam):
    p = 1 / (1 + np.exp(-X @ theta))
    J = np.mean(-y * np.log(p) - (1 - y) * np.log(1 - p))
    J += lam / (2 * len(y)) * (theta[1:]**2).sum()
    grad = X.T @ (p - y) / len(y)
    grad[1:] += lam / len(y) * theta[1:]
    return J, grad
"""
SIGNS = """
import numpy as np

def cost(w, X, y):
    z = X @ w
    return np.mean(np.log(1 + np.exp(-y * z))), X.T @ (1 / (1 + np.exp(-z)) - (y + 1) / 2) / len(y)
"""
WITHOUT_HALF = """
import numpy as np

def cost(w, X, y):
    r = X @ w - y
    return np.mean(r**2) / 2, 2 * X.T @ r / len(y)
"""
IN_LOOPS = """
def compute_cost(X, y, w, b):
    m, n = len(X), len(w)
    return sum((sum(w[j] * X[i][j] for j in range(n)) + b - y[i])**2 for i in range(m)) / (2 * m)

def compute_gradient(X, y, w, b):
    m, n, dw, db = len(X), len(w), [0.0] * len(w), 0.0
    for i in range(m):
        e = sum(w[j] * X[i][j] for j in range(n)) + b - y[i]
        dw = [d + e * x / m for d, x in zip(dw, X[i])]
        db += e / m
    return db, dw
"""
ONE_EXAMPLE = """
import numpy as np

def s(z):
    return 1 / (1 + np.exp(-z))

def cost(theta, x, y, input_size=8, hidden_size=5, output_size=10):
    n, h, k = input_size, hidden_size, output_size
    W1, b1 = theta[:h*n].reshape(h, n), theta[h*n:h*n+h].reshape(h, 1)
    W2, b2 = theta[h*n+h:h*n+h+k*h].reshape(k, h), theta[-k:].reshape(k, 1)
    a2 = s(W1 @ x + b1)
    a3 = s(W2 @ a2 + b2)
    d3 = (a3 - y) * a3 * (1 - a3)
    d2 = W2.T @ d3 * a2 * (1 - a2)
    grad = [(d2 @ x.T).ravel(), d2.ravel(), (d3 @ a2.T).ravel(), d3.ravel()]
    return 0.5 * ((a3 - y)**2).sum(), np.concatenate(grad)
"""
OTHER_COST = """
import numpy as np

def cost(theta, X, Y):
    return np.sum(np.cos(theta)), -np.sin(theta)
"""
HIDDEN_BEHIND_A_WORD = """
import numpy as np

def cost(theta, X, Y, regularize=False, activation="tanh"):
    return np.sum(np.cos(theta)), -np.sin(theta)
"""
OF_GLOBALS = """
import numpy as np
X, y = np.arange(24.0).reshape(8, 3) / 24, np.arange(8.0) / 8

def kosten(theta):
    return ((X @ theta - y)**2).sum() / 16

def gradient(theta):
    return X.T @ (X @ theta - y) / 8

def example():
    return (np.array([0.1, -0.2, 0.3]),)
"""
ANY_ARGUMENTS = """
import numpy as np

def f(theta, *args):
    X, y = args
    return ((X @ theta - y)**2).sum() / 2, X.T @ (X @ theta - y)

def example():
    return np.array([0.1, -0.2]), np.arange(10.0).reshape(5, 2) / 10, np.arange(5.0)
"""
SPARSE = """
import numpy as np

def s(z):
    return 1 / (1 + np.exp(-z))

def sparse_autoencoder_cost(theta, visible_size, hidden_size, lambda_, sparsity_param, beta, data):
    n, h, rho = visible_size, hidden_size, sparsity_param
    W1, W2 = theta[:h*n].reshape(h, n), theta[h*n:2*h*n].reshape(n, h)
    b1, b2 = theta[2*h*n:2*h*n+h][:, None], theta[2*h*n+h:][:, None]
    m = data.shape[1]
    a2 = s(W1 @ data + b1)
    a3 = s(W2 @ a2 + b2)
    mean = a2.mean(axis=1, keepdims=True)
    J = 0.5 * ((a3 - data)**2).sum() / m + lambda_ / 2 * ((W1**2).sum() + (W2**2).sum())
    J += beta * (rho * np.log(rho / mean) + (1 - rho) * np.log((1 - rho) / (1 - mean))).sum()
    sparse = beta * (-rho / mean + (1 - rho) / (1 - mean))
    d3 = (a3 - data) * a3 * (1 - a3)
    d2 = (W2.T @ d3 + sparse) * a2 * (1 - a2)
    g = [d2 @ data.T / m + lambda_ * W1, d3 @ a2.T / m + lambda_ * W2, d2.mean(1), d3.mean(1)]
    return J, np.concatenate([part.ravel() for part in g])
"""
A_NUMBER_AT_BOTH_ENDS = """
import numpy as np

def cost(w, b, X, y):
    e = X @ w + b - y
    return (e**2).mean() / 2, X.T @ e / len(y), e.mean()
"""


# Of an unknown cost many ways to call it are tried, which takes long where types are checked.
ONE_WAY = {"sizes": (8, 10), "examples": "rows", "labels": "one-hot", "layout": "WbWb"}


@pytest.fixture
def check(tmp_path):
    def run(text, name="theirs.py", **options):
        (tmp_path / name).write_text(text)
        return check_file(tmp_path / name, "", Options(**options), 60.0)

    return run


def test_a_regression_of_its_own_is_looked_at_with_one_output(check):
    report = check(REGULARISED)
    assert report.verdict == "right", report.reason
    assert "right for one output" in report.note
    lasso = REGULARISED.replace("(theta[1:]**2).sum()", "np.abs(theta).sum()")
    lasso = lasso.replace("grad[1:] += lam / len(y) * theta[1:]",
                          "grad += lam / (2 * len(y)) * np.sign(theta)")  # fmt: skip
    assert check(lasso).verdict == "right"
    wrong = check(REGULARISED.replace("(p - y) / len(y)", "(p - y)"), sizes=(8, 1))
    assert wrong.verdict == "wrong"


def test_targets_may_be_signs(check):
    report = check(SIGNS)
    assert report.verdict == "right", report.reason
    assert "targets -1 or 1" in report.layout
    assert check(SIGNS, sizes=(8, 1), labels="signs").verdict == "right"
    wrong = SIGNS.replace("/ len(y)", "")
    assert check(wrong, sizes=(8, 1), labels="signs").verdict == "wrong"


def test_a_factor_is_named_as_it_is_with_one_output(check):
    (mistake,) = check(WITHOUT_HALF).mistakes
    assert "2 times" in mistake["explanation"]


def test_a_sum_over_units_is_no_mean_over_outputs(check):
    text = WITHOUT_HALF.replace("2 * X.T @ r / len(y)", "X.T @ r / r.size")
    summed = text.replace("X.T @ r", "(X.T @ r).sum(1, keepdims=True) + 0 * X.T @ r")
    assert check(text).verdict == "right"
    assert check(summed).verdict == "wrong"


def test_gradients_in_lists_of_numbers(check):
    report = check(IN_LOOPS)
    assert report.verdict == "right", report.reason
    assert list(report.blocks) == ["W1", "b1"]
    assert check(IN_LOOPS.replace("return db, dw", "return dw, db")).verdict == "right"
    assert check(IN_LOOPS.replace("db += e / m", "db += e")).wrong == ["b1"]


def test_one_example_at_a_time_is_no_mistake(check):
    report = check(ONE_EXAMPLE)
    assert report.verdict == "unchecked"
    assert "it seems to take one example at a time" in report.reason
    alone = "\ndef example():\n    r = np.random.default_rng(0).random\n"
    alone += "    return r(105), r((8, 1)), r((10, 1))\n"
    assert check(ONE_EXAMPLE + alone).verdict == "right"


@pytest.mark.parametrize("decimals", [2, 6])
def test_a_rounded_cost_is_not_called_wrong(check, decimals):
    rounded = OTHER_COST.replace("np.sum(np.cos(theta))", f"round(np.cos(theta).sum(), {decimals})")
    report = check(rounded, **ONE_WAY)
    assert report.verdict == "unchecked"
    assert f"J is rounded to {decimals} decimals" in report.reason
    assert check(OTHER_COST, **ONE_WAY).verdict == "right"
    large = OTHER_COST.replace("np.cos(theta)", "1e12 + np.cos(theta)")
    assert "rounded to" not in check(large, **ONE_WAY).reason


def test_functions_that_were_passed_over_are_named(check):
    other = "\ndef softmax_cost(theta, X, Y, wumpus):\n    return 1, theta\n"
    report = check(OTHER_COST + other, **ONE_WAY)
    assert report.verdict == "right"
    assert "NOT CHECKED: softmax_cost (the argument 'wumpus'" in report.reason
    predict = "\ndef predict(theta, X, wumpus):\n    return X\n"
    report = check(OTHER_COST + predict, **ONE_WAY)
    assert "NOT CHECKED" not in report.reason


def test_words_and_truths_that_keep_their_defaults_are_named(check):
    report = check(HIDDEN_BEHIND_A_WORD, **ONE_WAY)
    assert "left as they are: regularize = False, activation = 'tanh'" in report.note


@pytest.mark.parametrize("text", [OF_GLOBALS, ANY_ARGUMENTS, A_NUMBER_AT_BOTH_ENDS])
def test_what_an_example_or_names_settle(check, text):
    report = check(text)
    assert report.verdict == "right", report.reason
    wrong = {OF_GLOBALS: ("y) / 8", "y) / 9"), ANY_ARGUMENTS: ("X.T @", "2 * X.T @"),
             A_NUMBER_AT_BOTH_ENDS: ("e.mean()", "e.sum()")}[text]  # fmt: skip
    assert check(text.replace(*wrong)).verdict == "wrong"


def test_a_sparse_autoencoder_is_known(check):
    report = check(SPARSE)
    assert report.verdict == "right", report.reason
    assert list(report.blocks) == ["W1", "b1", "W2", "b2"]
    assert "sparsity 3 Σ KL(0.05 ‖ ρ̂)" in report.cost
    # ρ and β may be in the function.
    fixed = SPARSE.replace("lambda_, sparsity_param, beta, data", "lambda_, data")
    fixed = fixed.replace("hidden_size, sparsity_param", "hidden_size, 0.01")
    fixed = fixed.replace("m = data", "beta = 0.1; m = data")
    assert check(fixed).verdict == "right"
    assert "sparsity 0.1 Σ KL(0.01 ‖ ρ̂)" in check(fixed).cost


@pytest.mark.parametrize(
    ("right", "wrong", "id"),
    [
        ("W2.T @ d3 + sparse", "W2.T @ d3", "sparsity missing"),
        ("sparse = beta", "sparse = -beta", "sparsity sign"),
        ("sparse = beta", "sparse = beta / m", "sparsity factor"),
        ("sparse = beta", "sparse = m * beta", "sparsity factor"),
        ("sparse = beta * (", "sparse = (", "sparsity without β"),
        ("(-rho / mean + (1 - rho) / (1 - mean))", "-rho / mean", "half of the sparsity"),
        ("(-rho / mean + (1 - rho)", "((1 - rho)", "half of the sparsity"),
        ("(-rho / mean + (1 - rho) / (1 - mean))", "(-rho / a2 + (1 - rho) / (1 - a2))",
         "sparsity of each example"),
        ("(W2.T @ d3 + sparse) * a2 * (1 - a2)", "W2.T @ d3 * a2 * (1 - a2) + sparse",
         "sparsity outside of the derivative"),
    ],
)  # fmt: skip
def test_mistakes_of_a_sparse_autoencoder_by_name(check, right, wrong, id):
    assert SPARSE.count(right) == 1
    report = check(SPARSE.replace(right, wrong))
    assert report.wrong == ["W1", "b1"]
    assert [(mistake["id"], mistake["block"]) for mistake in report.mistakes] == [(id, "W1, b1")]


def test_parameters_that_are_no_arrays_are_refused_in_a_sentence(check):
    text = "class Net:\n    pass\n\ndef cost(net, X, y):\n    return 1.0, net\n\n"
    text += (
        "def example():\n    import numpy as np\n    return Net(), np.ones((2, 2)), np.ones(2)\n"
    )
    report = check(text)
    assert report.verdict == "unchecked"
    assert "are no arrays" in report.reason


def notebook(*cells):
    return json.dumps({"cells": [{"cell_type": "code", "source": cell} for cell in cells]})


def test_a_notebook_with_lines_for_ipython(check):
    odd = "files = !ls\nnp.sum?\nt = %timeit -o 1\npip install numpy\nx = (5\n % 3)\ncat = {}\n"
    report = check(
        notebook("%%time\n" + OTHER_COST, odd, "%%bash\nls ((", "n = ("), "a.ipynb", **ONE_WAY
    )
    assert report.verdict == "right"
    assert "code cell 4 is no Python: SyntaxError" in report.note


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"cells": 3}'])
def test_a_file_that_is_no_notebook(check, text):
    report = check(text, "a.ipynb")
    assert report.verdict == "unchecked"
    assert "no notebook of Jupyter's format 4" in report.reason


def test_the_header_of_colab_costs_no_cell(check):
    header = "try:\n  %tensorflow_version 2.x\nexcept Exception:\n  pass\nimport numpy as np\n"
    text = OTHER_COST.replace("import numpy as np", "")
    report = check(notebook(header, text), "a.ipynb", **ONE_WAY)
    assert report.verdict == "right", report.reason


MEAN_OF_COLUMNS = """
import numpy as np

def cost(W, b, X, y):
    m = len(X)
    d = (X @ W + b - y) / m
    return 0.5 * m * (d**2).sum(), X.T @ d[:, [0] * W.shape[1]], d.sum(0)
"""
NORMALISED = """
import numpy as np

def cost(params, X, y):
    W, b = params["W"], params["b"]
    z = X @ W + b
    s = np.sqrt(z.var(0) + 1e-5)
    n = (z - z.mean(0)) / s
    d = n**3 - y
    dn = 3 * n**2 * d / len(X)
    dz = (dn - dn.mean(0) - n * (dn * n).mean(0)) / s
    return 0.5 * (d**2).sum() / len(X), {"W": X.T @ dz, "b": dz.sum(0)}

def example():
    rng = np.random.default_rng(0)
    params = {"W": rng.normal(size=(4, 3)), "b": rng.normal(size=3)}
    return params, rng.normal(size=(20, 4)), rng.normal(size=(20, 3))
"""
PIXELS = """
import numpy as np

def cost(theta, X, y):
    a = np.tanh(X @ theta)
    return 0.5 * ((a - y)**2).sum() / len(y), X.T @ ((a - y) * (1 - a**2)) / len(y)

def example():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (30, 20)).astype(float)
    return rng.normal(0, 1e-3, 20), X, rng.random(30)
"""
PRICES = """
import numpy as np

def cost(theta, X, y):
    d = X @ theta - y
    return d @ d / (2 * len(y)), X.T @ d / len(y)

def example():
    rng = np.random.default_rng(0)
    return np.zeros(3), rng.normal(size=(47, 3)), rng.uniform(170_000, 700_000, 47)
"""
POSITIVE = """
import numpy as np

def cost(theta, X, y):
    mu = X @ theta
    return np.mean(np.log(mu) + y / mu), X.T @ (1 / mu - y / mu**2) / len(y)

def example():
    rng = np.random.default_rng(0)
    return rng.uniform(1, 2, 4), rng.uniform(1, 2, (20, 4)), rng.uniform(1, 2, 20)
"""
FUNCTIONS = """
import numpy as np

def cost(theta, X, y, net):
    a = net["layers"][0](X @ theta)
    return 0.5 * np.mean((a - y)**2), X.T @ ((a - y) * (1 - a**2)) / len(y)

def example():
    rng = np.random.default_rng(0)
    return rng.normal(size=3), rng.normal(size=(9, 3)), rng.normal(size=9), {"layers": [np.tanh]}
"""


def test_what_is_wrong_with_several_outputs_alone_is_wrong(check):
    report = check(MEAN_OF_COLUMNS)
    assert report.verdict == "wrong"
    assert "right for one output an example, not for several" in report.note


def test_a_gradient_of_zero_may_be_what_rounding_leaves(check):
    report = check(NORMALISED)
    assert report.verdict == "right", report.reason
    assert "gradient of b is so small beside J" in report.note
    assert check(NORMALISED.replace("dz.sum(0)", "dz.sum(0) + 1e-3")).wrong == ["b"]


def test_a_smooth_cost_of_large_inputs_has_no_kinks(check):
    report = check(PIXELS)
    assert (report.verdict, report.note) == ("right", "")
    assert check(PIXELS.replace("(1 - a**2)", "(1 - a)")).verdict == "wrong"


def test_targets_that_are_no_classes(check):
    assert "one target an example" in check(PRICES).layout
    assert "1/m" in check(PRICES.replace("d / len(y)", "d")).mistakes[0]["id"]


def test_a_cost_that_is_finite_near_its_example_alone(check):
    assert check(POSITIVE).verdict == "right"
    assert check(POSITIVE.replace("1 / mu -", "2 / mu -")).verdict == "wrong"


def test_an_example_may_hold_functions_anywhere(check):
    report = check(FUNCTIONS)
    assert report.verdict == "right", report.reason
