"""Which arrays of a file are images, which are labels, and of which part: by the usual names."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from jaxlab.data.stored import Stored, printable
from jaxlab.errors import DataError

IMAGES_NAMES = {
    "x", "xs", "data", "feature", "features", "image", "images", "img", "imgs", "input", "inputs",
    "pixel", "pixels",
}  # fmt: skip
LABELS_NAMES = {
    "y", "ys", "t", "label", "labels", "target", "targets", "digit", "digits", "class", "classes",
    "output", "outputs",
}  # fmt: skip
# x_train, trainX, Xtest, test_images, yval, ...
PART_WORDS = {
    "training": "train", "train": "train", "testing": "test", "test": "test",
    "validation": "validation", "valid": "validation", "val": "validation",
}  # fmt: skip
PART_PATTERN = re.compile(
    "^(?P<before>{0})(?P<rest>.+)$|^(?P<start>.+?)(?P<after>{0})$".format("|".join(PART_WORDS))
)


class Pair(NamedTuple):
    """The images and labels of one part: "train", "validation", "test", or "" for no part."""

    part: str
    images: Stored
    labels: Stored

    def __str__(self) -> str:
        arrays = (
            f"{role} {printable(array.name)} {array.shape} {array.kind}"
            for role, array in (("images", self.images), ("labels", self.labels))
        )
        return ", ".join(arrays)


def is_labels_name(name: str) -> bool:
    """Whether `name` is one that labels usually have."""
    return _plain(name) in LABELS_NAMES


def pairs_in(
    stored: Sequence[Stored], images: str | None = None, labels: str | None = None
) -> list[Pair]:
    """The pairs of images and labels among the arrays of a file.

    Args:
        stored: the arrays of the file.
        images: the name of the array of images; None goes by the usual names.
        labels: likewise of the labels.

    Returns:
        A pair without a part, or one for each part, the training part first.

    Raises:
        DataError: the names are missing, mean several arrays, or name no array of numbers.
    """
    if images is not None or labels is not None:
        return [Pair("", _named(images, stored, 0), _named(labels, stored, 1))]
    found: dict[tuple[str, int], Stored] = {}
    for array in sorted(stored, key=lambda array: array.read is None):
        key = _meaning(array.name)
        # Numbers come first, and then what is not numbers cannot be meant.
        if key in found and array.read is not None:
            raise _unclear(stored, f"both {found[key].name!r} and {array.name!r} could be meant")
        if key is not None:
            found.setdefault(key, array)
    pairs = [
        Pair(part, _numbers(found[part, 0]), _numbers(found[part, 1]))
        for part in ("", "train", "validation", "test")
        if (part, 0) in found and (part, 1) in found
    ]
    if not pairs:
        raise _unclear(stored, "no pair of its arrays has the usual names")
    if len(pairs) > 1 and pairs[0].part == "":
        if pairs[1].part == "train":
            raise _unclear(stored, "it has a training part and images of no part as well")
        # ex5data1.mat of a well-known course: X, y beside Xval, yval and Xtest, ytest.
        pairs[0] = pairs[0]._replace(part="train")
    return pairs


def _meaning(name: str) -> tuple[str, int] | None:
    """The part that a usual name belongs to, and 0 for images, 1 for labels."""
    part, rest = "", _plain(name)
    if match := PART_PATTERN.match(rest):
        part = PART_WORDS[match["before"] or match["after"]]
        rest = match["rest"] or match["start"]
    if rest in IMAGES_NAMES:
        return part, 0
    return (part, 1) if rest in LABELS_NAMES else None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _named(name: str | None, stored: Sequence[Stored], role: int) -> Stored:
    """The array called `name`; of the usual names where `name` is None. `role`: 0 or 1."""
    if name is None:
        matches = [array for array in stored if _meaning(array.name) == ("", role)]
        if len(matches) != 1:
            raise _unclear(stored, f"the {('images', 'labels')[role]} need a name as well")
        return _numbers(matches[0])
    for array in stored:
        if array.name == name:
            return _numbers(array)
    raise _unclear(stored, f"it has no array called {name!r}")


def _numbers(array: Stored) -> Stored:
    """`array`, refused where it holds anything but real numbers."""
    if array.read is None:
        raise DataError(
            f"{printable(array.name)!r} is not an array of numbers but: {array.kind}; save plain "
            "numbers, or name other arrays with --images NAME --labels NAME"
        )
    return array


def _unclear(stored: Sequence[Stored], problem: str) -> DataError:
    """The error that lists what is there and says how to choose."""
    rows = [(printable(array.name), str(array.shape), array.kind) for array in stored[:40]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"  {name:<{widths[0]}}  {shape:<{widths[1]}}  {kind}".rstrip()
        for name, shape, kind in rows
    ]
    listing = "\n".join(lines or ["  (nothing)"])
    return DataError(
        f"{problem}. The file holds\n{listing}\n"
        "Say which are meant with --images NAME --labels NAME"
    )
