"""`jaxlab check` of classes, and of forward, cost and backward in functions of their own."""

import re
from pathlib import Path

import pytest

from jaxlab.gradcheck.files.calls import Options
from jaxlab.gradcheck.files.judge import check_file


@pytest.fixture
def check(tmp_path):
    def run(source: str, function: str = ""):
        file: Path = tmp_path / "mine.py"
        file.write_text("import numpy as np\n\ndef s(z): return 1 / (1 + np.exp(-z))\n" + source)
        return check_file(file, function, Options(), 60.0)

    return run


def ids(report):
    return {mistake["block"]: mistake["id"] for mistake in report.mistakes}


NET = """
class Net:
    def __init__(self, n_in, n_hidden, n_out, lr=0.1):
        self.lr = lr
        self.W1 = np.random.randn(n_hidden, n_in)
        self.b1 = np.zeros(n_hidden)
        self.W2 = np.random.randn(n_out, n_hidden)
        self.b2 = np.zeros(n_out)

    def forward(self, X):
        self.X = X
        self.a2 = s(X @ self.W1.T + self.b1)
        self.a3 = s(self.a2 @ self.W2.T + self.b2)
        return self.a3

    def deltas(self, Y):
        d3 = (self.a3 - Y) * self.a3 * (1 - self.a3) / len(Y)
        return d3, d3 @ self.W2 * self.a2 * (1 - self.a2)
"""
COST = """
    def cost(self, X, Y):
        return 0.5 * np.sum((self.forward(X) - Y) ** 2) / len(X)
"""
RETURNED = """
    def gradients(self, X, Y):
        self.forward(X)
        d3, d2 = self.deltas(Y)
        return {"W1": d2.T @ X, "b1": d2.sum(0), "W2": d3.T @ self.a2, "b2": d3.sum(0)}
"""
KEPT = """
    def backward(self, Y):
        d3, d2 = self.deltas(Y)
        self.dW2, self.db2 = d3.T @ self.a2, d3.sum(0)
        self.dW1, self.db1 = d2.T @ self.X, d2.sum(0)
"""
MOVED = """
    def backward(self, X, Y):
        d3, d2 = self.deltas(Y)
        self.W2 -= self.lr * d3.T @ self.a2
        self.b2 -= self.lr * d3.sum(0)
        self.W1 -= self.lr * d2.T @ X
        self.b1 -= self.lr * d2.sum(0)
"""


@pytest.mark.parametrize("gradient", [RETURNED, KEPT, MOVED], ids=["returned", "kept", "moved"])
def test_wherever_a_method_leaves_the_gradient(check, gradient):
    right = check(NET + COST + gradient)
    assert (right.verdict, list(right.blocks)) == ("right", ["W1", "b1", "W2", "b2"])
    assert "called as net = Net(8, 5, 10" in right.note
    wrong = check((NET + COST + gradient).replace("d3 @ self.W2 * self.a2 * (1 - self.a2)",
                                                  "d3 @ self.W2"))  # fmt: skip
    assert (wrong.verdict, wrong.wrong) == ("wrong", ["W1", "b1"])
    assert ids(wrong) == {"W1, b1": "derivative missing"}


def test_W2_is_updated_before_the_hidden_delta_is_computed(check):
    early = """
    def train(self, X, y, epochs=100):
        for _ in range(epochs):
            a3 = self.forward(X)
            d3 = (a3 - y) * a3 * (1 - a3)
            self.W2 -= self.lr * d3.T @ self.a2 / len(X)
            self.b2 -= self.lr * d3.mean(0)
            d2 = d3 @ self.W2 * self.a2 * (1 - self.a2)
            self.W1 -= self.lr * d2.T @ X / len(X)
            self.b1 -= self.lr * d2.mean(0)
"""
    report = check(NET + COST + early)
    assert (report.function, report.wrong) == ("Net.train", ["W1", "b1"])
    assert ids(report) == {"W1, b1": "W already updated"}


