"""Work for every core of a CPU: several trainings at once, or one that is divided among devices.

XLA divides each operation among the cores, and waits for all of them before the next. In trainings
of the lab's size that gives little: a network of 100 hidden units takes as long on one core as on
two. Two trainings at once take 0.4 to 0.75 of the time that they take one after another, and a
step of exercise 7 whose batch is divided among two devices, each on a core of its own, 0.57 to 0.67
of the time that it takes on one (Intel Xeon, jax 0.10).
"""

import contextlib
import contextvars
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")
Advance = Callable[..., None]

# A batch of 128 images in parts of 32; smaller ones are soon done, and all wait for one another.
MOST_DEVICES = 4


def at_once(
    function: Callable[[Item, Advance], Done], items: Sequence[Item], advance: Advance
) -> list[Done]:
    """[function(item, advance) for item in items], started in that order: the longest best first.

    The `advance` that function gets does what the given one does, and ends the call where another
    has failed or Ctrl-C was pressed. Calls run in threads: of what JAX was told by a `with` around
    this they hear whether float64 is on, and nothing else. On a GPU, which gives all of itself to
    one program, they run one after another.
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


def one_device_each() -> None:
    """Lets JAX have a device for each core of a CPU, of which training on several makes use.

    Where JAX's own settings say how many (JAX_NUM_CPU_DEVICES, XLA_FLAGS), or where it has begun to
    compute, nothing changes.
    """
    import jax

    asked_for = jax.config.jax_num_cpu_devices != -1  # type: ignore[attr-defined]
    if asked_for or "host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    with contextlib.suppress(RuntimeError):  # it has begun
        jax.config.update("jax_num_cpu_devices", min(cores(), MOST_DEVICES))
