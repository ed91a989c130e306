"""How long several ways of doing the same work take, and what the machine could do at best."""

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.bench import pytorch
from jaxlab.precision import enable_x64

BLOCK_SECONDS = 0.03
# Worker threads of OpenMP and OpenBLAS wait busily for more work, long enough to take a core from
# whoever comes next.
PAUSE_SECONDS = 0.2
OURS = "jaxlab"


@dataclass(frozen=True)
class Timing:
    """Seconds of one call. first: the first call, with compilation; else without."""

    median: float
    best: float
    first: float
    calls: int


@dataclass(frozen=True)
class Row:
    """One piece of work, done by jaxlab and by others.

    times: who → timing; ours under "jaxlab". goals: who → the ratio of their time to ours that we
    aim at. operations: floating-point operations of one call, where the work is large products.
    dtype: of these. notes: what a reader should know.
    """

    work: str
    times: dict[str, Timing]
    goals: dict[str, float] = field(default_factory=dict)
    operations: float | None = None
    dtype: str = "float32"
    notes: tuple[str, ...] = ()

    def ratio(self, who: str) -> float:
        """How many times as long as jaxlab's the time of another is, by medians."""
        return self.times[who].median / self.times[OURS].median


def take_turns(
    contenders: Mapping[str, Callable[[], object]], *, blocks: int = 15
) -> dict[str, Timing]:
    """Times of each contender, called in turn in blocks of calls, each time in another order.

    A change in the machine's speed meets all of them alike. Each must return when its work is
    done. A block has as many calls as take about 30 ms, one at least, after a pause in which the
    threads of the one before come to rest, and after a call that is not counted: what the others
    did to the caches is no part of it. Where that would take half a second or more it is left out.
    """
    first, calls, warms_up = {}, {}, {}
    for who, call in contenders.items():
        first[who] = _seconds(call, 1)
        again = _seconds(call, 1)
        if again < 1:  # second; what takes longer is measured well enough
            again = _seconds(call, 1)
        calls[who] = max(1, round(BLOCK_SECONDS / max(again, 1e-9)))
        warms_up[who] = again < 0.5
    times: dict[str, list[float]] = {who: [] for who in contenders}
    order, dice = list(contenders), random.Random(0)
    pause = PAUSE_SECONDS if jax.default_backend() == "cpu" else 0.0
    for _ in range(blocks):
        dice.shuffle(order)
        for who in order:
            time.sleep(pause)
            if warms_up[who]:
                contenders[who]()
            times[who].append(_seconds(contenders[who], calls[who]))
    return {
        who: Timing(statistics.median(own), min(own), first[who], calls[who] * blocks)
        for who, own in times.items()
    }


def peak(dtype: str) -> float:
    """The most operations a second that a product of two large matrices reached here."""
    size = 2048 if jax.default_backend() == "cpu" else 8192
    with enable_x64(dtype == "float64"):
        one = np.random.default_rng(0).standard_normal((size, size)).astype(dtype)
        product, ours = jax.jit(jnp.matmul), jnp.asarray(one)
        runners: list[Callable[[], object]] = [lambda: product(ours, ours).block_until_ready()]
        try:
            theirs = pytorch.tensor(one)
        except ImportError:
            pass
        else:

            def in_pytorch() -> None:
                _ = theirs @ theirs
                pytorch.done()

            runners.append(in_pytorch)
        fastest = min(_seconds(run, 1) for _ in range(12) for run in runners)
    return 2 * size**3 / fastest


def _seconds(call: Callable[[], object], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times
