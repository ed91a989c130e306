"""Every command and every program in the README is run, and says what the README says.

A new command needs no new test as long as a line of RULES fits it; where none does, the test
fails and says so.
"""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tiny_mnist
from scipy.io import savemat

from jaxlab import load_digits

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


class Rule(NamedTuple):
    """What is run for a command that fits the pattern.

    run: what is run for it, with the pattern's groups; None where the script of CI does so.
    why: the reason, where that is not the command itself; for CI the script's own words.
    """

    pattern: str
    run: str | None
    why: str = ""
    status: int = 0
    slow: bool = False


MINUTES = "it takes minutes"
RULES = (
    Rule(r"python3 -m venv .* && \.venv/bin/jaxlab report( .*)?", r"jaxlab report\1 --quick",
         f"{MINUTES}, and tests of commands run an installed wheel anyway", slow=True),
    Rule(r"python3 -m venv .* && \.venv/bin/pip install -e '\.\[test\]'( && .*)?", None,
         "<!-- test command -->"),
    Rule(r"\.venv/bin/python -m pytest tests/test_backprop.py", None, "<!-- test command -->"),
    Rule(r"\.venv/bin/ruff format \. && \.venv/bin/ruff check \. && \.venv/bin/mypy", None,
         ".venv/bin/ruff format --check .\n.venv/bin/ruff check .\n.venv/bin/mypy"),
    Rule(r"jaxlab report( .*)?", r"jaxlab report\1 --quick", MINUTES, slow=True),
    Rule(r"jaxlab ex7 (.*--mnist-dir .*)", r"jaxlab ex7 --quick --source auto \1", MINUTES),
    Rule(r"jaxlab (ex\d)( .*)?", r"jaxlab \1\2 --quick", MINUTES),
    Rule(r"jaxlab data fetch", "jaxlab data fetch --help",
         "it needs a network; test_mnist.py fetches from a server of its own"),
    Rule(r"jaxlab data( verify)?", r"\g<0>"),
    Rule(r"jaxlab check handins/.*", r"\g<0>", status=1),  # one of the two is wrong
    Rule(r"jaxlab check .*", r"\g<0>"),
)  # fmt: skip


def commands():
    """The lines of the README's shell blocks, without what a comment says of them."""
    shell = "".join(text for language, text in BLOCKS if language == "sh")
    lines = (re.sub(r"\s+# .*", "", line).strip() for line in shell.replace("\\\n", "").split("\n"))
    return list(dict.fromkeys(filter(None, lines)))


def rule_for(command):
    for rule in RULES:
        if match := re.fullmatch(rule.pattern, command):
            return rule, rule.run and match.expand(rule.run)
    raise AssertionError(f"no rule of tests/test_readme.py fits the README's {command!r}: add one")


COLUMNS = """
import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def cost(theta, n_in, n_hidden, n_out, X, Y):
    ends = np.cumsum([n_hidden * n_in, n_hidden, n_out * n_hidden])
    W1, b1, W2, b2 = np.split(theta, ends)
    W1, W2 = W1.reshape(n_hidden, n_in), W2.reshape(n_out, n_hidden)
    m = X.shape[1]
    a2 = sigmoid(W1 @ X + b1[:, None])
    a3 = sigmoid(W2 @ a2 + b2[:, None])
    J = 0.5 * ((a3 - Y) ** 2).sum() / m
    d3 = (a3 - Y) * a3 * (1 - a3)
    d2 = (W2.T @ d3) * a2 * (1 - a2)
    dW1, db1 = d2 @ X.T / m, d2.mean(1)
    dW2, db2 = d3 @ a2.T / m, d3.mean(1)
    return J, np.concatenate([dW1.ravel(), db1, dW2.ravel(), db2])
"""
# What the README changes in such a program → what stood there.
PLANTED = {
    "d2 = (W2.T @ (a3 - Y)) * a2 * (1 - a2)": "d2 = (W2.T @ d3) * a2 * (1 - a2)",
    "d3.sum(1)": "d3.mean(1)",
    "(W2.T @ d3**2) * a2 * (1 - a2)": "(W2.T @ d3) * a2 * (1 - a2)",
}


@pytest.fixture
def files(tmp_path):
    """What a reader has in the folder: digits, functions to check, a data set in IDX form."""
    digits = load_digits(limit=500)
    parts = (digits.train, digits.validation, digits.test)
    x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    savemat(tmp_path / "smallmnist.mat", {"X": x, "y": np.where(y == 0, 10, y)[:, np.newaxis]})
    (tmp_path / "mine.py").write_text(COLUMNS)
    (tmp_path / "handins").mkdir()
    (tmp_path / "handins" / "ada.py").write_text(COLUMNS)
    (tmp_path / "handins" / "bob.py").write_text(COLUMNS.replace("d3.mean(1)", "d3.sum(1)"))
    # As many as --quick takes of small MNIST: the same compiled program.
    arrays = (tiny_mnist.images(2000), tiny_mnist.labels(2000)) * 2
    contents = dict(zip(tiny_mnist.NAMES, map(tiny_mnist.idx, arrays), strict=True))
    tiny_mnist.write(tmp_path / "fashion", contents)


