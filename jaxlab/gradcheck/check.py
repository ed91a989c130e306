"""The verdict on a gradient: one a block (W1, b1, …), by three independent witnesses.

    central differences   need nothing but the cost, see errors down to about 1e-9
    the complex step      needs a cost that takes complex numbers, exact to rounding
    jax.grad              needs a cost written in JAX, exact to rounding

and beside them the order of the Taylor remainder, which is 2 for a right gradient whatever the
step, and falls towards 1 for a wrong one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from jaxlab.backprop import Layer
from jaxlab.errors import CheckError, OptionError, ShapeError
from jaxlab.gradcheck import numerical

# A block is right when its relative difference ‖g - n‖ / ‖g + n‖ is below these. Right gradients
# reach 1e-16 (exact witnesses) and 1e-9 (central differences); the smallest real mistake that we
# planted gives about 1e-4. A right gradient whose terms all but cancel may lose digits, so the
# line is drawn well above rounding.
EXACT_TOLERANCE = 1e-9
DIFFERENCE_TOLERANCE = 1e-6
TAYLOR_TOLERANCE = 0.1

EXACT_WITNESSES = ("complex_step", "autograd")
# One direction can happen to have little curvature, the sum over a few hardly does.
TAYLOR_DIRECTIONS = 8
WITNESSES = ("finite_difference", *EXACT_WITNESSES)


@dataclass(frozen=True)
class BlockCheck:
    """What the witnesses say of one block of parameters.

    diff: witness → ‖g - n‖ / ‖g + n‖ over the coordinates checked, g the gradient under test and
    n the witness's. taylor_order: of the remainder along a random direction within the block;
    None where the remainder is below rounding. ok: the block is right.
    """

    name: str
    shape: tuple[int, ...]
    checked: int
    diff: dict[str, float]
    taylor_order: float | None
    objections: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.objections

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class GradientCheck:
    """A verdict by block and in all; true when every block is right. Prints as a table.

    cost_diff: |J - J'| / |J + J'| of the cost that comes with the gradient and the cost that the
    witnesses differentiate. A gradient is right only as that of its own cost. analytic: false
    where the complex step cannot be used, and was not, because the cost is not analytic.
    """

    blocks: tuple[BlockCheck, ...]
    diff: dict[str, float]
    taylor_order: float | None
    cost_diff: float
    analytic: bool

    def __bool__(self) -> bool:
        return not self.wrong

    @property
    def wrong(self) -> tuple[str, ...]:
        """The names of what is wrong: blocks, and J where the two costs differ."""
        cost = () if self.cost_diff < EXACT_TOLERANCE else ("J",)
        return cost + tuple(block.name for block in self.blocks if not block.ok)

    def numbers(self) -> dict[str, Any]:
        """Everything as plain numbers, under the names of result.json."""
        return {
            **{f"diff_{witness}": diff for witness, diff in self.diff.items()},
            "taylor_order": self.taylor_order,
            "diff_cost": self.cost_diff,
            "blocks": {
                block.name: {
                    "ok": block.ok,
                    "shape": list(block.shape),
                    "checked": block.checked,
                    **{f"diff_{witness}": diff for witness, diff in block.diff.items()},
                    "taylor_order": block.taylor_order,
                }
                for block in self.blocks
            },
        }

    def __str__(self) -> str:
        return _table(self)


def check_gradients(
    cost_and_grad: Callable[..., tuple[Any, Any]],
    params: Any,
    *args: Any,
    cost: Callable[..., Any],
    seed: int = 0,
    coordinates: int | None = None,
    advance: Callable[[int], None] = lambda n: None,
) -> GradientCheck:
    """Compares the gradient of cost_and_grad(params, *args) with that of cost(params, *args).

    params: any pytree of arrays; its leaves are the blocks. args: further arguments; arrays of
    floating-point numbers become float64, all others stay as they are. cost: returns the scalar
    J; written in `jax.numpy`, and analytic in the parameters (`jaxlab.cost` is): where it is not,
    the complex step is left out and the result says so. coordinates:
    check that many of each block, drawn with `seed`, for networks too large to check whole.
    advance: called with the number of coordinates done, for a progress bar (each coordinate
    counts twice, once for each numerical witness).

    Everything is computed in float64, switched on for the check alone. Choose params random and
    non-zero: zero biases hide mistakes. Raises `ShapeError` where the gradient has not the form
    of params, and `CheckError` where J is not finite.
    """
    with jax.enable_x64(True):
        params, args = _floats_to(jnp.float64, params), _floats_to(jnp.float64, args)
        J, theta, data = flat_problem(cost, params, args)
        own_J, grads = cost_and_grad(params, *args)
        names = block_names(params)
        _check_form(params, grads, names)
        g = np.asarray(_flat(grads))

        rng = np.random.default_rng(seed)
        shapes = [leaf.shape for leaf in jax.tree.leaves(params)]
        ends = list(accumulate(map(math.prod, shapes)))
        spans = [
            slice(end - math.prod(shape), end) for shape, end in zip(shapes, ends, strict=True)
        ]
        picks = [span.start + _sample(span.stop - span.start, coordinates, rng) for span in spans]
        where = np.concatenate(picks)
        J0 = float(numerical.costs(J, theta[None, :], data)[0])
        exact = np.asarray(numerical.autograd(J, theta, data))
        if not (np.isfinite(J0) and np.isfinite(exact).all()):
            raise CheckError(
                f"J is {J0} at these parameters, and J or its derivative by jax.grad is not "
                "finite: there is nothing to compare with; check at smaller parameters or inputs"
            )
        differences, step_error = numerical.central_differences(
            J, theta, data, where, advance=advance
        )
        witness = {
            "finite_difference": differences,
            "complex_step": numerical.complex_steps(J, theta, data, where, advance=advance),
            "autograd": exact[where],
        }

        # Where autograd and differences agree but the complex step differs, the cost is not
        # analytic, and the complex step no witness.
        analytic = _agree(witness["complex_step"], witness["autograd"], EXACT_TOLERANCE) or not (
            _agree(differences, witness["autograd"], DIFFERENCE_TOLERANCE)
        )

        # The size of the numbers that a gradient is summed from: rounding is a fraction of it.
        scale = max(abs(J0), float(np.abs(exact).max()))
        directions = _directions(shapes, spans, rng)
        blocks, start = [], 0
        for name, shape, span, pick in zip(names, shapes, spans, picks, strict=True):
            here = slice(start, start + pick.size)
            order = numerical.taylor_order(J, theta, data, g, _within(directions, span))
            theirs = {who: n[here] for who, n in witness.items()}
            blocks.append(
                _judge(name, shape, g[pick], theirs, order, scale, step_error[here], analytic)
            )
            start = here.stop
        whole = {who: relative_difference(g[where], n) for who, n in witness.items()}
        order = numerical.taylor_order(J, theta, data, g, directions)
    cost_diff = relative_difference(np.array([float(own_J)]), np.array([J0]))
    return GradientCheck(tuple(blocks), whole, order, cost_diff, analytic)


def assert_gradients(*args: Any, **kwargs: Any) -> None:
    """`check_gradients` for tests: an AssertionError with the table unless every block is right."""
    check = check_gradients(*args, **kwargs)
    if not check:
        raise AssertionError(f"wrong gradient in {', '.join(check.wrong)}\n\n{check}")


def relative_difference(
    g: Inexact[Array | np.ndarray, "*shape"], n: Inexact[Array | np.ndarray, "*shape"]
) -> float:
    """‖g - n‖ / ‖g + n‖, the lab sheet's measure: 0 where equal, above 1 where they point apart.

    0 where both are zero; infinite where either has a NaN, so that no NaN passes for a small
    number.
    """
    with np.errstate(all="ignore"):
        apart, together = np.linalg.norm(g - n), np.linalg.norm(g + n)
        ratio = apart / together if together else (np.inf if apart else 0.0)
    return float(ratio) if np.isfinite(apart) else float("inf")


def block_names(params: Any) -> list[str]:
    """W1, b1, W2, … for layers; for any other pytree the path of each leaf."""
    if isinstance(params, tuple) and all(isinstance(layer, Layer) for layer in params):
        return [f"{name}{l}" for l in range(1, len(params) + 1) for name in ("W", "b")]
    paths, _ = jax.tree_util.tree_flatten_with_path(params)
    return [jax.tree_util.keystr(path, simple=True, separator=".") or "theta" for path, _ in paths]


def random_params(seed: int, sizes: tuple[int, ...]) -> tuple[Layer, ...]:
    """Layers with every weight and bias drawn from N(0, 1/units in), in float64, for a check.

    Biases are not zero: a mistake that multiplies by a bias would be invisible there.
    """
    rng = np.random.default_rng(seed)
    return tuple(
        Layer(
            rng.standard_normal((n_out, n_in)) / n_in**0.5,
            rng.standard_normal(n_out) / n_in**0.5,
        )
        for n_in, n_out in pairwise(sizes)
    )


def flat_problem(
    cost: Callable[..., Any], params: Any, args: tuple[Any, ...]
) -> tuple[numerical.FlatCost, Float[Array, " parameters"], numerical.Data]:
    """J(θ, data), θ and data for the numerical witnesses, from cost(params, *args).

    θ is real or complex; arrays of floating-point numbers among the arguments follow its dtype.
    A compiled cost (`jax.jit`) with arrays of the same shapes gives the same J, so that nothing
    is compiled twice. Any other function may have changed since, with a global variable.
    """
    leaves, structure = jax.tree.flatten(params)
    arg_leaves, arg_structure = jax.tree.flatten(args)
    is_data = [isinstance(leaf, jax.Array | np.ndarray) for leaf in arg_leaves]
    rest = tuple(None if d else leaf for leaf, d in zip(arg_leaves, is_data, strict=True))
    shapes = tuple(leaf.shape for leaf in leaves)
    is_compiled = hasattr(getattr(cost, "func", cost), "lower")
    flat_cost = _flat_cost if is_compiled else _flat_cost.__wrapped__
    J = flat_cost(cost, structure, shapes, arg_structure, rest, tuple(is_data))
    return J, _flat(params), [leaf for leaf, d in zip(arg_leaves, is_data, strict=True) if d]


@lru_cache(maxsize=64)
def _flat_cost(cost, structure, shapes, arg_structure, rest, is_data):
    ends = list(accumulate(map(math.prod, shapes)))

    def J(theta, data):
        parts = jnp.split(theta, ends[:-1])
        leaves = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        arrays = iter(_floats_to(theta.dtype, data))
        arg_leaves = [next(arrays) if d else leaf for leaf, d in zip(rest, is_data, strict=True)]
        params = jax.tree.unflatten(structure, leaves)
        return cost(params, *jax.tree.unflatten(arg_structure, arg_leaves))

    return J


def _flat(tree) -> Array:
    return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def _agree(one: np.ndarray, other: np.ndarray, tolerance: float) -> bool:
    return relative_difference(one, other) < tolerance


def _judge(name, shape, mine, witness, order, scale, step_error, analytic) -> BlockCheck:
    """One block's verdict.

    scale: the size of which a rounding error is a fraction. step_error: what the step may cost
    central differences.
    """
    diff, objections = {}, []
    for who, theirs in witness.items():
        diff[who] = relative_difference(mine, theirs)
        exact = who in EXACT_WITNESSES
        tolerance = EXACT_TOLERANCE if exact else DIFFERENCE_TOLERANCE
        rounding = np.finfo(np.float64).eps * scale * np.sqrt(mine.size)
        error = 10 * rounding
        if not exact:
            error = error / numerical.STEP + float(np.linalg.norm(step_error))
        if who == "complex_step" and not analytic:
            continue
        if diff[who] > tolerance and not np.linalg.norm(mine - theirs) <= error:
            objections.append(who)
    # Above 2 is no mistake: along d the cost has no curvature.
    if order is not None and not order > 2 - TAYLOR_TOLERANCE:
        objections.append("taylor_order")
    return BlockCheck(name, tuple(shape), mine.size, diff, order, tuple(objections))


def _floats_to(dtype, tree):
    """The tree with its arrays of floating-point numbers in another dtype, all else as it is."""

    def convert(leaf):
        is_array = isinstance(leaf, jax.Array | np.ndarray)
        if is_array and jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.asarray(leaf, dtype)
        return leaf

    return jax.tree.map(convert, tree)


def _check_form(params, g, names) -> None:
    form, form_of_g = jax.tree.structure(params), jax.tree.structure(g)
    if str(form) != str(form_of_g):
        raise ShapeError(f"the gradient is not built like params: {form_of_g} instead of {form}")
    for name, p, d in zip(names, jax.tree.leaves(params), jax.tree.leaves(g), strict=True):
        if jnp.shape(p) != jnp.shape(d):
            raise ShapeError(f"{name} has shape {jnp.shape(p)}, its gradient {jnp.shape(d)}")


def _sample(size: int, most: int | None, rng: np.random.Generator) -> np.ndarray:
    if most is not None and most < 1:
        raise OptionError(f"coordinates is {most}: at least 1 of each block must be checked")
    if most is None or most >= size:
        return np.arange(size)
    return np.sort(rng.choice(size, most, replace=False))


def _directions(shapes, spans, rng: np.random.Generator) -> np.ndarray:
    """Random directions (TAYLOR_DIRECTIONS, parameters) in which each row of W has length 1.

    So each unit's z moves by about as much as its inputs are large, however many they are.
    """
    directions = np.zeros((TAYLOR_DIRECTIONS, spans[-1].stop))
    for shape, span in zip(shapes, spans, strict=True):
        d = rng.standard_normal((TAYLOR_DIRECTIONS, *(shape or (1,))))
        rows = np.linalg.norm(d, axis=-1, keepdims=True) if len(shape) > 1 else 1.0
        directions[:, span] = (d / rows).reshape(TAYLOR_DIRECTIONS, -1)
    return directions


def _within(directions: np.ndarray, span: slice) -> np.ndarray:
    """The directions with all but one block left where it is."""
    inside = np.zeros_like(directions)
    inside[:, span] = directions[:, span]
    return inside


def _table(check: GradientCheck) -> str:
    """Plain text that can be pasted into a report."""
    head: tuple[str, ...] = (
        "block",
        "shape",
        "checked",
        "finite diff.",
        "complex step",
        "jax.grad",
        "order",
        "",
    )
    rows = [head]
    for block in check.blocks:
        shape = " × ".join(map(str, block.shape)) or "scalar"
        checked = f"{block.checked:,} of {block.size:,}"
        verdict = "right" if block.ok else "WRONG"
        rows.append((block.name, shape, checked, *_columns(block), verdict))
    total = sum(block.checked for block in check.blocks)
    size = sum(block.size for block in check.blocks)
    verdict = "right" if check else "WRONG"
    rows.append(("all", "", f"{total:,} of {size:,}", *_columns(check), verdict))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    rule = "  ".join("-" * w for w in widths)
    lines = [lines[0], rule, *lines[1:-1], rule, lines[-1]]
    if not check.analytic:
        lines.append(
            "The complex step was left out: the cost is not analytic (abs, norm, max, conj)."
        )
    if "J" in check.wrong:
        lines.append(f"J is not the cost checked against: they differ by {check.cost_diff:.1e}")
    return "\n".join(line.rstrip() for line in lines)


def _columns(row) -> list[str]:
    order = "-" if row.taylor_order is None else f"{row.taylor_order:.4f}"
    return [*(f"{row.diff[who]:.1e}" for who in WITNESSES), order]
