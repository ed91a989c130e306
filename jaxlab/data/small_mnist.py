"""Small MNIST: the 10,000 digits that travel with the package (data/README.md tells of them)."""

import functools
import hashlib
import io
from pathlib import Path

import numpy as np

from jaxlab.data.examples import Collection
from jaxlab.data.parts import split
from jaxlab.errors import DataError

NAME = "small_mnist.npz"
SHA256 = "c2e4d5436bbbd42eadf946c28e172ae5fa5ddbe4720f176f57c00c95c7ccb876"
SOURCE = "small MNIST: 10,000 of MNIST's 60,000 training images, 1,000 of each digit"


def collection() -> Collection:
    """All 10,000 digits, split 6,000 / 2,000 / 2,000.

    Raises:
        DataError: the file is missing or damaged.
    """
    arrays = read(find())
    images = arrays["images"].astype(np.float32) / 255
    digits = arrays["labels"].astype(np.int32)
    return Collection(images, digits, split(digits), SOURCE)


def find() -> Path:
    """Where small_mnist.npz lies: in the installed package, or in data/ of a checkout.

    Raises:
        DataError: it lies in neither place.
    """
    here = Path(__file__).resolve().parent
    places = (here / NAME, here.parents[1] / "data" / NAME)
    for place in places:
        if place.is_file():
            return place
    raise DataError(f"{NAME} is missing, from {places[0]} and {places[1]}: reinstall jaxlab")


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of the shipped file, checked by its sha256.

    Returns:
        images (10000, 28, 28) uint8, labels (10000,) uint8, and index (10000,) int32, the place
        of each image in MNIST's training file.

    Raises:
        DataError: the file cannot be read, or is not the one that was shipped.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise DataError(
            f"{path}: damaged or changed, for its sha256 is not {SHA256}: reinstall jaxlab"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


@functools.cache
def class_means() -> np.ndarray:
    """The mean image of each digit, (10, 28, 28) float64 in [0, 1], not to be written into."""
    arrays = read(find())
    images, labels = arrays["images"], arrays["labels"]
    means = np.stack([images[labels == digit].mean(axis=0) for digit in range(10)]) / 255
    means.flags.writeable = False
    return means
