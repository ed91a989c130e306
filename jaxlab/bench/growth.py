"""How the time of one cost and gradient grows, and that of a sweep over several networks.

With twice the examples, hidden units, layers or networks comes twice the work, so the time should
double as well, once there is enough work to hide what a call costs by itself. The exponent p says
how it does: seconds ∝ nᵖ over the last two doublings, 1 for a straight line.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxlab
from jaxlab.bench.timing import OURS, take_turns

DOUBLINGS = 7


@dataclass(frozen=True)
class Growth:
    """What grows, in numbers n, and the median seconds at each; all else as `work` says."""

    work: str
    what: str
    n: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def exponent(self) -> float:
        """p of seconds ∝ nᵖ over the last two doublings."""
        return math.log(self.seconds[-1] / self.seconds[-3]) / math.log(self.n[-1] / self.n[-3])


def rows() -> Iterator[Growth]:
    """Against examples, hidden units, depth, and networks trained together."""
    yield _growth("784-100-10", "examples", 100, lambda m: _pass((784, 100, 10), m))
    yield _growth("784-h-10, m = 100", "hidden units", 16, lambda h: _pass((784, h, 10), 100))
    yield _growth(
        "hidden layers of 100, m = 100", "hidden layers", 1,
        lambda depth: _pass((784, *[100] * depth, 10), 100),
    )  # fmt: skip
    yield _growth("an epoch of 784-25-10, m = 6,000, batch 100", "networks", 1, _epoch, doublings=5)


def _growth(
    work: str, what: str, first: int, call: Callable[[int], Callable[[], object]],
    doublings: int = DOUBLINGS,
) -> Growth:  # fmt: skip
    n = tuple(first * 2**i for i in range(doublings))
    seconds = [take_turns({OURS: call(count)}, blocks=7)[OURS].median for count in n]
    return Growth(work, what, n, tuple(seconds))


def _pass(sizes: tuple[int, ...], m: int) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.random((m, sizes[0])), jnp.float32)
    y = jnp.asarray(jaxlab.one_hot(rng.integers(0, sizes[-1], m), sizes[-1]))
    params = jaxlab.initialize(0, sizes)
    return lambda: jax.block_until_ready(jaxlab.cost_and_grad(params, x, y))


def _epoch(networks: int) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.random((6000, 784)), jnp.float32)
    y = jnp.asarray(jaxlab.one_hot(rng.integers(0, 10, 6000)))
    params = [jaxlab.initialize(seed, (784, 25, 10)) for seed in range(networks)]
    optimizer = optax.adam(0.01)
    return lambda: jaxlab.fit_together(params, x, y, seed=0, optimizer=optimizer, epochs=1)