def test_a_class_and_a_method_can_be_named(check):
    source = NET + COST + RETURNED + "\nclass Other(Net):\n    pass\n"
    assert check(source, "Other").function == "Other.gradients"
    assert check(source, "Net.gradients").verdict == "right"
    assert "Nett" in check(source, "Nett.gradients").reason
    assert check(source, "Net.forward").verdict == "unchecked"


def test_a_cost_that_is_a_function_takes_what_forward_returned(check):
    free = "\ndef mse(prediction, target):\n    return np.mean((prediction - target) ** 2)\n"
    report = check(free + NET + KEPT)
    # J is a mean over examples and units, the gradient that of half a mean over examples.
    assert (report.verdict, set(report.wrong)) == ("wrong", {"W1", "b1", "W2", "b2"})
    assert "J = mse(out, Y)" in report.note
    assert "factor" in report.mistakes[0]["id"]


def test_without_a_cost_the_gradient_says_which_it_is(check):
    right = check(NET + RETURNED.replace("self.forward(X)", "self.forward(X)"))
    assert right.verdict == "right"
    assert "there is no cost: J was taken to be 0.5 * ((out - Y) ** 2).sum() / 13" in right.note
    wrong = check(NET + RETURNED.replace("d2.sum(0)", "d2.mean(0)"))
    assert (wrong.verdict, wrong.wrong) == ("wrong", ["b1"])


def test_a_cost_that_cannot_be_called_is_not_replaced_by_another(check):
    report = check(NET + RETURNED + COST.replace("self, X, Y", "self, X, Y, here, there"))
    assert report.verdict == "unchecked"
    assert "Net.gradients gives a gradient, but cost cannot be called" in report.reason


def test_parameters_are_told_by_what_they_do_not_by_their_names(check):
    source = NET + COST + RETURNED
    for old, new in (("b1", "schwelle"), ("b2", "umbral"), ("W1", "erste"), ("W2", "zweite")):
        source = source.replace(old, new)
    assert check(source).verdict == "right"
    # Dead weight, and a gradient's place, are no parameters.
    source = source.replace("self.lr = lr", "self.lr = lr; self.old = np.ones((5, 8))")
    report = check(source.replace('"schwelle": d2.sum(0)', '"schwelle": d2.sum(0) * len(X)'))
    assert (report.verdict, report.wrong) == ("wrong", ["b1"])
    assert ids(report) == {"b1": "1/m forgotten"}


TWO_LAYERS = """
class TwoLayers:
    def __init__(self, input_size, hidden_size, output_size, std=1e-4):
        self.params = {"W1": std * np.random.randn(input_size, hidden_size),
                       "b1": np.zeros(hidden_size),
                       "W2": std * np.random.randn(hidden_size, output_size),
                       "b2": np.zeros(output_size)}

    def loss(self, X, y=None, reg=0.0):
        W1, b1, W2, b2 = self.params.values()
        h = np.maximum(0, X @ W1 + b1)
        z = h @ W2 + b2
        if y is None:
            return z
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        m = len(X)
        J = -np.log(p[range(m), y]).mean() + reg * ((W1 ** 2).sum() + (W2 ** 2).sum())
        d = p.copy()
        d[range(m), y] -= 1
        d /= m
        dh = d @ W2.T * (h > 0)
        return J, {"W1": X.T @ dh + 2 * reg * W1, "b1": dh.sum(0),
                   "W2": h.T @ d + 2 * reg * W2, "b2": d.sum(0)}
"""


def test_a_dict_of_parameters_with_labels_and_decay(check):
    right = check(TWO_LAYERS)
    assert (right.function, right.verdict) == ("TwoLayers.loss", "right")
    assert "cross-entropy, softmax" in right.cost
    assert "on W1, W2" in right.cost
    wrong = check(TWO_LAYERS.replace("+ 2 * reg * W", "+ reg * W"))
    assert set(wrong.wrong) == {"W1", "W2"}
    assert set(ids(wrong).values()) == {"decay factor"}


