"""Several trainings at a time, one for each core.

In a training of the lab's size XLA splits no operation into parts that are worth a second core: it
takes as long on one. Two trainings at once take 0.4 to 0.75 of the time that they take one after
another, on two cores.
"""

import contextvars
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")
Advance = Callable[..., None]


def at_once(
    function: Callable[[Item, Advance], Done], items: Sequence[Item], advance: Advance
) -> list[Done]:
    """[function(item, advance) for item in items], started in that order: the longest best first.

    The `advance` that function gets does what the given one does, and ends the call where another
    has failed or Ctrl-C was pressed. Calls run in threads: of JAX's settings by a `with` around this
    they have whether float64 is on, no other. On a GPU, which gives all of itself to one program,
    they run one after another.
    """
    import jax  # not for `cores` alone

    from jaxlab.precision import enable_x64

    workers = min(len(items), cores()) if jax.default_backend() == "cpu" else 1
    if workers < 2:
        return [function(item, advance) for item in items]
    x64 = jax.config.jax_enable_x64  # type: ignore[attr-defined]  # of this thread alone
    ended = threading.Event()

    def advance_unless_ended(*args, **kwargs) -> None:
        if ended.is_set():
            raise _Ended
        advance(*args, **kwargs)

    def call(item: Item) -> Done:
        if ended.is_set():
            raise _Ended
        try:
            with enable_x64(x64):
                return function(item, advance_unless_ended)
        except BaseException:
            ended.set()
            raise

    with ThreadPoolExecutor(workers) as pool:
        # Each with the context of this thread, by which a notebook knows whose output it is.
        calls = [pool.submit(contextvars.copy_context().run, call, item) for item in items]
        try:
            for done in as_completed(calls):
                if not isinstance(done.exception(), _Ended):  # of which another is the cause
                    done.result()
        except BaseException:
            ended.set()
            raise
    return [done.result() for done in calls]


class _Ended(Exception):
    """Raised in a call whose result nobody waits for any more."""


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
