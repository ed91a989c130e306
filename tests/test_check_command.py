"""`jaxlab check` from the wheel: verdicts, exit codes, and code that behaves badly."""

import contextlib
import csv
import json
import signal
import subprocess
import time
from pathlib import Path

import planted_networks as planted
import pytest

from jaxlab.gradcheck.files import judge, many, roles
from jaxlab.gradcheck.files.calls import Options
from jaxlab.gradcheck.files.many import cores

RIGHT = planted.write("rows", planted.SQUARED)
KEYS = {"file", "function", "verdict", "cost", "layout", "blocks", "mistakes", "reason", "note"}


def wrong(program, name, loss=planted.SQUARED):
    mistake = next(p for p in planted.MISTAKES if p.name == name and p.program == program)
    return planted.write(program, loss, (mistake,))


@pytest.fixture
def check(jaxlab, tmp_path):
    """Runs `jaxlab check` on the text of a file."""

    def run(text, *options, status, function=""):
        (tmp_path / "theirs.py").write_text(text)
        start = time.perf_counter()
        done = jaxlab("check", f"theirs.py{function}", *options, status=status)
        assert time.perf_counter() - start < 20
        if "--json" not in options:
            return done.stdout
        report = json.loads(done.stdout)
        assert set(report) == KEYS
        assert all(set(m) == {"id", "block", "explanation"} for m in report["mistakes"])
        assert all(set(b) == {"ok", "relative_difference"} for b in report["blocks"].values())
        return report

    return run


def test_a_right_and_a_wrong_gradient_in_words(check):
    said = check(RIGHT, status=0)
    assert "theirs.py:cost: right" in said
    assert "by running its code" in said
    assert "squared error, sigmoid outputs; mean over the m examples" in said
    said = " ".join(said.split())
    assert "W1, b1, W2, b2, …, row by row; 8-5-10; one example a row; one-hot labels" in said
    said = check(wrong("columns", "no σ′ hidden"), status=1)
    assert "theirs.py:cost: WRONG" in said
    lines = [line.split() for line in said.splitlines()]
    verdicts = {line[0]: line[2] for line in lines if len(line) == 3 and line[0][1:].isdigit()}
    assert verdicts == {"W1": "WRONG", "b1": "WRONG", "W2": "right", "b2": "right"}
    assert "W1, b1: derivative missing" in said
    assert "W1, W2, …, b1, b2" in said
    assert "one example a column; labels 0 … K-1" in " ".join(said.split())


def test_json(check):
    report = check(wrong("loops", "db1 of the last example"), "--json", status=1)
    assert report["verdict"] == "wrong"
    assert [name for name, block in report["blocks"].items() if not block["ok"]] == ["b1"]
    assert [(m["id"], m["block"]) for m in report["mistakes"]] == [("last example only", "b1")]
    assert "labels 1 … K" in report["layout"]
    report = check("def cost(theta, X, y):\n    return 1\n", "--json", status=2)
    assert report["verdict"] == "unchecked"
    assert "not a pair (J, gradient)" in report["reason"]
    report = check(planted.write("jax", planted.ENTROPY), "--json", "--sizes", "6,4,3", status=0)
    assert "6-4-3" in report["layout"]
    assert "weight decay ½λ/m ‖·‖² on W1, W2" in report["cost"]


BAD = {
    "sys.exit": ("import sys\nsys.exit(3)\n", "sys.exit(3)"),
    "sys.exit in the function": (
        "import sys\ndef cost(theta, X, y):\n    sys.exit(0)\n", "sys.exit(0)"),
    "dies": ("import os\nos._exit(5)\n", "exit status 5"),
    "crashes": ("import ctypes\ndef cost(theta, X, y):\n    ctypes.string_at(0)\n", "signal 11"),
    "endless": ("while True:\n    pass\n", "the file cannot be run: TimeoutError: not done"),
    "endless in the function": (
        "def cost(theta, X, y):\n    while True:\n        pass\n", "not done after 2 seconds"),
    "syntax": ("def cost(theta, X, y:\n    pass\n", "SyntaxError in line 1"),
    "import": ("import no_such_module\n", "ModuleNotFoundError"),
    "no function": ("x = 1\n", "no function of theirs.py takes"),
    "undefined name": ("def cost(theta, X, y):\n    return wumpus, theta\n", "wumpus"),
    "unknown argument": ("def cost(theta, X, y, wumpus):\n    return 0, theta\n", "'wumpus'"),
    "random": (
        "import numpy as np\ndef cost(theta, X, y):\n    return np.random.rand(), theta\n",
        "two calls with the same arguments"),
    "two functions": (RIGHT + RIGHT[RIGHT.index("def cost"):].replace("cost", "cost2"),
                      "name one of theirs.py:cost, theirs.py:cost2"),
}  # fmt: skip


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_code_that_cannot_be_checked(check, text):
    report = check(text[0], "--json", "--seconds", "2", status=2)
    assert report["verdict"] == "unchecked"
    assert text[1] in report["reason"]


