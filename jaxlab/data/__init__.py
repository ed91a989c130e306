"""The digits: small MNIST, which travels with the package, or the file a course hands out.

    digits = load_digits()                 6,000 / 2,000 / 2,000 images of 28 × 28 pixels
    digits = load_digits("ex3data1.mat")   a file of one's own; digits.understood says how read
    digits.train.x, digits.train.y         (m, pixels) float32 in [0, 1], (m,) int32 in 0..9
    one_hot(digits.train.y)                (m, 10) float32

The split is fixed: no seed of a run moves an example from one part to another. Full MNIST, of
70,000 images, is in jaxlab.data.mnist.
"""

import os
from pathlib import Path

from jaxlab.data import small_mnist, user_file
from jaxlab.data.examples import Digits, Examples, one_hot
from jaxlab.data.parts import limited, oddities_of
from jaxlab.errors import OptionError

__all__ = ["Digits", "Examples", "load_digits", "one_hot"]


def load_digits(
    file: str | os.PathLike | None = None,
    *,
    images: str | None = None,
    labels: str | None = None,
    limit: int | None = None,
) -> Digits:
    """Digits to train on, to validate with and to test on.

    Args:
        file: a .npz, .mat or .csv of digits; None takes small MNIST.
        images: the name of the file's array of images, where the usual names do not fit.
        labels: likewise of its labels; for a .csv, the column: "first", "last" or its name.
        limit: keep only so many examples in all, in the same proportions of parts and classes.

    Raises:
        DataError: the file is missing, damaged, or cannot be understood.
        OptionError: `limit` is below 30, or `images` or `labels` is given without a file.
    """
    if limit is not None and limit < user_file.FEWEST:
        raise OptionError(f"a limit of {limit} is too small: keep {user_file.FEWEST} or more")
    if file is None and (images is not None or labels is not None):
        raise OptionError("images and labels name arrays of a file: give the file as well")
    if file is None:
        collection = small_mnist.collection()
    else:
        collection = user_file.collection(Path(file), images, labels)
    parts, understood = collection.parts, collection.understood
    if limit is not None and limit >= len(collection.digits):
        limit = None  # no limit to these
    if limit is not None:
        parts = limited(parts, collection.digits, limit)
        understood += (f"limited to {limit:,} of them",) if understood else ()
    oddities = oddities_of(collection.images, collection.digits, parts)
    if understood:
        understood += tuple(f"note: {oddity}" for oddity in oddities)
    flat = collection.images.reshape(len(collection.images), -1)
    train, validation, test = (Examples(flat[rows], collection.digits[rows]) for rows in parts)
    return Digits(
        train,
        validation,
        test,
        side=collection.images.shape[1],
        source=collection.source + ("" if limit is None else f"; {limit:,} of them used"),
        understood=understood,
        oddities=oddities,
    )
