"""From saved results to the PDF: gathers what the pages show, and has typst set them."""

import json
import os
import re
import shutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from jaxlab import results, writing
from jaxlab.errors import OutputError
from jaxlab.report import listings
from jaxlab.report.content import CONTENT
from jaxlab.wording import counted, duration, listed

TEMPLATE = Path(__file__).parent / "typst"
QUESTIONS = {
    "ex1": "Is the hand-written gradient correct: which diff value?",
    "ex2": "Which accuracy on the training, validation and test images?",
    "ex3": "The autoencoder: which gradient difference?",
    "ex4": "How many hidden units and iterations for good reconstructions?",
    "ex5": "Which numbers of hidden units, and which is best?",
    "ex6": "Softmax on raw pixels and on autoencoder features?",
    "ex7": "Which test accuracy does a network from existing libraries reach?",
}
# Section of the lab sheet, what it asks for, and the label in the pages that has it.
CHECKLIST = (
    ("1.1", "Code of the cost function", "ex1-code"),
    ("1.1", "The diff value", "ex1-diff"),
    ("2.1", "Accuracy on the train, val and test set", "ex2-accuracy"),
    ("3.1", "Code of the autoencoder", "ex3-code"),
    ("3.1", "The gradient difference value", "ex3-diff"),
    ("4.1", "Hidden units, iterations, originals and reconstructions", "ex4-answer"),
    ("5.1", "The values selected, the plot of the accuracies", "ex5-answer"),
    ("6.2", "Accuracies of both methods, discussion", "ex6-answer"),
    ("7.1", "Code of the network", "ex7-code"),
    ("7.1", "Test accuracy", "ex7-accuracy"),
    ("7.1", "Discussion of the network and its settings", "ex7-discussion"),
)
# Of problems, before the rest is a number.
MOST_MARKS = 4
# Where a run takes its files from and leaves them: nothing that changes its numbers.
PATHS = {
    "checkpoints", "mnist_dir", "tfds_manual_dir", "checkpoint_seconds", "resume", "evaluate",
    "smoke",
}  # fmt: skip
# Settings of the other way to train.
UNUSED = {"adam": {"iterations"}, "lbfgs": {"epochs", "batch_size", "learning_rate", "shift"}}


def write(
    out: Path,
    data: dict[str, Any],
    *,
    author: str,
    course: str,
    date: str,
    command: str,
    kept: Sequence[str] = (),
) -> Path:
    """Writes OUT/lab3.pdf from what `gather` found, and returns its path.

    author, course, date: for the first page, each may be empty. command: what the reader could
    type to get this report; kept: the exercises whose results were there before. Raises
    `OutputError` where a figure is missing or damaged, or where the file cannot be written.
    """
    data |= {
        "title": "Lab 3: Neural networks and backpropagation",
        "name": author,
        "course": course,
        "date": date,
        "command": command,
        "kept": f"exercise{'s' * (len(kept) > 1)} {listed([name[2:] for name in kept])}"
        if kept
        else "",
    }
    path = out / "lab3.pdf"
    # Beside the report, so that the next run finds what a kill leaves.
    with writing.output_errors(path), writing.workplace(out) as root:
        (root / path.name).write_bytes(_set(root, out, data))
        os.replace(root / path.name, path)
    return path


def _set(root: Path, out: Path, data: dict[str, Any]) -> bytes:
    """The PDF, set in the empty folder `root`."""
    import typst

    for page in TEMPLATE.glob("*.typ"):
        shutil.copy(page, root)
    text = json.dumps(data, ensure_ascii=False)
    # A name of a file in the command may hold bytes that are no text.
    (root / "data.json").write_bytes(text.encode("utf-8", "replace"))
    for name, exercise in data["exercises"].items():
        (root / name).mkdir()
        for file in exercise["figures"].values():
            _copy(out / file, root / file, name)
    try:
        return typst.compile(str(root / "lab3.typ"), root=str(root), ignore_system_fonts=True)
    except typst.TypstError as error:
        _refuse_damaged_figures(root, out, data["exercises"])
        raise OutputError(f"the report cannot be set: {error}") from error