def test_names_and_options_that_do_not_exist(jaxlab, check, tmp_path):
    report = check(RIGHT, "--json", function=":wumpus", status=2)
    assert report["reason"].startswith("theirs.py has no function 'wumpus'; it has: sigmoid")
    assert "there is no file" in jaxlab("check", "nowhere.py", status=2).stdout
    for option, value in (
        ("--sizes", "8"), ("--sizes", "a,b"), ("--layout", "x"), ("--cost", "x"),
        ("--seconds", "0"), ("--seconds", "inf"), ("--seed", "-1"), ("--csv", "x.csv"),
    ):  # fmt: skip
        assert option in jaxlab("check", "theirs.py", option, value, status=2).stderr
    (tmp_path / "empty").mkdir()
    assert "no .py or .ipynb files" in jaxlab("check", "empty", status=2).stderr
    assert "runs their code" in jaxlab("check", "--help").stdout.lower()


def test_prints_and_input_do_not_mix_with_the_answer(check):
    noisy = RIGHT.replace(
        "    layers, start = [], 0",
        "    import os\n    print('x' * 10**6)\n    os.system('echo hello; echo hello >&2')\n"
        "    layers, start = [], 0",
    )
    report = check(f"print('y' * 10**6)\n{noisy}", "--json", status=0)
    assert report["verdict"] == "right"
    report = check(f"{RIGHT}\ninput()\n", "--json", status=0)
    assert "EOFError" in report["note"]


def test_what_a_file_started_ends_with_it(check, tmp_path):
    text = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3); "
        'open(\\"alive\\", \\"w\\")\'])\n'
        "while True:\n    pass\n"
    )
    check(text, "--seconds", "1", status=2)
    time.sleep(3.5)
    assert not (tmp_path / "alive").exists()


def test_a_folder(jaxlab, tmp_path):
    folder = tmp_path / "class"
    (folder / "group").mkdir(parents=True)
    (folder / "a.py").write_text(RIGHT)
    (folder / "b.py").write_text(wrong("loops", "a(1+a), loop"))
    (folder / "c.py").write_text("while True:\n    pass\n")
    (folder / "group" / "d.py").write_text("syntax error")
    done = jaxlab("check", "class", "--seconds", "2", "--csv", "out.csv", status=1)
    lines = done.stdout.splitlines()
    assert "running their code" in lines[0]
    assert lines[-1] == "4 files: 1 right, 1 wrong, 2 unchecked"
    assert [line.split()[:2] for line in lines[1:-1]] == [
        ["a.py", "right"], ["b.py", "wrong"], ["c.py", "unchecked"], ["group/d.py", "unchecked"],
    ]  # fmt: skip
    assert "W1, b1" in lines[2]
    assert "plus sign" in lines[2]
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["verdict"] for row in rows] == ["right", "wrong", "unchecked", "unchecked"]
    assert rows[1]["wrong_blocks"] == "W1 b1"
    (folder / "b.py").unlink()
    done = jaxlab("check", "class", "--seconds", "2", "--json", status=2)
    assert [r["verdict"] for r in json.loads(done.stdout)] == ["right", "unchecked", "unchecked"]
    (folder / "c.py").unlink()
    (folder / "group" / "d.py").unlink()
    jaxlab("check", "class", status=0)


