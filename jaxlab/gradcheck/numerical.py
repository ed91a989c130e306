"""Witnesses of a gradient that know nothing of how it was derived.

Each takes J(θ, data), a function of one flat vector θ of all parameters and of further arrays,
that returns a scalar. A program is compiled once for each J and each shape; a `PlainCost`, which
JAX cannot trace, is called point by point instead. Derivatives are taken along `moves`: numbers
of coordinates, or directions, one a row. Work in float64 (`jax.enable_x64`): in float32 a cost
has seven digits, and the difference of two costs keeps two or three of them.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Var
from jaxtyping import Array, Float, Inexact, Integer

from jaxlab.precision import every_digit

Theta = Inexact[Array | np.ndarray, " parameters"]
Data = Sequence[Array | np.ndarray]
FlatCost = Callable[[Theta, Data], Any]
Moves = Integer[np.ndarray, " n"] | Float[np.ndarray, "n parameters"]
Advance = Callable[[int], Any]

# Of central differences. Their error is h⁴/30 of the fifth derivative plus the rounding of the
# cost over h: at this step both stay near 1e-10 of a gradient even where the cost is large, as
# that of an autoencoder of 784 pixels is. A power of two, as all steps along coordinates are: then
# θ ± h is exact, even where θ counts seconds since 1970.
STEP = 2.0**-11
# Where central differences look, in steps.
CENTRAL = np.array([1.0, -1.0, 2.0, -2.0])
# Of central differences of two points, whose error is h²/6 of the third derivative.
TWO_POINT_STEP = 2.0**-17
# Of the complex step. Nothing is subtracted, so the step may be as small as numbers get.
COMPLEX_STEP = 1e-30
# Of the Taylor remainder, along directions that move each unit by about 1. The smallest steps
# that are not rounding decide: the smaller the step, the smaller the mistake that bends the order
# away from 2. Above 1e-3 the next term of the series bends it, too.
TAYLOR_STEPS = (2 * STEP, 1e-4, 1e-5)

# What is held at once while many coordinates are perturbed together: 5 MB in float64, which stays
# in a processor's cache. 784-25-10 takes 1.15 times as long with three times that.
MOST_NUMBERS_AT_ONCE = 5 << 17
MOST_COORDINATES_AT_ONCE = 256
# The same for the largest array that a cost computes on the way, of which several may be held.
MOST_NUMBERS_ON_THE_WAY = 1 << 22
# How many such chunks one call of the compiled loop does, before the progress bar hears of it.
CHUNKS_PER_CALL = 64
# Compiles in a third of the time, and what it compiles takes up to three times as long: for a cost
# that is compiled for one check alone, and asked for no more numbers than that.
IN_HASTE = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
MOST_NUMBERS_IN_HASTE = 1 << 23


@dataclass(frozen=True)
class PlainCost:
    """A cost that is called as it is, because JAX cannot trace it: NumPy loops, `float()`, …"""

    call: Callable[[np.ndarray], float]

    def __call__(self, theta: Theta, data: Data) -> float:
        return self.call(np.asarray(theta))


def central_differences(
    J: FlatCost,
    theta: Theta,
    data: Data,
    moves: Moves,
    *,
    step: float = STEP,
    advance: Advance = lambda n: None,
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The derivative of J along every move, by central differences of fourth order.

    (8 (J(θ + hd) - J(θ - hd)) - (J(θ + 2hd) - J(θ - 2hd))) / 12h (Fornberg 1988). Of two
    points alone the error O(h²) forbids large steps, and rounding forbids small ones. advance:
    called with the number of moves done, for a progress bar.

    Returns the derivatives, and for each how far the two-point difference with the same step is
    from it: an estimate of what the step may cost. It is large where inputs or weights are large.
    """
    return fourth_order(costs_along(J, theta, data, moves, step * CENTRAL, advance), step)


