"""The `jaxlab` command. Nothing slow is imported before it is known what to run."""

import io
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from pathlib import Path

from jaxlab.errors import JaxlabError

EXERCISES = {
    "ex1": "backpropagation by hand and its gradient check (8-5-10)",
    "ex2": "classify handwritten digits",
    "ex3": "an autoencoder and its gradient check",
    "ex4": "reconstruct digits with an autoencoder",
    "ex5": "bias and variance against the number of hidden units",
    "ex6": "softmax on raw pixels and on autoencoder features",
    "ex7": "a convolutional network on full MNIST",
}

MOST_WARNINGS = 4

USAGE = f"""\
usage: jaxlab COMMAND [options]

A machine-learning lab with backpropagation written by hand. Each exercise trains or checks,
prints its answer, and leaves numbers and plots in a folder.

commands:
{"".join(f"  {name}   {what}{chr(10)}" for name, what in EXERCISES.items())}\
  all   every exercise above in turn
  check FILE.py:FUNCTION
        is a gradient that somebody else wrote right, and what is wrong with it?
        It runs their code.
  data  what data is here; `jaxlab data fetch` brings full MNIST

options of every exercise:
  --out DIR   where results go (default: runs); exercise N writes DIR/exN
  --seed N    where every random choice comes from (default: 0)
  --quick     a smoke run in seconds; its numbers mean nothing
  --help      all options of the command

examples:
  jaxlab ex1                        is the hand-written gradient right?
  jaxlab ex2 --hidden 100           another number of hidden units
  jaxlab ex2 --data ex3data1.mat    the digits that your course hands out
  jaxlab all --quick --out smoke    does everything work here?
  jaxlab ex7 --preset fast          above 99 % on full MNIST in seconds
  jaxlab check mine.py:cost         your own (J, gradient), judged block by block
  jaxlab data --help                getting full MNIST, with or without a network
"""


@dataclass(frozen=True)
class Output:
    """Options of every command."""

    out: Path = Path("runs")
    """Where results go; exercise N writes OUT/exN."""
    quick: bool = False
    """A smoke run in seconds; its numbers mean nothing."""


@dataclass(frozen=True)
class Common(Output):
    """Options of `jaxlab all`."""

    seed: int = 0
    """Where every random choice comes from."""
    data: Path | None = None
    """A small MNIST file of your own, for exercises 2 to 6."""
    images: str | None = None
    """The name of its array of images."""
    labels: str | None = None
    """The name of its array of labels."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0 done, 2 refused, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0 if arguments else 2
    command, options = arguments[0], arguments[1:]
    # A terminal that cannot show × or δ gets a question mark, not a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        if command == "--version":
            from importlib.metadata import version

            print(f"jaxlab {version('jaxlab')}")
            return 0
        if command == "all":
            return _run_all(options)
        if command == "data":
            from jaxlab.data import command as data_command

            return data_command.run(options)
        if command == "check":
            from jaxlab.gradcheck import command as check_command

            return check_command.run(options)
        if command in EXERCISES:
            return _run_exercise(command, options)
        print(f"jaxlab: there is no command {command!r}; see jaxlab --help", file=sys.stderr)
        return 2
    except JaxlabError as error:
        print(f"jaxlab {command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\njaxlab {command}: stopped; what was finished stays.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone (`jaxlab ex1 | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def exercise_script(name: str) -> int:
    """What scripts/exN_….py call: the command `jaxlab exN` with the script's own arguments."""
    return main([name, *sys.argv[1:]])


def _run_all(options: Sequence[str]) -> int:
    common = _ask(Common, options, "jaxlab all", "Every exercise in turn.")
    shared = ["--out", str(common.out), "--seed", str(common.seed)]
    shared += ["--quick"] if common.quick else []
    own = [("--data", common.data), ("--images", common.images), ("--labels", common.labels)]
    file = [str(word) for option in own if option[1] is not None for word in option]
    for name in EXERCISES:
        _run_exercise(name, shared if name in ("ex1", "ex7") else shared + file)
    return 0


def _run_exercise(name: str, options: Sequence[str]) -> int:
    from importlib import import_module

    use_compilation_cache()
    module = import_module(f"jaxlab.exercises.{name}")
    config, out, quick = _parse(name, module, options)

    from jaxlab import results, terminal

    results.check_writable(out)
    if (out / name).exists():
        results.check_writable(out / name)
    start = time.perf_counter()
    result = module.run(config)
    seconds = time.perf_counter() - start
    if _is_helper():
        return 0
    if result.table:
        terminal.say(f"\n{result.table}\n")
    title = f"Exercise {name[2:]}: {result.title}"
    title += " (quick: a smoke run, its numbers mean nothing)" if quick else ""
    terminal.table(title, [*result.summary, ("seconds", f"{seconds:.1f}")])
    # Only now: a full disk must not cost the answer as well.
    folder = result.save(out, seconds=seconds, quick=quick)
    terminal.say(f"written: {folder / 'result.json'} and {len(result.figures)} figure(s) beside it")
    for problem in result.problems[:MOST_WARNINGS]:
        terminal.warn(problem)
    if len(result.problems) > MOST_WARNINGS:
        more = len(result.problems) - MOST_WARNINGS
        terminal.warn(f"and {more} more, under problems in {folder / 'result.json'}")
    return 0


def _is_helper() -> bool:
    """Whether another process of a run on several machines tells and writes the result."""
    import jax

    return jax.process_index() > 0


def _parse(name: str, module, options: Sequence[str]):
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
    parsed = _ask(command, options, f"jaxlab {name}", module.Config.__doc__)
    return parsed.config, parsed.out, parsed.quick


def _ask(command: type, options: Sequence[str], program: str, description: str | None = None):
    from inspect import cleandoc

    import tyro

    return tyro.cli(
        command,
        args=list(options),
        prog=program,
        description=description and cleandoc(description),
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache, so that the next run starts at once.

    JAX's own settings count: JAX_COMPILATION_CACHE_DIR names another folder,
    JAX_ENABLE_COMPILATION_CACHE=false turns it off. Without a folder that can be written, there
    is no cache and nothing fails.
    """
    import jax

    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        folder = Path(home) / "jaxlab" / "compiled"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        if not os.access(folder, os.W_OK):
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
    # By default JAX keeps only what took a second to compile; ours are many small programs.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
