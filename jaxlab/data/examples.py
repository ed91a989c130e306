"""What a loaded set of digits is made of."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jaxlab.data.parts import Parts
from jaxlab.errors import OptionError, ShapeError


class Examples(NamedTuple):
    """Images and their digits, row by row.

    Attributes:
        x: (m, pixels) float32 in [0, 1]; 0 is the background, 1 full ink, pixels row by row.
        y: (m,) int32 digits 0..9.
    """

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Digits:
    """Digits in three parts that share no example.

    Attributes:
        train: what the parameters are fitted to.
        validation: what settings are chosen by.
        test: what is looked at once, at the end.
        side: an image is `side` × `side` pixels.
        source: where the digits come from, in one line.
        understood: what was understood of a user's file, a line each; empty for small MNIST.
        oddities: what makes results from it doubtful (a digit that is missing, blank images), a
            sentence each.
    """

    train: Examples
    validation: Examples
    test: Examples
    side: int
    source: str
    understood: tuple[str, ...] = ()
    oddities: tuple[str, ...] = ()


class Collection(NamedTuple):
    """Digits before they are divided.

    Attributes:
        images: (m, side, side) float32 in [0, 1], upright, 0 the background.
        digits: (m,) int32 in 0..9.
        parts: which rows belong to which part.
        source: where the digits come from, in one line.
        understood: what was understood of a user's file, a line each.
    """

    images: np.ndarray
    digits: np.ndarray
    parts: Parts
    source: str
    understood: tuple[str, ...] = ()


def one_hot(labels: np.ndarray, classes: int = 10) -> np.ndarray:
    """Labels (m,) of whole numbers 0..classes−1 as rows (m, classes) float32 with a single 1.

    Raises:
        ShapeError: labels that are not a row of integers.
        OptionError: a label outside 0..classes−1.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ShapeError(f"labels must be (m,) integers, not {labels.shape} {labels.dtype}")
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        found = f"labels must lie in 0..{classes - 1}, not {labels.min()}..{labels.max()}"
        if labels.min() >= 0:
            found += f"; pass classes={labels.max() + 1} for so many classes"
        if labels.max() == classes:
            found += f", or labels % {classes} where {classes} stands for 0"
        raise OptionError(found)
    return (labels[:, np.newaxis] == np.arange(classes)).astype(np.float32)
