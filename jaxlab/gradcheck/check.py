"""The verdict on a gradient: one a block (W1, b1, …), by up to three independent witnesses.

    central differences   need nothing but the cost, see errors down to about 1e-9
    the complex step      needs a cost that takes complex numbers, exact to rounding
    jax.grad              needs a cost written in JAX, exact to rounding

and beside them the order of the Taylor remainder, which is 2 for a right gradient whatever the
step, and falls towards 1 for a wrong one. `functions.py` makes one problem of whatever is given,
`witnesses.py` questions the witnesses, `mistakes.py` names what is wrong.
"""

import math
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.backprop import Layer
from jaxlab.errors import CheckError, JaxlabError, OptionError
from jaxlab.gradcheck import examples, numerical, table
from jaxlab.gradcheck.functions import Problem, block_names, flat_problem, problem_of
from jaxlab.gradcheck.mistakes import Mistake, name_from_numbers
from jaxlab.gradcheck.result import BlockCheck, GradientCheck, relative_difference
from jaxlab.gradcheck.table import WITNESSES
from jaxlab.gradcheck.witnesses import (
    FLOAT32,
    FLOAT32_GRADIENT,
    FLOAT64,
    Precision,
    Testimony,
    along,
    hear,
    split,
    unfit_witnesses,
)

__all__ = [
    "WITNESSES",
    "BlockCheck",
    "GradientCheck",
    "assert_gradients",
    "block_names",
    "check_gradients",
    "flat_problem",
    "random_params",
    "relative_difference",
]

TAYLOR_TOLERANCE = 0.1
# One direction can happen to have little curvature, the sum over a few hardly does.
DIRECTIONS = 8
# Every coordinate of networks up to that size, unless asked; of a cost that JAX cannot trace,
# each coordinate is four calls.
WHOLE_UP_TO = 2_000
WHOLE_PLAIN_UP_TO = 300
# Blocks that fail are looked at whole, but not for longer than that unless asked (`full`).
DETAIL_SECONDS = 60.0


def check_gradients(
    cost_and_grad: Any,
    params: Any,
    *args: Any,
    cost: Callable[..., Any] | None = None,
    seed: int = 0,
    coordinates: int | None = None,
    full: bool | None = None,
    dtype: str | None = None,
    m: int | None = None,
    advance: Callable[[int], None] = lambda n: None,
) -> GradientCheck:
    """Compares a gradient, block by block, with what witnesses say who do not know it.

    cost_and_grad: a function of (params, *args) that returns (J, gradient), in JAX or in NumPy;
    or a pair of functions (J, gradient); or a function of one value with a `jax.custom_vjp`,
    whose own rule is then under test. params: any pytree of floating-point arrays (a dict, a
    tuple of `Layer`s, one flat vector, …); its leaves are the blocks. args: whatever else the
    function takes; arrays of floating-point numbers become float64, all else stays as it is.

    cost: the function that returns J alone, which the witnesses differentiate; without it they
    differentiate the J that cost_and_grad returns. Where JAX cannot trace it (NumPy, `float()`),
    it is called point by point, and central differences are the only witness. Where it has a
    hand-written derivative rule inside, `jax.grad` is no witness. The complex step is left out
    where the cost is not analytic. Each is said in the result's `notes`.

    Small networks are checked at every coordinate. Large ones along 8 random directions a block,
    by `jax.grad` at every coordinate where it can be had, and blocks that fail in full.
    full: every coordinate (True) or directions (False), whatever the size. coordinates: that many
    of each block, drawn with `seed`. dtype: "float32" computes in float32, for functions that
    must; the thresholds follow. m: the number of examples, to name a forgotten 1/m; found out
    from args where not given. advance: called with the number of coordinates done, for a progress
    bar (each counts twice where there are two numerical witnesses).

    Everything is computed in float64, switched on for the check alone. Choose params random and
    non-zero: zero biases hide mistakes. Raises `ShapeError` where the gradient has not the form
    of params, and `CheckError` where J is not finite, where two calls with the same arguments
    differ (dropout), or where what was given is none of the above.
    """
    if dtype not in (None, "float64", "float32"):
        raise OptionError(f"dtype is {dtype!r}: choose float64 or float32")
    if coordinates is not None and coordinates < 1:
        raise OptionError(f"coordinates is {coordinates}: at least 1 of each block must be checked")
    if coordinates is not None and full:
        raise OptionError("coordinates asks for a sample, full for everything: choose one")
    given = {getattr(leaf, "dtype", None) for leaf in jax.tree.leaves((params, args))}
    may_be_float32 = dtype is None and np.dtype(np.float32) in given
    with jax.enable_x64(dtype != "float32"):
        try:
            problem = problem_of(cost_and_grad, params, args, cost, dtype or "float64")
        except JaxlabError:
            raise
        except Exception:
            # A function that refuses float64 is given the float32 that it was passed here.
            if not may_be_float32:
                raise
            problem = None
        if problem is not None:
            return _check(problem, args, seed, coordinates, full, m, advance)
    with jax.enable_x64(False):
        problem = problem_of(cost_and_grad, params, args, cost, "float32")
        return _check(problem, args, seed, coordinates, full, m, advance)


