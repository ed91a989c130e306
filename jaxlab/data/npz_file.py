"""Reading .npz: a zip archive with a .npy file for each array."""

import functools
import io
import math
import zipfile
from pathlib import Path

import numpy as np

from jaxlab.data.stored import Stored, printable, reading
from jaxlab.errors import DataError

KIND = "an .npz file"
# NumPy's own headers take 128 bytes and are never longer than 10,000 unless objects are allowed.
HEADER_BYTES = 16_384


def stored_in(path: Path) -> list[Stored]:
    """The arrays in the .npz file `path`, from their headers alone.

    Raises:
        DataError: not a zip archive, or a header that does not fit its entry.
    """
    with reading(KIND), zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
        return [_stored(path, archive, entry) for entry in entries]


def _stored(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Stored:
    name = entry.filename.removesuffix(".npy")
    with archive.open(entry) as file:
        head = io.BytesIO(file.read(HEADER_BYTES))
    shape, dtype = _header(head)
    if dtype.hasobject:
        return Stored(name, shape, "object (pickled, never opened)", 0, None)
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or head.tell() + size != entry.file_size:
        raise DataError(
            f"damaged: the header of {printable(name)} promises {shape} of {dtype}, "
            f"but its entry has {entry.file_size:,} bytes"
        )
    if dtype.kind not in "buif":
        return Stored(name, shape, str(dtype), size, None)
    return Stored(name, shape, str(dtype), size, functools.partial(_read, path, entry))


def _header(head: io.BytesIO) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype from the start of a .npy file; leaves `head` where the values begin."""
    version = np.lib.format.read_magic(head)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(head)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(head)
    return shape, dtype


def _read(path: Path, entry: zipfile.ZipInfo) -> np.ndarray:
    with reading(KIND), zipfile.ZipFile(path) as archive, archive.open(entry) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
