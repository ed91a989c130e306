"""From an array as it was stored to images (m, side, side) and labels (m,)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxlab.data.stored import printable
from jaxlab.errors import DataError

SIDES = (28, 20)
# MNIST has 70,000; beyond this the float32 images alone would fill memory.
MOST_IMAGES = 150_000
# Resampled images overshoot a little: those of ex3data1.mat run from −0.13 to 1.13.
OVERSHOOT = 0.2


class Layout(NamedTuple):
    """One way of looking at an array: `images` images, given by `view` as (m, side, side)."""

    images: int
    words: str
    view: Callable[[np.ndarray], np.ndarray]


class Convention(NamedTuple):
    """What a stored label means: `digit_of[label]`, in words."""

    words: str
    digit_of: tuple[int, ...]


AS_THEY_ARE = Convention("labels 0 to 9", tuple(range(10)))
FROM_ONE = (
    Convention("labels 1 to 10, where 10 is the digit 0", (0, *range(1, 10), 0)),
    Convention("labels 1 to 10, where 1 is the digit 0", (0, *range(10))),
)
ONE_HOT = (
    Convention("labels one-hot, the first of the ten is the digit 0", tuple(range(10))),
    Convention("labels one-hot, the last of the ten is the digit 0", (*range(1, 10), 0)),
)


def labels_of(array: np.ndarray, name: str) -> tuple[np.ndarray, bool]:
    """The labels in an array of shape (m,), (m, 1), (1, m), or one-hot (m, 10) or (10, m).

    Returns:
        The labels as stored, (m,) int32 in 0..10, and whether they were one-hot: then a label is
        the place of its 1, from 0.

    Raises:
        DataError: another shape, or values that are no labels.
    """
    shown = f"the labels {printable(name)!r}"
    one_hot = _one_hot(array)
    if one_hot is not None:
        return one_hot.argmax(axis=1).astype(np.int32), True
    if array.ndim not in (1, 2) or (array.ndim == 2 and 1 not in array.shape):
        raise DataError(
            f"{shown} have shape {array.shape}: (m,), (m, 1), (1, m), or one-hot (m, 10) or "
            "(10, m) with a single 1 for each example are understood"
        )
    values = array.ravel()
    wrong = values[~np.isin(values, np.arange(11))]
    if wrong.size:
        raise DataError(
            f"{shown} hold {wrong[0].item()}, which is no digit: labels are whole numbers, 0 to 9 "
            "or 1 to 10"
        )
    return values.astype(np.int32), False


def conventions_of(labels: np.ndarray, one_hot: bool) -> tuple[Convention, ...]:
    """What labels (m,) from `labels_of` may mean, the likeliest first.

    Raises:
        DataError: both 0 and 10 among them.
    """
    if one_hot:
        return ONE_HOT
    if 10 not in labels:
        return (AS_THEY_ARE,)
    if 0 in labels:
        raise DataError("the labels hold both 0 and 10: they run from 0 to 9 or from 1 to 10")
    return FROM_ONE


def _one_hot(array: np.ndarray) -> np.ndarray | None:
    """One-hot labels turned to (m, 10), or None where `array` holds no such thing."""
    if array.ndim != 2 or 10 not in array.shape or 1 in array.shape:
        return None
    rows = array if array.shape[1] == 10 else array.T
    if not np.isin(rows, (0, 1)).all() or not (rows.sum(axis=1) == 1).all():
        return None
    return rows


def images_of(array: np.ndarray, name: str, count: int) -> tuple[np.ndarray, str]:
    """The `images` images in an array as a view (m, side, side), and how they lie, in words.

    Raises:
        DataError: the shape fits no layout, or another number of images than of labels.
    """
    shown = f"the images {printable(name)!r}"
    layouts = layouts_of(array.shape)
    if not layouts:
        raise DataError(
            f"{shown} have shape {array.shape}: (m, pixels), (pixels, m), (m, side, side) or "
            "(side, side, m) are understood, with 28 × 28 = 784 or 20 × 20 = 400 pixels"
        )
    fitting = [layout for layout in layouts if layout.images == count]
    if not fitting:
        counts = " or ".join(f"{n:,}" for n in sorted({layout.images for layout in layouts}))
        raise DataError(
            f"{shown} {array.shape} hold {counts} images, but there are {count:,} labels: their "
            "numbers must be equal"
        )
    if not 0 < count <= MOST_IMAGES:
        raise DataError(f"{shown} number {count:,}: 1 to {MOST_IMAGES:,} are read")
    views = [(layout.view(array), layout.words) for layout in fitting]
    # A square array, 784 images of 784 pixels, fits both ways. Seen rightly, the first pixels of
    # all images are a corner, where there is hardly ever ink; seen wrongly, they are an image.
    return min(views, key=lambda seen: _ink(seen[0][:, 0, 0]))


def _ink(values: np.ndarray) -> int:
    """How many values (m,) differ from the first."""
    return int(np.count_nonzero(values != values[0]))


def layouts_of(shape: tuple[int, ...]) -> list[Layout]:
    """The ways in which an array of this shape may hold images of digits."""
    if len(shape) == 4 and 1 in shape[1:]:  # one channel: (m, 28, 28, 1), (28, 28, 1, m), ...
        channel = shape.index(1, 1)

        def without_channel(layout: Layout) -> Layout:
            return layout._replace(view=lambda array: layout.view(array.squeeze(channel)))

        return list(map(without_channel, layouts_of(shape[:channel] + shape[channel + 1 :])))
    layouts = []
    for side in SIDES:
        size, pixels = f"{side} × {side} pixels", side * side
        if len(shape) == 2 and shape[1] == pixels:
            layouts.append(Layout(shape[0], f"{size}, an image in each row", _rows))
        if len(shape) == 2 and shape[0] == pixels:
            layouts.append(Layout(shape[1], f"{size}, an image in each column", _columns))
        if len(shape) == 3 and shape[1:] == (side, side):
            layouts.append(Layout(shape[0], f"{size}, images along the first axis", _first_axis))
        if len(shape) == 3 and shape[:2] == (side, side):
            layouts.append(Layout(shape[2], f"{size}, images along the last axis", _last_axis))
    return layouts


def _rows(array: np.ndarray) -> np.ndarray:
    side = 28 if array.shape[1] == 784 else 20
    return array.reshape(len(array), side, side)


def _columns(array: np.ndarray) -> np.ndarray:
    return _rows(array.T)


def _first_axis(array: np.ndarray) -> np.ndarray:
    return array


def _last_axis(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, 2, 0)


def full_ink(images: np.ndarray, shown: str) -> float:
    """The value of full ink in `images`, of any shape and dtype: 1, or 255.

    Raises:
        DataError: values that are not finite, all the same, or in neither range.
    """
    low, high = float(images.min()), float(images.max())  # NaN if any value is
    if not np.isfinite([low, high]).all():
        raise DataError(f"{shown} hold NaN or infinite values: mend or leave out those images")
    if low == high:
        raise DataError(f"{shown} are constant, every pixel is {low:g}: there is nothing to learn")
    if low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        return 1.0
    if low < 0 or high > 255:
        raise DataError(
            f"{shown} hold values from {low:g} to {high:g}: pixels run from 0 to 255 or from 0 to 1"
        )
    return 255.0