def test_layers_that_hold_the_same_arrays_see_them_change(check):
    report = check("""
class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b
    def forward(self, x):
        self.x = x
        return x @ self.W + self.b
    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(0)
        return dout @ self.W.T

class Net:
    def __init__(self, n_in, n_hidden, n_out):
        self.params = {"W1": np.random.randn(n_in, n_hidden), "b1": np.zeros(n_hidden),
                       "W2": np.random.randn(n_hidden, n_out), "b2": np.zeros(n_out)}
        self.first = Affine(self.params["W1"], self.params["b1"])
        self.second = Affine(self.params["W2"], self.params["b2"])
    def predict(self, x):
        self.a = s(self.first.forward(x))
        return s(self.second.forward(self.a))
    def loss(self, x, t):
        return 0.5 * ((self.predict(x) - t) ** 2).sum() / len(x)
    def gradient(self, x, t):
        y = self.predict(x)
        d = self.second.backward((y - t) * y * (1 - y) / len(x))
        self.first.backward(d * self.a * (1 - self.a))
        return {"W1": self.first.dW, "b1": self.first.db,
                "W2": self.second.dW, "b2": self.second.db}
""")
    assert (report.function, report.verdict) == ("Net.gradient", "right")


def test_a_layer_alone_is_no_network(check):
    report = check("""
class Dense:
    def __init__(self, n_in, n_out):
        self.W, self.b = np.random.randn(n_in, n_out), np.zeros(n_out)
    def forward(self, x):
        self.x = x
        return x @ self.W + self.b
    def backward(self, grad_output):
        self.dW, self.db = self.x.T @ grad_output, grad_output.sum(0)
        return grad_output @ self.W.T
""")
    assert report.verdict == "unchecked"
    assert "Dense" in report.reason


NIELSEN = """
class Network:
    def __init__(self, sizes):
        self.biases = [np.random.randn(n, 1) for n in sizes[1:]]
        self.weights = [np.random.randn(n, k) for k, n in zip(sizes[:-1], sizes[1:])]

    def feedforward(self, a):
        for W, b in zip(self.weights, self.biases):
            a = s(W @ a + b)
        return a

    def total_cost(self, data):
        return sum(0.5 * np.sum((self.feedforward(x) - y) ** 2) for x, y in data) / len(data)

    def backprop(self, x, y):
        a = [x]
        for W, b in zip(self.weights, self.biases):
            a.append(s(W @ a[-1] + b))
        delta = (a[-1] - y) * a[-1] * (1 - a[-1])
        nabla_b, nabla_w = [delta], [delta @ a[-2].T]
        for l in range(2, len(a)):
            delta = self.weights[-l + 1].T @ delta * a[-l] * (1 - a[-l])
            nabla_b.insert(0, delta)
            nabla_w.insert(0, delta @ a[-l - 1].T)
        if nabla_b[0].shape[1] > 1: raise ValueError("one example at a time")
        return nabla_b, nabla_w
"""


def test_one_example_at_a_time(check):
    right = check(NIELSEN)
    assert (right.verdict, right.function) == ("right", "Network.backprop")
    assert "J = net.total_cost([(X, Y)])" in right.note
    raw = check(NIELSEN.replace("(a[-1] - y) * a[-1] * (1 - a[-1])", "a[-1] - y"))
    assert set(raw.wrong) == {"W1", "b1", "W2", "b2"}


def test_a_loop_over_layers_is_tried_with_two_hidden_ones(check):
    source = (
        NET
        + COST
        + """
class Deep:
    def __init__(self, sizes):
        self.W = [np.random.randn(k, n) for k, n in zip(sizes[:-1], sizes[1:])]
        self.b = [np.zeros(n) for n in sizes[1:]]

    def forward(self, X):
        self.a = [X]
        for W, b in zip(self.W, self.b):
            self.a.append(s(self.a[-1] @ W + b))
        return self.a[-1]

    def cost(self, X, Y):
        return 0.5 * np.sum((self.forward(X) - Y) ** 2) / len(X)

    def backward(self, Y):
        d = (self.a[-1] - Y) / len(Y)
        dW, db = [], []
        for l in range(len(self.W) - 1, -1, -1):
            d = d * self.a[l + 1] * (1 - self.a[l + 1])
            dW.insert(0, self.a[l].T @ d)
            db.insert(0, d.sum(0))
            d = d @ self.W[l].T
        return dW, db
"""
    )
    assert check(source).verdict == "right"
    of_one_only = "d = d * (1 - 0.5 * (l == 1 < len(self.W) - 1)) * self.a[l + 1]"
    wrong = check(source.replace("d = d * self.a[l + 1]", of_one_only))
    assert (wrong.verdict, wrong.wrong) == ("wrong", ["W1", "b1", "W2", "b2"])
    assert "right with one hidden layer, not with two" in wrong.note


