"""The benchmarks: what is measured is measured in turns, and where it is written."""

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from jaxlab import OptionError, OutputError
from jaxlab.bench import command
from jaxlab.bench.growth import Growth
from jaxlab.bench.timing import Row, Timing, take_turns


def test_contenders_take_turns_and_the_slower_takes_longer():
    order = []

    def contender(name, seconds):
        def call():
            order.append(name)
            time.sleep(seconds)

        return call

    times = take_turns({"jaxlab": contender("a", 0.04), "peer": contender("b", 0.12)}, blocks=3)
    # Three calls to get ready, then in every block one that does not count and one that does.
    assert "".join(order[:6]) == "aaabbb"
    assert {"".join(order[i : i + 4]) for i in (6, 10, 14)} <= {"aabb", "bbaa"}
    assert len(order) == 18
    row = Row("sleeping", times)
    assert 2 < row.ratio("peer") < 4
    assert times["jaxlab"].best <= times["jaxlab"].median


def timing(seconds):
    return Timing(seconds, seconds, seconds, 1)


@pytest.fixture
def measured(monkeypatch):
    """Numbers in place of measurements."""

    def row(work, ours, goal, **others):
        times = {who: timing(seconds) for who, seconds in {"jaxlab": ours, **others}.items()}
        return Row(work, times, {"NumPy": 1.0, "SciPy": goal}, 1e9, "float64")

    rows = [
        row("a product", 0.002, 1.0, NumPy=0.003, SciPy=0.002),
        row("another", 0.004, 2.0, NumPy=0.003, SciPy=0.004, PyTorch=0.001),
    ]
    grown = Growth("784-100-10", "examples", (1, 2, 4, 8), (0.001, 0.0012, 0.002, 0.0048))
    modules = {"jaxlab.bench.gradient": rows, "jaxlab.bench.growth": [grown]}
    monkeypatch.setattr(
        command, "import_module",
        lambda name: SimpleNamespace(rows=lambda: iter(modules[name]), __version__="1"),
    )  # fmt: skip
    monkeypatch.setattr(command, "peak", lambda dtype: {"float32": 2e12, "float64": 1e12}[dtype])


def test_the_table_goes_between_the_marks_and_the_numbers_to_json(measured, tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- bench -->\nold\n<!-- end of bench -->\nafter\n")
    options = ["--only", "gradient,growth", "--json", str(tmp_path / "b.json")]
    options += ["--figure", str(tmp_path / "growth.svg"), "--readme", str(readme)]
    assert command.run(options) == 0
    text = readme.read_text()
    assert text.startswith("before\n<!-- bench -->\n")
    assert text.endswith("-->\nafter\n")
    assert "old" not in text
    # 1e9 operations in 2 ms are half of 1e12 a second.
    # A goal that is the same in all rows stands above; what misses its goal is bold.
    assert "| jaxlab | NumPy (≥ 1) | SciPy | others | of the best product |" in text
    assert "| a product | 2.00 ms | 1.50 | 1.00 (≥ 1) |  | 50 % |" in text
    assert "| another | 4.00 ms | **0.75** | **1.00** (≥ 2) | PyTorch 0.25 | 25 % |" in text
    # Four times the time with four times the examples.
    assert "| examples: 784-100-10 | 1.00 ms with 1 | 4.80 ms with 8 | n^1.00 |" in text
    assert text.splitlines()[2:-2] == capsys.readouterr().out.splitlines()
    record = json.loads((tmp_path / "b.json").read_text())
    assert record["rows"][0]["times"]["NumPy"]["median"] == 0.003
    assert record["environment"]["packages"]["jax"]
    assert (tmp_path / "growth.svg").read_bytes().startswith(b"<?xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "b.json", "growth.svg"]


def test_on_a_gpu_the_table_goes_between_marks_of_its_own(measured, tmp_path, monkeypatch):
    monkeypatch.setattr(command.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(command, "peak", lambda dtype: 4e14)
    readme = tmp_path / "README.md"
    cpu = "<!-- bench -->\nas it was\n<!-- end of bench -->\n"
    readme.write_text(f"{cpu}<!-- bench on a GPU -->\nold\n<!-- end of bench on a GPU -->\n")
    assert command.run(["--only", "gradient", "--readme", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith(f"{cpu}<!-- bench on a GPU -->\n")
    assert "old" not in text
    assert "400 TFLOP/s in float64" in text
    assert "| a product | 2.00 ms | 1.50 | 1.00 (≥ 1) |  | 0 % |" in text


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (["--only", "gradient,speed"], OptionError, "speed is none of gradient, training"),
        (["--readme", "absent.md"], OutputError, "absent.md has no place for the table"),
        (["--json", "absent/b.json"], OutputError, "there is no folder absent to write b.json to"),
        (["--figure", "growth.docx"], OptionError, "name a .svg, .png or .pdf"),
        (["--only", "gradient", "--figure", "g.svg"], OptionError, "leave growth among --only"),
    ],
)
def test_nonsense_is_refused_before_anything_is_measured(
    options, error, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "peak", lambda dtype: pytest.fail("it was measured"))
    with pytest.raises(error, match=words):
        command.run(options)


SET_UP = """
import jax, jaxlab.bench.command as command, jaxlab.cores as cores
def peak(dtype):
    print(len(jax.devices()))
    raise SystemExit
command.peak, cores.cores = peak, lambda: 3
command.run(["--readme", "README.md", "--figure", "growth.svg"])
"""


def test_jax_is_set_up_before_it_is_asked_for_anything(tmp_path):
    (tmp_path / "README.md").write_text("<!-- bench -->\n<!-- end of bench -->\n")
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", SET_UP], capture_output=True, text=True, timeout=60, cwd=tmp_path,
        env={**environment, "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.stdout == "3\n", done.stderr
