"""A user's own file of digits: finding the images and labels in it, and what they mean."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxlab.data import csv_file, mat_file, npz_file
from jaxlab.data.examples import Collection
from jaxlab.data.layout import conventions_of, full_ink, images_of, labels_of
from jaxlab.data.naming import Pair, pairs_in
from jaxlab.data.parts import Parts, hold_out, shuffled, split
from jaxlab.data.recognise import Reading, recognise
from jaxlab.data.stored import printable, refuse_larger
from jaxlab.errors import DataError

FEWEST = 30
READERS = {".npz": npz_file.stored_in, ".mat": mat_file.stored_in}


class _Block(NamedTuple):
    """The examples of one part ("train", "validation", "test", or "" for none) as stored.

    images: a view (m, side, side). labels: (m,) int32 in 0..10. layout: in words.
    """

    part: str
    images: np.ndarray
    labels: np.ndarray
    one_hot: bool
    layout: str


def collection(path: Path, images: str | None = None, labels: str | None = None) -> Collection:
    """The digits in the file `path`.

    Args:
        path: a .npz, .mat or .csv file.
        images: the name of the array of images, where the usual names do not fit.
        labels: likewise of the labels; for a .csv, the column: "first", "last" or its name.

    Raises:
        DataError: the file is missing, damaged, or cannot be understood.
    """
    try:
        _refuse_other_files(path)
        pairs, arrays = _pairs_in(path, images, labels)
        blocks = [_block(pair) for pair in pairs]
        pixels, digits, meaning = _understand(blocks)
        parts, division = _divide(blocks, digits)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    source = f"{len(digits):,} digits from {path}"
    notes = (*arrays, *meaning, division)
    return Collection(pixels, digits, parts, source, notes)


def _refuse_other_files(path: Path) -> None:
    """Refuse, before a byte is read, what cannot be a file of digits."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot be read ({reason}): check the name") from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError("not a file (a folder, perhaps): name a .npz, .mat or .csv file")
    if path.suffix.lower() not in (*READERS, ".csv"):
        raise DataError(
            f"files of the kind {path.suffix or '(no suffix)'} are not opened: digits are read "
            "from .npz, .mat and .csv"
        )
    if not os.access(path, os.R_OK):
        raise DataError("may not be read: change its permissions")
    if status.st_size == 0:
        raise DataError("empty: fetch or save the file again")
    refuse_larger(status.st_size, "file")


def _pairs_in(path: Path, images: str | None, labels: str | None) -> tuple[list[Pair], list[str]]:
    """The pairs of images and labels in the file, and what was found, in words."""
    suffix = path.suffix.lower()
    if suffix == ".csv":
        if images is not None:
            raise DataError("a .csv has no array of images to name: leave out --images")
        pair, understood = csv_file.read_pair(path, labels)
        return [pair], [understood]
    stored = READERS[suffix](path)
    pairs = pairs_in(stored, images, labels)
    used = [array for pair in pairs for array in (pair.images, pair.labels)]
    refuse_larger(sum(array.size for array in used), "arrays")
    words = [f"{pair.part}: {pair}".removeprefix(": ") for pair in pairs]
    if unused := [printable(array.name) for array in stored if array not in used]:
        words.append(f"not used: {', '.join(unused[:10])}{', ...' if len(unused) > 10 else ''}")
    return pairs, words


def _block(pair: Pair) -> _Block:
    """The values of a pair, brought to one shape but otherwise as stored."""
    assert pair.labels.read, "pairs_in pairs arrays of numbers alone"
    assert pair.images.read, "pairs_in pairs arrays of numbers alone"
    labels, one_hot = labels_of(pair.labels.read(), pair.labels.name)
    images, layout = images_of(pair.images.read(), pair.images.name, len(labels))
    return _Block(pair.part, images, labels, one_hot, layout)


def _understand(blocks: list[_Block]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """What all blocks mean together.

    Returns:
        The images (m, side, side) float32 in [0, 1] and upright, the digits (m,) int32 in 0..9,
        block after block, and what was understood, in words.
    """
    if len({(block.images.shape[1], block.one_hot) for block in blocks}) > 1:
        raise DataError("its parts differ in the size of their images or the form of their labels")
    images = blocks[0].images
    if len(blocks) > 1:
        images = np.concatenate([block.images for block in blocks])
    labels = np.concatenate([block.labels for block in blocks])
    full = full_ink(images, "the images")
    reading = recognise(images, labels, conventions_of(labels, blocks[0].one_hot))
    digits = np.array(reading.convention.digit_of, np.int32)[labels]
    _refuse_too_little(digits)
    low, high = float(images.min()), float(images.max())
    layouts = dict.fromkeys(block.layout for block in blocks)
    words = [f"{len(images):,} images of {' / '.join(layouts)}"]
    words += _words(low, high, full, reading)
    return _scaled(images, full, reading), digits, words


def _refuse_too_little(digits: np.ndarray) -> None:
    if digits.size < FEWEST:
        raise DataError(f"only {digits.size} examples: {FEWEST} or more are needed")
    if digits.min() == digits.max():
        raise DataError(f"only one digit, {digits[0]}, in all: there is nothing to tell apart")


def _scaled(images: np.ndarray, full: float, reading: Reading) -> np.ndarray:
    """The images upright, 0 the background and 1 full ink, float32 in [0, 1]."""
    upright = images.swapaxes(1, 2) if reading.transposed else images
    pixels = upright.astype(np.float32, order="C")
    if reading.inverted:
        np.subtract(full, pixels, out=pixels)
    pixels /= full
    return np.clip(pixels, 0, 1, out=pixels)


def _words(low: float, high: float, full: float, reading: Reading) -> list[str]:
    """The values' range, the images' orientation and the labels' convention, in words."""
    words = [f"values from {low:.4g} to {high:.4g}"]
    if full == 255:
        words[0] += ", divided by 255"
    elif low < 0 or high > 1:
        words[0] += ", clipped to 0 to 1"
    if reading.transposed:
        words.append("pixels stored column by column, as MATLAB does: turned upright")
    if reading.inverted:
        words.append("dark ink on a light ground: inverted")
    return [*words, reading.convention.words]


def _divide(blocks: list[_Block], digits: np.ndarray) -> tuple[Parts, str]:
    """The three parts: the file's own where it has them, else split off, and how, in words."""
    rows, start = {}, 0
    for block in blocks:
        rows[block.part] = shuffled(np.arange(start, start + len(block.labels)))
        start += len(block.labels)
    if "train" not in rows or len(rows) == 1:
        parts, how = split(digits), "split three fifths, one fifth and one fifth of each digit"
    elif "test" not in rows:
        train, test = hold_out(digits, rows["train"], one_in=4)
        parts = Parts(train, rows["validation"], test)
        how = "validation part as in the file, a quarter of the training part held out to test"
    elif "validation" not in rows:
        train, validation = hold_out(digits, rows["train"], one_in=4)
        parts = Parts(train, validation, rows["test"])
        how = "test part as in the file, a quarter of the training part held out to validate"
    else:
        parts, how = Parts(rows["train"], rows["validation"], rows["test"]), "parts as in the file"
    if not all(part.size for part in parts):
        raise DataError("its training part has too few examples to hold any of them out")
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in parts._asdict().items())
    return parts, f"{sizes}: {how}"
