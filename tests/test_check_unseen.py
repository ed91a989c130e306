"""What a verdict could not see stands beside it, and what other points show counts."""

from pathlib import Path

import pytest

from jaxlab.gradcheck.files.calls import Options
from jaxlab.gradcheck.files.judge import check_file


@pytest.fixture
def check(tmp_path):
    def run(source: str):
        file: Path = tmp_path / "mine.py"
        file.write_text(source)
        return check_file(file, "", Options(), 60.0)

    return run


RIDGE = """
import numpy as np

def cost(theta, X, y, lam):
    m = len(y)
    e = X @ theta - y
    J = e @ e / (2 * m) + lam / (2 * m) * np.sum(theta[1:]**2)
    g = X.T @ e / m
    g[1:] += lam / m * theta[1:]
    return J, g

def example():
    rng = np.random.default_rng(0)
    X = np.c_[np.ones(47), rng.standard_normal((47, 5))]
    return rng.random(6), X, SCALE * (1 + rng.random(47)), 1.0
"""


def test_a_weight_decay_that_leaves_no_trace_is_told(check):
    of_houses = check(RIDGE.replace("SCALE", "1e6").replace("    g[1:] +=", "    _ ="))
    assert of_houses.verdict == "right"
    assert "λ = 1 leaves no trace in J here" in of_houses.note
    right = check(RIDGE.replace("SCALE", "1"))
    assert (right.verdict, right.note) == ("right", "")


def test_a_decay_of_all_but_the_first_number_is_named(check):
    source = RIDGE.replace("SCALE", "1")
    missing = check(source.replace("    g[1:] +=", "    _ ="))
    (mistake,) = missing.mistakes
    assert mistake["id"] == "decay"
    assert "0.0212766 times the parameters (all but [0]) too little" in mistake["explanation"]
    of_bias = check(source.replace("g[1:] += lam / m * theta[1:]", "g += lam / m * theta"))
    assert of_bias.mistakes == []
    assert "In theta only [0] is wrong." in of_bias.reason


HINGE = """
import numpy as np

def hinge(w, b, X, y, C):
    margin = 1 - y * (X @ w + b)
    J = 0.5 * w @ w + C * np.maximum(0, margin).mean()
    k = y * (margin > 0)
    return J, w - C * X.T @ k / len(y), -C * k.mean()

def example():
    r = np.random.default_rng(1)
    X = r.standard_normal((20, 3)) * 0.5
    w = np.array([3.0, -2.0, 1.5])
    return w, 0.1, X, np.sign(X @ w), 2.0
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_condition_that_is_met_at_other_parameters_alone(tmp_path, seed):
    file = tmp_path / "hinge.py"
    file.write_text(HINGE)
    assert check_file(file, "", Options(seed=seed), 60.0).verdict == "right"
    file.write_text(HINGE.replace("y * (margin > 0)", "y"))
    assert check_file(file, "", Options(seed=seed), 60.0).verdict == "wrong"


POISSON = """
import numpy as np

def loss_grad(params, X, y, weight_decay):
    W, b = params["W"], params["b"]
    z = X @ W + b
    d = (np.exp(z) - y) / len(X)
    J = (np.exp(z) - y * z).mean() + 0.5 * weight_decay * W @ W
    return J, {"W": X.T @ d + weight_decay * W, "b": d.sum()}

def example():
    r = np.random.default_rng(0)
    f = lambda *s: r.standard_normal(s).astype(np.float32)
    y = r.integers(0, 5, 9).astype(np.float32)
    return {"W": f(3), "b": f(1)[0]}, f(9, 3), y, np.float32(0.5)
"""


def test_a_scalar_in_float32_and_what_its_digits_hide(check):
    right = check(POISSON)
    assert right.verdict == "right", right
    assert "computed in float32: below 2 % of a block nothing can be seen" in right.note
    assert check(POISSON.replace("X.T @ d + weight_decay * W", "X.T @ d")).wrong == ["W"]


def test_all_parameters_keep_their_dtype(check):
    # As PyTorch does, it refuses to mix them.
    source = POISSON.replace(
        "    z = ", "    assert W.dtype == np.asarray(b).dtype == np.float32\n    z = "
    )
    assert check(source).verdict == "right"


OPTIONAL = """
import numpy as np

