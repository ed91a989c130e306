"""`jaxlab check`: judges a gradient that somebody else wrote. It runs their code."""

import csv
import json
import os
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from jaxlab.errors import OptionError
from jaxlab.gradcheck.files.calls import Options
from jaxlab.gradcheck.files.judge import Report, check_file
from jaxlab.gradcheck.files.many import check_many
from jaxlab.gradcheck.layouts import ORDERS
from jaxlab.gradcheck.networks import LOSSES
from jaxlab.writing import output_errors

STATUS = {"right": 0, "wrong": 1, "unchecked": 2}
LAYOUTS = [order + end for order in ORDERS for end in ("", "-columns")]
COSTS = {name.replace(" ", "-"): name for name in LOSSES}
WIDTH = 88
MOST_SECONDS = 86_400

DESCRIPTION = """\
Is the gradient in FILE.py right? If not: which blocks are wrong, and which mistake is it?

IT RUNS THEIR CODE: FILE.py is run and its function called, in a process of its own with a time
limit, but with your rights. Check only files that you would run yourself.

FUNCTION takes the parameters (one vector, a dict or list of arrays, or W1, b1, W2, … as arguments
of their own), data, targets, sizes, …, and returns J and the gradient. Arguments are recognised by
name (X, y, n_hidden, lambda_, …) and filled with random data; what is not said by options is found
out and printed. A function example() in the file that returns all arguments settles everything.
Two functions with the same arguments are FILE.py:COST,GRADIENT. Of a class, FILE.py:CLASS or
FILE.py:CLASS.METHOD, an object is made and its methods for forward pass, cost and gradient called.
FILE may be a notebook, FILE.ipynb, as well. Of a folder, or of several files, there is a line each;
as many are checked at once as there are processor cores.

Exit status: 0 right, 1 wrong, 2 cannot be checked (several: 0 all right, 1 any wrong, 2 none wrong
but some unchecked)."""