def test_parameters_that_come_with_the_data(check):
    source = """
class Classifier:
    def __init__(self, n_hidden=7, alpha=0.1, max_iter=10):
        self.n_hidden = n_hidden

    def _initialize(self, n_features, n_classes):
        self._W = [np.random.randn(n_features, self.n_hidden),
                   np.random.randn(self.n_hidden, n_classes)]
        self._b = [np.zeros(self.n_hidden), np.zeros(n_classes)]

    def _forward(self, X):
        acts = [X]
        for W, b in zip(self._W, self._b):
            acts.append(s(acts[-1] @ W + b))
        return acts

    def _loss(self, X, Y):
        return 0.5 * ((self._forward(X)[-1] - Y) ** 2).sum(1).mean()

    def _backward(self, X, Y):
        _, h, o = self._forward(X)
        d3 = (o - Y) * o * (1 - o) / len(X)
        d2 = d3 @ self._W[1].T * h * (1 - h)
        return [X.T @ d2, h.T @ d3], [d2.sum(0), d3.sum(0)]
"""
    right = check(source)
    assert (right.function, right.verdict) == ("Classifier._backward", "right")
    assert "net._initialize(8, 10)" in right.note


CACHE = """
def forward_propagation(X, parameters):
    A1 = np.tanh(parameters["W1"] @ X + parameters["b1"])
    A2 = s(parameters["W2"] @ A1 + parameters["b2"])
    return A2, {"A1": A1, "A2": A2}

def compute_cost(A2, Y):
    return float(-np.sum(Y * np.log(A2) + (1 - Y) * np.log(1 - A2)) / Y.shape[1])

def backward_propagation(parameters, cache, X, Y):
    m, A1, A2 = X.shape[1], cache["A1"], cache["A2"]
    dZ2 = A2 - Y
    dZ1 = parameters["W2"].T @ dZ2 * (1 - A1 ** 2)
    return {"dW1": dZ1 @ X.T / m, "db1": dZ1.sum(1, keepdims=True) / m,
            "dW2": dZ2 @ A1.T / m, "db2": dZ2.sum(1, keepdims=True) / m}
"""


def test_forward_cost_and_backward_that_hand_on_a_cache(check):
    right = check(CACHE)
    assert (right.function, right.verdict) == ("backward_propagation", "right")
    assert "hidden units tanh" in right.cost
    assert "a column" in right.layout
    wrong = check(CACHE.replace("(1 - A1 ** 2)", "(1 - np.tanh(A1) ** 2)"))
    assert (wrong.verdict, wrong.wrong) == ("wrong", ["W1", "b1"])


@pytest.mark.parametrize(
    ("summed", "shape", "over"), [(".sum()", "()", "as well"), (".sum(0)", "(13,)", "instead")]
)
@pytest.mark.parametrize("returned", ["dict", "tuple"])
def test_a_bias_that_is_summed_over_the_units(check, summed, shape, over, returned):
    source = CACHE.replace(".sum(1, keepdims=True)", summed)
    if returned == "tuple":
        source = source.replace('{"dW1": dZ1', "(dZ1").replace(f"{summed} / m}}", f"{summed} / m)")
        source = re.sub('"d[Wb][12]": ', "", source)
    wrong = check(source)
    assert (wrong.verdict, wrong.wrong) == ("wrong", ["b1", "b2"])
    (mistake,) = wrong.mistakes
    assert mistake["id"] == "shape"
    assert f"b1 has shape (5, 1), its gradient {shape}; b2 has" in mistake["explanation"]
    assert mistake["explanation"].endswith(
        f"is a sum over the examples (axis=1); that of b1 and b2 is over the units {over}"
    )


