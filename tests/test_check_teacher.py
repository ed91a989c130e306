"""What `jaxlab check` says to hand-ins that misled it or their authors."""

import pytest

from jaxlab.gradcheck.files.calls import Options
from jaxlab.gradcheck.files.judge import check_file

HEAD = """
import numpy as np

def s(z):
    return 1 / (1 + np.exp(-z))
"""
# Squared error, sigmoid outputs; tests replace what is wrong in it.
NETWORK = f"""{HEAD}
def cost_grad(W1, b1, W2, b2, X, Y):
    m = len(X)
    A1 = s(X @ W1 + b1)
    A2 = s(A1 @ W2 + b2)
    d2 = (A2 - Y) * A2 * (1 - A2) / m
    d1 = d2 @ W2.T * A1 * (1 - A1)
    J = ((A2 - Y) ** 2).sum() / (2 * m)
    return J, X.T @ d1, d1.sum(0), A1.T @ d2, d2.sum(0)
"""
LAYERS = f"""{HEAD}
def backprop(layers, X, Y):
    A = [X]
    for W, b in layers:
        A.append(s(A[-1] @ W + b))
    d, grads = (A[-1] - Y) * A[-1] * (1 - A[-1]) / len(X), []
    for l in reversed(range(len(layers))):
        grads.append((A[l].T @ d, d.sum(0)))
        d = d @ layers[l][0].T * A[l] * (1 - A[l])
    return ((A[-1] - Y) ** 2).sum() / 2 / len(X), grads[::-1]
"""
FLAT = f"""{HEAD}
def cost(theta, X, Y):
    W1, W2, m = theta[:45].reshape(5, 9), theta[45:].reshape(10, 6), len(X)
    A1 = s(X @ W1[:, 1:].T + W1[:, 0])
    A2 = s(A1 @ W2[:, 1:].T + W2[:, 0])
    d2 = (A2 - Y) * A2 * (1 - A2) / m
    d1 = d2 @ W2[:, 1:] * A1 * (1 - A1)
    g1, g2 = (d.T @ np.c_[np.ones(m), a] for d, a in ((d1, X), (d2, A1)))
    return ((A2 - Y) ** 2).sum() / (2 * m), np.r_[g1.ravel(), g2.ravel()]
"""


@pytest.fixture
def check(tmp_path):
    def run(text, name="", **options):
        (tmp_path / "theirs.py").write_text(text)
        return check_file(tmp_path / "theirs.py", name, Options(**options), 60.0)

    return run


def wrong(report):
    """Block and explanation of the only mistake."""
    assert report.verdict == "wrong"
    (mistake,) = report.mistakes
    return mistake["block"], mistake["explanation"]


@pytest.mark.parametrize("text", [NETWORK, LAYERS, FLAT])
def test_they_are_right_as_they_stand(check, text):
    report = check(text)
    assert (report.verdict, report.note) == ("right", "")


@pytest.mark.parametrize(
    ("activation", "derivative", "formula"),
    [
        ("np.tanh", "1 - A1", "(1 - a(2)²)"),
        ("np.tanh", "A1 * (1 - A1)", "(1 - a(2)²)"),
        ("(lambda z: np.maximum(z, 0))", "A1 * (1 - A1)", "(z(2) > 0)"),
        ("(lambda z: np.maximum(z, 0))", "1", "(z(2) > 0)"),
    ],
)
def test_the_derivative_is_that_of_the_hidden_units(check, activation, derivative, formula):
    text = NETWORK.replace("A1 = s(", f"A1 = {activation}(")
    text = text.replace("A1 * (1 - A1)", f"({derivative})")
    block, explanation = wrong(check(text))
    assert block == "W1, b1"
    assert f"δ(2) = W(2)ᵀ δ(3) × {formula}" in explanation
    assert "a(2)(1 - a(2))" not in explanation
    assert "Lab sheet" not in explanation


def test_what_is_right_in_a_block_is_not_suspected(check):
    report = check(NETWORK.replace("X.T @ d1", "(X**2).T @ d1"))
    assert report.wrong == ["W1"]
    assert "b1 is right, so δ2 is; the mistake is in δ2 a1ᵀ, W1's gradient" in report.reason
    assert "is off by more" not in report.reason
    report = check(NETWORK.replace("d1.sum(0)", "(d1**2).sum(0)"))
    assert "W1 is right, so δ2 is; the mistake is in how b1's gradient sums δ2" in report.reason


def test_what_is_off_by_little(check):
    report = check(NETWORK.replace("X.T @ d1,", "X.T @ d1 * (1 + 1e-5 * np.sin(W1)),"))
    assert report.wrong == ["W1"]
    assert "No block is off by more than" in report.reason


