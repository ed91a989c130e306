"""Many files at once: `jaxlab check FILE --json` of each, as many together as there are cores."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Sequence

from jaxlab.gradcheck.files.report import Report

# How often it is looked whether one has ended, in seconds.
OFTEN = 0.02
Running = tuple[str, subprocess.Popen]


def check_many(targets: Sequence[str], options: Sequence[str]) -> Generator[Report, None, None]:
    """A report of each, in order. Closed or interrupted, it ends what still runs.

    targets: FILE or FILE:FUNCTION. options: as on the command line.
    """
    waiting, running = deque(targets), deque[Running]()
    try:
        while waiting or running:
            # Those that are done wait for the ones before them, and others start meanwhile.
            while waiting and sum(p.poll() is None for _, p in running) < cores():
                target = waiting.popleft()
                running.append((target, _start(target, options)))
            target, process = running[0]
            with contextlib.suppress(subprocess.TimeoutExpired):
                said, _ = process.communicate(timeout=OFTEN)
                running.popleft()
                yield _report(target, said, process.returncode)
    finally:
        _end([process for _, process in running])


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(target: str, options: Sequence[str]) -> subprocess.Popen:
    # With the paths of this process: in the folder that it is run in there may be a random.py.
    code = f"import sys; sys.path[:] = {sys.path!r}; import jaxlab.cli; sys.exit(jaxlab.cli.main())"
    return subprocess.Popen(
        [sys.executable, "-c", code, "check", *options, "--json", os.path.join(".", target)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        # Interrupted by us, not by the terminal: Python says much when it is while it starts.
        start_new_session=True,
    )


def _report(target: str, said: str, status: int) -> Report:
    try:
        return Report(**json.loads(said))
    except (ValueError, TypeError):
        reason = f"a fault of jaxlab's own, its process ended with status {status}"
        return Report(target, reason=reason)


def _end(processes: list[subprocess.Popen]) -> None:
    """Interrupts them, as Ctrl-C does, so that each ends what it has started itself."""
    for process in processes:
        with contextlib.suppress(OSError):
            process.send_signal(signal.SIGINT) if os.name == "posix" else process.kill()
    for process in processes:
        process.communicate()
