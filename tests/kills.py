"""Kills commands at random moments and counts what is lost: `kills.py COUNT [SEED [COMMANDS]]`.

SIGKILL to the whole process group, at moments drawn uniformly over an undisturbed run, one to
three times in a row, then a restart as a user would start it. Between the runs some compiled
programs are taken out of the cache, so that kills hit its writing too. Prints JSON; exit status 1
where anything was half-written, lost, different or left lying about.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import tiny_mnist
import wholeness

from jaxlab import terminal

SMALL = ("--epochs", "20", "--checkpoint-seconds", "0.3")
# Each command with how many of a hundred kills it gets: the short ones get more.
COMMANDS = {
    "ex2": (("ex2", "--quick", "--out", "out"), 34),
    "ex7": (("ex7", "--quick", *SMALL, "--out", "out"), 25),
    "report": (("report", "--quick", "--out", "out"), 6),
    "fetch": (("data", "fetch", "--source", "tfds"), 35),
}
HOURS = 7200


def forget_programs(place: wholeness.Place, random: random.Random) -> None:
    for path in (place.caches / "jaxlab" / "compiled").glob("*.verified"):
        if random.random() < 0.2:
            path.unlink()


def clear(place: wholeness.Place) -> None:
    for folder in (place.folder / "out", place.mnist):
        shutil.rmtree(folder, ignore_errors=True)


def kill_once(place, arguments, moment: float, broken: list[str]) -> bool:
    """Whether it was killed; False where it was done before."""
    process = place.start(*arguments)
    end = time.monotonic() + moment
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    killed = process.poll() is None
    if killed:
        os.killpg(process.pid, signal.SIGKILL)
    _, err = process.communicate()
    if not killed and process.returncode:
        broken.append(f"status {process.returncode}: {err[-400:]}")
    return killed


def restart(name: str, arguments: tuple[str, ...], place) -> tuple[str, ...]:
    """What a user types after a kill."""
    saved = place.folder / "out" / "ex7" / "checkpoints" / "seed-0"
    if name == "ex7" and any(path.name.isdigit() for path in saved.glob("*")):
        return ("ex7", "--resume", "--out", "out")
    return arguments


def age_temporary_files(place) -> None:
    """What the caches keep for an hour, because another process may be writing it, gets old."""
    for path in [*place.caches.rglob(".unfinished-*"), *place.caches.rglob(".writing-*")]:
        os.utime(path, (time.time() - HOURS,) * 2, follow_symlinks=False)


def chain(name: str, place, expected, seconds: float, length: int, rng, counted: dict) -> int:
    """Kills one command up to `length` times and lets it finish; returns the number of kills."""
    first = COMMANDS[name][0]
    clear(place)
    kills, arguments, broken = 0, first, []
    for _ in range(length):
        forget_programs(place, rng)
        killed = kill_once(place, arguments, rng.uniform(0, seconds), broken)
        kills += killed
        counted["half-written"] += (found := wholeness.faults(place.folder / "out", place.mnist))
        broken += found
        arguments = restart(name, first, place)
        if not killed:
            break
    age_temporary_files(place)
    status, _, err = place.run(*arguments)
    if status:
        counted["not finished"].append(f"{arguments}: status {status}: {err[-400:]}")
    if "compilation cache" in err:
        counted["damaged cache"].append(err[-400:])
    counted["half-written"] += wholeness.faults(place.folder / "out", place.mnist)
    if name == "fetch":
        there = {path.name for path in place.mnist.glob("*-ubyte")}
        counted["different"] += sorted(set(tiny_mnist.RAW) - there)
    else:
        found = wholeness.bits(place.folder / "out")
        different = {key for key in expected | found if expected.get(key) != found.get(key)}
        counted["different"] += sorted(different)
    counted["litter"] += wholeness.litter(place.folder / "out", place.caches)
    counted["other failures"] += broken
    return kills


def main() -> int:
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    asked = sys.argv[3:] or list(COMMANDS)
    rng = random.Random(seed)
    kinds = ("not finished", "half-written", "different", "damaged cache", "litter",
             "other failures")  # fmt: skip
    counted: dict = {kind: [] for kind in kinds}
    kills = dict.fromkeys(COMMANDS, 0)
    finished = dict.fromkeys(COMMANDS, 0)
    with (
        tempfile.TemporaryDirectory(prefix="kills-") as folder,
        wholeness.serving(seconds=0.2) as base,
        terminal.progress("kills", count) as advance,
    ):
        place = wholeness.Place(Path(folder), base)
        expected, seconds = {}, {}
        for name, (arguments, share) in COMMANDS.items():
            goal = round(count * share / sum(COMMANDS[n][1] for n in asked))
            if not goal or name not in asked:
                continue
            place.run(*arguments)  # fills the cache
            clear(place)
            start = time.monotonic()
            status, _, err = place.run(*arguments)
            assert status == 0, err
            seconds[name] = time.monotonic() - start
            expected[name] = wholeness.bits(place.folder / "out")
            while kills[name] < goal:
                length = min(rng.randint(1, 3), goal - kills[name])
                n = chain(name, place, expected[name], seconds[name], length, rng, counted)
                kills[name] += n
                finished[name] += 1
                advance(n, note=name)
                print(name, kills[name], {k: len(v) for k, v in counted.items()}, file=sys.stderr)
        left = sorted(path.name for path in place.temporary.iterdir())
    report = {"kills": sum(kills.values()), "by command": kills, "restarts to the end": finished,
              "seconds undisturbed": {n: round(s, 1) for n, s in seconds.items()},
              "left in TMPDIR": len(left), **{k: len(v) for k, v in counted.items()}}  # fmt: skip
    failures = {kind: found for kind, found in counted.items() if found}
    print(json.dumps(report | {"failures": failures, "TMPDIR": left[:20]}, indent=1))
    return 1 if failures else 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())
