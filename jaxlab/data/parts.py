"""Dividing examples into parts: always the same way, and evenly over the classes.

Nothing here depends on a run's seed: two runs with different seeds train on the same examples
and are tested on the same examples.
"""

from typing import NamedTuple

import numpy as np

from jaxlab.wording import listed

SEED = 602020


class Parts(NamedTuple):
    """Row numbers of the three parts, each an int64 vector in shuffled order."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split(labels: np.ndarray) -> Parts:
    """Three fifths, one fifth and one fifth of each class of `labels` (m,), classes mixed.

    A class of three or more examples has at least one in each part; of two, one is trained on
    and one tested on; a single one is trained on.
    """
    rest, test = hold_out(labels, np.arange(labels.size), one_in=5)
    train, validation = hold_out(labels, rest, one_in=4)
    return Parts(train, validation, test)


def hold_out(labels: np.ndarray, rows: np.ndarray, one_in: int) -> tuple[np.ndarray, np.ndarray]:
    """Hold out one in `one_in` examples of each class, at least one where a class has two.

    Args:
        labels: (m,) the class of every example.
        rows: (n,) the row numbers to divide.
        one_in: 5 holds out a fifth.

    Returns:
        The row numbers kept and those held out, each in shuffled order.
    """
    order = shuffled(rows)
    held = np.zeros(order.size, bool)
    for label in np.unique(labels[order]):
        places = np.flatnonzero(labels[order] == label)
        count = max(1, round(places.size / one_in)) if places.size > 1 else 0
        held[places[:count]] = True
    # The held-out rows are the first of their class in `order`; shuffling again keeps classes
    # that are used up early from leaving a long tail of one digit.
    return shuffled(order[~held]), shuffled(order[held])


def shuffled(rows: np.ndarray) -> np.ndarray:
    """`rows` (n,) in another order, always the same one for the same n.

    The order is that of the generator's raw output, which NumPy promises never to change; it
    makes no such promise for Generator.permutation().
    """
    return rows[np.argsort(np.random.PCG64(SEED).random_raw(rows.size), kind="stable")]


def limited(parts: Parts, labels: np.ndarray, limit: int) -> Parts:
    """The first examples of each part, `limit` in all, in the parts' and classes' proportions.

    Args:
        parts: what to take from, more than `limit` examples.
        labels: (m,) the class of every example.
        limit: how many examples to keep.
    """
    sizes = np.array([part.size for part in parts])
    shares = allot(sizes, limit)
    return Parts(
        *(_first(part, labels[part], int(share)) for part, share in zip(parts, shares, strict=True))
    )


def allot(counts: np.ndarray, total: int) -> np.ndarray:
    """`total` divided in proportion to `counts` (n,), as whole numbers (n,) that sum to it.

    Every count above zero gets at least one where `total` reaches that far.
    """
    exact = counts * total / counts.sum()
    shares = np.floor(exact).astype(np.int64)
    if total >= np.count_nonzero(counts):
        shares = np.maximum(shares, counts > 0)
    while shares.sum() < total:
        shares[np.argmax(exact - shares)] += 1
    while shares.sum() > total:
        shares[np.argmax(np.where(shares > 1, shares - exact, -np.inf))] -= 1
    return shares


def _first(part: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """The first `count` rows of `part` (n,), classes in proportion, in the part's own order."""
    classes, counts = np.unique(labels, return_counts=True)
    kept = np.zeros(part.size, bool)
    for label, share in zip(classes, allot(counts, count), strict=True):
        kept[np.flatnonzero(labels == label)[:share]] = True
    return part[kept]


def oddities_of(images: np.ndarray, digits: np.ndarray, parts: Parts) -> tuple[str, ...]:
    """What a user should know of digits (m,) and images (m, side, side) that are not quite whole.

    Args:
        images: all of them.
        digits: their labels.
        parts: which rows are used, and for what.
    """
    used = np.concatenate(parts)
    blank = np.count_nonzero((images.min(axis=(1, 2)) == images.max(axis=(1, 2)))[used])
    present = set(digits[used].tolist())
    scarce = present - set.intersection(*(set(digits[part].tolist()) for part in parts))
    notes = []
    if blank:
        notes.append(f"{blank:,} of the images are blank")
    if missing := set(range(10)) - present:
        notes.append(f"no example of {listed(sorted(missing))}")
    if scarce:
        notes.append(f"too few examples of {listed(sorted(scarce))} for every part to have one")
    if len(parts.train) == 1:
        notes.append("a single image to train on")
    return tuple(notes)
