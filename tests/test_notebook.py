"""The notebook as a stranger runs it: no jaxlab yet, an empty folder, a wheel beside it."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import jax
import nbformat
import pytest

from jaxlab import terminal
from jaxlab.convnet.presets import PRESETS
from jaxlab.results import Result

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "scripts" / "lab3_colab.ipynb"
PLOTS = {
    "ex1": {"differences", "steps"},
    "ex2": {"digits", "curves", "confusion", "misclassified", "hidden"},
    "ex3": {"differences"},
    "ex4": {"reconstructions", "hidden", "iterations"},
    "ex5": {"accuracies", "bias-variance"},
    "ex6": {"accuracies", "validation"},
    "ex7": {"curves", "confusion", "misclassified", "filters"},
}


def test_it_is_well_formed_and_without_outputs():
    raw = json.loads(NOTEBOOK.read_text())
    assert (raw["nbformat"], raw["nbformat_minor"]) == (4, 5)
    nbformat.validate(raw)
    code = [cell for cell in raw["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    # As nbformat writes it: a change made in Jupyter is the only change of its file.
    assert NOTEBOOK.read_text() == nbformat.writes(nbformat.from_dict(raw)) + "\n"
    quick = next(cell["source"] for cell in code if cell["id"] == "quick")
    assert "".join(quick).startswith("QUICK = False")


def test_the_full_setting_of_every_exercise_is_one(cells):
    """It is run in the quick setting alone: in full it takes half an hour."""
    namespace = {"PRESETS": PRESETS} | {f"ex{n}": import_module(f"jaxlab.exercises.ex{n}")
                                        for n in range(1, 8)}  # fmt: skip
    imports = cells["quick"].source.splitlines()
    assert "from jaxlab.convnet.presets import PRESETS" in imports
    for n in range(1, 8):
        asked = re.search(r"\.run\((.+)\)$", cells[f"ex{n}-run"].source, re.MULTILINE)[1]
        config = eval(asked, namespace | {"QUICK": False})
        assert type(config) is namespace[f"ex{n}"].Config
    assert vars(config).items() >= vars(PRESETS["short"]).items()  # of exercise 7


@pytest.fixture
def cells():
    return {cell.id: cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells}


@pytest.fixture(scope="module")
def executed(bare_python, wheel, cache, tmp_path_factory):
    """Its cells by name, after a run from top to bottom in the quick setting."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / wheel.name).symlink_to(wheel)
    shutil.copy(NOTEBOOK, folder)
    kernel = folder / "jupyter" / "kernels" / "bare"
    kernel.mkdir(parents=True)
    argv = [str(bare_python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "without jaxlab", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    done = subprocess.run(
        [sys.executable, "-c", "from nbclient.cli import main; main()",
         NOTEBOOK.name, "--kernel_name=bare", "--inplace"],
        cwd=folder, capture_output=True, text=True, timeout=600,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "JUPYTER_PATH": str(folder / "jupyter"),
            "JAXLAB_QUICK": "1",
            # Fonts and programs that commands in other tests have read or compiled.
            "XDG_CACHE_HOME": str(cache),
            "JAX_COMPILATION_CACHE_DIR": str(cache / "jaxlab" / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return {cell.id: cell for cell in nbformat.read(folder / NOTEBOOK.name, as_version=4).cells}


def printed(cell):
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def shown(cell, kind):
    """What the cell shows of one media type."""
    return [output.data[kind] for output in cell.outputs if kind in output.get("data", {})]


def test_it_installs_jaxlab_beside_the_jax_that_is_there(executed):
    said = printed(executed["install"])
    assert re.search(r"installing \S+/jaxlab-\S+\.whl", said)
    assert f", jax {jax.__version__}, on" in said
    assert "the numbers below mean nothing" in printed(executed["quick"])


def test_every_plot_is_there(executed):
    for exercise, plots in PLOTS.items():
        for plot in plots:
            (image,) = shown(executed[f"{exercise}-{plot}"], "image/png")
            assert len(image) > 5_000
    images = {name for name, cell in executed.items() if "outputs" in cell
              and shown(cell, "image/png")}  # fmt: skip
    assert images == {f"{exercise}-{plot}" for exercise in PLOTS for plot in PLOTS[exercise]}


def test_every_exercise_gives_its_answer(executed):
    for n in range(1, 8):
        answer = shown(executed[f"ex{n}-run"], "text/html")[-1]
        assert answer.startswith(f"<b>Exercise {n}: ")
        assert "<table>" in answer
    assert "accuracy</td>" in shown(executed["ex7-run"], "text/html")[-1]
    for name in ("ex1-check", "ex3-check", "ex6-check"):
        verdict = printed(executed[name]).splitlines()[-1].split()
        assert (verdict[0], verdict[-1]) == ("all", "right")


def test_progress_leaves_nothing_behind(executed):
    for n in range(1, 8):
        bar, *_ = outputs = executed[f"ex{n}-run"].outputs
        assert bar.data["text/html"] == ""
        for output in outputs:
            assert output.output_type != "stream", output.text
            assert "<progress" not in output.data["text/html"]


def test_a_planted_mistake_is_named_and_a_missing_gradient_as_well(executed):
    mistake = printed(executed["own-mistake"])
    assert verdicts(mistake) == {"W1": "right", "b1": "right", "W2": "right", "b2": "WRONG"}
    assert re.search(r"^b2 .*1/m forgotten", mistake, re.MULTILINE)
    missing = printed(executed["own-function"])
    assert verdicts(missing) == {"W1": "WRONG", "b1": "WRONG", "W2": "right", "b2": "right"}
    assert re.search(r"^W1 and b1 .*zero", missing, re.MULTILINE)


def verdicts(table):
    rows = [line.split() for line in table.splitlines()]
    return {row[0]: row[-1] for row in rows if row and row[0] != "all"
            and row[-1] in ("right", "WRONG")}  # fmt: skip


def test_a_bar_shows_how_far_it_is_and_goes(monkeypatch):
    frames = []

    class Handle:
        def update(self, html):
            frames.append(html.data)

    monkeypatch.setattr("IPython.display.display", lambda html, display_id: Handle())
    monkeypatch.setattr(terminal.err, "is_jupyter", True)
    monkeypatch.setattr(terminal, "SECONDS_A_FRAME", 0)
    with terminal.progress("W < b", 8) as advance:
        advance(2, note="J 0.5")
        advance(4)
    assert 'W &lt; b <progress value="2" max="8"></progress> 2/8 J 0.5' in frames[0]
    assert 'value="6"' in frames[1]
    assert frames[2:] == [""]


def test_a_result_shows_its_answer_and_what_went_wrong():
    problems = [f"network {n}: a < b" for n in range(6)]
    shown = Result("ex9", "A & B", None, {}, {}, [("cost", "< 1")], "W1  right", problems)
    html = shown._repr_html_()
    assert html.startswith("<b>Exercise 9: A &amp; B</b><pre>W1  right</pre><table>")
    assert "&lt; 1</td>" in html
    assert html.count("a &lt; b") == 4
    assert "and 2 more" in html


def test_without_the_project_it_says_what_to_do(cells, tmp_path, monkeypatch):
    definitions = cells["install"].source.split("before = versions()")[0]
    namespace = {}
    exec(definitions, namespace)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="upload the project as a zip file there"):
        namespace["project"]()
    # Other people's archives are left alone; the project's is unpacked and found.
    write_zip(tmp_path / "a.zip", {"a/readme.txt": ""})
    write_zip(tmp_path / "b.zip", {"b/pyproject.toml": "", "b/jaxlab/backprop.py": ""})
    assert namespace["project"]() == tmp_path / "unpacked" / "b"
    assert not (tmp_path / "unpacked" / "a").exists()
    # From a clone the notebook is opened in its own folder.
    monkeypatch.chdir(NOTEBOOK.parent)
    assert namespace["project"]() == ROOT


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
