"""Witnesses of a gradient that know nothing of how it was derived.

Each takes J(θ, data), a function of one flat vector θ of all parameters and of further arrays,
that returns a scalar. A program is compiled once for each J and each shape. Work in float64
(`jax.enable_x64`): in float32 a cost has seven digits, and the difference of two costs keeps two
or three of them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Int

Theta = Inexact[Array | np.ndarray, " parameters"]
Data = Sequence[Array | np.ndarray]
FlatCost = Callable[[Theta, Data], Inexact[Array, ""]]
Advance = Callable[[int], Any]

# Of central differences. Their error is h⁴/30 of the fifth derivative plus the rounding of the
# cost over h: at this step both stay near 1e-10 of a gradient even where the cost is large, as
# that of an autoencoder of 784 pixels is.
STEP = 5e-4
# Of the complex step. Nothing is subtracted, so the step may be as small as numbers get.
COMPLEX_STEP = 1e-30
# Of the Taylor remainder, along directions that move each unit by about 1. The smallest steps
# that are not rounding decide: the smaller the step, the smaller the mistake that bends the order
# away from 2. Above 1e-3 the next term of the series bends it, too.
TAYLOR_STEPS = (1e-3, 1e-4, 1e-5)

# What may be held at once while many coordinates are perturbed together: 128 MB in float64.
MOST_NUMBERS_AT_ONCE = 1 << 24
MOST_COORDINATES_AT_ONCE = 256


def central_differences(
    J: FlatCost,
    theta: Theta,
    data: Data,
    coordinates: Int[np.ndarray, " n"],
    *,
    step: float = STEP,
    advance: Advance = lambda n: None,
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """∂J/∂θᵢ for every coordinate i named, by central differences of fourth order.

    (8 (J(θ + h eᵢ) - J(θ - h eᵢ)) - (J(θ + 2h eᵢ) - J(θ - 2h eᵢ))) / 12h (Fornberg 1988). Of two
    points alone the error O(h²) forbids large steps, and rounding forbids small ones. advance:
    called with the number of coordinates done, for a progress bar.

    Returns the derivatives, and for each how far the two-point difference with the same step is
    from it: an estimate of what the step may cost. It is large where inputs or weights are large.
    """
    both = _in_chunks(_central_difference, J, theta, data, coordinates, step, advance)
    return both[:, 0], np.abs(both[:, 0] - both[:, 1])


def complex_steps(
    J: FlatCost,
    theta: Theta,
    data: Data,
    coordinates: Int[np.ndarray, " n"],
    *,
    step: float = COMPLEX_STEP,
    advance: Advance = lambda n: None,
) -> Float[np.ndarray, " n"]:
    """Im J(θ + i h eⱼ) / h for every coordinate j named (Squire and Trapp 1998).

    As exact as rounding allows, for a cost that takes complex parameters and is analytic in
    them: no absolute value, no maximum, no conjugate. advance: as in `central_differences`.
    """
    return _in_chunks(_complex_step, J, theta, data, coordinates, step, advance)


@partial(jax.jit, static_argnums=0)
def autograd(J: FlatCost, theta: Theta, data: Data) -> Theta:
    """∂J/∂θ by `jax.grad`: exact to rounding, for a cost written in JAX."""
    return jax.grad(J)(theta, data)


@partial(jax.jit, static_argnums=0)
def costs(
    J: FlatCost, thetas: Inexact[Array | np.ndarray, "n parameters"], data: Data
) -> Inexact[Array, " n"]:
    """J at each row of thetas."""
    return jax.vmap(J, in_axes=(0, None))(thetas, data)


def taylor_order(
    J: FlatCost,
    theta: Theta,
    data: Data,
    g: Float[np.ndarray, " parameters"],
    directions: Float[np.ndarray, "directions parameters"],
) -> float | None:
    """The order in h of the remainder |J(θ + hd) - J(θ) - h g·d|, summed over directions d.

    2 where g is the gradient, whatever the step; towards 1 where it is not (Taylor's theorem).
    None where the remainder drowns in rounding, as it does for a cost that is linear or constant
    along d: then there is nothing to see.
    """
    here = np.asarray(theta)[None, :]
    J0 = float(costs(J, here, data)[0])
    slopes = directions @ g
    visible = 1e3 * np.finfo(np.float64).eps * abs(J0) * len(directions)
    seen = []
    for h in TAYLOR_STEPS:
        moved = np.asarray(costs(J, here + h * directions, data))
        remainder = np.abs(moved - J0 - h * slopes).sum()
        if remainder > visible:
            seen.append((np.log(h), np.log(remainder)))
    if len(seen) < 2:
        return None
    (log_h1, log_r1), (log_h2, log_r2) = seen[-2:]
    return float((log_r1 - log_r2) / (log_h1 - log_h2))


@partial(jax.jit, static_argnums=0)
def _central_difference(J, theta, data, coordinates, h):
    def derivative(i):
        change = jnp.where(jnp.arange(theta.size) == i, h, 0.0)

        def difference(k):
            return J(theta + k * change, data) - J(theta - k * change, data)

        near = difference(1)
        return jnp.stack([(8 * near - difference(2)) / (12 * h), near / (2 * h)])

    return jax.vmap(derivative)(coordinates)


@partial(jax.jit, static_argnums=0)
def _complex_step(J, theta, data, coordinates, h):
    def derivative(j):
        change = jnp.where(jnp.arange(theta.size) == j, h, 0.0)
        return J(jax.lax.complex(theta, change), data).imag / h

    return jax.vmap(derivative)(coordinates)


def _in_chunks(derivatives, J, theta, data, coordinates, step, advance) -> np.ndarray:
    """The derivatives at all coordinates, many at a time in one compiled program."""
    most = min(MOST_COORDINATES_AT_ONCE, MOST_NUMBERS_AT_ONCE // theta.size)
    chunk = max(min(most, coordinates.size), 1)
    parts = []
    for start in range(0, coordinates.size, chunk):
        here = coordinates[start : start + chunk]
        # The last chunk is filled up, so that one compiled shape serves all.
        padded = np.pad(here, (0, chunk - here.size), mode="edge")
        parts.append(np.asarray(derivatives(J, theta, data, padded, step))[: here.size])
        advance(here.size)
    return np.concatenate(parts)
