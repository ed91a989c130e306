"""Counts what the checker rejects and names: `planted_rates.py singles|pairs|right N`.

singles: N rounds over every mistake, with other losses, sizes and parameters each time. pairs: N
pairs of mistakes in one program. right: N right gradients, of which none may be rejected. Prints
JSON.
"""

import json
import os
import sys
import warnings

os.environ |= {"JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}

import numpy as np
import planted_networks as planted
from in_process import verdict
from right_gradients import rejected

DEEP = [(7, 5), (7, 4, 5), (6, 4, 3, 5), (5, 6, 3, 4, 3)]


def sizes_for(mistakes, rng):
    """Random layers in which the mistakes can be made."""
    if any(p.square for p in mistakes):
        return (int(rng.integers(4, 7)),) * 3
    if mistakes[0].program == "rows":
        shallow = all(p.old.startswith("delta = ") for p in mistakes)
        return DEEP[rng.integers(0 if shallow else 1, len(DEEP))]
    return tuple(int(n) for n in rng.choice(np.arange(3, 9), 3, replace=False))


def singles(rounds):
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        for i, mistake in enumerate(planted.MISTAKES):
            loss = mistake.losses[(i + seed) % len(mistake.losses)]
            yield (mistake,), loss, sizes_for([mistake], rng), 1000 * seed + i


def pairs(count):
    rng = np.random.default_rng(count)
    done = 0
    while done < count:
        pair = [planted.MISTAKES[i] for i in rng.integers(0, len(planted.MISTAKES), 2)]
        losses = [loss for loss in pair[0].losses if loss in pair[1].losses]
        if pair[0].program != pair[1].program or pair[0].name == pair[1].name or not losses:
            continue
        loss = losses[rng.integers(len(losses))]
        try:
            planted.write(pair[0].program, loss, tuple(pair))
        except AssertionError:  # both in the same line
            continue
        done += 1
        yield tuple(pair), loss, sizes_for(pair, rng), done


def main():
    kind, count = sys.argv[1], int(sys.argv[2])
    if kind == "right":
        failures = rejected(count)
        print(json.dumps({"right": count, "rejected": len(failures), "failures": failures}))
        return
    counted = {"planted": 0, "rejected": 0, "named": 0, "named wrong": 0}
    failures = []
    for mistakes, loss, sizes, seed in (singles if kind == "singles" else pairs)(count):
        report = verdict(planted.write(mistakes[0].program, loss, mistakes), sizes, seed)
        ids = {found["id"] for found in report.mistakes}
        named = all(ids & mistake.ids for mistake in mistakes)
        counted["planted"] += 1
        counted["rejected"] += report.verdict == "wrong"
        counted["named"] += named
        counted["named wrong"] += bool(ids) and not any(ids & p.ids for p in mistakes)
        if not named:
            names = [mistake.name for mistake in mistakes]
            failures.append([names, mistakes[0].program, loss, sizes, seed, sorted(ids)])
    print(json.dumps(counted | {"failures": failures}, ensure_ascii=False))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    main()