def test_a_bias_in_an_attribute_that_is_one_number(check):
    wrong = check(NET + COST + KEPT.replace("d3.sum(0)", "d3.sum()"))
    assert (wrong.verdict, wrong.wrong, ids(wrong)) == ("wrong", ["b2"], {"b2": "shape"})
    # b of shape (10,) does not say along which axis the examples are.
    assert "over the examples; that of b2 is over the units as well" in str(wrong.mistakes)


TRANSPOSED = """
def cost(params, X, Y):
    W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
    m, Y = len(X), Y.T
    A1 = s(W1 @ X.T + b1)
    A2 = s(W2 @ A1 + b2)
    d2 = A2 - Y
    d1 = W2.T @ d2 * A1 * (1 - A1)
    J = -np.sum(Y * np.log(A2) + (1 - Y) * np.log(1 - A2)) / m
    return J, {"W1": d1 @ X / m, "b1": d1.sum(1, keepdims=True) / m,
               "W2": d2 @ A1.T / m, "b2": d2.sum(1, keepdims=True) / m}
"""


def test_the_axis_of_the_examples_is_that_of_the_activations(check):
    right = check(TRANSPOSED)
    assert (right.verdict, right.reason) == ("right", "")
    wrong = check(TRANSPOSED.replace("sum(1, keepdims=True)", "sum(0)"))
    assert "(axis=1); that of b1 and b2 is over the units instead" in str(wrong.mistakes)
    differ = check(
        TRANSPOSED.replace("d1.sum(1, keepdims=True)", "d1.sum(0)")
        .replace("d2.sum(1, keepdims=True)", "d2.sum()")
    )  # fmt: skip
    assert "that of b1 is over the units instead, that of b2 is over the units as well" in str(
        differ.mistakes
    )


def test_right_numbers_in_a_shape_that_spreads_when_subtracted(check):
    right = check(TRANSPOSED.replace(".sum(1, keepdims=True)", ".sum(1)"))
    assert right.verdict == "right"
    assert "BUT b1 (5, 1) less its gradient (5,) gives (5, 5), b2 (10, 1)" in right.reason
    # That it is called with (5,) is our choice.
    turned = (
        TRANSPOSED.replace('params["b1"]', 'params["b1"].reshape(-1, 1)')
        .replace('params["b2"]', 'params["b2"].reshape(-1, 1)')
    )  # fmt: skip
    assert (check(turned).verdict, check(turned).reason) == ("right", "")


def test_a_column_for_a_vector(check):
    right = check("""
def cost(theta, X, y):
    theta, y, m = theta.reshape(-1, 1), y.reshape(-1, 1), len(y)
    h = s(X @ theta)
    return -(y * np.log(h) + (1 - y) * np.log(1 - h)).sum() / m, X.T @ (h - y) / m
""")
    assert (right.verdict, right.mistakes) == ("right", [])


def test_arrays_of_another_size_do_not_hide_what_is_right_or_wrong_beside_them(check):
    one_output = (
        CACHE.replace("np.sum(Y * np.log(A2) + (1 - Y) * np.log(1 - A2))",
                      "np.squeeze(np.dot(np.log(A2), Y.T) + np.dot(np.log(1 - A2), (1 - Y).T))")
        .replace("dZ2.sum(1, keepdims=True)", "dZ2.sum(0)")
    )  # fmt: skip
    both = check(one_output.replace("(1 - A1 ** 2)", "(1 - A1)"))
    assert both.wrong == ["parameters.W1", "parameters.b1", "parameters.b2"]
    assert both.blocks["parameters.W2"]["ok"]
    assert "b2 has shape (1, 1), its gradient (10,)" in str(both.mistakes)
    assert "W1 and parameters.b1 will be explained once every block" in both.reason


