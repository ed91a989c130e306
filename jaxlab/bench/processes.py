"""Whole processes: what a user waits for, with start-up, imports and compilation."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from jaxlab.bench.timing import OURS, Row, Timing

REPEATS = 5

# The check of exercise 1 as one would write it in NumPy: 8-5-10, 100 examples, every coordinate.
NUMPY = """
import numpy as np
rng = np.random.default_rng(0)
x, y = rng.random((100, 8)), np.eye(10)[rng.integers(0, 10, 100)]
theta, m = rng.normal(size=105), 100
def parts(theta):
    return theta[:40].reshape(5, 8), theta[40:45], theta[45:95].reshape(10, 5), theta[95:]
def cost(theta):
    W1, b1, W2, b2 = parts(theta)
    a2 = 1 / (1 + np.exp(-(x @ W1.T + b1)))
    a3 = 1 / (1 + np.exp(-(a2 @ W2.T + b2)))
    return 0.5 * ((a3 - y) ** 2).sum() / m, a2, a3
J, a2, a3 = cost(theta)
W2 = parts(theta)[2]
d3 = (a3 - y) * a3 * (1 - a3)
d2 = (d3 @ W2) * a2 * (1 - a2)
g = np.concatenate([(d2.T @ x).ravel(), d2.sum(0), (d3.T @ a2).ravel(), d3.sum(0)]) / m
n = np.array([(cost(theta + 1e-4 * e)[0] - cost(theta - 1e-4 * e)[0]) / 2e-4 for e in np.eye(105)])
print(np.linalg.norm(g - n) / np.linalg.norm(g + n))
"""


def rows() -> Iterator[Row]:
    """`jaxlab ex1` the first time, with an empty cache, and then; a NumPy script beside it."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "XDG_CACHE_HOME": folder}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        ours = [sys.executable, "-m", "jaxlab", "ex1", "--out", str(Path(folder) / "runs")]
        numpy = [sys.executable, "-c", NUMPY]
        first = _seconds(ours, environment)
        times: dict[str, list[float]] = {OURS: [], "NumPy script": []}
        for _ in range(REPEATS):
            times[OURS].append(_seconds(ours, environment))
            times["NumPy script"].append(_seconds(numpy, environment))
    yield Row(
        "`jaxlab ex1`, whole process, from the second time on",
        {
            who: Timing(
                sorted(own)[REPEATS // 2], min(own), first if who == OURS else own[0], REPEATS
            )
            for who, own in times.items()
        },
        notes=("jaxlab's figures and three witnesses are in it; the script has one and no figure",),
    )


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start
