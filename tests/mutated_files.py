"""Mutated files of every kind that jaxlab reads: `python tests/mutated_files.py COUNT [LAB]`.

Each is read right or refused by an error of the package's own: no other exception, no crash, not
more than 5 seconds and 1 GiB. File NUMBER of a kind is always the same. The files are read in
processes of their own; what broke the promise is kept. LAB: a folder of results, as `jaxlab report
--quick --out LAB` leaves it; made if not given. Prints JSON; exit status 1 if a promise is broken.
"""

import argparse
import json
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import mutated_kinds
from rich.console import Console
from rich.progress import Progress

from jaxlab.errors import JaxlabError

SECONDS, BYTES = 5, 2**30
# A process that says nothing for so long is ended; it may have been stopped for a while.
SILENCE = 900
# Of each kind, so many in a thousand.
SHARES = {
    "npz": 150, "packed npz": 80, "mat": 130, "packed mat": 110, "csv": 90, "idx": 110,
    "packed idx": 110, "cached idx": 70, "npm package": 20, "small mnist": 10, "result": 110,
    "checkpoint": 4, "compiled program": 6,
}  # fmt: skip


class Slow(BaseException):
    """Nothing that the package could catch."""


def outcome(kind: mutated_kinds.Kind, number: int) -> str:
    """ "read", "refused", or what went wrong, with file `number` of a kind."""
    kind.write(random.Random(f"{kind.name} {number}"))
    # Of the process's own time: the machine may have other work.
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind.read()
    except JaxlabError as error:
        str(error).encode()
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                return "took too much memory"
            cause = cause.__cause__ or cause.__context__
        return "refused"
    except (Exception, Slow) as error:
        return f"{type(error).__name__}: {error}"[:300]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return "read"


def work(name: str, start: int, stop: int, folder: Path, lab: Path) -> None:
    """Tells the outcome of each file on a line of its own."""

    def slow(*_):
        raise Slow(f"took more than {SECONDS} s")

    signal.signal(signal.SIGPROF, slow)
    said, sys.stdout = sys.stdout, sys.stderr
    kind = mutated_kinds.KINDS[name](name, folder, lab)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind.read()  # sound as it is, and everything imported before memory is counted
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    # Threads reserve address space that they never use.
    resource.setrlimit(resource.RLIMIT_AS, (taken + kind.reserve * BYTES,) * 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(start, stop):
        found = outcome(kind, number)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > BYTES // 1024:
            found = f"took more than {BYTES >> 20} MiB"
        print(json.dumps(found), file=said, flush=True)
        if found not in ("read", "refused"):
            kind.keep(folder.parent / "failed", number)


def outcomes(name: str, count: int, folder: Path, lab: Path):
    """The outcome of each of `count` files of a kind, in turn."""
    done = 0
    while done < count:
        place = Path(tempfile.mkdtemp(dir=folder))
        options = ["--worker", name, str(done), str(count), str(place), str(lab)]
        command = [sys.executable, __file__, *options]
        with (folder / "stderr").open("wb") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, bufsize=0)
        assert process.stdout
        while select.select([process.stdout], [], [], SILENCE)[0]:
            line = process.stdout.readline()
            if not line:
                break
            done += 1
            yield json.loads(line)
        process.kill()
        if done < count:
            last = (folder / "stderr").read_text(errors="replace").strip()[-300:]
            yield f"the process ended with status {process.wait()}: {last}"
            shutil.copytree(place, folder / "failed" / f"{name}-{done}")
            done += 1
        process.wait()
        process.stdout.close()
        shutil.rmtree(place)


def main() -> int:
    if sys.argv[1:2] == ["--worker"]:
        name, start, stop, folder, lab = sys.argv[2:]
        work(name, int(start), int(stop), Path(folder), Path(lab))
        return 0
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("lab", type=Path, nargs="?")
    parser.add_argument("--only", choices=SHARES)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="jaxlab-mutated-"))
    lab = options.lab or folder / "lab"
    if options.lab is None:
        report = [sys.executable, "-m", "jaxlab", "report", "--quick", "--out", str(lab)]
        subprocess.run(report, check=True, stdout=subprocess.DEVNULL)
    names = [options.only] if options.only else list(SHARES)
    whole = sum(SHARES[name] for name in names)
    counts, failures = {}, []
    with Progress(console=Console(stderr=True)) as bar:
        for name in names:
            wanted = max(1, options.count * SHARES[name] // whole)
            task = bar.add_task(name, total=wanted)
            counted: Counter[str] = Counter()
            for number, found in enumerate(outcomes(name, wanted, folder, lab.resolve())):
                sound = found in ("read", "refused")
                counted[found if sound else "failed"] += 1
                if not sound:
                    failures.append(f"{name} {number}: {found}")
                bar.advance(task)
            counts[name] = {key: counted[key] for key in ("read", "refused", "failed")}
    total = sum((Counter(one) for one in counts.values()), Counter())
    print(json.dumps({"files": total.total(), **total, "kinds": counts, "failures": failures,
                      "kept": str(folder / "failed") if failures else None}, indent=1))  # fmt: skip
    return 1 if failures else 0


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.exit(main())