def test_several_files(jaxlab, tmp_path):
    (tmp_path / "group").mkdir()
    both = RIGHT + wrong("loops", "a(1+a), loop").replace("def cost(", "def other(")
    for name, text in {"a.py": RIGHT, "two.py": both, "group/-b.py": RIGHT}.items():
        (tmp_path / name).write_text(text)
    # What is imported is Python's, not what lies in the folder.
    (tmp_path / "json.py").write_text("raise SystemExit('not this')")
    asked = ["a.py", "two.py:cost", "two.py:other", "gone.py", tmp_path / "group"]
    done = jaxlab("check", *asked, "--csv", "t.csv", "--seed", "3", status=1)
    assert done.stdout.splitlines()[0] == "5 files, checked by running their code"
    assert done.stdout.splitlines()[-1] == "5 files: 3 right, 1 wrong, 1 unchecked"
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert [(row["file"], row["verdict"]) for row in rows] == [
        ("a.py", "right"), ("two.py:cost", "right"), ("two.py:other", "wrong"),
        ("gone.py", "unchecked"), (f"{tmp_path}/group/-b.py", "right"),
    ]  # fmt: skip
    assert "there is no file" in rows[3]["reason"]
    assert "name a file" in jaxlab("check", status=2).stderr
    (tmp_path / "group" / "new\nline.py").write_text(RIGHT)
    assert "\nnew?line.py  right" in jaxlab("check", "group", status=0).stdout
    # Each with the options that were given.
    reports = json.loads(jaxlab("check", "a.py", "group", "--sizes", "4,3", "--json").stdout)
    assert all("4-3" in report["layout"] for report in reports), reports


@pytest.mark.skipif(cores() < 2, reason="there is one core")
def test_as_many_at_once_as_there_are_cores(jaxlab, tmp_path):
    waits = "import pathlib, time\n{}.touch()\nwhile not {}.exists():\n    time.sleep(0.01)\n"
    one, other = ("pathlib.Path('one')", "pathlib.Path('other')")
    (tmp_path / "a.py").write_text(waits.format(one, other) + RIGHT)
    (tmp_path / "b.py").write_text(waits.format(other, one) + RIGHT)
    done = jaxlab("check", "a.py", "b.py", status=0)
    assert done.stdout.splitlines()[-1] == "2 files: 2 right"