def loss(params, X, y, sample_weight=None, **kwargs):
    W, b = params["W"], params["b"]
    s = X @ W + b
    p = np.exp(s - s.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    J = -np.log(p[range(len(X)), y]).mean() + kwargs.get("reg", 0.0) * (W**2).sum()
    p[range(len(X)), y] -= 1
    return J, {"W": X.T @ p / len(X), "b": p.sum(0) / len(X)}
"""


def test_what_nobody_gave_is_told(check):
    found = check(OPTIONAL)
    assert found.verdict == "right"
    assert "left as they are: sample_weight = None, no **kwargs" in found.note


UFLDL = """
import numpy as np

def rica(theta, X):
    W = theta.reshape(5, 8)
    R = W.T @ (W @ X) - X
    D = 2 * R / X.shape[1]
    return np.mean(R**2), (W @ D @ X.T + W @ X @ D.T).ravel()

def example():
    r = np.random.default_rng(0)
    return r.standard_normal(40), r.standard_normal((8, 20))
"""


def test_of_inputs_alone_nobody_knows_how_many_examples_there_are(check):
    (mistake,) = check(UFLDL).mistakes
    assert (mistake["id"], mistake["block"]) == ("factor", "theta")
    assert "if there are 8 examples" in mistake["explanation"]


DECAYED = """
import numpy as np

def f(W1, b1, W2, b2, X, Y, lam):
    m = len(X)
    a1 = 1 / (1 + np.exp(-(X @ W1 + b1)))
    a2 = 1 / (1 + np.exp(-(a1 @ W2 + b2)))
    J = -np.sum(Y * np.log(a2) + (1 - Y) * np.log(1 - a2)) / m
    J += lam / 2 * (np.sum(W1**2) + np.sum(W2**2))
    d2 = a2 - Y
    dW2 = a1.T @ d2 / m + lam * W2
    d1 = d2 @ W2.T * a1 * (1 - a1)
    return J, X.T @ d1 / m + lam * W1, d1.mean(0), dW2, d2.mean(0)
"""


def test_mistakes_beside_a_weight_decay_are_told_without_it(check):
    assert check(DECAYED).verdict == "right"
    for step in ("0.1 * dW2", "0.1 * a1.T @ d2 / m"):
        updated = check(DECAYED.replace("    d1 = ", f"    W2 = W2 - {step}\n    d1 = "))
        (mistake,) = updated.mistakes
        assert (mistake["id"], mistake["block"]) == ("W already updated", "W1, b1")
        assert "(W(2) - 0.1 × its gradient" in mistake["explanation"]
        assert ("without weight decay" in mistake["explanation"]) == ("a1.T" in step)

    turned = check(DECAYED.replace("d2 = a2 - Y", "d2 = Y - a2"))
    (mistake,) = turned.mistakes
    assert mistake["id"] == "sign"
    assert "The weight decay in W1 and W2 is right" in mistake["explanation"]
    whole = check(DECAYED.replace(", dW2,", ", -dW2,"))
    assert "weight decay" not in whole.mistakes[0]["explanation"]

    summed = check(DECAYED.replace("np.log(1 - a2)) / m", "np.log(1 - a2))"))
    assert "if the gradient is as you mean it, J is not" in summed.reason
    squared = check(DECAYED.replace("+ lam * W1,", "+ lam * W1**2,"))
    assert squared.reason.endswith("W1's gradient, or in its weight decay.")


def test_how_little_is_wrong_of_a_logarithm_with_a_small_number_in_it(check):
    source = OPTIONAL.replace("np.log(p[range(len(X)), y])", "np.log(p[range(len(X)), y] + 1e-7)")
    found = check(source)
    assert found.verdict == "wrong"
    assert "No block is off by more than" in found.reason
    assert "log(p + 1e-7)" in found.reason
