"""The `jaxlab` command. Nothing slow is imported before it is known what to run."""

import atexit
import contextlib
import errno
import gc
import io
import os
import sys
from collections.abc import Sequence

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

USAGE = f"""\
usage: jaxlab COMMAND [options]

A machine-learning lab with backpropagation written by hand. Each exercise trains or checks,
prints its answer, and leaves numbers and plots in a folder.

commands:
{"".join(f"  {name}   {what}{chr(10)}" for name, what in EXERCISES.items())}\
  report
        the main job: every exercise above that has no result yet, then one PDF with all
        answers, plots and code, DIR/lab3.pdf
  check FILE.py:FUNCTION
        is a gradient that somebody else wrote right, and what is wrong with it?
        It runs their code.
  data  what data is here; `jaxlab data fetch` brings full MNIST
  bench how fast this is beside PyTorch, scikit-learn, SciPy and NumPy, measured here

options of every exercise:
  --out DIR   where results go (default: runs); exercise N writes DIR/exN
  --seed N    where every random choice comes from (default: 0)
  --quick     a smoke run in seconds; its numbers mean nothing
  --help      all options of the command

examples:
  jaxlab ex1                        is the hand-written gradient right?
  jaxlab ex2 --hidden 100           another number of hidden units
  jaxlab ex2 --data ex3data1.mat    the digits that your course hands out
  jaxlab report --name "Ada L."     the whole lab, ready to hand in
  jaxlab report --quick --out smoke does everything work here?
  jaxlab ex7 --preset fast          above 99 % on full MNIST in seconds
  jaxlab check mine.py:cost         your own (J, gradient), judged block by block
  jaxlab data --help                getting full MNIST, with or without a network
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status.

    0 done, 1 `check` found a wrong gradient, 2 refused or failed, 130 interrupted, 141 nobody
    reads the output any more.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command = arguments[0] if arguments else "--help"
    try:
        status = _run(command, arguments[1:])
        if sys.stdout is not None:  # as where it was closed before the start
            sys.stdout.flush()
        # When Python ends, JAX and Python itself look through all objects for garbage, for half a
        # second, and free nothing that the system would not. Asked for last, so done first.
        atexit.register(gc.freeze)
    except JaxlabError as error:
        print(f"jaxlab {command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\njaxlab {command}: stopped; what was finished stays.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone (`jaxlab ex1 | head`).
        _drop_output()
        return 141
    except RuntimeError as error:
        if "nable to initialize backend" not in str(error):
            raise
        print(
            f"jaxlab {command}: JAX_PLATFORMS is {os.environ.get('JAX_PLATFORMS', 'not set')}, but "
            f"{str(error).splitlines()[0][0].lower()}{str(error).splitlines()[0][1:]}",
            file=sys.stderr,
        )
        return 2
    except OSError as error:
        _drop_output()
        said = f"jaxlab {command}: {error.filename or 'output'}: {error.strerror or error}"
        # The file that our output goes to lies on a full disk, or no folder for temporary files.
        if error.filename is None or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            said += "; make room, or let the output and TMPDIR be elsewhere"
        print(said, file=sys.stderr)
        return 2
    return status if arguments else 2


def _drop_output() -> None:
    """What still waits to be written to standard output, and is written when Python ends."""
    # In a notebook standard output is no file, and nothing waits.
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _run(command: str, options: list[str]) -> int:
    if command in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    # A terminal that cannot show × or δ gets a question mark, not a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if command == "--version":
        from jaxlab.results import version_of

        print(f"jaxlab {version_of('jaxlab')}")
        return 0
    if command == "report":
        from jaxlab.report import command as report_command

        return report_command.run(options)
    if command == "data":
        from jaxlab.data import command as data_command

        return data_command.run(options)
    if command == "check":
        from jaxlab.gradcheck.files import command as check_command

        return check_command.run(options)
    if command == "bench":
        from jaxlab.bench import command as bench_command

        return bench_command.run(options)
    if command in EXERCISES:
        from jaxlab.exercises import command as exercise_command

        return exercise_command.run(command, options)
    print(f"jaxlab: there is no command {command!r}; see jaxlab --help", file=sys.stderr)
    return 2
