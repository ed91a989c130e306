"""Files as people write them: other signatures, other return values, scripts that do not end."""

import json
import subprocess
import sys

import pytest


def check(target, *options):
    """What `jaxlab check --json` prints, outside of this process, whose type checks are slow."""
    command = [sys.executable, "-m", "jaxlab", "check", str(target), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert not done.stderr
    return json.loads(done.stdout)


def ids(report):
    return [(mistake["id"], mistake["block"]) for mistake in report["mistakes"]]


TWO_LAYERS = """
import numpy as np

def sigmoid(z):
    return 1 / (1 + np.exp(-z))

def model(SIGNATURE):
    UNPACK
    m = X.shape[1]
    A1 = sigmoid(W1 @ X + b1)
    A2 = sigmoid(W2 @ A1 + b2)
    cost = ((A2 - Y) ** 2).sum() / (2 * m)
    dZ2 = (A2 - Y) * A2 * (1 - A2)
    dW2 = dZ2 @ A1.T / m
    db2 = dZ2.sum(axis=1, keepdims=True) / m
    dZ1 = W2.T @ dZ2 * A1 * (1 - A1)
    dW1 = dZ1 @ X.T / m
    db1 = dZ1.sum(axis=1, keepdims=True) / m
    return RESULT
"""
BY_KEYS = "W1, b1, W2, b2 = (params[k] for k in ('W1', 'b1', 'W2', 'b2'))"
# How the parameters come in, and what comes out.
FORMS = [
    ("W1, b1, W2, b2, X, Y", "pass", "cost, dW1, db1, dW2, db2"),
    ("X, Y, W1, b1, W2, b2", "pass", "dW1, db1, dW2, db2, cost"),
    ("X, Y, W1, W2, b1, b2", "pass", "cost, (dW1, dW2, db1, db2)"),
    ("X, Y, b1, W1, b2, W2", "pass", "(dW2, db2, dW1, db1), cost"),
    ("W1, b1, W2, b2, X, Y", "pass", "dict(dW1=dW1, db1=db1, dW2=dW2, db2=db2), cost"),
    ("params, X, Y", BY_KEYS, "cost, dict(dZ2=dZ2, dW2=dW2, db2=db2, dZ1=dZ1, dW1=dW1, db1=db1)"),
    ("X, Y, parameters", BY_KEYS.replace("params", "parameters"),
     "cost, dict(grad_W1=dW1, grad_b1=db1, grad_W2=dW2, grad_b2=db2)"),
    ("params, X, Y", "(W1, b1), (W2, b2) = ((p['W'], p['b']) for p in params)",
     "cost, [dict(W=dW1, b=db1), dict(b=db2, W=dW2)]"),
    ("params, X, Y", BY_KEYS.replace("'W", "'w"), "cost, dict(w1=dW1, b1=db1, w2=dW2, b2=db2)"),
    ("weights, biases, X, Y", "W1, W2 = weights; b1, b2 = biases", "[db1, db2], [dW1, dW2], cost"),
]  # fmt: skip


def two_layers(signature, unpack, result):
    text = TWO_LAYERS.replace("SIGNATURE", signature).replace("UNPACK", unpack)
    return text.replace("RESULT", result)


RIGHT = two_layers(*FORMS[0])
ONE_OUTPUT = """
import numpy as np

def propagate(w, b, X, Y):
    m = X.shape[1]
    A = 1 / (1 + np.exp(-(np.dot(w.T, X) + b)))
    cost = -1 / m * np.sum(Y * np.log(A) + (1 - Y) * np.log(1 - A))
    return {"dw": 1 / m * np.dot(X, (A - Y).T), "db": 1 / m * np.sum(A - Y)}, np.array(cost)
"""
REGRESSION = """
def cost(X, y, theta):
    m = len(y)
    h = X @ theta
    return ((h - y) ** 2).sum() / (2 * m), X.T @ (h - y) / m
"""
REGULARISED = """
import numpy as np

def costFunctionReg(theta, X, y, lambda_):
    m = y.size
    h = 1 / (1 + np.exp(-X @ theta))
    J = -(y @ np.log(h) + (1 - y) @ np.log(1 - h)) / m + lambda_ / (2 * m) * (theta[1:] ** 2).sum()
    g = X.T @ (h - y) / m
    g[1:] += lambda_ / m * theta[1:]
    return J, g
"""
JAX = """
import jax.numpy as jnp

def cost(theta, X, y):
    W, b = theta[:80].reshape(10, 8), theta[80:]
    z = X @ W.T + b
    p = jnp.exp(z) / jnp.exp(z).sum(1, keepdims=True)
    y = jnp.zeros_like(z).at[jnp.arange(len(z)), y.astype(int)].set(1.0)
    d = (p - y) / len(z)
    g = jnp.zeros_like(theta).at[:80].set((d.T @ X).ravel())
    return -(y * jnp.log(p)).sum() / len(z), theta.at[:].set(g).at[80:].set(d.sum(0))
"""
METHOD = """
class Net:
    def loss(self, X, y):
        return 0, {}
"""
COST, GRADIENT = (
    two_layers("params, X, Y", BY_KEYS, result) for result in ("cost", "[dW1, db1, dW2, db2]")
)
TWO_FUNCTIONS = COST + GRADIENT.replace("def model", "def gradient")
ENDS = {
    "reads a file": ("np.loadtxt('nowhere.csv')", "nowhere.csv"),
    "asks": ("input('? ')", "EOFError"),
    "exits": ("raise SystemExit(0)", "sys.exit(0)"),
    "wants arguments": (
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--x', required=True)\n"
        "p.parse_args()", "sys.exit(2)"),
}  # fmt: skip


CELLS = [
    ("markdown", ["# Lab 3"]), ("code", ["%matplotlib inline\n", "!pip install numpy"]),
    ("code", ["%%bash\n", "exit 1"]), ("code", RIGHT.splitlines(keepends=True)),
    ("code", ["%time x = 1\n", "print('%s'\n", "      % 3)"]),
    ("code", ["if True:\n", "    %time x = 1\n", "np.load('nowhere.npy')"]),
]  # fmt: skip
# A notebook of deeplearning.ai on gradient checking, with its two mistakes.
THREE_LAYERS = """
import numpy as np

def forward(X, Y, parameters):
    W1, b1, W2, b2, W3, b3 = (parameters[k] for k in ("W1", "b1", "W2", "b2", "W3", "b3"))
    A1 = np.maximum(0, W1 @ X + b1)
    A2 = np.maximum(0, W2 @ A1 + b2)
    A3 = 1 / (1 + np.exp(-(W3 @ A2 + b3)))
    cost = -np.sum(Y * np.log(A3) + (1 - Y) * np.log(1 - A3)) / X.shape[1]
    return cost, (A1, W1, b1, A2, W2, b2, A3, W3, b3)

def backward(X, Y, cache):
    m = X.shape[1]
    A1, W1, b1, A2, W2, b2, A3, W3, b3 = cache
    dZ3 = A3 - Y
    dZ2 = W3.T @ dZ3 * (A2 > 0)
    dZ1 = W2.T @ dZ2 * (A1 > 0)
    return {
        "dZ3": dZ3, "dW3": dZ3 @ A2.T / m, "db3": dZ3.sum(axis=1, keepdims=True) / m,
        "dZ2": dZ2, "dW2": dZ2 @ A1.T / m * 2, "db2": dZ2.sum(axis=1, keepdims=True) / m,
        "dZ1": dZ1, "dW1": dZ1 @ X.T / m, "db1": 4 / m * dZ1.sum(axis=1, keepdims=True),
    }

def both(X, Y, parameters):
    cost, cache = forward(X, Y, parameters)
    return cost, backward(X, Y, cache)
"""
NEURON = """
def compute(X, y, w, b):
    m = X.shape[0]
    e = X @ w + b - y
    J = (e ** 2).sum() / (2 * m)
"""
EXAMPLE = """
def example():
    rng = np.random.default_rng(0)
    theta = [rng.standard_normal(shape) for shape in [(4, 6), (4, 1), (3, 4), (3, 1)]]
    return *theta, rng.random((6, 9)), np.eye(3)[:, rng.integers(0, 3, 9)]
"""
WRONG_TOO = (0, 3, 5, 9)
FILES = {
    **{f"form{i}.py": two_layers(*form) for i, form in enumerate(FORMS)},
    **{f"form{i}_wrong.py": two_layers(*FORMS[i]).replace("* A1 * (1 - A1)", "")
       for i in WRONG_TOO},
    **{f"end{i}.py": f"{RIGHT}\n{end}\n" for i, (end, _) in enumerate(ENDS.values())},
    "start.py": f"import numpy as np\ninput()\nrate = 0.1\n{RIGHT}",
    "annotated.py": "import numpy as np\ninput()\nTWO: float = 2\n"
    + RIGHT.replace("2 * m", "TWO * m"),
    "shape.py": RIGHT.replace("cost, dW1", "cost, dW1.T"),
    "shape_and_factor.py": RIGHT.replace("cost, dW1", "cost, dW1.T").replace("db2,", "2 * db2,")
    .replace(", db2", ", 2 * db2"),
    "example.py": RIGHT + EXAMPLE, "names.py": (RIGHT + EXAMPLE).replace("b1", "c1"),
    "forward.py": two_layers("params, X, Y", BY_KEYS, "cost, (W1, b1, A1, W2, b2, A2)"),
    "three_layers.py": THREE_LAYERS,
    "numbers.py": NEURON + "    return J, X.T @ e / m, e.sum() / m\n",
    "numbers_last.py": NEURON + "    return e.sum() / m, X.T @ e / m, J\n",
    "three.py": two_layers("params, X, Y", BY_KEYS, "cost, A2, [dW1, db1, dW2, db2]"),
    "one.py": ONE_OUTPUT, "one_wrong.py": ONE_OUTPUT.replace("(A - Y).T", "(Y - A).T"),
    "regression.py": REGRESSION, "regression_wrong.py": REGRESSION.replace(") / m\n", ")\n"),
    "regularised.py": REGULARISED,
    "regularised_wrong.py": REGULARISED.replace("g[1:] +=", "g[1:] -="),
    "two.py": TWO_FUNCTIONS, "method.py": METHOD, "jax_arrays.py": JAX,
    "undefined.py": RIGHT.replace("A1 = sigmoid", "A1 = wumpus"),
    "undefined_and_ends.py": RIGHT.replace("A1 = sigmoid", "A1 = wumpus") + "\ninput()\n",
    "furthest.py": two_layers("theta, X, Y", "W1 = theta[:40].reshape(5, 8)\n    wumpus", "0, 0"),
    "memory.py": RIGHT + """
import os, resource
most, _ = resource.getrlimit(resource.RLIMIT_DATA)
assert 0 < most < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
""",
    "lab.ipynb": json.dumps({"cells": [{"cell_type": kind, "source": s} for kind, s in CELLS]}),
    ".hidden/checkpoint.py": RIGHT, "__MACOSX/._form0.py": "\0",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handins")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def reports(folder):
    """The report on every file."""
    return {report["file"]: report for report in check(folder)}


def test_every_file_is_checked_but_no_hidden_one(reports):
    assert set(reports) == {name for name in FILES if not name.startswith((".", "__"))}


@pytest.mark.parametrize("i", range(len(FORMS)))
def test_forms_of_parameters_and_of_the_result(reports, i):
    right = reports[f"form{i}.py"]
    assert right["verdict"] == "right", right
    assert set(right["blocks"]) == {"W1", "b1", "W2", "b2"}
    if i in WRONG_TOO:
        assert reports[f"form{i}_wrong.py"]["verdict"] == "wrong"
        assert ids(reports[f"form{i}_wrong.py"]) == [("derivative missing", "W1, b1")]


def test_a_shape_is_wrong_in_whatever_order_arrays_come(reports):
    assert reports["shape.py"]["verdict"] == "wrong"
    assert ids(reports["shape.py"]) == [("shape", "W1")]
    others = {name: block["ok"] for name, block in reports["shape_and_factor.py"]["blocks"].items()}
    assert others == {"W1": False, "b1": True, "W2": True, "b2": False}
    assert "b2 will be explained" in reports["shape_and_factor.py"]["reason"]


def test_values_that_are_no_cost_and_gradient_are_not_judged(reports):
    assert reports["three.py"]["verdict"] == "unchecked"
    assert "it returns 3 values, not a pair (J, gradient)" in reports["three.py"]["reason"]


def test_functions_for_the_forward_pass_are_not_taken_for_gradients(reports):
    assert reports["forward.py"]["verdict"] == "unchecked"
    report = reports["three_layers.py"]
    assert (report["verdict"], report["function"]) == ("wrong", "both")
    assert ids(report) == [("factor", "b1"), ("factor", "W2")]


def test_a_file_named_like_a_module_of_python_disturbs_no_other(reports):
    assert "numbers.py" in reports  # which NumPy imports
    assert reports["form0.py"]["note"] == ""


def test_one_output(reports):
    for name in ("numbers.py", "numbers_last.py"):
        assert reports[name]["verdict"] == "right", name
    for name in ("one", "regression", "regularised"):
        assert reports[f"{name}.py"]["verdict"] == "right", name
        assert reports[f"{name}_wrong.py"]["verdict"] == "wrong", name
    assert "8-1" in reports["one.py"]["layout"]
    assert ids(reports["one_wrong.py"]) == [("sign", "W1")]
    assert ids(reports["regression_wrong.py"]) == [("1/m forgotten", "W1")]


def test_cost_and_gradient_as_two_functions(folder, reports):
    assert reports["two.py"]["verdict"] == "right"
    assert check(f"{folder}/two.py:model,gradient")["verdict"] == "right"
    (folder / "two_wrong.py").write_text(TWO_FUNCTIONS.replace("[dW1", "[2 * dW1"))
    assert ids(check(f"{folder}/two_wrong.py:model,gradient")) == [("factor", "W1")]
    assert "take different arguments" in check(f"{folder}/two.py:model,sigmoid")["reason"]


def test_functions_are_judged_though_the_file_does_not_run_to_its_end(reports):
    for name, why in {f"end{i}.py": why for i, (_, why) in enumerate(ENDS.values())}.items():
        assert reports[name]["verdict"] == "right", reports[name]
        assert why in reports[name]["note"]
    assert reports["start.py"]["verdict"] == "right"


def test_a_file_that_trains_for_hours(tmp_path):
    (tmp_path / "theirs.py").write_text(f"{RIGHT}\nwhile True:\n    pass\n")
    report = check(tmp_path / "theirs.py", "--seconds", "3")
    assert (report["verdict"], "not done after 2 seconds" in report["note"]) == ("right", True)


def test_the_reason_is_that_of_the_call_that_came_furthest(reports):
    for name in ("undefined.py", "undefined_and_ends.py", "furthest.py"):
        assert reports[name]["verdict"] == "unchecked"
        assert "name 'wumpus' is not defined" in reports[name]["reason"]
    assert "EOFError" in reports["undefined_and_ends.py"]["reason"]


def test_a_file_may_not_take_all_the_memory(reports):
    assert (reports["memory.py"]["verdict"], reports["memory.py"]["note"]) == ("right", "")


def test_a_constant_with_a_type_below_what_failed(reports):
    assert reports["annotated.py"]["verdict"] == "right"


def test_a_notebook(reports):
    report = reports["lab.ipynb"]
    assert (report["verdict"], report["function"]) == ("right", "model")
    assert "nowhere.npy" in report["note"]


def test_an_example_of_parameters_as_arguments_of_their_own(reports):
    assert reports["example.py"]["verdict"] == "right"
    assert "6-4-3" in reports["example.py"]["layout"]
    # c1 is not known for a parameter, so what comes back cannot be judged.
    assert reports["names.py"]["verdict"] == "unchecked"
    assert "it returns 5 values, not a pair" in reports["names.py"]["reason"]
    assert "those named W1, b1" in reports["names.py"]["reason"]


def test_methods(reports):
    reason = reports["method.py"]["reason"]
    assert "methods (of Net) cannot be called: net = Net(): it has no attributes" in reason
    assert "add a function that calls them" in reason


def test_arrays_of_another_library(reports):
    assert reports["jax_arrays.py"]["verdict"] == "right", reports["jax_arrays.py"]
    assert "labels 0 … K-1" in reports["jax_arrays.py"]["layout"]
