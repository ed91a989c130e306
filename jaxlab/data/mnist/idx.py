"""Reading IDX, the format of MNIST's files, raw or packed with gzip.

A file is two zero bytes, the type (8: unsigned bytes), the number of dimensions, their sizes as
big-endian 32-bit numbers, and the values. The reader is written for files that may be damaged
or hostile: it believes no size in a header beyond what the file holds, unpacks no more than
`LARGEST` bytes, and raises nothing but DataError.
"""

import gzip
import io
import math
from pathlib import Path

import numpy as np

from jaxlab.data.stored import reading, refuse_larger
from jaxlab.errors import DataError

# MNIST's largest file has 47 MB; this leaves room for sets three times as large.
LARGEST = 160 * 2**20
SIDE = 28
CLASSES = 10
FEWEST = 10


def read(folder: Path, name: str) -> bytes:
    """The raw bytes of the file `name` in `folder`, unpacked where only its .gz is there.

    Both spellings are found, `train-images-idx3-ubyte` and `train-images.idx3-ubyte`; a raw file
    goes before a packed one.

    Raises:
        DataError: there is no such file, or it cannot be read or unpacked.
    """
    dotted = name.replace("-idx", ".idx")
    for spelling in (name, dotted, f"{name}.gz", f"{dotted}.gz"):
        path = folder / spelling
        if path.exists():
            content = read_plain(path)
            return unpack(content, str(path)) if path.suffix == ".gz" else content
    raise DataError(f"{folder} has no {name}, neither raw nor as .gz")


def read_plain(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        DataError: it is missing, no plain file, too large, or cannot be read.
    """
    try:
        # A pipe or a device would block, or never end.
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is not a plain file")
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    refuse_larger(len(content), f"bytes in {path}", LARGEST)
    return content


def unpack(content: bytes, what: str) -> bytes:
    """What the gzip file `content` holds.

    Args:
        content: the packed bytes.
        what: names the file in messages.

    Raises:
        DataError: damaged, not gzip, or larger than `LARGEST` when unpacked.
    """
    try:
        with reading("a gzip file"), gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            raw = file.read(LARGEST + 1)
    except DataError as error:
        raise DataError(f"{what}: {error}") from error
    refuse_larger(len(raw), f"bytes unpacked from {what}", LARGEST)
    return raw


def images(content: bytes, what: str) -> np.ndarray:
    """The images (m, 28, 28) uint8 in an IDX file's raw bytes, as a read-only view of them.

    Raises:
        DataError: no IDX file of at least ten images of that size.
    """
    array = _array(content, what, rank=3)
    if array.shape[1:] != (SIDE, SIDE) or len(array) < FEWEST:
        shape = " × ".join(f"{size:,}" for size in array.shape)
        raise DataError(
            f"{what} holds {shape} values: {FEWEST} or more images of {SIDE} × {SIDE} are needed"
        )
    return array


def labels(content: bytes, what: str, count: int) -> np.ndarray:
    """The labels (count,) uint8 in an IDX file's raw bytes, as a read-only view of them.

    Raises:
        DataError: no IDX file of `count` labels 0..9.
    """
    array = _array(content, what, rank=1)
    if len(array) != count:
        raise DataError(f"{what} holds {len(array):,} labels for {count:,} images")
    if array.max(initial=0) >= CLASSES:
        raise DataError(f"{what} holds the label {array.max()}: labels are 0 to {CLASSES - 1}")
    return array


def _array(content: bytes, what: str, rank: int) -> np.ndarray:
    start = 4 + 4 * rank
    if content[:4] != bytes((0, 0, 8, rank)) or len(content) < start:
        raise DataError(
            f"{what} is no IDX file of unsigned bytes in {rank} dimension{'s' * (rank > 1)}: "
            f"it begins with {content[:4].hex() or 'nothing'}, not {bytes((0, 0, 8, rank)).hex()}"
        )
    shape = tuple(np.frombuffer(content, ">u4", count=rank, offset=4).tolist())
    held = len(content) - start
    if math.prod(shape) != held:
        raise DataError(
            f"{what} is damaged or cut short: its header promises {math.prod(shape):,} values, "
            f"it holds {held:,}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