def test_updated_parameters(check):
    text = NETWORK.replace(
        "return J, X.T @ d1, d1.sum(0), A1.T @ d2, d2.sum(0)",
        "return J, W1 - lr * X.T @ d1, b1 - lr * d1.sum(0), W2 - lr * A1.T @ d2, "
        "b2 - lr * d2.sum(0)",
    )
    for argument, step in (("lr=0.5", "0.3"), ("alpha", "0.3"), ("speed=0.05", "0.05")):
        name = argument.partition("=")[0]
        report = check(text.replace("X, Y)", f"X, Y, {argument})").replace("lr *", f"{name} *"))
        block, explanation = wrong(report)
        assert block == "W1, b1, W2, b2"
        assert f"θ - {step} × the gradient is returned" in explanation


def test_two_hidden_layers_are_tried_where_any_depth_is_taken(check):
    text = LAYERS.replace(
        "layers[l][0].T *", "layers[l][0].T if l < len(layers) - 1 else d @ layers[l][0].T *"
    )
    report = check(text)
    assert wrong(report)[0] == "W1, b1"
    assert "right with one hidden layer, not with two" in report.note
    assert check(text, sizes=(8, 5, 10)).verdict == "right"  # as asked


def test_last_layer_first(check):
    for text in (
        LAYERS.replace("grads[::-1]", "grads"),
        FLAT.replace("np.r_[g1.ravel(), g2.ravel()]", "np.r_[g2.ravel(), g1.ravel()]"),
    ):
        block, explanation = wrong(check(text))
        assert block == "W1, b1, W2, b2"
        assert "comes last layer first" in explanation


def test_one_factor_everywhere_may_be_that_of_the_cost(check):
    for cost in ("-((A2 - Y) ** 2).sum() / (2 * m)", "((A2 - Y) ** 2).sum() / 2"):
        report = check(NETWORK.replace("((A2 - Y) ** 2).sum() / (2 * m)", cost))
        assert wrong(report)[0] == "W1, b1, W2, b2"
        assert "if the gradient is as you mean it, J is not" in report.reason
        assert ("minus the mean over" in report.cost) is cost.startswith("-")
    report = check(NETWORK.replace("- A2) / m", "- A2) / m * np.arange(1, 11)"))
    assert "as you mean it" not in report.reason


def test_a_decay_of_biases_in_the_cost_alone(check):
    text = NETWORK.replace("X, Y)", "X, Y, lam)").replace(
        "/ (2 * m)\n", "/ (2 * m) + lam / 2 * ((b1**2).sum() + (b2**2).sum())\n"
    )
    block, explanation = wrong(check(text))
    assert block == "b1, b2"
    assert "or leave the biases out of the cost's" in explanation


def test_what_was_put_for_arguments_and_what_was_left_alone_is_said(check):
    report = check(NETWORK.replace("X, Y)", "X, Y, learning_rate, keep_prob=1.0, verbose=False, "
                                   "top=float('inf'), big=10**400)"))  # fmt: skip
    assert report.verdict == "right"
    assert "learning_rate = 0.3" in report.note
    assert "left as they are: keep_prob = 1.0, verbose = False;" in report.note
    text = NETWORK.replace("X, Y)", "X, Y, weight_cost=0.0)")
    decay = "weight_cost / 2 * ((W1**2).sum() + (W2**2).sum())"
    report = check(text.replace("/ (2 * m)\n", f"/ (2 * m) + {decay}\n"))
    assert "weight decay" in wrong(report)[1]


def test_one_example_at_a_time_is_not_called_wrong(check):
    text = f"""{HEAD}
def backprop(W1, b1, W2, b2, x, y):
    a1 = s(W1 @ x + b1)
    a2 = s(W2 @ a1 + b2)
    d2 = (a2 - y) * a2 * (1 - a2)
    d1 = W2.T @ d2 * a1 * (1 - a1)
    return 0.5 * np.sum((a2 - y) ** 2), np.outer(d1, x), d1, np.outer(d2, a1), d2
"""
    report = check(text)
    assert report.verdict == "unchecked"
    assert "W1 has shape (5, 8), its gradient (65, 104)" in report.reason
    assert "it seems to take one example at a time: add a function example()" in report.reason
    report = check(f"""{text}
def example():
    r = np.random.default_rng(0).standard_normal
    return r((5, 8)), r(5), r((10, 5)), r(10), r(8), np.eye(10)[3]
""")
    assert report.verdict == "right"


def test_one_output_behind_hidden_units(check):
    text = NETWORK.replace("    return J,", "    J = float(np.squeeze((A2 - Y).T @ (A2 - Y))) / "
                           "(2 * m)\n    return J,")  # fmt: skip
    report = check(text)
    assert report.verdict == "right"
    assert "8-5-1" in report.layout


