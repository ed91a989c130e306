"""Saved states of a training run, by Orbax: whole or not there at all.

A folder holds the last states of one network and, beside each, what the run needs to know to go
on: its options and its learning curves. Orbax writes under a temporary name and renames; what a
killed run left half-written is removed by the next.

Orbax has no checksum for the values of arrays, and changed weights would be a quiet wrong number:
the notes hold a sha256 of the state and one of themselves, which are compared at every reading.
"""

import hashlib
import json
import logging
import os
import shutil
import signal
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlab.convnet.training import State
from jaxlab.errors import OutputError
from jaxlab.writing import locked

KEPT = 2
# What Orbax writes beside the numbers, at most.
DESCRIPTION_BYTES = 1 << 18
DIGESTS = "sha256"


class DamagedError(OutputError):
    """A checkpoint that cannot be read back."""


class Checkpoints:
    """The saved states in one folder.

    fresh: forget those that are there when one can be saved, and with them what is in the folders
    `replaces`, unless another run is training into them. Raises `OutputError` where the folder
    cannot be written, and `DamagedError` where a state cannot be read.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        fresh: bool = False,
        replaces: Iterable[Path] = (),
    ):
        self._folder, self._fresh, self._claimed = Path(folder).resolve(), fresh, False
        self._replaces = [*replaces]
        self._manager: Any = None

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keeps other runs out of the folder. Raises `OutputError` where one trains into it."""
        with ExitStack() as claim:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                claim.enter_context(locked(self._folder, wait=False))
            except BlockingIOError as error:
                raise OutputError(
                    f"another run trains into {self._folder}: wait for its end, or choose "
                    "another folder with --out"
                ) from error
            except OSError as error:
                raise OutputError(
                    f"cannot write to {self._folder}: {error.strerror or error}; choose another "
                    "folder with --out, or save no checkpoints with --checkpoint-seconds inf"
                ) from error
            self._claimed = True
            yield

    def latest(self, like: State) -> tuple[State, dict[str, Any]] | None:
        """The newest state, in the form and on the devices of `like`, and its notes; else None."""
        if not self._folder.is_dir():
            return None
        try:
            step = self._open().latest_step()
        except Exception as error:  # see below
            raise _unreadable(self._folder, _first_line(error)) from error
        if step is None:
            return None
        import orbax.checkpoint as ocp

        folder = self._folder / str(step)
        notes, digests = _notes_in(folder)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Orbax's, about odd files
                asked = ocp.args.Composite(state=ocp.args.StandardRestore(like))
                state = self._open().restore(step, args=asked)["state"]
        # Orbax and what it stands on raise many types on damaged files.
        except Exception as error:
            raise _unreadable(folder, _first_line(error)) from error
        if _digest_of_state(state) != digests["state"]:
            raise _unreadable(folder, "its numbers are damaged or changed")
        return state, notes

    def save(self, state: State, notes: dict[str, Any]) -> None:
        """Saves a state under its number of steps, and removes all but the newest."""
        import orbax.checkpoint as ocp

        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _check_room(self._folder, state)
            if self._fresh:
                self._fresh = False
                _empty(self._folder)
                for other in self._replaces:
                    with suppress(OSError), locked(other, wait=False):
                        _empty(other)
            digests = {"state": _digest_of_state(state), "notes": _digest_of_notes(notes)}
            args = ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                notes=ocp.args.JsonSave({**notes, DIGESTS: digests}),
            )
            with _ctrl_c_waits():
                self._open().save(int(state.step), args=args)
        # A full disk surfaces as ValueError from Orbax's storage layer, not only as OSError.
        except Exception as error:
            raise OutputError(
                f"cannot save a checkpoint in {self._folder}: {_first_line(error)}; make room, "
                "choose another folder with --out, or save none with --checkpoint-seconds inf"
            ) from error

    def close(self) -> None:
        if self._manager is not None:
            self._manager.close()

    def _open(self):
        if self._manager is None:
            import orbax.checkpoint as ocp

            # Orbax tells of every file it writes, through absl's logger, and of every error that
            # it raises as well.
            logging.getLogger("absl").setLevel(logging.CRITICAL)
            options = ocp.CheckpointManagerOptions(
                max_to_keep=KEPT,
                enable_async_checkpointing=False,
                # Of a run that was killed, or of one that saves just now.
                cleanup_tmp_directories=self._claimed,
            )
            self._manager = ocp.CheckpointManager(self._folder, options=options)
        return self._manager


def _empty(folder: Path) -> None:
    """Removes what is in a folder, not the folder: that is what `claimed` has locked."""
    for old in folder.glob("*"):
        shutil.rmtree(old, ignore_errors=True)


def _check_room(folder: Path, state: State) -> None:
    """Raises `OSError` where the disk is too full. Orbax's threads would end in tracebacks."""
    needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) + DESCRIPTION_BYTES
    if (free := shutil.disk_usage(folder).free) < needed:
        raise OSError(f"it takes {needed / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free")


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Ctrl-C takes effect at the end: Orbax's threads would fill the screen with tracebacks."""
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[Any] = []
    signal.signal(signal.SIGINT, lambda *how: pressed.append(how))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        before(*pressed[0])


def saved_notes(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The notes beside the newest state in a folder, without reading the state."""
    steps = [path for path in Path(folder).glob("*") if path.name.isdecimal()]
    if not steps:
        return None
    return _notes_in(max(steps, key=lambda path: int(path.name)))[0]


def _notes_in(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The notes of one checkpoint, and what it says of its own sha256."""
    try:
        notes = json.loads((folder / "notes" / "metadata").read_text(encoding="utf-8"))
        digests = notes.pop(DIGESTS)
        if digests["notes"] != _digest_of_notes(notes) or not isinstance(digests["state"], str):
            raise ValueError("its notes are damaged or changed")
    # RecursionError: brackets nested deeply.
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(folder, _first_line(error)) from error
    return notes, digests


def _digest_of_notes(notes: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(notes, sort_keys=True).encode()).hexdigest()


def _digest_of_state(state: State) -> str:
    """Of names, shapes, dtypes and values."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        values = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {values.shape} {values.dtype}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _unreadable(folder: Path, why: str) -> DamagedError:
    return DamagedError(
        f"cannot read the checkpoint {folder} ({why}); delete it to go on from the one before, "
        "or start without --resume"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
