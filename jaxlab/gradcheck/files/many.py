"""Many files at once: a process of ours for each core, which checks one file after another."""

import contextlib
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from jaxlab.cores import cores
from jaxlab.gradcheck.files.calls import Options
from jaxlab.gradcheck.files.judge import check_file
from jaxlab.gradcheck.files.process import started
from jaxlab.gradcheck.files.report import Report

Target = tuple[Path, str]
# Beyond the time limit of a file, for what is computed here: a worker that is silent for longer was
# stopped by the file that it checks.
PATIENCE = 60.0
# For ending by itself what a worker has started.
LAST_SECONDS = 5.0


def check_many(
    targets: Sequence[Target], options: Options, seconds: float
) -> Generator[Report, None, None]:
    """A report of each file and function, in order. Closed or interrupted, it ends what runs."""
    workers = [_worker() for _ in targets[: cores()]]
    idle: queue.SimpleQueue[subprocess.Popen] = queue.SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def check(target: Target) -> Report:
        worker = idle.get()
        if worker.poll() is not None:  # another file has ended it
            worker = _worker()
            workers.append(worker)
        report = _asked(worker, target, options, seconds)
        idle.put(worker)
        return report

    pool = ThreadPoolExecutor(len(workers))
    try:
        yield from pool.map(check, targets)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:  # all at once
            _hang_up(worker)
        for worker in workers:
            _end(worker)


# --- on this side ---


def _worker() -> subprocess.Popen:
    # With the paths of this process: in the folder that it is run in there may be a random.py.
    code = f"import sys; sys.path[:] = {sys.path!r}; import {__name__} as many; many.work()"
    return started(["-c", code])  # the terminal interrupts us alone, and we hang up


def _asked(worker: subprocess.Popen, target: Target, options: Options, seconds: float) -> Report:
    assert worker.stdin is not None
    assert worker.stdout is not None
    file, function = target
    # The file that is checked may write to where its report comes from: for itself alone.
    number = secrets.token_hex()
    watch = threading.Timer(seconds + PATIENCE, worker.kill)
    watch.start()
    try:
        worker.stdin.write(json.dumps([number, str(file), function, asdict(options), seconds]))
        worker.stdin.write("\n")
        worker.stdin.flush()
        again, report = json.loads(worker.stdout.readline())
        if again == number:
            return Report(**report)
    except (OSError, ValueError, TypeError):
        pass
    finally:
        watch.cancel()
    worker.kill()
    worker.wait()
    reason = "the process that checked it was ended, stopped or answered for, as by its own code"
    return Report(str(file), function, reason=reason)


def _hang_up(worker: subprocess.Popen) -> None:
    with contextlib.suppress(OSError, ValueError):
        if worker.stdin is not None:
            worker.stdin.close()


def _end(worker: subprocess.Popen) -> None:
    try:
        worker.wait(LAST_SECONDS)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
    if worker.stdout is not None:
        worker.stdout.close()


# --- on the other ---


def work() -> None:
    """What a worker does: a line with a file comes in, a line with its report goes out.

    Where nobody is there any more, what it checks is ended as by Ctrl-C, and so is it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        lines.put("")
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=listen, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        while line := lines.get():
            number, file, function, options, seconds = json.loads(line)
            options["sizes"] = options["sizes"] and tuple(options["sizes"])
            report = check_file(Path(file), function, Options(**options), seconds)
            print(json.dumps([number, report.as_json()]), flush=True)
