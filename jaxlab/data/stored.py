"""Arrays in a file, seen through their headers before any of their values are read.

The readers (npz_file, mat_file, csv_file) are written for files that may be damaged or hostile:
they believe no size that the file claims beyond what the file can hold, never unpickle, and
raise nothing but DataError. Their messages leave out the file's name; user_file adds it.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from jaxlab.errors import DataError

# In all. MNIST's 70,000 images take 440 MB as float64, the widest that anyone stores them.
LARGEST = 512 * 2**20


class Stored(NamedTuple):
    """An array as its header describes it.

    Attributes:
        name: what the file calls it.
        shape: its claimed shape.
        kind: its dtype ("uint8"), or what it is instead of an array of numbers ("cell array").
        size: the bytes its values take in memory.
        read: reads its values; None where it is not an array of real numbers.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    size: int
    read: Callable[[], np.ndarray] | None


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn whatever a library raises on damaged bytes into a DataError.

    Every exception is caught on purpose: zipfile, zlib, ast and NumPy raise some fifteen types
    between them, and the list changes with their versions. Only what takes a file's bytes
    apart belongs inside. Their warnings about odd headers would mean nothing to the user.

    Args:
        what: names the kind of file, as in "a .csv file".
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DataError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"damaged, cut short, or not {what} at all ({reason})") from error


def refuse_larger(size: int, what: str, largest: int = LARGEST) -> None:
    """Refuse `what` ("arrays") when it takes more than `largest` bytes."""
    if size > largest:
        raise DataError(
            f"too large: {size / 2**20:,.0f} MiB of {what}, where {largest / 2**20:,.0f} MiB are "
            "allowed; save fewer images, or save them as uint8"
        )


def printable(name: str) -> str:
    """`name` for the terminal: a damaged file's names may hold control characters."""
    return name if name.isprintable() and len(name) <= 60 else ascii(name[:60])
