"""Files that are whole or not there, whatever is killed and whoever else writes.

Everything is written under a temporary name and renamed. One process at a time writes in a
folder: it holds the folder's lock, which the system drops when the process ends, however it ends.
So what lies under a temporary name while one holds the lock was left by a run that was killed.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from jaxlab.errors import OutputError

TEMPORARY = ".writing-"
# Where a whole result waits for its files to be moved, one by one, to where they belong.
WHOLE = ".whole"


def user_cache() -> Path | None:
    """$XDG_CACHE_HOME or else ~/.cache; None where there is no home folder."""
    # The XDG Base Directory Specification says to ignore a path that is not absolute.
    # HOME may be empty, and the root of all files is nobody's.
    own = os.path.expanduser("~/.cache") if os.environ.get("HOME") != "" else ""
    for folder in (os.environ.get("XDG_CACHE_HOME", ""), own):
        if os.path.isabs(folder):
            return Path(folder)
    return None


@contextmanager
def locked(folder: Path, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Holds the folder's lock; yields False where there are no such locks.

    That is so on Windows and on some network file systems. shared: with others that only read.
    Raises BlockingIOError where it is another's and `wait` is false.
    """
    if sys.platform == "win32":
        yield False
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(handle, how if wait else how | fcntl.LOCK_NB)
            held = True
        except BlockingIOError:
            raise
        except OSError:
            held = False
        yield held
    finally:
        os.close(handle)


@contextmanager
def unchanged(folders: list[Path]) -> Iterator[None]:
    """Nobody writes in any of these folders meanwhile."""
    with ExitStack() as locks:
        for folder in folders:
            if folder.is_dir():
                locks.enter_context(locked(folder, shared=True))
        yield


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """A new folder in `folder` to write in, alone; gone afterwards. Removes what a kill left."""
    with locked(folder) as alone:
        if alone:
            for left in folder.glob(f"{TEMPORARY}*"):
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=TEMPORARY, dir=folder, ignore_cleanup_errors=True
        ) as temporary:
            yield Path(temporary)


def move_in(folder: Path) -> None:
    """Moves the files of FOLDER/.whole to where they belong; goes on where a kill ended it.

    Between the first and the last moment there is no result.json, rather than one whose figures
    belong to another run. Figures that the earlier result had alone are removed. To be called by
    whoever holds the folder's lock.
    """
    whole = folder / WHOLE
    if (whole / "result.json").exists():
        for name in _figures(folder / "result.json") - _figures(whole / "result.json"):
            (folder / name).unlink(missing_ok=True)
        (folder / "result.json").unlink(missing_ok=True)
        for file in sorted(whole.iterdir()):
            if file.name != "result.json":
                os.replace(file, folder / file.name)
        os.replace(whole / "result.json", folder / "result.json")
    if whole.exists():
        whole.rmdir()


def _figures(result: Path) -> set[str]:
    """The files that a result names as its figures; none where it cannot be read."""
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        figures = json.loads(result.read_text(encoding="utf-8"))["figures"].values()
        return {name for names in figures for name in names if Path(name).name == name}
    return set()


def write_whole(
    path: Path, content: bytes, *, otherwise: str = "choose another folder with --out"
) -> None:
    """Writes one file, whole under its name or not at all. Raises `OutputError` if it cannot.

    otherwise: what the user can do then, besides making room.
    """
    with output_errors(path, otherwise), workplace(path.parent) as temporary:
        (temporary / path.name).write_bytes(content)
        os.replace(temporary / path.name, path)


@contextmanager
def output_errors(
    path: str | os.PathLike[str], otherwise: str = "choose another folder with --out"
) -> Iterator[None]:
    """Where something cannot be written to `path`, an `OutputError` says so, and what to do."""
    try:
        yield
    except OutputError:  # an OSError too, which has been said
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write to {path}: {error.strerror or error}; {otherwise}, or make room"
        ) from error