def assert_gradients(*args: Any, **kwargs: Any) -> None:
    """`check_gradients` for tests: an AssertionError unless every block is right.

    Its message says which block, how wrong and in which direction, which mistake, and the table.
    """
    check = check_gradients(*args, **kwargs)
    if not check:
        lines = [f"wrong gradient in {', '.join(check.wrong)}", *table.how_wrong(check)]
        raise AssertionError("\n".join([*lines, *table.diagnosis(check), "", str(check)]))


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


def _check(problem: Problem, args, seed, coordinates, full, m, advance) -> GradientCheck:
    rng, precision = np.random.default_rng(seed), _precision(problem)
    at, g, spans = (problem.J, problem.theta, problem.data), problem.g, problem.spans
    J0, exact = numerical.cost_at(*at), None
    if problem.traced and not any("vjp" in rule for rule in problem.rules):
        exact = np.asarray(numerical.autograd(*at), np.float64)
    if not (np.isfinite(J0) and (exact is None or np.isfinite(exact).all())):
        raise CheckError(
            f"J is {J0} at these parameters, and J or its derivative by jax.grad is not "
            "finite: there is nothing to compare with; check at smaller parameters or inputs"
        )
    complex_step = _takes_complex(problem)
    picks = [span.start + _sample(span.stop - span.start, coordinates, rng) for span in spans]
    directions = _directions(problem, rng)
    within = [_within(directions, span) for span in spans]
    few = coordinates is None and not (
        full if full is not None else _is_small(problem) and not problem.float32_cost
    )
    two_point = bool(full) and g.size > WHOLE_UP_TO and _two_points_will_do(problem, J0)

    def ask(moves, two_point=False) -> Testimony:
        return hear(
            problem, moves, along(g, moves), None if exact is None else along(exact, moves),
            precision, J0, complex_step=complex_step and not two_point, two_point=two_point,
            advance=advance,
        )  # fmt: skip

    if few:
        answers = [ask(moves) for moves in within]
    else:  # all blocks at once: one compiled program serves them
        answers = split(ask(np.concatenate(picks), two_point), [pick.size for pick in picks])
    unfit = unfit_witnesses(answers, problem, precision)
    if "autograd" in unfit:
        exact = None

    blocks, notes = [], []
    for i, (name, shape, answer) in enumerate(
        zip(problem.names, problem.shapes, answers, strict=True)
    ):
        judged = partial(_judge, name, shape, precision=precision, unfit=unfit)
        order = None
        if not problem.float32_cost:
            order = numerical.taylor_order(*at, g, within[i])
        everywhere = (g[spans[i]], exact[spans[i]]) if few and exact is not None else None
        in_part = few
        block = judged(answer, order, few, everywhere)
        if few and (not answer.judged.all() or (exact is None and not block.ok)):
            seconds = _seconds(problem, block.size)
            if full is None and seconds > DETAIL_SECONDS:
                if not answer.judged.any():
                    raise CheckError(
                        f"at {name} the parameters lie on a kink (of ReLU, abs, max), where J has "
                        "no derivative: choose them random, or look at every coordinate (full=True)"
                    )
                notes.append(
                    f"{name} was not looked at whole, which takes about {seconds:.0f} s: full=True."
                )
            else:
                answers[i], in_part, everywhere = ask(picks[i]), False, None
                block = judged(answers[i], order, in_part, everywhere)
        # A remainder bends over a kink as well: differences with short steps see what it is.
        if block.objections == ("taylor_order",):
            again = answer if few else ask(within[i])
            if judged(again, None, True, None).ok:
                block = judged(answers[i], None, in_part, everywhere)
        blocks.append(block)

    mine = problem.blocks(g)
    right = {
        block.name: _right(
            block, mine[block.name], answer, unfit, None if exact is None else exact[span]
        )
        for block, answer, span in zip(blocks, answers, spans, strict=True)
    }
    return GradientCheck(
        blocks=tuple(blocks),
        diff=_whole(blocks, answers, g, exact),
        taylor_order=_whole_order(problem, blocks, directions),
        cost_diff=relative_difference(np.array([problem.own_J]), np.array([J0])),
        analytic="complex_step" in answers[0].theirs and "complex_step" not in unfit,
        mistakes=tuple(_named(problem, blocks, answers, mine, right, exact, m, args, precision)),
        mine=mine,
        right=right,
        precision=precision.name,
        notes=(
            *_notes(problem, answers, blocks, precision, unfit, complex_step, two_point),
            *notes,
        ),
    )


