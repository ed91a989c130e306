"""`jaxlab bench`: measures, prints a table, keeps the numbers."""

import dataclasses
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import jax

from jaxlab import terminal
from jaxlab.bench.growth import Growth
from jaxlab.bench.timing import OURS, Row, peak
from jaxlab.compilation import use_compilation_cache
from jaxlab.cores import one_device_each
from jaxlab.errors import OptionError, OutputError
from jaxlab.exercises.command import ask
from jaxlab.results import environment
from jaxlab.writing import write_whole

WORK = {
    "gradient": "one cost and its gradient",
    "training": "training",
    "checking": "checking a gradient",
    "convnet": "exercise 7",
    "processes": "whole commands, start-up and all",
    "growth": "how the time grows",
}
MARKS = {
    "cpu": ("<!-- bench -->", "<!-- end of bench -->"),
    "gpu": ("<!-- bench on a GPU -->", "<!-- end of bench on a GPU -->"),
}


@dataclass(frozen=True)
class Options:
    """jaxlab beside what people would use instead: the same work, in the same run, taking turns.

    Medians over blocks of calls, without compilation; how long the first call took, with it, is in
    the JSON. Under each name stands how many times as fast jaxlab is; (≥ 2) is the goal, and what
    misses it is bold. Takes minutes; leave the machine alone meanwhile. PyTorch and scikit-learn
    are measured where they are installed: pip install 'jaxlab[bench]'.
    """

    only: str = ",".join(WORK)
    """Which kinds of work, divided by commas."""
    json: Path | None = None
    """Write every number to this file."""
    figure: Path | None = None
    """Draw how the time grows to this file (.svg, .png or .pdf)."""
    readme: Path | None = None
    """Replace the table between the marks <!-- bench --> and <!-- end of bench --> in this file;
    on a GPU, <!-- bench on a GPU --> and <!-- end of bench on a GPU -->."""


def run(arguments: Sequence[str]) -> int:
    """The command; returns its exit status."""
    options = ask(Options, arguments, "jaxlab bench", Options.__doc__)
    kinds = [kind.strip() for kind in options.only.split(",") if kind.strip()] or list(WORK)
    if unknown := [kind for kind in kinds if kind not in WORK]:
        raise OptionError(f"only is {options.only!r}: {unknown[0]} is none of {', '.join(WORK)}")
    # Before JAX is first asked for anything. A call is done where it is made, not handed to a
    # thread: for all that is measured here with JAX, ours and others'.
    use_compilation_cache()
    one_device_each()
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    # Refuse now, not after minutes.
    if options.readme:
        _replaced(options.readme, "")
    for path in filter(None, (options.json, options.figure)):
        if not path.parent.is_dir():
            raise OutputError(f"there is no folder {path.parent} to write {path.name} to")
    if options.figure and options.figure.suffix not in (".svg", ".png", ".pdf"):
        raise OptionError(f"figure is {options.figure}: name a .svg, .png or .pdf file")
    if options.figure and "growth" not in kinds:
        raise OptionError("figure draws how the time grows: leave growth among --only")
    peaks = {dtype: peak(dtype) for dtype in ("float32", "float64")}
    lines = [f"{_machine()}; best matrix product "
             + ", ".join(f"{_speed(value)} in {dtype}" for dtype, value in peaks.items())
             + "."]  # fmt: skip
    terminal.say(lines[0])
    record: dict[str, Any] = {"environment": environment(), "peak": peaks, "rows": []}
    for kind in kinds:
        rows: list[Any] = []
        for row in _progressing(kind, import_module(f"jaxlab.bench.{kind}").rows()):
            rows.append(row)
            record["rows"].append({"kind": kind, **dataclasses.asdict(row)})
            if options.json:  # now: what is stopped after minutes keeps what it has
                write_whole(
                    options.json,
                    (json.dumps(record, indent=2) + "\n").encode(),
                    otherwise="name another file",
                )
        table = _growth_table(rows) if kind == "growth" else _table(kind, rows, peaks)
        terminal.say("\n".join(["", *table]))
        lines += ["", *table]
    if options.figure:
        write_whole(options.figure, _drawn(record, options.figure), otherwise="name another file")
    if options.readme:
        write_whole(
            options.readme,
            _replaced(options.readme, "\n".join(lines)).encode(),
            otherwise="name another file",
        )
    return 0


