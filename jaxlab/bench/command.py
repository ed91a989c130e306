"""`jaxlab bench`: measures, prints a table, keeps the numbers."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from jaxlab import terminal
from jaxlab.bench.timing import OURS, Row, peak
from jaxlab.compilation import use_compilation_cache
from jaxlab.errors import OptionError, OutputError
from jaxlab.exercises.command import ask
from jaxlab.results import environment
from jaxlab.writing import write_whole

WORK = {
    "gradient": "cost and gradient by hand, by autograd, by NumPy, PyTorch, scikit-learn",
    "training": "classifier, autoencoder and L-BFGS against PyTorch, scikit-learn, SciPy",
    "checking": "the gradient check against torch.autograd.gradcheck, SciPy, check_grads",
    "processes": "whole commands, start-up and all",
}
MARKS = ("<!-- bench -->", "<!-- end of bench -->")


@dataclass(frozen=True)
class Options:
    """jaxlab beside what people would use instead: the same work, in the same run, taking turns.

    Medians over blocks of calls, without compilation; how long the first call took, with it, is in
    the JSON. Ratios above 1 mean that jaxlab is faster. Takes minutes; leave the machine alone
    meanwhile. PyTorch and scikit-learn are measured where they are installed: pip install
    'jaxlab[bench]'.
    """

    only: str = ""
    """These kinds of work alone, as gradient,checking (default: all)."""
    json: Path | None = None
    """Write every number to this file."""
    readme: Path | None = None
    """Replace the table between the marks <!-- bench --> and <!-- end of bench --> in this file."""


def run(arguments: Sequence[str]) -> int:
    """The command; returns its exit status."""
    options = ask(Options, arguments, "jaxlab bench", Options.__doc__)
    kinds = [kind.strip() for kind in options.only.split(",") if kind.strip()] or list(WORK)
    if unknown := [kind for kind in kinds if kind not in WORK]:
        raise OptionError(f"only is {options.only!r}: {unknown[0]} is none of {', '.join(WORK)}")
    if options.readme:
        _replaced(options.readme, "")  # refuse now, not after minutes
    use_compilation_cache()
    peaks = {dtype: peak(dtype) for dtype in ("float32", "float64")}
    lines = [f"{_machine()}; best matrix product "
             + ", ".join(f"{value / 1e9:.0f} GFLOP/s in {dtype}" for dtype, value in peaks.items())
             + "."]  # fmt: skip
    terminal.say(lines[0])
    record: dict[str, Any] = {"environment": environment(), "peak": peaks, "rows": []}
    for kind in kinds:
        lines += ["", f"| {WORK[kind]} | jaxlab | times as fast as | of the best product |",
                  "|---|---|---|---|"]  # fmt: skip
        terminal.say("\n" + "\n".join(lines[-2:]))
        for row in _progressing(kind, import_module(f"jaxlab.bench.{kind}").rows()):
            lines.append(_line(row, peaks))
            terminal.say(lines[-1])
            record["rows"].append({"kind": kind, **dataclasses.asdict(row)})
    if options.json:
        write_whole(
            options.json,
            (json.dumps(record, indent=2) + "\n").encode(),
            otherwise="name another file",
        )
    if options.readme:
        write_whole(
            options.readme,
            _replaced(options.readme, "\n".join(lines)).encode(),
            otherwise="name another file",
        )
    return 0


def _progressing(kind: str, rows: Iterable[Row]) -> Iterable[Row]:
    """The rows, with a spinner while each is measured."""
    each = iter(rows)
    while True:
        with terminal.waiting(f"measuring: {kind}"):
            row = next(each, None)
        if row is None:
            return
        yield row


def _line(row: Row, peaks: dict[str, float]) -> str:
    """One row of the table."""
    ratios = []
    for who in row.times:
        if who != OURS:
            goal = f" (goal {row.goals[who]:g})" if who in row.goals else ""
            ratios.append(f"{who} {row.ratio(who):.2f}{goal}")
    ours = row.times[OURS].median
    share = f"{100 * row.operations / ours / peaks[row.dtype]:.0f} %" if row.operations else "–"
    return f"| {row.work} | {_duration(ours)} | {'; '.join(ratios)} | {share} |"


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
    return f"{here['processor']}, {here['cores']} cores; {versions}"


def _replaced(path: Path, table: str) -> str:
    """The file's text with the table between the marks. Raises `OutputError` without marks."""
    try:
        text = path.read_text(encoding="utf-8")
        before, rest = text.split(MARKS[0])
        _, after = rest.split(MARKS[1])
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{path} has no place for the table: it needs the lines {MARKS}"
        ) from error
    return f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}"