def _precision(problem: Problem) -> Precision:
    if problem.float32_cost:
        return FLOAT32
    return FLOAT32_GRADIENT if problem.float32_gradient else FLOAT64


def _is_small(problem: Problem) -> bool:
    return problem.g.size <= (WHOLE_UP_TO if problem.traced else WHOLE_PLAIN_UP_TO)


def _takes_complex(problem: Problem) -> bool:
    if not problem.traced or problem.float32_cost:
        return False
    try:
        J = jax.eval_shape(lambda t: problem.J(jax.lax.complex(t, t), problem.data), problem.theta)
    except Exception:  # whatever a stranger's function does with complex numbers
        return False
    return jnp.issubdtype(J.dtype, jnp.complexfloating)


def _two_points_will_do(problem: Problem, J0: float) -> bool:
    """Whether rounding of J leaves enough digits of a typical coordinate."""
    rounding = np.finfo(np.float64).eps * abs(J0) / numerical.TWO_POINT_STEP
    with np.errstate(all="ignore"):
        typical = np.sqrt(np.mean(np.square(problem.g)))
    return bool(10 * rounding < FLOAT64.difference * typical)


def _seconds(problem: Problem, coordinates: int) -> float:
    """How long every coordinate of a cost that is called point by point will take."""
    if problem.traced:
        return 0.0
    start = time.perf_counter()
    numerical.cost_at(problem.J, problem.theta, problem.data)
    return 4 * coordinates * (time.perf_counter() - start)


def _judge(name, shape, answer, order, few, everywhere, *, precision, unfit) -> BlockCheck:
    """One block's verdict. everywhere: (g, by jax.grad) at every coordinate, where directions
    were taken and that can be had."""
    keep, diff, objections = answer.judged, {}, []
    for who, n in answer.theirs.items():
        if who in unfit:
            if who == "complex_step":
                diff[who] = relative_difference(answer.mine, n)
            continue
        mine, theirs = (answer.mine[keep], n[keep])
        if who == "autograd" and everywhere is not None:
            mine, theirs = everywhere
        diff[who] = relative_difference(mine, theirs)
        if who == "finite_difference":
            tolerance, error = precision.difference, np.linalg.norm(answer.error[keep])
        else:
            tolerance, error = precision.exact, answer.rounding * np.sqrt(mine.size)
        with np.errstate(all="ignore"):
            if diff[who] > tolerance and not np.linalg.norm(mine - theirs) <= error:
                objections.append(who)
    # Above 2 is no mistake: along d the cost has no curvature.
    if order is not None and not order > 2 - TAYLOR_TOLERANCE:
        objections.append("taylor_order")
    checked = len(keep) if not few else math.prod(shape) if everywhere is not None else 0
    return BlockCheck(
        name, tuple(shape), checked, diff, order, tuple(objections), len(keep) if few else 0
    )


def _right(block, mine, answer, unfit, exact) -> np.ndarray | None:
    """The block's right gradient by the best witness that saw all of it."""
    if exact is None and (block.directions or block.checked < block.size):
        return None
    if exact is None:
        best = "complex_step" if {"complex_step"} & (answer.theirs.keys() - unfit) else None
        exact = answer.theirs[best or "finite_difference"]
    if not block.directions and block.checked == block.size:
        exact = np.where(answer.judged, exact, mine.ravel())  # on a kink any side is right
    return np.asarray(exact).reshape(block.shape)


def _whole(blocks, answers, g, exact) -> dict[str, float]:
    """The relative difference to each witness over all blocks."""
    diff = {}
    for who in blocks[0].diff:
        if who == "autograd" and blocks[0].directions:
            diff[who] = relative_difference(g, exact)
        elif all(who in answer.theirs for answer in answers):
            mine, theirs = (
                np.concatenate([v[a.judged] for v, a in zip(vs, answers, strict=True)])
                for vs in ([a.mine for a in answers], [a.theirs[who] for a in answers])
            )
            diff[who] = relative_difference(mine, theirs)
    return diff


def _whole_order(problem, blocks, directions) -> float | None:
    if problem.float32_cost or all(block.taylor_order is None for block in blocks):
        return None
    return numerical.taylor_order(problem.J, problem.theta, problem.data, problem.g, directions)