def test_attributes_in_slots_and_an_autoencoder(check):
    source = """
class Coder:
    __slots__ = ("W1", "W2")
    def __init__(self, n_visible, n_hidden):
        self.W1 = np.random.randn(n_hidden, n_visible)
        self.W2 = np.random.randn(n_visible, n_hidden)
    def encode(self, X): return s(self.W1 @ X)
    def decode(self, H): return s(self.W2 @ H)
    def reconstruction_error(self, X):
        return 0.5 * np.sum((self.decode(self.encode(X)) - X) ** 2) / X.shape[1]
    def grads(self, X):
        H = self.encode(X)
        R = self.decode(H)
        d3 = (R - X) * R * (1 - R) / X.shape[1]
        return {"W1": self.W2.T @ d3 * H * (1 - H) @ X.T, "W2": d3 @ H.T}
"""
    right = check(source)
    assert (right.function, right.verdict) == ("Coder.grads", "right")
    assert "an autoencoder" in right.layout
    assert check(source.replace("H * (1 - H) @ X.T", "H @ X.T")).wrong == ["W1"]


STEPS = """
    def train_step(self, X, y, n_epochs=3):
        for _ in range(TIMES):
            self.forward(X)
            d3, d2 = self.deltas(y)
            self.W2 -= RATE * d3.T @ self.a2
            self.b2 -= RATE * d3.sum(0)
            self.W1 -= RATE * d2.T @ X
            self.b1 -= RATE * d2.sum(0)
"""


@pytest.mark.parametrize(
    ("rate", "times", "reason"),
    [
        ("0.01", "1", "of a length that no argument or attribute tells"),
        ("self.lr", "9", "not in proportion to the rate"),
        ("self.lr * self.momentum", "1", "no multiple of the gradient"),
        ("self.lr * 0.1", "1", "how long they are meant to be is not known"),
    ],
    ids=["a rate that nobody knows", "several steps", "momentum", "a factor"],
)
def test_steps_that_are_not_the_rate_times_the_gradient(check, rate, times, reason):
    source = NET + COST
    if "momentum" in rate:
        source = source.replace("self.lr = lr", "self.lr = lr; self.momentum = 0.9")
    elif "lr" not in rate:
        source = source.replace(", lr=0.1", "").replace("self.lr = lr", "pass")
    report = check(source + STEPS.replace("RATE", rate).replace("TIMES", times))
    assert report.verdict == "unchecked"
    assert reason in report.reason
    right = check(NET + COST + STEPS.replace("RATE", "self.lr").replace("TIMES", "1"))
    assert right.verdict == "right"


def test_a_step_that_spreads_a_bias(check):
    spreads = (
        MOVED.replace("self.b2 -= self.lr * d3.sum(0)", "self.b2 = self.b2 - self.lr * d3.sum(0)")
        .replace("d3.sum(0)", "d3.sum(0, keepdims=True).T")
    )  # fmt: skip
    report = check(NET + COST + spreads)
    assert report.verdict == "unchecked"
    assert "Net.backward takes a step that makes b2 (10, 10), which was (10,)" in report.reason


def test_what_is_minimised_comes_before_what_is_looked_at(check):
    metrics = """
    def mse(self, X, Y):
        return np.mean((self.forward(X) - Y) ** 2)

    def zero_one_loss(self, X, Y):
        return np.mean(self.forward(X).argmax(1) != Y.argmax(1))
"""
    report = check(NET + metrics + COST + RETURNED)
    assert report.verdict == "right"
    assert "J = net.cost(X, Y)" in report.note
    wrong = check(NET + metrics + COST + RETURNED.replace("d3.sum(0)", "2 * d3.sum(0)"))
    assert (wrong.verdict, wrong.wrong) == ("wrong", ["b2"])


def test_a_gradient_by_differences_is_not_what_is_checked(check):
    numeric = """
    def numerical_gradients(self, X, Y):
        raise RuntimeError("takes long")
"""
    report = check(NET + COST + numeric + RETURNED)
    assert (report.function, report.verdict) == ("Net.gradients", "right")


