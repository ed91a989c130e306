"""Norms and inner products of long vectors, summed where they are.

BLAS hands them to threads of its own from some 10,000 numbers on, which wait for each other for
longer than the sum takes: beside another busy process a check of 20,000 parameters took three
times as long.
"""

import numpy as np

Numbers = np.ndarray | np.number | float


def norm(v: Numbers) -> np.floating:
    """‖v‖ over all numbers of an array of any shape."""
    squared = inner(v, v)
    if squared == np.inf and np.isfinite(largest := np.max(np.abs(v))):
        return largest * norm(v / largest)  # only the squares are too large
    return np.sqrt(squared)


def inner(a: Numbers, b: Numbers) -> np.number:
    """The sum of a × b over two arrays of one shape."""
    return np.einsum("i,i", np.ravel(a), np.ravel(b))