def gather(out: Path, names: Sequence[str]) -> dict[str, Any]:
    """Everything that the pages show of these exercises' results in OUT, in JSON's types.

    Raises `OutputError` where one is missing or damaged.
    """
    records = {name: _record(out, name) for name in names}
    differences = _differences(records)
    exercises = {name: _exercise(name, record) for name, record in records.items()}
    latest = records[names[-1]]["environment"]
    unlike = [name for name in names if records[name]["environment"] != latest]
    machine = [*_machine(latest)]
    for name in unlike:
        machine += [[f"exercise {name[2:]} {what}", value] for what, value in
                    _machine(records[name]["environment"])]  # fmt: skip
    return {
        "order": list(names),
        "exercises": exercises,
        "marks": [*_warnings(records), *differences],
        "checklist": [
            [section, item, label if label.split("-")[0] in records else None]
            for section, item, label in CHECKLIST
        ] + [["", "The code of networks, training, checks and exercises", "code"]],
        "environment": machine,
        "functions": listings.functions(),
        "lines": listings.lines(),
        "files": listings.files(),
    }  # fmt: skip


def _record(out: Path, name: str) -> dict[str, Any]:
    record = results.load(out, name)
    if record is None:
        raise OutputError(f"there is no result of exercise {name[2:]} in {out}: jaxlab {name}")
    return record


def _exercise(name: str, record: dict[str, Any]) -> dict[str, Any]:
    numbers, config = record["numbers"], record["config"]
    try:
        content = CONTENT[name](numbers, config)
        packages = record["environment"]["packages"]
        origin = (
            f"Seed {config['seed']} · {duration(record['seconds'])} · jax {packages['jax']} · "
            f"{_device(record['environment'])}"
        )
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise OutputError(
            f"the result of exercise {name[2:]} cannot be read ({type(error).__name__}: {error}): "
            f"it is of another version of jaxlab, or was edited; run jaxlab {name} again"
        ) from error
    return {
        **_typeset(content),
        "question": QUESTIONS[name],
        "heading": f"{name[2:]} {record['title']}",
        "title": record["title"],
        "origin": origin,
        "marks": _typeset(_marks(name, record)),
        "figures": {figure: f"{name}/{files[0]}" for figure, files in record["figures"].items()},
        "seed": str(config["seed"]),
        "time": duration(record["seconds"]),
        "unusual": _unusual(name, record) or "–",
        "config": [
            [key.replace("_", " "), _setting(key, value)]
            for key, value in config.items()
            if value is not None and key not in PATHS | UNUSED.get(config.get("method"), set())
        ],
    }


def _typeset(value: Any) -> Any:
    """With curly apostrophes, as typst sets its own, and no line that ends or starts amid a number.

    A line that began with the last number of a sentence, as in "2. So", would look like a list.
    """
    if isinstance(value, str):
        kept = r"(?<=\d) (?=[%×])|(?<=×) (?=\d)| (?=\d+\.(?: |$))"
        return re.sub(kept, "\u00a0", value.replace("'", "’"))
    if isinstance(value, list):
        return [_typeset(part) for part in value]
    if isinstance(value, dict):
        return {key: _typeset(part) for key, part in value.items()}
    return value


def _is_smoke(name: str, record: dict[str, Any]) -> bool:
    """Whether its numbers mean nothing: not where --quick changes no setting, as of exercise 1."""
    return record["quick"] and _unusual(name, record) != ""


def _marks(name: str, record: dict[str, Any]) -> list[str]:
    """What a reader must know before believing one exercise's numbers."""
    marks = [f"{problem.rstrip('.')}." for problem in record["problems"][:MOST_MARKS]]
    if (more := len(record["problems"]) - MOST_MARKS) > 0:
        marks.append(f"And {counted(more, 'more problem')}, in {record['exercise']}/result.json.")
    if _is_smoke(name, record):
        marks.insert(0, "This is a smoke run (--quick): its numbers mean nothing.")
    return marks


