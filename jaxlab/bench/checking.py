"""Checking the gradient of 784-25-10 with 100 examples, in float64."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

import jaxlab
from jaxlab.bench.gradient import torch_cost
from jaxlab.bench.timing import Row, take_turns
from jaxlab.gradcheck.check import random_params
from jaxlab.precision import enable_x64

SIZES, M = (784, 25, 10), 100


def rows() -> Iterator[Row]:
    """Every coordinate by finite differences; then the default check with its verdict by block."""
    with enable_x64(True):
        yield from _rows()


def _rows() -> Iterator[Row]:
    rng = np.random.default_rng(0)
    x, y = rng.random((M, SIZES[0])), np.eye(SIZES[-1])[rng.integers(0, SIZES[-1], M)]
    params = jax.tree.map(lambda leaf: 0.1 * leaf, random_params(0, SIZES))
    n = sum(leaf.size for leaf in jax.tree.leaves(params))

    def ours(**options) -> Callable[[], object]:
        def call():
            check = jaxlab.check_gradients(
                jaxlab.cost_and_grad, params, x, y, cost=jaxlab.cost, **options
            )
            assert check, check
            return check

        return call

    whole: dict[str, Callable[[], object]] = {
        "jaxlab": ours(full=True),
        "SciPy": _scipy(params, x, y),
    }
    default: dict[str, Callable[[], object]] = {
        "jaxlab": ours(),
        "jax.test_util.check_grads": lambda: check_grads(
            lambda params: jaxlab.cost(params, jnp.asarray(x), jnp.asarray(y)), (params,),
            order=1, modes=["rev"],
        ),
    }  # fmt: skip
    try:
        whole["PyTorch gradcheck, slow"] = _torch(params, x, y, fast=False)
        default["PyTorch gradcheck, fast"] = _torch(params, x, y, fast=True)
    except ImportError:
        pass
    forward = 2 * M * (n - SIZES[1] - SIZES[2])
    yield Row(
        f"every coordinate of {'-'.join(map(str, SIZES))}, two points each",
        take_turns(whole, blocks=3),
        {"PyTorch gradcheck, slow": 2.5, "SciPy": 2.5},
        operations=2 * n * forward,
        dtype="float64",
    )
    yield Row(
        f"default check of {'-'.join(map(str, SIZES))}: a verdict for each block",
        take_turns(default),
        {"PyTorch gradcheck, fast": 1.0, "jax.test_util.check_grads": 1.0},
        dtype="float64",
        notes=("the others give one verdict for all parameters, along one random direction",),
    )


def _scipy(params, x, y) -> Callable[[], object]:
    """Central differences of a NumPy cost, as SciPy takes them."""
    from scipy.optimize import approx_fprime

    theta, m = np.asarray(jaxlab.flatten(params)), len(x)
    ends = np.cumsum([leaf.size for leaf in jax.tree.leaves(params)])

    def cost(theta):
        W1, b1, W2, b2 = np.split(theta, ends[:-1])
        a2 = 1 / (1 + np.exp(-(x @ W1.reshape(SIZES[1], -1).T + b1)))
        a3 = 1 / (1 + np.exp(-(a2 @ W2.reshape(SIZES[2], -1).T + b2)))
        return 0.5 * np.square(a3 - y).sum() / m

    step = 1e-5

    def call():
        # SciPy's are one-sided: twice, with the step either way, for the same two points.
        return (approx_fprime(theta, cost, step) + approx_fprime(theta, cost, -step)) / 2

    return call


def _torch(params, x, y, *, fast: bool) -> Callable[[], object]:
    torch, leaves, cost = torch_cost(params, x, y)
    return lambda: torch.autograd.gradcheck(cost, leaves, fast_mode=fast)