def run(arguments: Sequence[str]) -> int:
    """`jaxlab check FILE.py[:FUNCTION] | FOLDER … [options]`; returns the exit status."""
    import tyro

    @dataclass(frozen=True)
    class Check:
        targets: Annotated[
            tuple[str, ...],
            tyro.conf.Positional,
            tyro.conf.arg(metavar="FILE.py[:FUNCTION] | FOLDER …", help_behavior_hint="(required)"),
        ]
        """The file, a folder of them, or several. Without FUNCTION: the only suitable one."""
        sizes: str = ""
        """Units of every layer, e.g. 8,5,10; otherwise what the arguments call for."""
        examples: Literal["", "rows", "columns"] = ""
        """One example a row or a column."""
        labels: Literal["", "one-hot", "from-0", "from-1", "signs"] = ""
        """Targets: one-hot, labels that start at 0 or at 1, or of a single output -1 and 1."""
        layout: str = ""
        """Order of the parameters: WbWb, WWbb, bWbW, bbWW, bias-first, bias-last or no-bias; with
        -columns where matrices are read column by column."""
        cost: str = ""
        """squared-error, cross-entropy (softmax), log-loss (sigmoid) or linear (squared error)."""
        seed: int = 0
        """Where parameters and data come from."""
        seconds: float = 20.0
        """The time limit for a file."""
        json: bool = False
        """Print one JSON object instead."""
        csv: str = ""
        """Of several: write the table to this file as well."""

    asked = tyro.cli(
        Check,
        args=list(arguments),
        prog="jaxlab check",
        description=DESCRIPTION,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    options = Options(
        sizes=_sizes(asked.sizes),
        examples=asked.examples,
        labels=asked.labels,
        layout=_one_of("--layout", asked.layout, {layout: layout for layout in LAYOUTS}),
        cost=_one_of("--cost", asked.cost, COSTS),
        seed=asked.seed,
    )
    if not 0 < asked.seconds <= MOST_SECONDS:
        raise OptionError(f"--seconds is {asked.seconds:g}: give a number above 0, a day at most")
    if asked.seed < 0:
        raise OptionError(f"--seed is {asked.seed}: it must be at least 0")
    if not asked.targets:
        raise OptionError("name a file, FILE.py or FILE.py:FUNCTION, or a folder of them")
    if len(asked.targets) > 1 or os.path.isdir(asked.targets[0]):
        return _several(asked.targets, options, asked.seconds, asked.json, asked.csv)
    if asked.csv:
        raise OptionError("--csv is for a folder of files, or several")
    name, function = _split(asked.targets[0])
    report = check_file(Path(name), function, options, asked.seconds)
    if asked.json:
        print(json.dumps(report.as_json(), ensure_ascii=False))
    else:
        print(_text(report))
    return STATUS[report.verdict]


def _split(target: str) -> tuple[str, str]:
    """The file and the function; a colon may also be part of the file's name."""
    name, colon, function = target.rpartition(":")
    identifiers = all(part.isidentifier() for part in function.replace(".", ",").split(","))
    if not colon or os.path.exists(target) or not identifiers:
        return target, ""
    return name, function


def _sizes(text: str) -> tuple[int, ...] | None:
    if not text:
        return None
    try:
        sizes = tuple(int(word) for word in text.replace("-", ",").split(","))
    except ValueError:
        sizes = ()
    if len(sizes) < 2 or min(sizes) < 1:
        raise OptionError(f"--sizes is {text!r}: give the units of every layer, e.g. 8,5,10")
    return sizes


def _one_of(option: str, value: str, allowed: dict[str, str]) -> str:
    if value and value not in allowed:
        raise OptionError(f"{option} is {value!r}: choose one of {', '.join(allowed)}")
    return allowed.get(value, "")


# --- one file ---


def _text(report: Report) -> str:
    """The report in words; shapes of lines as in the table of `check_gradients`."""
    where = _shown(report.file) + (f":{report.function}" if report.function else "")
    lines = [f"{where}: {report.verdict.upper() if report.verdict == 'wrong' else report.verdict}"]
    if report.verdict == "unchecked":
        return "\n".join([*lines, *_wrapped(f"  {report.reason}")])
    lines.append("  (checked by running its code)")
    for what, text in (("cost", report.cost), ("layout", report.layout), ("with", report.note)):
        lines += _wrapped(f"  {what:<7} {text}", 10) if text else []
    lines.append("")
    width = max(map(len, report.blocks))
    for name, block in report.blocks.items():
        difference = block["relative_difference"]
        number = "       –" if difference is None else f"{difference:8.1e}"
        if difference is not None and difference > 1e6:  # over a length of about zero
            number = "opposite"
        lines.append(f"  {name:<{width}}  {number}  {'right' if block['ok'] else 'WRONG'}")
    if report.mistakes:
        lines += ["", "What it looks like:"]
        for mistake in report.mistakes:
            explanation = _sentence(mistake["explanation"])
            lines += _wrapped(f"  {mistake['block']}: {mistake['id']}. {explanation}")
    if report.reason:
        lines += ["", *_wrapped(report.reason, 0)]
    return "\n".join(lines)


def _shown(name: str) -> str:
    """A file's name without what a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in name)


def _sentence(text: str) -> str:
    """With a capital where it begins with a word; δ, σ and the names of arrays stay."""
    return text[0].upper() + text[1:] if re.match("[a-z]{2}[a-z ]", text) else text


def _wrapped(text: str, indent: int = 4) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False)


# --- several files ---


def _several(
    targets: Sequence[str], options: Options, seconds: float, as_json: bool, table: str
) -> int:
    named = _named(targets)
    shown = {name: _shown(name) for name in named}
    checking = check_many([*named.values()], options, seconds)
    reports: list[Report] = []
    width = max(map(len, shown.values()))
    if not as_json:
        of = f" in {targets[0]}" if len(targets) == 1 else ""
        print(f"{len(named)} files{of}, checked by running their code", flush=True)
    with _table(table) as write, closing(checking) as checked:
        for name, report in zip(named, checked, strict=True):
            report.file = name
            reports.append(report)
            write(report)
            if not as_json:
                print(f"{shown[name]:<{width}}  {report.verdict:<9}  {_short(report)}", flush=True)
    if as_json:
        print(json.dumps([report.as_json() for report in reports], ensure_ascii=False))
    verdicts = [report.verdict for report in reports]
    if not as_json:
        counts = (f"{verdicts.count(v)} {v}" for v in STATUS if v in verdicts)
        print(f"{len(named)} files: {', '.join(counts)}")
    if "wrong" in verdicts:
        return 1
    return 2 if "unchecked" in verdicts else 0


def _named(targets: Sequence[str]) -> dict[str, tuple[Path, str]]:
    """What is checked, by the name that it has in the table: in one folder from there."""
    named = {}
    for target in targets:
        if not os.path.isdir(target):
            name, function = _split(target)
            named[target] = Path(name), function
            continue
        files = _files(Path(target))
        if not files:
            raise OptionError(
                f"{target} has no .py or .ipynb files: name a folder of files to check"
            )
        for path in files:
            named[str(path.relative_to(target) if len(targets) == 1 else path)] = path, ""
    return named


def _files(folder: Path) -> list[Path]:
    """Python files and notebooks, but none that are hidden or put there by an archiver."""

    def is_theirs(path: Path) -> bool:
        parts = path.relative_to(folder).parts
        return not any(part.startswith((".", "__")) and part != "__init__.py" for part in parts)

    found = [path for end in ("py", "ipynb") for path in folder.rglob(f"*.{end}")]
    return sorted(path for path in found if is_theirs(path))


def _short(report: Report) -> str:
    """Blocks that are wrong and the mistakes, or the reason."""
    if report.verdict == "unchecked":
        return report.reason
    what = _mistakes(report) or report.reason
    return "  ".join(part for part in (", ".join(report.wrong), what) if part)


def _mistakes(report: Report) -> str:
    return "; and ".join(mistake["explanation"] for mistake in report.mistakes)


@contextmanager
def _table(name: str) -> Iterator[Callable[[Report], None]]:
    """Writes a row for each report as it comes, so that what was checked is there in any case."""
    if not name:
        yield lambda report: None
        return
    with output_errors(name, "name another file by --csv"):
        # A name of a file may hold bytes that are no text: a question mark each.
        file = Path(name).open("w", encoding="utf-8", errors="replace", newline="")  # noqa: SIM115
    writer = csv.writer(file)

    def write_row(row: list[str]) -> None:
        with output_errors(name, "name another file by --csv"):
            writer.writerow(row)
            file.flush()

    try:
        write_row(["file", "function", "verdict", "wrong_blocks", "mistake", "reason"])
        yield lambda r: write_row(
            [r.file, r.function, r.verdict, " ".join(r.wrong), _mistakes(r), r.reason]
        )
    finally:
        with suppress(OSError):  # each row was flushed, or said to have failed
            file.close()