def _warnings(records: dict[str, dict[str, Any]]) -> list[str]:
    """The same for the first page, in short."""
    found = []
    if quick := [name[2:] for name, record in records.items() if _is_smoke(name, record)]:
        found.append(
            f"Smoke runs (--quick), whose numbers mean nothing: exercise{'s' * (len(quick) > 1)} "
            f"{listed(quick)}."
        )
    for name, record in records.items():
        if problems := record["problems"]:
            more = f" (and {len(problems) - 1} more, see there)" if len(problems) > 1 else ""
            found.append(f"Exercise {name[2:]}: {problems[0].rstrip('.')}{more}.")
    return found


def _differences(records: dict[str, dict[str, Any]]) -> list[str]:
    """In what the runs differ that are put together in one report."""
    aspects = {
        "seed": lambda r: r["config"].get("seed"),
        "file of digits": lambda r: r["config"].get("data") or "the one of jaxlab",
        "version of jaxlab": lambda r: r["environment"]["packages"].get("jaxlab"),
        "version of jax": lambda r: r["environment"]["packages"].get("jax"),
        "device": lambda r: r["environment"].get("device"),
        "processor": lambda r: r["environment"].get("processor"),
    }
    found = []
    for what, of in aspects.items():
        by_value: dict[str, list[str]] = {}
        for name, record in records.items():
            if what == "file of digits" and "data" not in record["config"]:
                continue  # exercises 1 and 7 use none
            value = of(record)
            by_value.setdefault(str(value), []).append(name[2:])
        if len(by_value) > 1:
            name_of = (lambda value: Path(value).name) if what == "file of digits" else str
            groups = "; ".join(
                f"{name_of(value)}: {listed(where)}" for value, where in by_value.items()
            )
            found.append(f"These results come from different runs. By {what}, exercises: {groups}.")
    return found


def _unusual(name: str, record: dict[str, Any]) -> str:
    """The settings that are not the defaults."""
    default = import_module(f"jaxlab.exercises.{name}").Config()
    usual = {key: _text(getattr(default, key)) for key in vars(default)}
    skipped = PATHS | {"seed", "preset"}
    return "; ".join(
        f"{key.replace('_', ' ')} {_setting(key, value)}"
        for key, value in record["config"].items()
        if key not in skipped and _text(value) != usual.get(key)
    )


def _machine(environment: dict[str, Any]) -> list[list[str]]:
    packages = environment.get("packages", {})
    return [
        ["device", _device(environment)],
        ["processor", str(environment.get("processor") or "not known")],
        ["system", f"{environment.get('system')}, Python {environment.get('python')}"],
        ["packages", ", ".join(f"{name} {version}" for name, version in packages.items())],
    ]


def _device(environment: dict[str, Any]) -> str:
    """'CPU, 2 cores', 'gpu: NVIDIA H100'."""
    device = str(environment.get("device"))
    return f"CPU, {environment.get('cores')} cores" if device == "cpu: cpu" else device


def _setting(key: str, value: Any) -> str:
    """Of a file the name alone: a report does not say where its author keeps it."""
    return Path(value).name if key == "data" else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _copy(figure: Path, to: Path, name: str) -> None:
    try:
        content = figure.read_bytes()
    except OSError as error:
        raise OutputError(
            f"cannot read {figure}: {error.strerror or error}; run jaxlab {name} again"
        ) from error
    to.write_bytes(content)


def _refuse_damaged_figures(root: Path, out: Path, exercises: dict[str, Any]) -> None:
    """Raises `OutputError` for the first figure that typst cannot read; its message has no name."""
    import typst

    for name, exercise in exercises.items():
        for file in exercise["figures"].values():
            page = root / "one.typ"
            page.write_text(f"#image({json.dumps(file)})", encoding="utf-8")
            try:
                typst.compile(str(page), root=str(root))
            except typst.TypstError as error:
                raise OutputError(
                    f"{out / file} is damaged ({error}); run jaxlab {name} again"
                ) from error
