"""What `jaxlab check` takes a function for: its depth, its outputs, its precision, its order."""

import pytest

from jaxlab.gradcheck.files.calls import Options
from jaxlab.gradcheck.files.judge import check_file

ANY_DEPTH = """
import numpy as np

def s(z):
    return 1 / (1 + np.exp(-z))

def backprop(params, X, Y):
    L, A, m, g = len(params) // 2, [X], len(X), {}
    for l in range(1, L + 1):
        A.append(s(A[-1] @ params[f"W{l}"].T + params[f"b{l}"]))
    J = ((A[-1] - Y) ** 2).sum() / (2 * m)
    d = (A[-1] - Y) * A[-1] * (1 - A[-1])
    for l in range(L, 0, -1):
        g[f"W{l}"], g[f"b{l}"] = d.T @ A[l - 1] / m, d.mean(0)
        if l > 1:
            d = (d @ params[f"W{l}"]) * A[l - 1] * (1 - A[l - 1])
    return J, g
"""
WITHOUT_HIDDEN = """
import numpy as np

def cost(params, X, Y):
    z = X @ params["W1"] + params["b1"]
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    d = (p - Y) / len(X)
    return -(Y * np.log(p)).sum() / len(X), {"W1": X.T @ d, "b1": d.sum(0)}
"""
REGRESSION = """
import numpy as np

def cost(theta, X, y):
    e = X @ theta - y
    return np.mean(e**2) / 2, X.T @ e / len(y)
"""
IN_FLOAT32 = """
import numpy as np

def s(z):
    return 1 / (1 + np.exp(-z))

def cost(theta, X, y):
    theta, X, y = (a.astype(np.float32) for a in (theta, X, y))
    W1, b1, W2, b2 = theta[:40].reshape(5, 8), theta[40:45], theta[45:95].reshape(10, 5), theta[95:]
    a2 = s(X @ W1.T + b1)
    a3 = s(a2 @ W2.T + b2)
    d3 = (a3 - y) * a3 * (1 - a3)
    d2 = d3 @ W2 * a2 * (1 - a2)
    g = np.r_[(d2.T @ X).ravel(), d2.sum(0), (d3.T @ a2).ravel(), d3.sum(0)] / np.float32(len(X))
    return float(0.5 * ((a3 - y) ** 2).sum() / len(X)), g.astype(np.float64)
"""
IN_ANOTHER_ORDER = """
import numpy as np

def s(z):
    return 1 / (1 + np.exp(-z))

def f(W1, b1, W2, b2, X, Y):
    a2 = s(X @ W1.T + b1)
    a3 = s(a2 @ W2.T + b2)
    d3 = (a3 - Y) * a3 * (1 - a3)
    d2 = d3 @ W2 * a2 * (1 - a2)
    m = len(X)
    return ((a3 - Y) ** 2).sum() / 2 / m, d2.T @ X / m, d3.T @ a2 / m, d2.mean(0), d3.mean(0)
"""


@pytest.fixture
def check(tmp_path):
    def run(text, seconds=60.0, **options):
        (tmp_path / "theirs.py").write_text(text)
        return check_file(tmp_path / "theirs.py", "", Options(**options), seconds)

    return run


def test_a_function_of_any_depth_is_looked_at_with_a_hidden_layer(check):
    report = check(ANY_DEPTH)
    assert (report.verdict, list(report.blocks)) == ("right", ["W1", "b1", "W2", "b2"])
    # It cannot be multiplied where the layers differ: without a hidden layer nothing is wrong.
    report = check(ANY_DEPTH.replace('d @ params[f"W{l}"]', 'd @ params[f"W{l}"].T'))
    assert (report.verdict, report.wrong) == ("wrong", ["W1", "b1"])
    assert [mistake["id"] for mistake in report.mistakes] == ["W not transposed"]
    assert "8-10-10" in report.layout


def test_what_fails_with_a_hidden_layer_is_said(check):
    report = check(ANY_DEPTH.replace('d @ params[f"W{l}"]', 'd @ params[f"V{l}"]'))
    assert list(report.blocks) == ["W1", "b1"]
    assert "without a hidden layer alone" in report.note
    assert "KeyError: 'V2'" in report.note


def test_time_that_is_up_before_all_was_looked_at_is_said(check):
    two = "    if L == 3:\n        import time; time.sleep(60)\n"
    slow = ANY_DEPTH.replace("    for l in range(1,", two + "    for l in range(1,")
    report = check(slow, seconds=20.0)
    assert report.verdict == "right"
    assert "parameters and layers it was not looked at: not done after 20 seconds" in report.note


def test_softmax_without_a_hidden_layer(check):
    report = check(WITHOUT_HIDDEN)
    assert (report.verdict, list(report.blocks)) == ("right", ["W1", "b1"])
    assert check(WITHOUT_HIDDEN.replace("d.sum(0)", "d.mean(0)")).wrong == ["b1"]


def test_a_mean_over_the_only_output(check):
    report = check(REGRESSION)
    assert report.verdict == "right"
    assert "8-1;" in report.layout
    assert "right for one output" in report.note
    assert check(REGRESSION.replace("/ len(y)", "")).verdict == "wrong"
    assert check(REGRESSION, sizes=(8, 10)).verdict == "wrong"


def test_float32_inside_float64_outside(check):
    assert check(IN_FLOAT32).verdict == "right"
    # Another cost, whose differences drown: all of them looked like kinks once.
    for power in ("** 2", "** 4"):
        wrong = IN_FLOAT32.replace("** 2", power).replace("g.astype", "-7 * g[::-1].astype")
        assert check(wrong).verdict == "wrong"


def test_a_cost_that_is_nowhere_smooth_is_not_right(check):
    rough = "    return np.floor(1e6 * np.sin(1e9 * theta).sum()) / 7, np.ones_like(theta)\n"
    report = check("import numpy as np\n\ndef cost(theta, X, y):\n" + rough)
    assert report.verdict == "unchecked"
    assert "not smooth anywhere" in report.reason


def test_a_cost_that_does_not_depend_on_the_parameters(check):
    report = check("def cost(theta, X, y):\n    return 0.0, theta\n")
    assert report.verdict == "unchecked"
    assert "J is 0 whatever the parameters" in report.reason


def test_gradients_that_are_told_apart_by_their_shapes(check):
    report = check(IN_ANOTHER_ORDER)
    assert report.verdict == "right"
    assert "another order" in report.note
    own = "d2.T @ X / m, d3.T @ a2 / m, d2.mean(0), d3.mean(0)"
    assert own in IN_ANOTHER_ORDER
    same = IN_ANOTHER_ORDER.replace(own, "d2.T @ X / m, d2.mean(0), d3.T @ a2 / m, d3.mean(0)")
    assert "order" not in check(same).note