def slow(command):
    return any(rule.slow and re.fullmatch(rule.pattern, command) for rule in RULES)


@pytest.mark.parametrize(
    "command",
    [pytest.param(c, marks=[pytest.mark.slow] if slow(c) else [], id=c) for c in commands()],
)
def test_the_command_runs(jaxlab, files, command):
    rule, run = rule_for(command)
    if run is None:
        assert rule.why in (ROOT / ".ci" / "run").read_text()
        return
    assert rule.why or run == command
    program, *arguments = shlex.split(run)
    assert program == "jaxlab"
    assert jaxlab(*arguments, status=rule.status).stdout.strip()


def test_every_block_is_of_a_kind_that_is_tested():
    assert len(BLOCKS) == README.count("\n```") / 2
    assert {language for language, _ in BLOCKS} <= {"sh", "python", "text", "console"}


def programs():
    """(program, what it prints) of each Python block and the text block that comes next."""
    kinds = [language for language, _ in BLOCKS]
    found = []
    for i, (language, text) in enumerate(BLOCKS):
        if language == "python":
            assert kinds[i + 1 : i + 2] == ["text"], "say below the program what it prints"
            found.append((text, BLOCKS[i + 1][1]))
    return found


@pytest.mark.parametrize("program", range(README.count("\n```python")))
def test_the_program_prints_what_the_readme_says(jaxlab, files, tmp_path, program):
    code, said = programs()[program]
    (tmp_path / "example.py").write_text(code)
    said, printed = said.splitlines(), jaxlab(program=["example.py"]).stdout.splitlines()
    assert len(said) == len(printed), "\n".join(printed)
    for line, other in zip(said, printed, strict=True):
        assert similar(line, other), f"the README says {line!r}, and what comes out is {other!r}"


def outputs():
    """(paragraph before it, its lines) of each block of output of a command."""
    found = re.findall(
        r"(?:^|\n\n)([^\n]+(?:\n[^\n]+)*)\n\n```console\n(.*?)^```$",
        README, re.MULTILINE | re.DOTALL,
    )  # fmt: skip
    assert len(found) == README.count("\n```console")
    return found


@pytest.mark.parametrize("output", range(README.count("\n```console")))
def test_the_check_says_what_the_readme_says(jaxlab, tmp_path, output):
    paragraph, said = outputs()[output]
    changes = [wrong for wrong in PLANTED if f"`{wrong}`" in paragraph]
    assert len(changes) == 1, f"PLANTED does not have what is changed in: {paragraph}"
    right = PLANTED[changes[0]]
    # The last of them: of the bias gradients, that of the output layer.
    before, found, after = COLUMNS.rpartition(right)
    assert found
    (tmp_path / "mine.py").write_text(before + changes[0] + after)
    printed = jaxlab("check", "mine.py", status=1).stdout.splitlines()
    rest = iter(printed)  # the README may leave lines out
    for line in said.splitlines():
        assert any(similar(line, other) for other in rest), "\n".join([line, "not in", *printed])


def similar(line, other):
    """Word by word the same, numbers nearly so."""
    words, others = line.split(), other.split()
    return len(words) == len(others) and all(map(same_word, words, others))


def same_word(word, other):
    if word == other:
        return True
    if not (re.fullmatch(r"\d\.\d+(e-\d+)?", word) and re.fullmatch(r"\d\.\d+(e-\d+)?", other)):
        return False
    # What is next to rounding is another number on every processor; the rest is not.
    rounding = float(word) < 1e-9
    return float(other) == pytest.approx(float(word), rel=0.02) or (
        rounding and float(word) / 30 < float(other) < 30 * float(word)
    )


def test_commands_in_the_text_have_the_options_that_it_names(jaxlab):
    helped = {}
    for words in re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", README, flags=re.M | re.S)):
        command, *arguments = words.removeprefix(".venv/bin/").split()
        if command == "python" and arguments:
            assert (ROOT / arguments[0]).is_file(), words
        if command != "jaxlab" or not arguments or arguments[0].startswith("-"):
            continue
        name = arguments[0]
        if name not in helped:
            helped[name] = jaxlab(name, "--help").stdout
        for option in re.findall(r"--[a-z-]+", " ".join(arguments)):
            assert option in helped[name], words
    assert helped
