"""Intervals and tests for accuracies.

`scipy.stats` has these as well, and takes several times as long to import as the `scipy.special`
that is used here.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from jaxlab.errors import ShapeError


def over_seeds(accuracies: Sequence[float], examples: int) -> dict[str, Any]:
    """The mean of several networks' accuracies with its 95 % interval, in the form of result.json.

    accuracies: one or more, in [0, 1]. The interval is Student's t over seeds: it says how far
    another set of seeds would move the mean, on the same images. Of a single network it is Wilson's
    interval over its examples; of two it is their range, for t with one degree of freedom would
    take in nearly everything.
    """
    mean, n = float(np.mean(accuracies)), len(accuracies)
    if n == 1:
        low, high = wilson(round(mean * examples), examples)
    elif n == 2:
        low, high = float(min(accuracies)), float(max(accuracies))
    else:
        half = half_width(accuracies)
        low, high = max(mean - half, 0.0), min(mean + half, 1.0)
    return {
        "mean": mean,
        "ci95": [low, high],
        "per_seed": [float(a) for a in accuracies],
        "examples": examples,
    }


def in_percent(
    rows: Mapping[str, Sequence[dict[str, Any]]],
) -> tuple[dict[str, list[float]], dict[str, list[list[float]]]]:
    """Means and 95 % intervals of accuracies by name, in percent as figures have them."""
    means = {name: [100 * entry["mean"] for entry in row] for name, row in rows.items()}
    intervals = {
        name: [[100 * end for end in entry["ci95"]] for entry in row] for name, row in rows.items()
    }
    return means, intervals


def half_width(values: Sequence[float]) -> float:
    """Of Student's 95 % interval of the mean of two or more values."""
    from scipy.special import stdtrit

    n = len(values)
    return float(stdtrit(n - 1, 0.975)) * float(np.std(values, ddof=1)) / n**0.5


def wilson(right: int, examples: int) -> tuple[float, float]:
    """Wilson's 95 % score interval for `right` of `examples` (Wilson 1927)."""
    z, p = 1.959964, right / examples
    centre = (p + z**2 / (2 * examples)) / (1 + z**2 / examples)
    half = z / (1 + z**2 / examples) * math.sqrt(p * (1 - p) / examples + z**2 / (4 * examples**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def mcnemar(one: Bool[np.ndarray, " m"], other: Bool[np.ndarray, " _"]) -> tuple[int, int, float]:
    """McNemar's exact test of two classifiers on the same examples (McNemar 1947).

    one, other: which examples each classifies rightly. Returns how many only `one` has right,
    how many only `other`, and the two-sided p-value that two equally good classifiers would
    differ at least so much: the binomial probability with ½ over the examples on which they do.
    """
    if one.shape != other.shape:
        raise ShapeError(f"the classifiers saw {one.size} and {other.size} examples: not the same")
    only_one, only_other = int((one & ~other).sum()), int((~one & other).sum())
    from scipy.special import bdtr

    tail = float(bdtr(min(only_one, only_other), only_one + only_other, 0.5))
    return only_one, only_other, min(1.0, 2 * tail)


def confusion(
    truth: Int[np.ndarray, " m"], guess: Int[np.ndarray, " m"], classes: int = 10
) -> Int[np.ndarray, "classes classes"]:
    """How many examples of each digit (row) were taken for each digit (column)."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (truth, guess), 1)
    return counts