def fourth_order(
    costs: Float[np.ndarray, "n 4"], step: float
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """`central_differences` of the costs at `step * CENTRAL`."""
    right, left, far_right, far_left = costs.T
    near = right - left
    fourth = (8 * near - (far_right - far_left)) / (12 * step)
    return fourth, np.abs(fourth - near / (2 * step))


def two_point_differences(
    J: FlatCost,
    theta: Theta,
    data: Data,
    moves: Moves,
    *,
    step: float = TWO_POINT_STEP,
    advance: Advance = lambda n: None,
) -> Float[np.ndarray, " n"]:
    """(J(θ + hd) - J(θ - hd)) / 2h along every move: half the work, and fewer digits."""
    right, left = costs_along(J, theta, data, moves, step * np.array([1.0, -1.0]), advance).T
    return (right - left) / (2 * step)


def one_sided_derivatives(
    J: FlatCost, theta: Theta, data: Data, moves: Moves, step: float
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The derivatives on the left and on the right of θ, second order: they differ at a kink."""
    offsets = step * np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    J2, J1, J0, J_1, J_2 = costs_along(J, theta, data, moves, offsets).T
    return (3 * J0 - 4 * J1 + J2) / (2 * step), (4 * J_1 - 3 * J0 - J_2) / (2 * step)


def complex_steps(
    J: FlatCost,
    theta: Theta,
    data: Data,
    moves: Moves,
    *,
    step: float = COMPLEX_STEP,
    advance: Advance = lambda n: None,
) -> Float[np.ndarray, " n"]:
    """Im J(θ + i h d) / h along every move d (Squire and Trapp 1998).

    As exact as rounding allows, for a cost that takes complex parameters and is analytic in
    them: no absolute value, no maximum, no conjugate. advance: as in `central_differences`.
    """
    theta, data = _on_cpu(theta, data)
    return _in_chunks(_complex_step, J, theta, data, moves, step, 1, advance)


def cost_and_autograd(J: FlatCost, theta: Theta, data: Data) -> tuple[Any, Theta]:
    """J and ∂J/∂θ by `jax.grad`: exact to rounding, for a cost written in JAX."""
    return _in_haste_where_it_pays(_cost_and_autograd, J, theta, data, 1)(J, theta, data)


def trace(J: FlatCost, theta: Theta, data: Data) -> Any:
    """What J does, as JAX sees it (a jaxpr); traced once, for `cost_at` as well."""
    return _cost.trace(J, theta, data).jaxpr


def equations(jaxpr: Any) -> Iterator[Any]:
    """Every operation in a jaxpr, those inside of others too."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in _inside(equation):
            yield from equations(inner)


def constants(closed: Any) -> Iterator[Any]:
    """The arrays of NumPy that a traced function holds without having them as arguments."""
    inner = (value for equation in equations(closed.jaxpr) for value in equation.params.values())
    for one in (closed, *inner):
        for array in getattr(one, "consts", ()):
            if not isinstance(array, jax.Array) and hasattr(array, "dtype"):
                yield array


class Facts(NamedTuple):
    """What is known of a cost before it is computed.

    primitives: the names of all operations in it. dtypes, numbers, largest: of the arrays that lead
    from θ to it, how many numbers they have in all and in the largest of them; an accuracy beside
    the cost does not count.
    """

    primitives: list[str]
    dtypes: frozenset[np.dtype]
    numbers: int
    largest: int


def facts(J: FlatCost, theta: Theta, data: Data) -> Facts:
    """Found out once for each trace of J."""
    jaxpr = trace(J, theta, data).jaxpr
    if jaxpr not in _FACTS:
        moved = [True] + [False] * len(data)
        arrays = [*_moved_arrays(jaxpr, moved, [True] * len(jaxpr.outvars))]
        sizes = [math.prod(array.shape) for array in arrays]
        _FACTS[jaxpr] = Facts(
            [equation.primitive.name for equation in equations(jaxpr)],
            frozenset(array.dtype for array in arrays), sum(sizes), max(sizes, default=1),
        )  # fmt: skip
    return _FACTS[jaxpr]


_FACTS: WeakKeyDictionary[Any, Facts] = WeakKeyDictionary()


def _moved_arrays(jaxpr: Any, moved: Sequence[bool], used: Sequence[bool]) -> Iterator[Any]:
    """What leads from the arguments of a jaxpr that are `moved` to its results that are `used`."""
    results = zip(jaxpr.outvars, used, strict=True)
    needed = {var for var, is_used in results if is_used and _is_variable(var)}
    leading = []
    for equation in reversed(jaxpr.eqns):
        if not needed.isdisjoint(equation.outvars):
            needed |= {*filter(_is_variable, equation.invars)}
            leading.append(equation)
    depend = {var for var, moves in zip(jaxpr.invars, moved, strict=True) if moves}
    for equation in reversed(leading):
        moves = [_is_variable(var) and var in depend for var in equation.invars]
        if any(moves):
            depend |= {*equation.outvars}
            yield from _arrays(needed.intersection(equation.outvars))
            for inner in _inside(equation):
                if equation.primitive.name in ("jit", "pjit"):
                    yield from _moved_arrays(inner, moves, [v in needed for v in equation.outvars])
                else:
                    for one in equations(inner):
                        yield from _arrays(one.outvars)


def _is_variable(var: Any) -> bool:
    """Not a number that is written into the jaxpr."""
    return isinstance(var, Var)


def _inside(equation: Any) -> list[Any]:
    """The jaxprs in an operation: of a call, a loop, a branch."""
    values = jax.tree.leaves([*equation.params.values()], is_leaf=lambda v: hasattr(v, "eqns"))
    return [getattr(value, "jaxpr", value) for value in values if hasattr(value, "eqns")]


def _arrays(results: Iterable[Any]) -> list[Any]:
    return [var.aval for var in results if hasattr(var.aval, "shape")]


def takes_complex(J: FlatCost, theta: Theta, data: Data) -> bool:
    """Whether J of complex θ can be had, and is complex."""
    kind = np.result_type(theta.dtype, np.complex64)
    try:
        J_shape = _cost.eval_shape(J, jax.ShapeDtypeStruct(theta.shape, kind), data)
    except Exception:  # whatever a stranger's function does with complex numbers
        return False
    return jnp.issubdtype(J_shape.dtype, jnp.complexfloating)


def cost_at(J: FlatCost, theta: Theta, data: Data) -> float:
    """J(θ) as the differences see it."""
    return float(J(theta, data) if isinstance(J, PlainCost) else _cost(J, theta, data))


def costs_along(
    J: FlatCost,
    theta: Theta,
    data: Data,
    moves: Moves,
    offsets: Float[np.ndarray, " k"],
    advance: Advance = lambda n: None,
) -> Float[np.ndarray, "n k"]:
    """J(θ + h d) for every move d and every offset h."""
    if isinstance(J, PlainCost):
        rows = np.empty((len(moves), len(offsets)))
        for row, move in zip(rows, moves, strict=True):
            row[:] = [J(np.asarray(theta) + _plain_step(theta, move, h), data) for h in offsets]
            advance(1)
        return rows
    return _in_chunks(_costs_along, J, theta, data, moves, offsets, len(offsets), advance)


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
    costs = costs_along(J, theta, data, directions, np.array([0.0, *TAYLOR_STEPS]))
    with np.errstate(all="ignore"):
        slopes = np.einsum("ij,j", directions, g)
    return remainder_order(costs[:, 0], costs[:, 1:], slopes)


# A gradient may be infinite.
@np.errstate(all="ignore")
def remainder_order(
    J0: Float[np.ndarray, " directions"],
    ahead: Float[np.ndarray, "directions steps"],
    slopes: Float[np.ndarray, " directions"],
) -> float | None:
    """`taylor_order` of the costs at θ and after each of `TAYLOR_STEPS` along every direction."""
    visible = 1e3 * np.finfo(np.float64).eps * np.maximum(np.abs(J0), 1).sum()
    seen = []
    for h, J_h in zip(TAYLOR_STEPS, ahead.T, strict=True):
        remainder = np.abs(J_h - J0 - h * slopes).sum()
        if remainder > visible:
            seen.append((np.log(h), np.log(remainder)))
    if len(seen) < 2:
        return None
    (log_h1, log_r1), (log_h2, log_r2) = seen[-2:]
    return float((log_r1 - log_r2) / (log_h1 - log_h2))


def asked_once(J: FlatCost) -> FlatCost:
    """Marks a cost that is compiled for one check alone."""
    J.asked_once = True  # type: ignore[attr-defined]  # of a function
    return J


def _in_haste_where_it_pays(program, J, theta, data, points):
    """The program, compiled in haste where computing J at so many points is soon done."""
    if not getattr(J, "asked_once", False) or jax.default_backend() != "cpu":
        return program
    known = facts(J, theta, data)
    if (
        not {"while", "scan"}.isdisjoint(known.primitives)
        or points * known.numbers > MOST_NUMBERS_IN_HASTE
        or not _knows_haste()
    ):
        return program
    return _hasty(program)


@cache
def _hasty(program):
    return jax.jit(program.__wrapped__, static_argnums=0, compiler_options=IN_HASTE)


@cache
def _knows_haste() -> bool:
    """Whether XLA has the options: they are no part of its interface, and may go."""
    try:
        jax.jit(jnp.negative, compiler_options=IN_HASTE).lower(1.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


@partial(jax.jit, static_argnums=0)
def _cost(J, theta, data):
    return J(theta, data)


@partial(jax.jit, static_argnums=0)
def _cost_and_autograd(J, theta, data):
    return jax.value_and_grad(J)(theta, data)


@partial(jax.jit, static_argnums=0)
def _costs_along(J, theta, data, moves, offsets):
    def costs(move):  # J once for all offsets, not once for each: that compiles in half the time
        return jax.vmap(lambda h: J(theta + _step(theta, move, h), data))(offsets)

    return jax.lax.map(jax.vmap(costs), moves)


@partial(jax.jit, static_argnums=0)
def _complex_step(J, theta, data, moves, h):
    def derivative(move):
        return J(jax.lax.complex(theta, _step(theta, move, h)), data).imag / h

    return jax.lax.map(jax.vmap(derivative), moves)


def _on_cpu(theta, data):
    """θ and data where complex products keep every imaginary part.

    A GPU's library makes three real products of the four of a complex one where matrices are
    large or many: the imaginary part is a difference of numbers near 1, in which 1e-30 is lost.
    """
    if jax.default_backend() == "cpu":
        return theta, data
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS leaves it out
        return theta, data
    return jax.device_put((theta, data), cpu)


def _step(theta, move, h):
    if move.ndim == 0:
        return jnp.where(jnp.arange(theta.size) == move, h, jnp.zeros_like(h))
    return h * move


def _plain_step(theta, move, h) -> np.ndarray:
    if np.ndim(move):
        return h * move
    step = np.zeros(theta.shape)
    step[move] = h
    return step


def _in_chunks(program, J, theta, data, moves, steps, points, advance) -> np.ndarray:
    """The program's rows for all moves; it takes (chunks, moves in a chunk, …) at a time."""
    most = min(
        MOST_COORDINATES_AT_ONCE,
        MOST_NUMBERS_AT_ONCE // (theta.size * points),
        MOST_NUMBERS_ON_THE_WAY // (facts(J, theta, data).largest * points),
    )
    chunk = max(min(most, len(moves)), 1)
    count = max(-(-len(moves) // (chunk * CHUNKS_PER_CALL)), 1)
    chunks = -(-len(moves) // (chunk * count))
    steps = np.asarray(steps, theta.dtype)
    program = _in_haste_where_it_pays(program, J, theta, data, points * len(moves))
    if moves.ndim == 2:
        moves = np.asarray(moves, theta.dtype)

    def rows_of(here):
        # The last call is filled up, so that one compiled shape serves all.
        padded = here[np.minimum(np.arange(chunk * chunks), len(here) - 1)]
        with every_digit(x64):
            rows = program(J, theta, data, padded.reshape(chunks, chunk, *moves.shape[1:]), steps)
            return np.asarray(rows).reshape(chunk * chunks, *rows.shape[2:])[: len(here)]

    calls = np.split(moves, range(chunk * chunks, len(moves), chunk * chunks))
    x64 = jax.config.jax_enable_x64  # type: ignore[attr-defined]  # of this thread alone
    parts = [rows_of(calls[0])]
    advance(len(calls[0]))
    if len(calls) == 1:
        return parts[0].astype(np.float64)
    # Once compiled, two at a time: one computes where the other waits for a part of its own.
    with ThreadPoolExecutor(2) as pool:
        for part in pool.map(rows_of, calls[1:]):
            parts.append(part)
            advance(len(part))
    return np.concatenate(parts).astype(np.float64)
