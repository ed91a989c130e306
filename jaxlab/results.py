"""What an exercise leaves behind: numbers, figures, and where they came from.

OUT/exN/result.json and, beside it, each figure as SVG and PNG. A result is visible whole or not
at all, and one that was complete when its run was killed is put in its place by the next run.
"""

import dataclasses
import json
import math
import os
import platform
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxlab import writing
from jaxlab.errors import OutputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# How many a notebook shows: training that goes wrong can do so in a hundred networks.
MOST_PROBLEMS = 4
# What a record must hold, and of which kind.
KINDS: dict[str, Any] = {
    "exercise": str, "title": str, "config": dict, "environment": dict, "seconds": (int, float),
    "quick": bool, "numbers": dict, "figures": dict, "problems": list,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Result:
    """The outcome of one exercise.

    numbers: plain numbers, lists and dicts, under the names that result.json and the report have
    them by. figures: name → matplotlib figure. summary: (question, answer) rows for the terminal.
    table: text to print as it is. problems: what went wrong without stopping the run; empty is
    good.
    """

    exercise: str
    title: str
    config: Any
    numbers: dict[str, Any]
    figures: "dict[str, Figure]"
    summary: Sequence[tuple[str, str]]
    table: str = ""
    problems: Sequence[str] = ()

    def save(self, out: str | os.PathLike, *, seconds: float, quick: bool = False) -> Path:
        """Writes OUT/exN and returns that folder. Raises `OutputError` where it cannot.

        quick: whether this was a smoke run, whose numbers mean nothing.
        """
        folder = Path(out) / self.exercise
        record = {
            "exercise": self.exercise,
            "title": self.title,
            "config": _plain(dataclasses.asdict(self.config)),
            "environment": environment(),
            "seconds": round(seconds, 3),
            "quick": quick,
            "numbers": _plain(self.numbers),
            "figures": {name: [f"{name}.svg", f"{name}.png"] for name in self.figures},
            "problems": list(self.problems),
        }
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        with writing.output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with writing.workplace(folder) as temporary:
                writing.move_in(folder)
                _draw(self.figures, temporary)
                # A name of a file may hold bytes that are no text: a question mark each.
                (temporary / "result.json").write_bytes(text.encode("utf-8", "replace"))
                os.replace(temporary, folder / writing.WHOLE)
                writing.move_in(folder)
        return folder

    def _repr_html_(self) -> str:
        """In a notebook: the answer as a table, and below it what went wrong.

        Figures are not in it: each is shown where it is spoken of, by `result.figures[name]`.
        """
        cell = '<td style="text-align: left; vertical-align: top; max-width: 50em">'
        rows = "".join(
            f"<tr>{cell}{escape(what)}</td>{cell}{escape(value)}</td></tr>"
            for what, value in self.summary
        )
        problems = list(self.problems[:MOST_PROBLEMS])
        if len(self.problems) > MOST_PROBLEMS:
            problems += [f"and {len(self.problems) - MOST_PROBLEMS} more, in .problems"]
        title = f"Exercise {self.exercise.removeprefix('ex')}: {self.title}"
        return (
            f"<b>{escape(title)}</b>"
            + (f"<pre>{escape(self.table)}</pre>" if self.table else "")
            + f"<table>{rows}</table>"
            + "".join(f"<p><b>Warning:</b> {escape(problem)}</p>" for problem in problems)
        )


def load(out: str | os.PathLike, exercise: str) -> dict[str, Any] | None:
    """OUT/exN/result.json, or None where there is no result. Raises `OutputError` if damaged."""
    path = Path(out) / exercise / "result.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:  # the last: brackets nested deeply
        raise OutputError(
            f"cannot read {path}: {error}; delete it and run the exercise again"
        ) from error
    if fault := _fault(record, exercise):
        raise OutputError(
            f"{path} is not a result of this exercise: {fault}; delete it and run the exercise "
            "again"
        )
    return record


def _fault(record: Any, exercise: str) -> str | None:
    """In what a record that was read is not as `Result.save` writes it; None where it is."""
    if not isinstance(record, dict):
        return "it holds no record"
    for name, kind in KINDS.items():
        if not isinstance(record.get(name), kind):
            return f"its {name} is missing or of another kind"
    if record["exercise"] != exercise:
        return f"it is one of {record['exercise'][:20]!r}"
    if not 0 <= record["seconds"] < 1e9:
        return "its seconds are no time that a run takes"
    if not isinstance(record["environment"].get("packages"), dict):
        return "its environment has no packages"
    if not all(isinstance(problem, str) for problem in record["problems"]):
        return "its problems are no sentences"
    for name, files in record["figures"].items():
        if not name.isidentifier() or files != [f"{name}.svg", f"{name}.png"]:
            return f"its figure {name[:20]!r} lies elsewhere"
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which no page and no terminal can show
        return "it holds broken text"
    return None


def finish(out: str | os.PathLike[str], exercise: str) -> None:
    """Puts a result in its place that was whole when its run was killed. Waits for a writer."""
    folder = Path(out) / exercise
    if not folder.is_dir():
        return
    with writing.output_errors(folder), writing.locked(folder):
        writing.move_in(folder)


def check_writable(out: str | os.PathLike[str]) -> None:
    """Raises `OutputError` now, rather than after minutes of training, if OUT cannot be written."""
    with writing.output_errors(out):
        Path(out).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=os.fspath(out)):
            pass


def environment() -> dict[str, Any]:
    """Versions and the device: what somebody needs to get these numbers again."""
    import jax

    device = jax.devices()[0]
    packages = ("jaxlab", "jax", "jaxlib", "flax", "optax", "numpy", "matplotlib", "scipy")
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": f"{device.platform}: {device.device_kind}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "packages": {name: version_of(name) for name in packages},
    }


def version_of(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:  # jaxlab itself, run from a checkout
        return "not installed"


def _processor() -> str:
    """The processor's name, where the system tells it; Linux keeps it in a file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration, IndexError):
        return platform.processor() or platform.machine()


def _draw(figures: "dict[str, Figure]", folder: Path) -> None:
    from jaxlab.figures import save

    for name, figure in figures.items():
        for kind in ("svg", "png"):
            save(figure, folder / f"{name}.{kind}")


def _plain(value: Any) -> Any:
    """The value in JSON's own types. JSON has no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value
