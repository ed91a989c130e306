"""`jaxlab ex1` to `jaxlab ex7`: options, the run, what is printed, what is written."""

import gc
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from types import ModuleType

import tyro

from jaxlab import results, terminal
from jaxlab.compilation import use_compilation_cache
from jaxlab.cores import one_device_each
from jaxlab.errors import OutputError

MOST_WARNINGS = 4


@dataclass(frozen=True)
class Output:
    """Options of every command."""

    out: Path = Path("runs")
    """Where results go; exercise N writes OUT/exN."""
    quick: bool = False
    """A smoke run in seconds; its numbers mean nothing."""


def run(name: str, options: Sequence[str], *, alone: bool = True) -> int:
    """`jaxlab exN`: runs it, prints its answer, writes OUT/exN; returns the exit status.

    alone: whether to say what could be run next.
    """
    module = _load(name)
    from jaxlab.precision import enable_x64

    config, out, quick = parse(name, module, options)
    results.check_writable(out)
    if (out / name).exists():
        results.check_writable(out / name)
    if quick and alone and _is_full(out, name):
        terminal.warn(f"this smoke run takes the place of the full result in {out / name}")
    start = time.perf_counter()
    with enable_x64(False):  # training is in float32, whatever JAX_ENABLE_X64 says
        result = module.run(config)
    seconds = time.perf_counter() - start
    if _is_helper():
        return 0
    try:
        if result.table:
            terminal.say(f"\n{result.table}\n")
        title = f"Exercise {name[2:]}: {result.title}"
        title += " (quick: a smoke run, its numbers mean nothing)" if quick else ""
        terminal.table(title, [*result.summary, ("seconds", f"{seconds:.1f}")])
    finally:
        # Only now: a full disk must not cost the answer, nor a closed pipe the result.
        folder = result.save(out, seconds=seconds, quick=quick)
    terminal.say(f"written: {folder / 'result.json'} and {len(result.figures)} figure(s) beside it")
    for problem in result.problems[:MOST_WARNINGS]:
        terminal.warn(problem)
    if len(result.problems) > MOST_WARNINGS:
        more = len(result.problems) - MOST_WARNINGS
        terminal.warn(f"and {more} more, under problems in {folder / 'result.json'}")
    if alone:
        terminal.say(f"next: jaxlab report{given(out)} writes the report, and runs what it lacks")
    return 0


def _load(name: str) -> ModuleType:
    """The exercise's module, and with it JAX and matplotlib.

    Python would look through all that they make for garbage, which takes a tenth of the time of
    `jaxlab ex1`, and again later; but modules stay.
    """
    looked = gc.isenabled()
    gc.disable()
    try:
        use_compilation_cache()
        one_device_each()
        module = import_module(f"jaxlab.exercises.{name}")
        if not gc.get_freeze_count():  # garbage of an exercise before this one may be found
            gc.freeze()
    finally:
        if looked:
            gc.enable()
    return module


def given(out: Path) -> str:
    """The option that names OUT, where that is not the default."""
    return "" if out == Output.out else f" --out {shlex.quote(str(out))}"


def _is_full(out: Path, name: str) -> bool:
    try:
        record = results.load(out, name)
    except OutputError:
        return False
    return record is not None and not record["quick"]


def _is_helper() -> bool:
    """Whether another process of a run on several machines tells and writes the result."""
    import jax

    return jax.process_index() > 0


def parse(name: str, module, options: Sequence[str]):
    """The exercise's config and the folder for results, from command-line options."""
    # --quick changes the defaults; options given beside it still count. Exercise 7 has more that
    # change them.
    if hasattr(module, "defaults"):
        config = module.defaults(options)
    else:
        config = module.QUICK if "--quick" in options else module.Config()
    command = make_dataclass(
        "Command", [("config", module.Config, config)], bases=(Output,), frozen=True
    )
    parsed = ask(command, options, f"jaxlab {name}", module.Config.__doc__)
    # To go on with a smoke run makes no full one of it.
    return parsed.config, parsed.out, parsed.quick or getattr(parsed.config, "smoke", False)


def ask(command: type, options: Sequence[str], program: str, description: str | None = None):
    return tyro.cli(
        command,
        args=list(options),
        prog=program,
        description=description and cleandoc(description),
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