def test_every_class_counts(check):
    worse = (NET + COST + RETURNED).replace("Net", "Worse").replace("self.a3 - Y", "Y - self.a3")
    for source in (NET + COST + RETURNED + worse, worse + NET + COST + RETURNED):
        report = check(source)
        assert (report.function, report.verdict) == ("Worse.gradients", "wrong")
        assert "Net.gradients is right" in report.reason
    function = """
def cost(theta, X, y):
    e = X @ theta - y
    return e @ e / (2 * len(y)), X.T @ e / len(y)
"""
    report = check(function + worse)
    assert (report.function, report.verdict) == ("Worse.gradients", "wrong")


@pytest.mark.parametrize("zero", ["0", "0.0", "np.array([0])"])
def test_a_bias_that_starts_as_a_number(check, zero):
    source = f"""
class LogisticRegression:
    def __init__(self, n_features, C=1.0):
        self.w = np.random.randn(n_features)
        self.intercept = {zero}

    def predict_proba(self, X):
        return s(X @ self.w + self.intercept)

    def loss(self, X, y):
        p = self.predict_proba(X)
        return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))

    def gradient(self, X, y):
        e = self.predict_proba(X) - y
        return X.T @ e / len(y), np.mean(e)
"""
    assert check(source).verdict == "right"
    wrong = check(source.replace("np.mean(e)", "np.sum(e)"))
    assert (wrong.verdict, len(wrong.wrong)) == ("wrong", 1)


def test_nothing_is_called_that_may_write(check, tmp_path):
    writes = """
    def export(self, X):
        open("written", "w").close()
        return self.forward(X)

    def log_loss_to_file(self, X, Y): open("written", "w").close()
    def save_cost(self, X, Y): open("written", "w").close()
    def summary(self): open("written", "w").close()
"""
    assert check(NET + writes + COST + RETURNED).verdict == "right"
    assert not (tmp_path / "written").exists()


def test_an_object_whose_layers_grow_with_what_it_is_given(check):
    report = check("""
class Softmax:
    def __init__(self, n_in, n_out):
        self.theta = np.random.randn(n_in + 1, n_out)
    def cost(self, X, Y):
        Z = np.c_[np.ones(len(X)), X] @ self.theta
        Z = Z - Z.max(1, keepdims=True)
        return -np.sum(Y * (Z - np.log(np.exp(Z).sum(1, keepdims=True)))) / len(X)
    def gradient(self, X, Y):
        A = np.c_[np.ones(len(X)), X]
        E = np.exp(A @ self.theta)
        return A.T @ (E / E.sum(1, keepdims=True) - Y) / len(X)
""")
    assert report.verdict in ("right", "unchecked")
    assert "endless" not in report.reason


def test_helpers_that_are_called_like_cost_and_gradient_do_not_hide_a_class(check):
    helpers = """
def mse(out, y): return np.mean((out - y) ** 2)
def mse_grad(out, y): return 2 * (out - y) / out.size
"""
    assert check(helpers + NET + COST + RETURNED).function == "Net.gradients"


def test_functions_for_any_depth_are_tried_with_two_hidden_layers(check):
    source = """
def forward(X, params):
    acts = [X]
    for W, b in params:
        acts.append(s(acts[-1] @ W + b))
    return acts[-1], acts

def cost(out, Y):
    return 0.5 * np.sum((out - Y) ** 2) / len(Y)

def backward(params, cache, X, Y):
    d, grads = (cache[-1] - Y) / len(Y), []
    for l in range(len(params) - 1, -1, -1):
        d = d * cache[l + 1] * (1 - cache[l + 1])
        grads.insert(0, (cache[l].T @ d, d.sum(0)))
        d = d @ params[l][0].T
    return grads
"""
    assert check(source).verdict == "right"
    of_one_only = "d = d * (1 - 0.5 * (l == 1 < len(params) - 1)) * cache[l + 1]"
    wrong = check(source.replace("d = d * cache[l + 1]", of_one_only))
    assert (wrong.verdict, wrong.function) == ("wrong", "backward")
    assert "right with one hidden layer, not with two" in wrong.note