def test_stopped_in_the_middle_of_a_folder(python, tmp_path):
    folder = tmp_path / "class"
    folder.mkdir()
    (folder / "a.py").write_text(RIGHT)
    (folder / "b.py").write_text("open('there', 'w').write('x')\nwhile True:\n    pass\n")
    command = [python, "-I", "-m", "jaxlab", "check", "class", "--csv", "t.csv", "--seconds", "60"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (folder / "there").exists() or "right" not in (tmp_path / "t.csv").read_text():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.splitlines()[-1].split() == ["a.py", "right"]
    assert complained.strip() == "jaxlab check: stopped; what was finished stays."
    assert "a.py,cost,right" in (tmp_path / "t.csv").read_text()
    assert not _hold(folder)  # what it ran has ended with it


COURSERA = """
import numpy as np

def sigmoid(z):
    return 1 / (1 + np.exp(-z))

def nnCostFunction(nn_params, input_layer_size, hidden_layer_size, num_labels, X, y, Lambda):
    split = hidden_layer_size * (input_layer_size + 1)
    Theta1 = nn_params[:split].reshape((hidden_layer_size, input_layer_size + 1), order="F")
    Theta2 = nn_params[split:].reshape((num_labels, hidden_layer_size + 1), order="F")
    m = X.shape[0]
    a1 = np.c_[np.ones(m), X]
    z2 = a1 @ Theta1.T
    a2 = np.c_[np.ones(m), sigmoid(z2)]
    h = sigmoid(a2 @ Theta2.T)
    Y = np.eye(num_labels)[y - 1]
    J = -(Y * np.log(h) + (1 - Y) * np.log(1 - h)).sum() / m
    J += Lambda / (2 * m) * ((Theta1[:, 1:] ** 2).sum() + (Theta2[:, 1:] ** 2).sum())
    d3 = h - Y
    d2 = (d3 @ Theta2[:, 1:]) * sigmoid(z2) * (1 - sigmoid(z2))
    T1, T2 = d2.T @ a1 / m, d3.T @ a2 / m
    T1[:, 1:] += Lambda / m * Theta1[:, 1:]
    T2[:, 1:] += Lambda / m * Theta2[:, 1:]
    return J, np.concatenate([T1.ravel(order="F"), T2.ravel(order="F")])
"""
UFLDL_SOFTMAX = """
import numpy as np

def softmax_cost(theta, num_classes, input_size, lambda_, data, labels):
    theta = theta.reshape(num_classes, input_size)
    m = data.shape[1]
    truth = np.eye(num_classes)[:, labels]
    z = theta @ data
    p = np.exp(z - z.max(axis=0))
    p /= p.sum(axis=0)
    J = -(truth * np.log(p)).sum() / m + lambda_ / 2 * (theta ** 2).sum()
    return J, (-(truth - p) @ data.T / m + lambda_ * theta).ravel()
"""
UFLDL_SPARSE = """
import numpy as np

def sigmoid(x):
    return 1 / (1 + np.exp(-x))

def sparse_autoencoder_cost(theta, visible_size, hidden_size, lambda_, sparsity_param, beta, data):
    n = hidden_size * visible_size
    W1 = theta[:n].reshape(hidden_size, visible_size)
    W2 = theta[n:2 * n].reshape(visible_size, hidden_size)
    b1, b2 = theta[2 * n:2 * n + hidden_size], theta[2 * n + hidden_size:]
    m = data.shape[1]
    a2 = sigmoid(W1 @ data + b1[:, None])
    h = sigmoid(W2 @ a2 + b2[:, None])
    rho_hat, rho = a2.sum(axis=1) / m, sparsity_param
    kl = rho * np.log(rho / rho_hat) + (1 - rho) * np.log((1 - rho) / (1 - rho_hat))
    J = ((h - data) ** 2).sum() / (2 * m) + lambda_ / 2 * ((W1 ** 2).sum() + (W2 ** 2).sum())
    J += beta * kl.sum()
    d3 = (h - data) * h * (1 - h)
    s = -rho / rho_hat + (1 - rho) / (1 - rho_hat)
    d2 = (W2.T @ d3 + beta * s[:, None]) * a2 * (1 - a2)
    return J, np.concatenate([(d2 @ data.T / m + lambda_ * W1).ravel(),
        (d3 @ a2.T / m + lambda_ * W2).ravel(), d2.sum(axis=1) / m, d3.sum(axis=1) / m])
"""
CS231N = """
import numpy as np

def softmax_loss_vectorized(W, X, y, reg):
    z = X @ W
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    n = len(X)
    loss = -np.log(p[range(n), y]).mean() + reg * (W * W).sum()
    p[range(n), y] -= 1
    return loss, X.T @ p / n + 2 * reg * W
"""


def test_labs_of_other_courses(check):
    report = check(COURSERA, "--json", status=0)
    assert "bias as first column, column by column" in report["layout"]
    assert "labels 1 … K" in report["layout"]
    assert "weight decay ½λ/m ‖·‖² on W1, W2" in report["cost"]
    kept = COURSERA.replace("T1[:, 1:] += Lambda / m * Theta1[:, 1:]", "T1 += Lambda / m * Theta1")
    (mistake,) = check(kept, "--json", status=1)["mistakes"]
    assert (mistake["id"], mistake["block"]) == ("bias decayed", "b1")

    report = check(UFLDL_SOFTMAX, "--json", status=0)
    assert "without biases" in report["layout"]
    assert "one example a column" in report["layout"]
    negative = UFLDL_SOFTMAX.replace("-(truth - p)", "(truth - p)")
    (mistake,) = check(negative, "--json", status=1)["mistakes"]
    assert (mistake["id"], mistake["block"]) == ("sign", "W1")

    report = check(CS231N, "--json", status=0)
    assert "weight decay λ ‖·‖² on W1" in report["cost"]
    (mistake,) = check(CS231N.replace("2 * reg", "reg"), "--json", status=1)["mistakes"]
    assert mistake["id"] == "decay factor"

    report = check(UFLDL_SPARSE, "--json", status=0)
    assert "sparsity 3 Σ KL(0.05 ‖ ρ̂)" in report["cost"]
    without = UFLDL_SPARSE.replace("+ beta * s[:, None]", "")
    (mistake,) = check(without, "--json", status=1)["mistakes"]
    assert (mistake["id"], mistake["block"]) == ("sparsity missing", "W1, b1")
    # Another penalty is none that is known.
    other = UFLDL_SPARSE.replace("kl = rho", "kl = rho**2 + rho")
    other = other.replace("beta * kl.sum()", "beta * (a2.mean(axis=1) ** 3).sum()")
    other = other.replace("s = -rho / rho_hat + (1 - rho) / (1 - rho_hat)", "s = 3 * rho_hat**2")
    assert "differences of J alone" in check(other, "--json", status=0)["cost"]


def test_costs_that_are_another_one_are_judged_by_their_own_gradient(check):
    sums = RIGHT.replace(" / m", "")
    report = check(sums, "--json", status=0)
    assert "sum over the examples" in report["cost"]
    no_half = RIGHT.replace("0.5 * ((a", "((a").replace("delta = (a[", "delta = 2 * (a[")
    assert "without ½" in check(no_half, "--json", status=0)["cost"]
    (mistake,) = check(RIGHT.replace("0.5 * ((a", "((a"), "--json", status=1)["mistakes"]
    assert mistake["id"] == "factor"


def test_an_example_settles_everything(check):
    odd = RIGHT.replace("cost(theta, X, Y, sizes, lambda_)", "cost(p, q, r, s, t)").replace(
        "    layers, start",
        "    theta, X, Y, sizes, lambda_ = p, q, r, s.sizes, t\n    layers, start",
    )
    odd += """
class Settings:
    sizes = (6, 4, 3)

def example():
    rng = np.random.default_rng(0)
    Y = np.eye(3)[rng.integers(0, 3, 9)]
    return rng.standard_normal(43), rng.random((9, 6)), Y, Settings(), 0.1
"""
    report = check(odd, "--json", function=":cost", status=0)
    assert "6-4-3" in report["layout"]


def test_float32(check):
    single = (
        wrong("rows", "no σ′ in any hidden layer")
        .replace(
            "    layers, start",
            "    theta, X = np.float32(theta), np.float32(X)\n    layers, start",
        )
        .replace("return J, np.concatenate(pieces)", "return J, np.float32(np.concatenate(pieces))")
    )
    report = check(single, "--json", status=1)
    assert [m["id"] for m in report["mistakes"]] == ["derivative missing"]
    right = single.replace("(delta @ W)", "(delta @ W) * slope(a[l])")
    assert check(right, "--json", status=0)["verdict"] == "right"


def test_a_gradient_of_another_form(check):
    transposed = (
        planted.write("jax", planted.SQUARED)
        .replace("X.T @ d2 / m", "d2.T @ X / m")
        .replace(" + reg / m * W1", "")
    )
    (mistake,) = check(transposed, "--json", status=1)["mistakes"]
    assert (mistake["id"], mistake["block"]) == ("shape", "W1")
    short = RIGHT.replace("np.concatenate(pieces)", "np.concatenate(pieces)[:-1]")
    (mistake,) = check(short, "--json", status=1)["mistakes"]
    assert mistake["id"] == "shape"


def test_names_of_arguments():
    for name, role in {
        "X": "data", "X_train": "data", "train_data": "data", "Y": "target", "y_batch": "target",
        "inputLayerSize": "n_in", "hidden_size": "n_hidden", "num_labels": "n_out",
        "layer_dims": "sizes", "lambda_": "decay", "Lambda": "decay", "reg": "decay",
        "weight_decay": "decay", "wumpus": None,
    }.items():  # fmt: skip
        assert roles.role_of(name) == role


# A cost that the lab has none of, with as many parameters as are looked at in part.
UNKNOWN = """
import numpy as np

def cost(params, X, y):
    W = params["W"]
    e = np.tanh(X @ W.T) - y
    grad = 3 * (e ** 2 * (1 - np.tanh(X @ W.T) ** 2)).T @ X
    grad[7, 3:8] *= FACTOR
    return (e ** 3).sum(), {"W": grad}

def example():
    rng = np.random.default_rng(0)
    return {"W": rng.standard_normal((20, 30)) / 6}, rng.random((9, 30)), rng.random((9, 20))
"""


def test_what_is_looked_at_in_part_is_looked_at_as_a_whole_too(check):
    report = check(UNKNOWN.replace("FACTOR", "1"), "--json", status=0)
    assert (
        "of W 60 of 600 numbers were looked at each, and all along 4 directions" in report["note"]
    )
    report = check(UNKNOWN.replace("FACTOR", "1.5"), "--json", status=1)
    assert not report["blocks"]["W"]["ok"]


HOSTILE = """
import os
for fd in range(3, 40):
    try:
        os.write(fd, b"5\\n")
    except OSError:
        pass
"""
EMPTY = """
import numpy as np

def cost(params, X):
    return (params["W"] ** 2).sum(), {"W": 2 * params["W"], "b": params["b"]}

def example():
    return {"W": np.ones(3), "b": np.zeros(0)}, np.ones((2, 3))
"""


def test_one_file_is_no_obstacle_to_the_others(jaxlab, tmp_path):
    folder = tmp_path / "handins"
    folder.mkdir()
    waits = "def wait(params, foo, bar, seconds):\n    pass\n"
    files = {"a.py": HOSTILE + RIGHT, "b.py": EMPTY, "c.py": waits + RIGHT, "d.py": RIGHT}
    for name, text in files.items():
        (folder / name).write_text(text)
    done = jaxlab("check", "handins", "--csv", "table.csv", status=2)
    rows = csv.DictReader((tmp_path / "table.csv").read_text().splitlines())
    verdicts = {row["file"]: row["verdict"] for row in rows}
    assert verdicts == {"a.py": "unchecked", "b.py": "right", "c.py": "right", "d.py": "right"}
    assert "4 files: 3 right, 1 unchecked" in done.stdout


KILLS = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n"
STOPS = "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\n"
ANSWERS = """
import json, os
out = os.open(f"/proc/{os.getppid()}/fd/1", os.O_WRONLY)
os.write(out, (json.dumps(["1", {"file": "a.py", "verdict": "right"}]) + chr(10)).encode())
"""


@pytest.mark.parametrize("first", [KILLS, STOPS, ANSWERS], ids=["kills", "stops", "answers"])
def test_a_file_changes_no_verdict_but_its_own(tmp_path, monkeypatch, first):
    monkeypatch.setattr(many, "cores", lambda: 1)
    monkeypatch.setattr(many, "PATIENCE", 1.0)
    files = {"a.py": first, "b.py": wrong("loops", "a(1+a), loop"), "c.py": RIGHT}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    targets = [(tmp_path / name, "") for name in files]
    reports = [*many.check_many(targets, Options(), 10.0)]
    assert [report.verdict for report in reports] == ["unchecked", "wrong", "right"]
    assert "the process that checked it was ended, stopped" in reports[0].reason
    assert reports[2].file == str(tmp_path / "c.py")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_where_the_command_is_ended(python, tmp_path, end):
    folder = tmp_path / "class"
    folder.mkdir()
    for name in ("a", "b"):
        text = f"open('{name}', 'w').close()\nwhile True:\n    pass\n"
        (folder / f"{name}.py").write_text(text)
    process = subprocess.Popen(
        [python, "-I", "-m", "jaxlab", "check", "class", "--seconds", "60"], cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while not (folder / "a").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(end)
    process.wait(timeout=20)
    end_of_patience = time.monotonic() + 10
    while _hold(folder):
        assert time.monotonic() < end_of_patience
        time.sleep(0.05)


def _hold(folder):
    """Whether a process is in the folder, as those that run its files are."""
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if entry.resolve() == folder.resolve():
                return True
    return False


def test_in_the_background_of_a_script_that_ignores_interrupts(python, tmp_path):
    (tmp_path / "a.py").write_text(RIGHT)
    done = subprocess.run(
        f"trap '' INT; {python} -I -m jaxlab check . --json", shell=True, cwd=tmp_path,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert [report["verdict"] for report in json.loads(done.stdout)] == ["right"]


def test_a_closed_output_is_no_failure(python, tmp_path):
    (tmp_path / "a.py").write_text(RIGHT)
    command = f"{python} -I -m jaxlab check a.py >&-"
    done = subprocess.run(command, shell=True, cwd=tmp_path, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_fault_of_the_checker_is_no_verdict(tmp_path, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(judge, "_check", fail)
    (tmp_path / "mine.py").write_text(RIGHT)
    report = judge.check_file(tmp_path / "mine.py", "", Options(), 20.0)
    assert report.verdict == "unchecked"
    assert report.reason == "a fault of jaxlab's own, ZeroDivisionError: planted"