def test_cost_and_gradient_are_found_by_their_names(check):
    pair = f"""{NETWORK.replace("def cost_grad", "def _both")}
def cost(W1, b1, W2, b2, X, Y):
    return _both(W1, b1, W2, b2, X, Y)[0]

def gradients(W1, b1, W2, b2, X, Y):
    return _both(W1, b1, W2, b2, X, Y)[1:]
"""
    report = check(pair)
    assert (report.verdict, report.function) == ("right", "cost,gradients")
    # What the cost writes into its arguments does not reach the gradient.
    report = check(pair.replace("    return _both(W1, b1, W2, b2, X, Y)[0]",
                                "    J = _both(W1, b1, W2, b2, X, Y)[0]\n    W1 *= 0.5\n"
                                "    return J"))  # fmt: skip
    assert report.verdict == "right"
    report = check(pair + "\ndef loss(W1, b1, W2, b2, X, Y):\n    return 0.0\n")
    assert report.verdict == "unchecked"


def test_matrices_by_name(check):
    text = FLAT.replace("theta[:45].reshape(5, 9), theta[45:].reshape(10, 6)",
                        "theta['Theta1'], theta['Theta2']")  # fmt: skip
    result = "np.r_[g1.ravel(), g2.ravel()]"
    report = check(text.replace(result, "dict(Theta1_grad=g1, Theta2_grad=g2)"))
    assert report.verdict == "right"
    assert "the bias as first column" in report.layout
    assert list(report.blocks) == ["W1", "b1", "W2", "b2"]
    without = NETWORK.replace("W1, b1, W2, b2, X, Y", "params, X, Y").replace(
        "    m = len(X)", "    W1, W2, m = params['W1'], params['W2'], len(X)")  # fmt: skip
    without = without.replace(" + b1", "").replace(" + b2", "")
    report = check(without.replace("X.T @ d1, d1.sum(0), A1.T @ d2, d2.sum(0)",
                                   "dict(W1=X.T @ d1, W2=A1.T @ d2)"))  # fmt: skip
    assert (report.verdict, list(report.blocks)) == ("right", ["W1", "W2"])


@pytest.mark.parametrize(
    "result",
    [
        "dict(cost=J, dW1=X.T @ d1, db1=d1.sum(0), dW2=A1.T @ d2, db2=d2.sum(0))",
        "dict(loss=J, grads=dict(W1=X.T @ d1, b1=d1.sum(0), W2=A1.T @ d2, b2=d2.sum(0)))",
        "J, (X.T @ d1, d1.sum(0), A1.T @ d2, d2.sum(0)), np.mean(A2.argmax(1) == Y.argmax(1))",
    ],
)
def test_cost_and_gradient_in_a_dict_or_followed_by_the_accuracy(check, result):
    returned = "return J, X.T @ d1, d1.sum(0), A1.T @ d2, d2.sum(0)"
    assert check(NETWORK.replace(returned, f"return {result}")).verdict == "right"


@pytest.mark.parametrize(
    ("theirs", "reason"),
    [
        ("    np.zeros(3)\n", "it returns nothing: does it end without `return`?"),
        ("    return nmupy.zeros(3)\n", "NameError: name 'nmupy' is not defined (line 3)"),
        ("    return X, Y, X\n", "it returns 3 values, not a pair (J, gradient)"),
    ],
)
def test_no_advice_that_would_not_help(check, theirs, reason):
    report = check(f"import numpy as np\ndef f(params, X, Y):\n{theirs}")
    assert report.verdict == "unchecked"
    assert report.reason.endswith(reason)


def test_gradients_under_keys_that_are_tuples(check):
    report = check(f"""{HEAD}
def f(params, X, Y):
    a = s(X @ params["W1"] + params["b1"])
    d = (a - Y) * a * (1 - a) / len(X)
    return ((a - Y) ** 2).sum() / 2 / len(X), {{("W", 1): X.T @ d, ("b", 1): d.sum(0)}}
""")
    assert report.verdict == "right"


SMALL = """
import numpy as np

def f(theta, X, y):
    a = 1 / (1 + np.exp(-(X @ theta)))
    return -np.mean(y * np.log(a) + (1 - y) * np.log(1 - a)), X.T @ (a - y) / len(y)

def example():
    r = np.random.default_rng(0)
    return 0.01 * r.standard_normal(6), SCALE * r.random((20, 6)), r.integers(0, 2, 20) * 1.0
"""


@pytest.mark.parametrize("scale", [1, 10, 60])
def test_an_example_says_how_large_parameters_are(check, scale):
    for seed in range(6):
        assert check(SMALL.replace("SCALE", str(scale)), seed=seed).verdict == "right"


def test_a_cost_that_is_not_a_number_is_not_judged(check):
    for seed in range(6):
        report = check(SMALL.replace("SCALE", "1e5"), seed=seed)
        assert report.verdict == "unchecked"
        assert "J is" in report.reason
