"""Many processes at once in the same folders: `crowd.py COUNT [PROCESSES [KINDS]]`.

COUNT rounds of each kind, with 8 processes that share OUT, the cache of compiled programs and
MNIST's: exercise 1 with two seeds, a mix of exercises 1 to 7, `jaxlab data fetch` and
`jaxlab report`. Each process finishes, or says why not in a sentence and ends with status 2.
Afterwards every result is whole, and its figures are those that the same seed draws undisturbed.
Prints JSON; exit status 1 where that is not so.
"""

import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import tiny_mnist
import wholeness

from jaxlab import terminal


def commands(kind: str, processes: int) -> list[tuple[str, ...]]:
    if kind == "ex1":
        return [("ex1", "--quick", "--seed", str(n % 2), "--out", "out") for n in range(processes)]
    if kind == "mix":
        return [(f"ex{n % 7 + 1}", "--quick", "--out", "out") for n in range(processes)]
    if kind == "fetch":
        return [("data", "fetch", "--source", "tfds")] * processes
    return [("report", "--quick", "--out", "out")] * processes


def crowd(place: wholeness.Place, kind: str, processes: int) -> tuple[dict[str, int], list[str]]:
    """Runs them all at once; how they ended, and what went wrong."""
    asked = commands(kind, processes)
    running = [place.start(*arguments) for arguments in asked]
    said = [process.communicate(timeout=3000) for process in running]
    counted = {"finished": 0, "said why not": 0}
    broken = []
    for process, arguments, (_, err) in zip(running, asked, said, strict=True):
        refused = process.returncode == 2 and err.splitlines()[-1].startswith("jaxlab ")
        counted["finished"] += process.returncode == 0
        counted["said why not"] += refused
        if process.returncode and not refused:
            broken.append(f"{arguments}: status {process.returncode}: {err[-400:]}")
        if "compilation cache" in err or "Traceback" in err:
            broken.append(f"{arguments}: {err[-400:]}")
    out = place.folder / "out"
    broken += wholeness.faults(out, place.mnist) + wholeness.litter(out, place.caches)
    if not counted["finished"]:
        broken.append(f"{kind}: none finished: {said[0][1][-400:]}")
    if kind == "fetch":
        there = {path.name for path in place.mnist.glob("*-ubyte")}
        broken += [f"{name} is not there" for name in set(tiny_mnist.RAW) - there]
    return counted, broken


def alone(place: wholeness.Place, out: Path) -> dict[tuple[str, int], dict[str, str]]:
    """For each result in `out`, by exercise and seed, what the same command leaves undisturbed."""
    found = {}
    for path in out.glob("ex*/result.json"):
        name, seed = path.parent.name, json.loads(path.read_text())["config"]["seed"]
        status, _, err = place.run(name, "--quick", "--seed", seed, "--out", f"alone {name} {seed}")
        assert status == 0, err
        found[name, seed] = wholeness.bits(place.folder / f"alone {name} {seed}")
    return found


def mixed(place: wholeness.Place, expected: dict) -> list[str]:
    """Results whose numbers, figures or network are not all of one run."""
    out = place.folder / "out"
    bits = wholeness.bits(out)
    found = []
    for path in out.glob("ex*/result.json"):
        name, seed = path.parent.name, json.loads(path.read_text())["config"]["seed"]
        if (name, seed) not in expected:
            expected |= alone(place, out)
        mine = {key: value for key, value in bits.items() if key.startswith(f"{name} ")}
        if mine != expected[name, seed]:
            found.append(f"{name} of seed {seed} is mixed with another")
    return found


def main() -> int:
    rounds, processes = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 8
    counted: dict = {}
    failures: dict = {}
    kinds = sys.argv[3:] or ["ex1", "fetch", "mix", "report"]
    with (
        tempfile.TemporaryDirectory(prefix="crowd-") as folder,
        wholeness.serving(seconds=0.2) as base,
        terminal.progress("crowds", rounds * len(kinds)) as advance,
    ):
        place = wholeness.Place(Path(folder), base)
        expected: dict = {}
        for kind in kinds:
            total = {"finished": 0, "said why not": 0}
            for n in range(rounds):
                shutil.rmtree(place.folder / "out", ignore_errors=True)
                # Every other round without a compiled program or a file of MNIST.
                if n % 2 == 0:
                    shutil.rmtree(place.caches / "jaxlab", ignore_errors=True)
                ended, broken = crowd(place, kind, processes)
                broken += mixed(place, expected)
                total = {how: total[how] + ended[how] for how in total}
                if broken:
                    failures.setdefault(kind, []).extend(broken)
                advance(note=kind)
                print(kind, ended, broken, file=sys.stderr)
            counted[kind] = total
    report = {"rounds": rounds, "processes": processes, **counted}
    print(json.dumps(report | {"failures": failures}, indent=1))
    return 1 if failures else 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())
