"""Running another program for a while: it ends in time, when nothing more arrives, and with us."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxlab.errors import DataError

POLL_SECONDS = 0.1
MOST_CHARACTERS = 100_000


class Limits(NamedTuple):
    """When a program that fetches is ended, in seconds.

    Attributes:
        start: without a first byte.
        pause: without another byte.
        total: in all.
    """

    start: float
    pause: float
    total: float


def run(
    command: Sequence[str], work: Path, environment: dict[str, str], limits: Limits
) -> tuple[int, str, str]:
    """Run `command` in the folder `work`, where it puts what it fetches.

    It gets a session of its own, so that a Ctrl-C reaches this process alone, which then ends
    it and all that it started. Its standard input is a pipe that closes when this process dies.

    Args:
        command: the program and its arguments.
        work: its working folder.
        environment: its environment variables.
        limits: when it is ended; what arrives is seen by the size of `work`.

    Returns:
        Its exit status, and what it wrote to standard output and to standard error.

    Raises:
        DataError: it cannot be started, or it was ended.
    """
    # Files rather than pipes: a pipe that nobody reads fills up and stops the program.
    out, err = work.with_name(f"{work.name}.out"), work.with_name(f"{work.name}.err")
    try:
        with out.open("wb") as to_out, err.open("wb") as to_err:
            process = subprocess.Popen(
                command,
                cwd=work,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=to_out,
                stderr=to_err,
                start_new_session=True,
            )
            with process, _ended_in_order():
                try:
                    _wait(process, work, limits)
                finally:
                    _end(process)
        return process.returncode, _text(out), _text(err)
    except OSError as error:
        raise DataError(f"{command[0]} cannot be run ({error.strerror or error})") from error


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Whoever ends this process by a signal, or closes its terminal, ends what it started too."""
    signals = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        signals = []

    def leave(number: int, frame: object) -> None:
        sys.exit(128 + number)

    before = {number: signal.getsignal(number) for number in signals}
    mine = [number for number in signals if before[number] == signal.SIG_DFL]
    for number in mine:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def _wait(process: subprocess.Popen, work: Path, limits: Limits) -> None:
    start = last = time.monotonic()
    arrived = 0
    while process.poll() is None:
        now, there = time.monotonic(), _size(work)
        if there != arrived:
            arrived, last = there, now
        pause = limits.pause if arrived else limits.start
        if now - last > pause:
            raise DataError(f"nothing {'more ' * (arrived > 0)}arrived for {pause:g} seconds")
        if now - start > limits.total:
            raise DataError(f"it was not done after {limits.total:g} seconds")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)


def _end(process: subprocess.Popen) -> None:
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _size(folder: Path) -> int:
    """Bytes and files in `folder`; files come and go while it is looked at."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += 1 + os.lstat(os.path.join(place, name)).st_size
    return total


def _text(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(MOST_CHARACTERS)