def _named(problem, blocks, answers, mine, right, exact, m, args, precision) -> list[Mistake]:
    """The mistakes by name, in the blocks that are wrong and known whole."""
    wrong = {b.name: a for b, a in zip(blocks, answers, strict=True) if not b.ok}
    known = [name for name in wrong if right[name] is not None]
    if not known:
        return []
    tolerance = precision.naming
    if exact is None:
        share = max(
            np.linalg.norm(wrong[n].error) / max(np.linalg.norm(right[n]), 1e-300) for n in known
        )
        tolerance = max(tolerance, float(share))
        if tolerance > 1e-2:
            return []
    true = {name: right[name] if name in known else mine[name] for name in mine}
    here = problem.blocks(np.asarray(problem.theta))
    m = examples.how_many(args) if m is None else m
    name = partial(name_from_numbers, mine, true, here, m=m, tolerance=tolerance)
    found = name()
    named = {block for mistake in found for block in mistake.block.split(", ")}
    if exact is not None and set(known) - named:
        each = examples.gradients(problem, m)
        found = name(per_example=each) if each else found
    return found


def _notes(problem, answers, blocks, precision, unfit, complex_step, two_point) -> list[str]:
    """What the reader must know of the witnesses, in sentences."""
    notes = []
    if not problem.traced:
        notes.append(
            "JAX cannot trace the cost, which was called point by point: central differences are "
            "the only witness."
        )
    elif problem.float32_cost:
        pass
    elif two_point:
        shares = [np.linalg.norm(a.error) / max(np.linalg.norm(a.mine), 1e-300) for a in answers]
        notes.append(
            f"Central differences of two points, step {numerical.TWO_POINT_STEP:g}, good for about "
            f"{max(shares):.0e} of a block; without the complex step."
        )
    elif not complex_step or "complex_step" in unfit:
        notes.append(
            "The complex step was left out: the cost is not analytic (abs, norm, max, conj) or "
            "takes no complex numbers."
        )
    if problem.traced and "autograd" not in blocks[0].diff:
        notes.append(
            "jax.grad was left out: it would follow a derivative rule written by hand inside the "
            "cost (custom_vjp or custom_jvp)."
        )
    if precision.name == "float32":
        notes.append(_of_float32(answers, blocks, precision))
    hidden = [
        block.name
        for block, answer in zip(blocks, answers, strict=True)
        if {"autograd", "complex_step"}.isdisjoint(block.diff)
        and 10 * np.linalg.norm(answer.error) > np.linalg.norm(np.nan_to_num(answer.mine))
        and answer.mine.any()
    ]
    if hidden:
        notes.append(
            f"The gradient of {', '.join(hidden)} is so small that rounding of J hides most of it: "
            "check at smaller parameters, where no unit is saturated."
        )
    kinks, undefined = sum(a.kinks for a in answers), sum(int((~a.judged).sum()) for a in answers)
    if kinks:
        notes.append(
            f"{kinks} steps of central differences crossed a kink (as of ReLU, abs or max) and "
            "were taken again, smaller: that is no mistake."
        )
    if undefined:
        notes.append(
            f"At {undefined} places the parameters lie on a kink, where the derivatives on both "
            "sides differ: the gradient lies between them, which is right."
        )
    return notes


def _of_float32(answers, blocks, precision) -> str:
    seen = []
    for answer, block in zip(answers, blocks, strict=True):
        size = max(float(np.linalg.norm(np.nan_to_num(answer.mine))), 1e-300)
        by_difference = max(float(np.linalg.norm(answer.error)) / size, precision.difference)
        exact = "autograd" in block.diff or "complex_step" in block.diff
        seen.append(precision.exact if exact else by_difference)
    return (
        "Computed in float32, which has seven digits: a mistake below "
        f"{max(seen):.0e} of a block cannot be told from rounding here. float64 sees more."
    )


def _sample(size: int, most: int | None, rng: np.random.Generator) -> np.ndarray:
    if most is None or most >= size:
        return np.arange(size)
    return np.sort(rng.choice(size, most, replace=False))


def _directions(problem: Problem, rng: np.random.Generator) -> np.ndarray:
    """Random directions (DIRECTIONS, parameters) in which each row of W has length 1.

    So each unit's z moves by about as much as its inputs are large, however many they are.
    """
    directions = np.zeros((DIRECTIONS, problem.g.size))
    for shape, span in zip(problem.shapes, problem.spans, strict=True):
        d = rng.standard_normal((DIRECTIONS, *(shape or (1,))))
        rows = np.linalg.norm(d, axis=-1, keepdims=True) if len(shape) > 1 else 1.0
        directions[:, span] = (d / rows).reshape(DIRECTIONS, -1)
    return directions


def _within(directions: np.ndarray, span: slice) -> np.ndarray:
    """The directions with all but one block left where it is."""
    inside = np.zeros_like(directions)
    inside[:, span] = directions[:, span]
    return inside
