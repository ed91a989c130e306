"""Reading .mat of MATLAB 5 to 7.2 (`save -v6`, `save -v7`): arrays of real numbers only.

scipy.io.loadmat reads these files as well, but it trusts their sizes: a few flipped bytes make
it crash the whole process. This reader follows "MAT-File Format" (The MathWorks, Level 5
MAT-files) for the one thing needed, and checks every size against the bytes that are there.

A file is a header of 128 bytes and then elements: a tag (type, number of bytes), the bytes, and
zeros up to a multiple of 8. A matrix is an element that holds elements: flags, dimensions, name,
and the values column by column. A compressed element holds one matrix, packed by zlib.
"""

import functools
import math
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxlab.data.stored import Stored, printable, reading
from jaxlab.errors import DataError

KIND = "a .mat file"
HEADER_BYTES = 128
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
MATRIX, COMPRESSED = 14, 15
# How values are stored, by the type in a tag.
STORED_DTYPES = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
# What MATLAB calls the array, by the class in its flags. A double array may be stored as uint8.
NUMBERS = {
    6: "float64", 7: "float32", 8: "int8", 9: "uint8", 10: "int16", 11: "uint16", 12: "int32",
    13: "uint32", 14: "int64", 15: "uint64",
}  # fmt: skip
OTHERS = {
    1: "cell array", 2: "struct", 3: "object", 4: "text", 5: "sparse", 16: "function", 17: "object",
}  # fmt: skip
COMPLEX_FLAG = 0x0800
# Flags, dimensions and name of a matrix lie within its first bytes.
MATRIX_HEADER_BYTES = 4096


class _Element(NamedTuple):
    """A tag's type, where its bytes start and how many they are, and where the next tag is."""

    type: int
    start: int
    size: int
    next: int


class _Matrix(NamedTuple):
    """A matrix's header, and where its values' tag lies."""

    name: str
    shape: tuple[int, ...]
    kind: str
    is_numbers: bool
    values_at: int


def stored_in(path: Path) -> list[Stored]:
    """The arrays in the .mat file `path`, from their headers alone.

    Raises:
        DataError: not a MATLAB 5 to 7.2 file, or a size that its bytes do not bear out.
    """
    with reading(KIND):
        content = path.read_bytes()
    order = _byte_order(content)
    stored, at = [], HEADER_BYTES
    while at < len(content):
        element = _element(content, at, order)
        with reading(KIND):
            found = _stored(content, element, order)
        # MATLAB keeps what belongs to functions and objects in a matrix without a name.
        if found.name:
            stored.append(found)
        at = element.next
    return stored


def _byte_order(content: bytes) -> str:
    """The numbers' byte order, "<" or ">"; refuses what is not a MATLAB 5 to 7.2 file."""
    if HDF5_SIGNATURE in (content[:8], content[512:520]) or content.startswith(b"MATLAB 7.3"):
        raise DataError(
            "a MATLAB 7.3 (HDF5) file, which is not read here: in MATLAB, load it and save it "
            "again with: save('digits.mat', '-v7')"
        )
    if len(content) <= HEADER_BYTES or content[126:128] not in (b"IM", b"MI"):
        raise DataError(
            "not a MATLAB file of version 5 to 7.2: in MATLAB or Octave, save it again with: "
            "save('-v7', 'digits.mat', ...)"
        )
    return "<" if content[126:128] == b"IM" else ">"


def _element(content: bytes, at: int, order: str) -> _Element:
    """The element whose tag lies at `at`; its size is checked against the bytes that are there."""
    if at + 8 > len(content):
        raise DataError("cut short: the file ends in the middle of an array")
    kind, size = struct.unpack_from(order + "II", content, at)
    if kind >> 16:  # a small element: its size in the upper half, its bytes within the tag
        kind, size, start, after = kind & 0xFFFF, kind >> 16, at + 4, at + 8
    elif kind == COMPRESSED:  # alone is not padded to a multiple of 8
        start, after = at + 8, at + 8 + size
    else:
        start, after = at + 8, at + 8 + size + -size % 8
    if start + size > len(content):
        raise DataError("cut short: the file ends in the middle of an array")
    return _Element(kind, start, size, after)


def _stored(content: bytes, element: _Element, order: str) -> Stored:
    """What the top-level `element` holds."""
    head = _unpacked(content, element, MATRIX_HEADER_BYTES)
    matrix = _matrix(head, order)
    if not matrix.is_numbers:
        return Stored(matrix.name, matrix.shape, matrix.kind, 0, None)
    size = math.prod(matrix.shape) * np.dtype(matrix.kind).itemsize
    read = functools.partial(_read, content, element, order)
    return Stored(matrix.name, matrix.shape, matrix.kind, size, read)


def _unpacked(content: bytes, element: _Element, most: int) -> bytes:
    """The first `most` bytes within a matrix element, from behind its own tag."""
    packed = content[element.start : element.start + element.size]
    if element.type == MATRIX:
        return packed[:most]
    if element.type != COMPRESSED:
        raise DataError(f"damaged: an element of type {element.type} where a matrix should be")
    return zlib.decompressobj().decompress(packed, most + 8)[8:]


def _matrix(head: bytes, order: str) -> _Matrix:
    """The header of a matrix, from the first bytes of its element."""
    flags_at = _element(head, 0, order)
    flags = struct.unpack_from(order + "I", head, flags_at.start)[0]
    code = flags & 0xFF
    if code == 17:  # MATLAB's own objects have no dimensions
        return _Matrix("object", (), OTHERS[code], False, 0)
    shape_at = _element(head, flags_at.next, order)
    shape = struct.unpack_from(f"{order}{shape_at.size // 4}i", head, shape_at.start)
    name_at = _element(head, shape_at.next, order)
    name = head[name_at.start : name_at.start + name_at.size].decode("latin-1")
    if code not in NUMBERS or flags & COMPLEX_FLAG:
        kind = "complex" if code in NUMBERS else OTHERS.get(code, f"class {code}")
        return _Matrix(name, shape, kind, False, name_at.next)
    return _Matrix(name, shape, NUMBERS[code], True, name_at.next)


def _read(content: bytes, element: _Element, order: str) -> np.ndarray:
    """The values of the matrix in `element`, in MATLAB's shape and the dtype they are stored in."""
    with reading(KIND):
        matrix = _matrix(_unpacked(content, element, MATRIX_HEADER_BYTES), order)
        count = math.prod(matrix.shape)
        # A tag and the values, which are never stored wider than MATLAB's class. Beyond them lies
        # nothing, but zlib compares its checksum only when it is asked for more than there is.
        most = matrix.values_at + 8 + count * np.dtype(matrix.kind).itemsize + 8
        body = _unpacked(content, element, most)
        values = _element(body, matrix.values_at, order)
        dtype = np.dtype(order + STORED_DTYPES[values.type])
        if min(matrix.shape, default=0) < 0 or values.size != count * dtype.itemsize:
            raise DataError(
                f"damaged: the header of {printable(matrix.name)} promises {matrix.shape} of "
                f"{matrix.kind}, but {values.size:,} bytes of values follow"
            )
        return np.frombuffer(body, dtype, count, values.start).reshape(matrix.shape, order="F")