def _progressing(kind: str, rows: Iterable[Row | Growth]) -> Iterable[Row | Growth]:
    """The rows, with a spinner while each is measured."""
    each = iter(rows)
    for done in itertools.count():
        with terminal.waiting(f"measuring: {kind}" + f", {done} done" * bool(done)):
            row = next(each, None)
        if row is None:
            return
        yield row


def _table(kind: str, rows: list[Row], peaks: dict[str, float]) -> list[str]:
    """A column for each who is there more than once, and one for all others."""
    times_there = Counter(who for row in rows for who in row.times)
    columns = [who for who, times in times_there.items() if times > 1 and who != OURS]
    others = any(times == 1 for times in times_there.values())
    heading = {WORK[kind]: "", OURS: ""}
    for who in columns:  # a goal that is the same everywhere stands in the heading
        goals = {row.goals.get(who) for row in rows if who in row.times}
        heading[who] = _goal(goals.pop()) if len(goals) == 1 else ""
    names = [f"{name} {goal}".strip() for name, goal in heading.items()]
    lines = [[*names, *["others"] * others, "of the best product"]]
    for row in rows:
        ours = row.times[OURS].median
        cells = [_cell(row, who, heading[who]) for who in columns]
        if others:
            rest = [who for who in row.times if who != OURS and who not in columns]
            cells.append("; ".join(f"{who} {_cell(row, who)}" for who in rest))
        share = f"{100 * row.operations / ours / peaks[row.dtype]:.0f} %" if row.operations else "–"
        lines.append([row.work, _duration(ours), *cells, share])
    return _markdown(lines)


def _cell(row: Row, who: str, said: str = "") -> str:
    """How many times as fast as another we are, bold where that is below the goal.

    said: the goal, where it stands in the heading.
    """
    if who not in row.times:
        return ""
    ratio, goal = f"{row.ratio(who):.2f}", row.goals.get(who)
    missed = goal is not None and float(ratio) < goal
    return f"{f'**{ratio}**' if missed else ratio} {'' if said else _goal(goal)}".rstrip()


def _goal(goal: float | None) -> str:
    return "" if goal is None else f"(≥ {goal:g})"


def _growth_table(rows: list[Growth]) -> list[str]:
    lines = [[WORK["growth"], "from", "to", "time grows as"]]
    for row in rows:
        ends = [f"{_duration(row.seconds[i])} with {row.n[i]:,}" for i in (0, -1)]
        lines.append([f"{row.what}: {row.work}", *ends, f"n^{row.exponent:.2f}"])
    return _markdown(lines)


def _markdown(lines: list[list[str]]) -> list[str]:
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return [rows[0], "|---" * len(lines[0]) + "|", *rows[1:]]


def _drawn(record: dict[str, Any], path: Path) -> bytes:
    from jaxlab.figures import growth, save

    rows = [row for row in record["rows"] if row["kind"] == "growth"]
    figure = growth({row["work"]: (row["what"], row["n"], row["seconds"]) for row in rows})
    with tempfile.TemporaryDirectory() as folder:
        save(figure, Path(folder) / f"growth{path.suffix}")
        return (Path(folder) / f"growth{path.suffix}").read_bytes()


def _speed(operations: float) -> str:
    if operations < 1e13:
        return f"{operations / 1e9:.0f} GFLOP/s"
    return f"{operations / 1e12:.0f} TFLOP/s"


def _duration(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{1e6 * seconds:.0f} µs"
    return f"{1e3 * seconds:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _machine() -> str:
    here = environment()
    versions = ", ".join(f"{name} {here['packages'][name]}" for name in ("jax", "numpy"))
    for package in ("torch", "sklearn"):
        try:
            versions += f", {package} {import_module(package).__version__}"
        except ImportError:
            versions += f", no {package}"
    device = "" if here["device"].startswith("cpu") else f"{here['device']}; "
    return f"{device}{here['processor']}, {here['cores']} cores; {versions}"


def _replaced(path: Path, table: str) -> str:
    """The file's text with the table between the marks. Raises `OutputError` without marks."""
    first, last = MARKS["cpu" if jax.default_backend() == "cpu" else "gpu"]
    try:
        text = path.read_text(encoding="utf-8")
        before, rest = text.split(first)
        _, after = rest.split(last)
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{path} has no place for the table: it needs the lines {first} and {last}"
        ) from error
    return f"{before}{first}\n{table}\n{last}{after}"
