"""Many files at once: a process of ours for each core, which checks one file after another."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue

from jaxlab.gradcheck.files.calls import Options
from jaxlab.gradcheck.files.judge import check_file
from jaxlab.gradcheck.files.report import Report

Target = tuple[Path, str]


def check_many(
    targets: Sequence[Target], options: Options, seconds: float
) -> Generator[Report, None, None]:
    """A report of each file and function, in order. Closed or interrupted, it ends what runs."""
    workers = [_worker() for _ in targets[: cores()]]
    idle: SimpleQueue[subprocess.Popen] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def check(target: Target) -> Report:
        worker = idle.get()
        if worker.poll() is not None:  # it ended in the middle of another file
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
        for worker in workers:
            _end(worker)


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def work() -> None:
    """What a worker does: a line with a file comes in, a line with its report goes out."""
    for line in sys.stdin:
        file, function, options, seconds = json.loads(line)
        options["sizes"] = options["sizes"] and tuple(options["sizes"])
        report = check_file(Path(file), function, Options(**options), seconds)
        print(json.dumps(report.as_json()), flush=True)


def _worker() -> subprocess.Popen:
    # With the paths of this process: in the folder that it is run in there may be a random.py.
    code = f"import sys; sys.path[:] = {sys.path!r}; import {__name__} as many; many.work()"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        # Interrupted by us, not by the terminal: Python says much when it is while it starts.
        start_new_session=True,
    )


def _asked(worker: subprocess.Popen, target: Target, options: Options, seconds: float) -> Report:
    assert worker.stdin is not None
    assert worker.stdout is not None
    file, function = target
    with contextlib.suppress(OSError, ValueError):
        worker.stdin.write(json.dumps([str(file), function, asdict(options), seconds]) + "\n")
        worker.stdin.flush()
        return Report(**json.loads(worker.stdout.readline()))
    worker.kill()
    reason = f"the process that checked it ended with status {worker.wait()}"
    return Report(str(file), function, reason=reason)


def _end(worker: subprocess.Popen) -> None:
    """Interrupts it, as Ctrl-C does, so that it ends what it has started itself."""
    with contextlib.suppress(OSError):
        worker.send_signal(signal.SIGINT) if os.name == "posix" else worker.kill()
    worker.wait()
    for stream in (worker.stdin, worker.stdout):
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.close()
