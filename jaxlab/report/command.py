"""`jaxlab report`: runs what is missing, then writes the PDF."""

import contextlib
import ctypes
import datetime
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxlab import results, terminal, writing
from jaxlab.cli import EXERCISES
from jaxlab.errors import DataError, OptionError
from jaxlab.exercises import command as exercise
from jaxlab.exercises.command import Output, ask

# Options whose values are files or folders.
FILES = ("--out", "--data", "--mnist-dir", "--mnist_dir")


@dataclass(frozen=True)
class Options(Output):
    """The whole lab as one PDF, OUT/lab3.pdf: every answer, plot and listing.

    Exercises that have a result in OUT are not run again; stopped and started again, it goes on
    where it was. With everything to do it takes under ten minutes on two cores.
    """

    quick: bool = False
    """A smoke run of a minute or two; its numbers mean nothing."""
    only: str = ""
    """These exercises alone, as 2,5 (default: all seven)."""
    name: str = ""
    """Your name, for the first page."""
    course: str = ""
    """The course, for the first page."""
    date: str | None = None
    """The date on the first page (default: today)."""
    seed: int | None = None
    """For the exercises to run: where every random choice comes from (default: 0)."""
    data: Path | None = None
    """For exercises 2 to 6: a small MNIST file of your own."""
    images: str | None = None
    """The name of its array of images."""
    labels: str | None = None
    """The name of its array of labels."""
    mnist_dir: Path | None = None
    """For exercise 7: a folder with MNIST's four files."""


def run(arguments: Sequence[str]) -> int:
    """The command; returns its exit status."""
    options = ask(Options, arguments, "jaxlab report", Options.__doc__)
    names = _chosen(options.only)
    results.check_writable(options.out)
    missing = [name for name in names if not _has_result(options, name)]
    _check_given(options, missing)
    there = [name for name in names if name not in missing]
    if there:
        terminal.say(
            f"kept from before: {_named(there)} (to run one again: jaxlab {there[0]}"
            f"{exercise.given(options.out)})"
        )
    others = _made_otherwise(options, there)
    for mark, again in others.items():
        terminal.warn(f"{mark} To run it again: {again}")
    for n, name in enumerate(missing, start=1):
        terminal.say(f"\n--- {n} of {len(missing)}: exercise {name[2:]} ---")
        _run(name, _options_of(options, name))
        _forget_programs()

    from jaxlab.report import document

    # Another run that ends meanwhile must not put its figures beside these numbers.
    with (
        terminal.waiting("setting the report"),
        writing.unchanged([options.out / name for name in names]),
    ):
        data = document.gather(options.out, names)
        data["marks"] = [*others, *data["marks"]]
        path = document.write(
            options.out,
            data,
            author=options.name,
            course=options.course,
            date=_today() if options.date is None else options.date,
            command=shlex.join(["jaxlab", "report", *_without_folders(arguments)]),
            kept=there,
        )
    terminal.say("")
    terminal.table(
        "Answers", [(f"exercise {name[2:]}", data["exercises"][name]["answer"]) for name in names]
    )
    for mark in data["marks"]:
        terminal.warn(mark)
    terminal.say(f"written: {path}")
    return 0


def _chosen(only: str) -> list[str]:
    """'2,5' → ['ex2', 'ex5']."""
    numbers = [part.strip().removeprefix("ex") for part in only.split(",") if part.strip()]
    unknown = [number for number in numbers if f"ex{number}" not in EXERCISES]
    if unknown:
        raise OptionError(
            f"only is {only!r}: there is no exercise {unknown[0]}; name some of 1 to 7, as 2,5"
        )
    return [name for name in EXERCISES if name[2:] in numbers or not numbers]


def _check_given(options: Options, missing: list[str]) -> None:
    """Raises `DataError` now, rather than after minutes of other exercises."""
    folder = options.mnist_dir
    if folder is not None and "ex7" in missing and not folder.is_dir():
        raise DataError(f"{folder} is no folder: name one that holds MNIST's four files")


def _has_result(options: Options, name: str) -> bool:
    """Whether there is one to keep. A smoke run is kept by another smoke run alone."""
    results.finish(options.out, name)
    record = results.load(options.out, name)
    return record is not None and (options.quick or not record.get("quick"))


def _made_otherwise(options: Options, kept: list[str]) -> dict[str, str]:
    """Where a result that is kept was made with other options than are given now, a sentence.

    And what to run for one that was made with them.
    """
    found = {}
    for name in kept:
        record = results.load(options.out, name) or {}
        for option, value in _given(options, name).items():
            made = record.get("config", {}).get(option)
            same = made == value or (
                isinstance(value, Path)
                and isinstance(made, str)
                and Path(made).absolute() == value.absolute()
            )
            if not same:
                flag = f"--{option.replace('_', '-')}"
                run = f"without {flag}" if made is None else f"with {flag} {Path(str(made)).name}"
                mark = (
                    f"Exercise {name[2:]} is kept from a run {run}: {flag} "
                    f"{Path(str(value)).name} does not count for it."
                )
                words = shlex.join(_options_of(options, name))
                found[mark] = f"jaxlab {name} {words}"
    return found


def _given(options: Options, name: str) -> dict[str, Any]:
    """The report's options for one exercise, of those that were given."""
    names = ["seed"]
    if name == "ex7":
        names += ["mnist_dir"]
    elif name != "ex1":
        names += ["data", "images", "labels"]
    return {option: value for option in names if (value := getattr(options, option)) is not None}


def _options_of(options: Options, name: str) -> list[str]:
    """The report's options as an exercise's."""
    words = ["--out", str(options.out)]
    if options.quick:
        words.append("--quick")
    for option, value in _given(options, name).items():
        words += [f"--{option.replace('_', '-')}", str(value)]
    return words


def _without_folders(arguments: Sequence[str]) -> list[str]:
    """The command line with names of files alone: whoever reads the report has other folders."""
    words: list[str] = []
    for word in arguments:
        option, equals, value = word.partition("=")
        if option in FILES and equals:
            word = f"{option}={Path(value).name}"
        elif words and words[-1] in FILES:
            word = Path(word).name
        words.append(word)
    return words


def _run(name: str, words: list[str]) -> None:
    if name == "ex7":
        from jaxlab.convnet.checkpoints import DamagedError
        from jaxlab.exercises import ex7, ex7_training

        config, _, _ = exercise.parse(name, ex7, words)
        try:
            if ex7_training.has_checkpoint(config):
                exercise.run(name, [*words, "--resume"], alone=False)
                return
        except (DamagedError, ex7_training.OtherImagesError) as error:
            why = "damaged" if isinstance(error, DamagedError) else "of other images"
            terminal.warn(f"the checkpoint of exercise 7 is {why}: it is trained anew")
    exercise.run(name, words, alone=False)


def _forget_programs() -> None:
    """No exercise needs the compiled programs of another, and they fill the memory."""
    import jax

    jax.clear_caches()
    # Linux keeps what threads have freed, each thread's apart: a gigabyte by the end.
    with contextlib.suppress(OSError, TypeError, AttributeError):  # elsewhere there is no such call
        ctypes.CDLL(None).malloc_trim(0)


def _named(names: list[str]) -> str:
    numbers = ", ".join(name[2:] for name in names)
    return f"exercise{'s' if len(names) > 1 else ''} {numbers}"


def _today() -> str:
    day = datetime.date.today()
    return f"{day.day} {day:%B %Y}"
