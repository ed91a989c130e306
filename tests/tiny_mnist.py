"""MNIST in miniature: four IDX files of a few images that the package takes for the originals.

python tiny_mnist.py BASE_ADDRESS CACHE SOURCE    load them in a process of its own
"""

import gzip
import struct
import sys
from pathlib import Path

import numpy as np

from jaxlab.data import mnist
from jaxlab.data.mnist import cache, from_npm, from_tfds, originals

NAMES = (
    originals.TRAIN_IMAGES,
    originals.TRAIN_LABELS,
    originals.TEST_IMAGES,
    originals.TEST_LABELS,
)


def idx(array: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes."""
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes()


def images(count: int) -> np.ndarray:
    """(count, 28, 28) uint8 of noise."""
    return np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)


def labels(count: int) -> np.ndarray:
    """(count,) uint8: 0, 1, … 9, 0, …"""
    return (np.arange(count) % 10).astype(np.uint8)


RAW = dict(
    zip(NAMES, map(idx, (images(30), labels(30), images(20), labels(20))), strict=True)
)  # fmt: skip
PACKED = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in RAW.items()}
ORIGINALS = tuple(
    originals.Original(
        name,
        originals.sha256(RAW[name]),
        originals.sha256(PACKED[f"{name}.gz"]),
        len(PACKED[f"{name}.gz"]),
    )
    for name in NAMES
)


def install(patch, base: str | None = None) -> None:
    """Put the miniature in the originals' place, to be fetched from `base`.

    patch: like setattr.
    """
    for module in (mnist, cache, from_npm, from_tfds, originals):
        patch(module, "ORIGINALS", ORIGINALS)
    patch(from_tfds, "BASE_ADDRESS", base)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """`files` in `folder`, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


if __name__ == "__main__":
    base, place, source = sys.argv[1:]
    install(setattr, base)
    print("loading", flush=True)
    print(mnist.load_mnist(source, cache=Path(place)).served_by)
