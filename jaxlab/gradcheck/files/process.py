"""Somebody's file in a process of its own: asked for gradients, ended in time and with us."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxlab.errors import CheckError
from jaxlab.gradcheck.files.child import Opaque, decode, encode

CHILD = Path(__file__).with_name("child.py")
MOST_CHARACTERS = 100_000_000
_NOT_NUMBERS = "its process answers with something else than numbers"


class EndedError(CheckError):
    """The process has ended, or its time is over: nothing more can be asked."""


class Failure(NamedTuple):
    """Why a call failed, and the line of the file that the function came to."""

    text: str
    reached: int


def started(arguments: list[str], **options: Any) -> subprocess.Popen[str]:
    """Python in a process of its own, which is written lines to and read lines from.

    It leads a group of its own, with all that it starts, that the terminal does not interrupt.
    """
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        start_new_session=True,
        **options,
    )


class Theirs:
    """The functions of a file, run in a process of its own; a context manager that ends it.

    functions: [{"name", "variadic", "options", "parameters": [{"name", "required", "default",
    "plain", "keyword"}]}] in the file's order; options: the name behind **, plain: whether the
    default is a number, a word or None; classes: [{"name", "parameters", "methods"}], of methods as
    of functions; parameters: None where Python does not say. stopped: why the file itself did not
    run to its end, "" where it did. ended: why nothing more can be asked, "" where it can.
    passed_over: functions that were left out, and why. others: methods that give a gradient as
    well. two: a function returned numbers at both
    ends, of which the first is taken for J, or the last where `last` is set. example: the arguments
    that its `example()` returns, or None. Raises `CheckError` with the reason where the file cannot
    be run, and on every call after its time is up.
    """

    def __init__(self, file: Path, seconds: float) -> None:
        self.file, self.seconds = file.resolve(), seconds
        self.end, self.ended = time.monotonic() + seconds, ""
        self.passed_over: list[str] = []
        self.others: list[str] = []
        self.two = self.last = False
        environment = {
            "JAX_PLATFORMS": "cpu",
            "MPLBACKEND": "Agg",
            # Of products so small threads take a hundred times as long where others compute too.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            **os.environ,
            # A gradient is checked in double precision where it lets us.
            "JAX_ENABLE_X64": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.process = started(
            [str(CHILD), str(self.file), str(seconds), str(os.getpid())],
            cwd=self.file.parent,
            env=environment,
        )
        self.lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        try:
            hello = self._reply()
        except BaseException:
            self.close()
            raise
        self.functions: list[dict] = hello["functions"]
        self.classes: list[dict] = hello["classes"]
        self.stopped: str = hello["stopped"]
        example = hello["example"]
        self.example = None if example is None else [decode(value) for value in example]

    def call(
        self, function: str, points: list, args: list, named: dict[str, Any], spread: bool = False
    ) -> tuple[list[tuple[float, Any]], Failure | None]:
        """(J, gradient) at every point up to the first that fails, and why that failed.

        spread: points are dicts of arguments. function: a name, or two for J and its gradient.
        """
        # What their process has already is not sent anew.
        places = {id(value): Opaque([i]) for i, value in enumerate(self.example or [])
                  if isinstance(value, np.ndarray)}  # fmt: skip
        request = {
            "function": function,
            "spread": spread,
            "points": [encode(point) for point in points],
            "args": [encode(places.get(id(value), value)) for value in args],
            "named": {name: encode(places.get(id(v), v)) for name, v in named.items()},
            "last": self.last,
        }
        answers = self._ask(request)["answers"]
        self.two = self.two or any(a.get("two") for a in answers)
        try:
            good = [(a["J"], decode(a["grad"])) for a in answers if "error" not in a]
        except (KeyError, TypeError, ValueError):
            raise CheckError(_NOT_NUMBERS) from None
        return good, next(
            (Failure(a["error"], a["reached"]) for a in answers if "error" in a), None
        )

    def evaluate(self, source: str, names: dict[str, Any], define: str = "") -> tuple[Any, str]:
        """Runs a few lines of ours beside what the file defines: their `result`, and an error.

        What is no number or array comes as `Opaque`. names: arrays that the lines use. define: the
        name under which `call` finds the function `assembled` of these lines.
        """
        arrays = {name: encode(value) for name, value in names.items()}
        reply = self._ask({"source": source, "names": arrays, "define": define})
        return decode(reply.get("result")), reply.get("failed", "")

    def close(self) -> None:
        """Ends it and everything that it started."""
        with contextlib.suppress(OSError):
            if os.name == "posix":
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError, ValueError):
                if stream is not None:
                    stream.close()

    def __enter__(self) -> "Theirs":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            while line := self.process.stdout.readline(MOST_CHARACTERS):
                self.lines.put(line)
        self.lines.put(None)

    def _ask(self, request: dict) -> dict:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        return self._reply()

    def _reply(self) -> dict:
        try:
            line = self.lines.get(timeout=max(0.0, self.end - time.monotonic()))
        except queue.Empty:
            self.ended = (
                f"not done after {self.seconds:g} seconds (an endless loop?); "
                "--seconds gives it more"
            )
            raise EndedError(self.ended) from None
        if line is None:
            status = self.process.wait()
            how = f"signal {-status}" if status < 0 else f"exit status {status}"
            self.ended = f"its code ended Python in the middle ({how})"
            raise EndedError(self.ended)
        try:
            reply = json.loads(line)
        except ValueError:
            raise CheckError(_NOT_NUMBERS) from None
        if not isinstance(reply, dict):
            raise CheckError(_NOT_NUMBERS)
        if "error" in reply:
            raise CheckError(f"the file cannot be run: {reply['error']}")
        return reply
