"""Mistakes in a gradient, named from the numbers alone, for any function."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mistake:
    """A mistake with a name: what it is, in which blocks, and in words what to do about it."""

    id: str
    block: str
    explanation: str


def name_from_numbers(
    mine: Mapping[str, np.ndarray],
    right: Mapping[str, np.ndarray],
    params: Mapping[str, np.ndarray],
    *,
    m: int | None = None,
    per_example: Mapping[str, np.ndarray] | None = None,
    tolerance: float = 1e-6,
) -> list[Mistake]:
    """The mistakes that explain `mine` to rounding; none where nothing does."""
    found = []
    for name, g in mine.items():
        n = right[name]
        if np.allclose(g, n, rtol=tolerance, atol=0):
            continue
        k = float((g * n).sum() / (n * n).sum()) if n.any() else 0.0
        if g.size > 1 and np.linalg.norm(g - k * n) <= tolerance * np.linalg.norm(g):
            found.append(Mistake("factor", name, f"{name} is {k:g} times what it should be"))
    return found
