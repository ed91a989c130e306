"""What a person sees while a command runs: progress, tables, warnings.

Progress goes to standard error and only to a terminal, or below the cell of a notebook; results
go to standard output, where a file or a pipe gets plain text.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape

import rich.console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text


class Console(rich.console.Console):
    """Rich's, which ends Python itself where nobody reads any more: here the caller hears of it."""

    def on_broken_pipe(self) -> None:
        raise


out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
SECONDS_UNTIL_SPINNER = 2.0
# How often a notebook's bar is drawn again: each time is a message to the browser.
SECONDS_A_FRAME = 0.25


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[..., None]]:
    """A bar with the time left; yields advance(n=1, note="").

    Silent where standard error is neither a terminal nor a notebook.
    """
    if err.is_jupyter:
        with _notebook_progress(what, total) as advance:
            yield advance
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what, total=total, note="")

        def advance(n: int = 1, note: str = "") -> None:
            bar.update(task, advance=n, note=note)

        yield advance


@contextmanager
def _notebook_progress(what: str, total: int) -> Iterator[Callable[..., None]]:
    """The bar as HTML in one output that is drawn again and empty at the end.

    Rich's own bar in a notebook needs ipywidgets, and leaves a blank line for each of its frames
    where that is missing.
    """
    from IPython.display import HTML, display

    start = shown = time.monotonic()
    done = 0
    handle = display(HTML(""), display_id=True)

    def advance(n: int = 1, note: str = "") -> None:
        nonlocal done, shown
        done += n
        now = time.monotonic()
        if now - shown < SECONDS_A_FRAME or not done:
            return
        shown, left = now, (now - start) * (total - done) / done
        handle.update(
            HTML(
                f'{escape(what)} <progress value="{done}" max="{total}"></progress> '
                f"{done}/{total} {escape(note)}, {_clock(now - start)}, left {_clock(left)}"
            )
        )

    try:
        yield advance
    finally:
        handle.update(HTML(""))


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A spinner beside `what` for work of unknown length, once it has taken two seconds.

    Silent where standard error is not a terminal.
    """
    status = err.status(Text(what))
    # A lock: the timer may fire while the work ends.
    lock, done = threading.Lock(), False

    def start() -> None:
        with lock:
            if not done:
                status.start()

    timer = threading.Timer(SECONDS_UNTIL_SPINNER, start)
    timer.daemon = True
    if err.is_terminal:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            done = True
            status.stop()


@contextmanager
def stage(advance: Callable[..., None], steps: int) -> Iterator[Callable[..., None]]:
    """A part of a bar, for work that reports where it is: yields reached(step, note="").

    Work that ends early leaves no gap: at the end the whole stage counts as done.
    """
    done = 0

    def reached(step: int, note: str = "") -> None:
        nonlocal done
        advance(step - done, note=note)
        done = step

    yield reached
    reached(steps)


def say(text: str) -> None:
    """One line of what is going on."""
    out.print(text, markup=False)


def warn(text: str) -> None:
    """Something that the reader must not miss."""
    err.print(f"warning: {text}", style="bold yellow", markup=False)


def table(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Rows of (what, value): a table on a terminal, aligned plain lines elsewhere."""
    if out.is_terminal:
        # Text, not markup: a folder may be called [old].
        grid = Table(title=Text(title), title_justify="left", title_style="bold", show_header=False)
        grid.add_column(style="dim")
        grid.add_column()
        for what, value in rows:
            grid.add_row(Text(what), Text(value))
        out.print(grid)
        return
    width = max((len(what) for what, _ in rows), default=0)
    say(title)
    for what, value in rows:
        say(f"  {what.ljust(width)}  {value}")
