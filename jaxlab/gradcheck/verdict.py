"""The verdict on one problem: which moves are asked about, who is believed, what is named."""

import math
import time
from dataclasses import dataclass
from functools import partial

import numpy as np

from jaxlab.errors import CheckError
from jaxlab.gradcheck import examples, numerical
from jaxlab.gradcheck.block_fixes import ratio
from jaxlab.gradcheck.functions import Problem
from jaxlab.gradcheck.mistakes import Mistake, blocks_named, name_from_numbers
from jaxlab.gradcheck.notes import notes_of
from jaxlab.gradcheck.result import BlockCheck, GradientCheck, relative_difference
from jaxlab.gradcheck.sums import norm
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

TAYLOR_TOLERANCE = 0.1
# One direction can happen to have little curvature or slope, the sum over a few hardly does.
DIRECTIONS = 8
# Where jax.grad of the cost itself answers for every coordinate, the others need only confirm it.
CONFIRMING_DIRECTIONS = 1
# Numbers in the directions that are asked about at once, 32 MB, where there are many blocks.
MOST_IN_DIRECTIONS = 1 << 22
# Every coordinate of networks up to that size, unless asked; of a cost that JAX cannot trace,
# each coordinate is four calls.
WHOLE_UP_TO = 2_000
WHOLE_PLAIN_UP_TO = 300
# Blocks that fail are looked at whole, but not for longer than that unless asked (`full`); so many
# coordinates tell how long it takes.
DETAIL_SECONDS, FOR_TIME = 60.0, 16
# Blocks of fewer numbers may be a multiple of each other by chance; others not to that part.
FEW, SAME = 3, 1e-8


@dataclass(frozen=True)
class Plan:
    """Where a problem is looked at, and how.

    few: along the random `directions` of each block, and at its coordinates only where it fails;
    else at the coordinates `picks` of each block. two_point: by central differences of two points.
    complex_step: J takes complex numbers.
    """

    precision: Precision
    few: bool
    directions: np.ndarray
    picks: list[np.ndarray]
    two_point: bool
    complex_step: bool


def judge(problem: Problem, args, seed, coordinates, full, m, advance) -> GradientCheck:
    """The verdict on a problem, with the options of `check_gradients`."""
    m = examples.how_many(problem, args) if m is None else m
    J0, exact, g = problem.J0, problem.autograd, problem.g
    if not (np.isfinite(J0) and (exact is None or np.isfinite(exact).all())):
        raise CheckError(
            f"J is {J0} at these parameters, and J or its derivative by jax.grad is not "
            "finite: there is nothing to compare with; check at smaller parameters or inputs"
        )
    plan = _plan(problem, seed, coordinates, full)
    answers = first = _first_answers(
        plan, problem.spans, partial(_ask, problem, plan, exact, advance)
    )
    if not g.any() and _changes_nowhere(problem, plan, answers):
        raise CheckError(
            f"J is {J0:g} wherever it was looked at and its gradient is zero, so nothing can be "
            "checked: is the function finished? (A softmax over a single output has such a J, and "
            "a network whose units are all dead: check with more outputs, at other parameters.)"
        )
    unfit = unfit_witnesses(answers, problem, plan.precision)
    if "autograd" in unfit:
        exact = None
    ask = partial(_ask, problem, plan, exact, advance)
    orders, whole_order = _orders(problem, J0, answers if plan.few else [], plan.directions)
    blocks, notes, answers = [], [], [*answers]
    for i, order in enumerate(orders):
        block, answers[i], note = _block(
            problem, plan, i, answers[i], order, unfit, exact, full, ask
        )
        blocks.append(block)
        notes += note

    mine = problem.blocks(g)
    right = {
        block.name: _right(
            block, mine[block.name], answer, unfit, None if exact is None else exact[span]
        )
        for block, answer, span in zip(blocks, answers, problem.spans, strict=True)
    }
    return GradientCheck(
        blocks=tuple(blocks),
        diff=_whole(blocks, first, answers, g, exact),
        taylor_order=None if all(b.taylor_order is None for b in blocks) else whole_order,
        cost_diff=relative_difference(np.array([problem.own_J]), np.array([J0])),
        analytic=None if plan.two_point else "complex_step" in answers[0].theirs.keys() - unfit,
        mistakes=tuple(
            _named(problem, args, blocks, answers, mine, right, exact, m, plan.precision)
        ),
        mine=mine,
        right=right,
        precision=plan.precision.name,
        notes=(*notes_of(problem, plan, answers, blocks, unfit, m), *notes),
    )


def _plan(problem: Problem, seed: int, coordinates: int | None, full: bool | None) -> Plan:
    """Small networks whole, large ones along directions, unless the options say otherwise."""
    rng, precision = np.random.default_rng(seed), _precision(problem)
    picks = [
        span.start + _sample(span.stop - span.start, coordinates, rng) for span in problem.spans
    ]
    few = coordinates is None and not (
        full if full is not None else _is_small(problem) and not problem.float32_cost
    )
    can_confirm = problem.autograd is not None and not problem.rules and precision is FLOAT64
    return Plan(
        precision,
        few,
        _directions(problem, rng, CONFIRMING_DIRECTIONS if few and can_confirm else DIRECTIONS),
        picks,
        bool(full) and problem.g.size > WHOLE_UP_TO and _two_points_will_do(problem, problem.J0),
        problem.traced
        and not problem.float32_cost
        and numerical.takes_complex(problem.J, problem.theta, problem.data),
    )


def _first_answers(plan: Plan, spans: list[slice], ask) -> list[Testimony]:
    """What the witnesses say of each block where the plan looks first."""
    if not plan.few:  # all blocks at once: one compiled program serves them
        whole = ask(np.concatenate(plan.picks), two_point=plan.two_point)
        return split(whole, [pick.size for pick in plan.picks])
    answers = []
    most = max(MOST_IN_DIRECTIONS // plan.directions.size, 1)
    for first in range(0, len(spans), most):
        some = [_within(plan.directions, span) for span in spans[first : first + most]]
        answers += split(ask(np.concatenate(some)), [len(plan.directions)] * len(some))
    return answers


def _ask(problem: Problem, plan: Plan, exact, advance, moves, two_point=False) -> Testimony:
    """What the witnesses say along some moves; exact: the gradient by `jax.grad`, or None."""
    return hear(
        problem, moves, along(problem.g, moves), None if exact is None else along(exact, moves),
        plan.precision, problem.J0, complex_step=plan.complex_step and not two_point,
        two_point=two_point, advance=advance,
    )  # fmt: skip


def _changes_nowhere(problem: Problem, plan: Plan, answers: list[Testimony]) -> bool:
    """Whether J is the same at θ, beside θ, at zero and at random parameters of ordinary size.

    Where θ is a minimum J changes beside it, where every unit is saturated or dead elsewhere: there
    a gradient of zero is right, if no proof of much.
    """
    if any(n.any() for one in answers for n in one.theirs.values()):
        return False
    one, costs = plan.directions[:1], partial(numerical.costs_along, problem.J)
    beside = costs(problem.theta, problem.data, one, np.array([plan.precision.step]))
    elsewhere = costs(np.zeros_like(problem.theta), problem.data, one, np.array([0.0, 1.0]))
    return bool((beside == problem.J0).all() and (elsewhere == problem.J0).all())


def _block(
    problem, plan, i, answer, order, unfit, exact, full, ask
) -> tuple[BlockCheck, Testimony, list[str]]:
    """The verdict on block number i, what was heard for it, and what must be said of it."""
    name, span, notes = problem.names[i], problem.spans[i], []
    judged = partial(
        _judge, name, problem.shapes[i], precision=plan.precision, unfit=unfit,
        iterates=problem.iterates,
    )  # fmt: skip
    everywhere = (problem.g[span], exact[span]) if plan.few and exact is not None else None
    in_part = plan.few
    block = judged(answer, order, in_part, everywhere)
    # Of a mistake `jax.grad` knows each coordinate; the others object where a step is too long.
    doubted = not block.ok and (exact is None or "autograd" not in block.objections)
    if plan.few and (doubted or not answer.judged.all()):
        seconds = _seconds(problem, plan.picks[i])
        if full is not None or seconds <= DETAIL_SECONDS:
            answer, in_part, everywhere = ask(plan.picks[i]), False, None
            block = judged(answer, order, in_part, everywhere)
        elif answer.judged.any():
            notes.append(
                f"{name} was not looked at whole, which takes about {seconds:.0f} s: full=True."
            )
        else:
            raise CheckError(
                f"at {name} the parameters lie on a kink (of ReLU, abs, max), where J has no "
                "derivative: choose them random, or look at every coordinate (full=True)"
            )
    # A remainder bends over a kink, and where its steps are too long, as well: what was seen of the
    # whole block counts, or differences with short steps.
    if block.objections == ("taylor_order",):
        seen = plan.few or plan.picks[i].size == block.size
        if seen or judged(ask(_within(plan.directions, span)), None, in_part, None).ok:
            block = judged(answer, None, in_part, everywhere)
    return block, answer, notes


def _precision(problem: Problem) -> Precision:
    if problem.float32_cost:
        return FLOAT32
    return FLOAT32_GRADIENT if problem.float32_gradient else FLOAT64


def _is_small(problem: Problem) -> bool:
    return problem.g.size <= (WHOLE_UP_TO if problem.traced else WHOLE_PLAIN_UP_TO)


def _two_points_will_do(problem: Problem, J0: float) -> bool:
    """Whether rounding of J leaves enough digits of a typical coordinate."""
    rounding = np.finfo(np.float64).eps * abs(J0) / numerical.TWO_POINT_STEP
    with np.errstate(all="ignore"):
        typical = np.sqrt(np.mean(np.square(problem.g)))
    return bool(10 * rounding < FLOAT64.difference * typical)


def _seconds(problem: Problem, picks: np.ndarray) -> float:
    """How long every coordinate will take, compilation left out, by a few of them."""
    if problem.traced and picks.size <= WHOLE_UP_TO:
        return 0.0
    few = picks[: FOR_TIME if problem.traced else 1]
    at = problem.J, problem.theta, problem.data
    for _ in range(1 + problem.traced):  # the first call compiles
        start = time.perf_counter()
        numerical.costs_along(*at, few, numerical.CENTRAL)
        seconds = time.perf_counter() - start
    # A complex step takes as long as three or four costs.
    return seconds * picks.size / few.size * (2 if problem.traced else 1)


def _judge(
    name, shape, answer, order, few, everywhere, *, precision, unfit, iterates=False
) -> BlockCheck:
    """One block's verdict. everywhere: (g, the same by jax.grad) at every coordinate, where `few`
    directions were taken and jax.grad can be had; else None. iterates: J has a loop that ends when
    it will."""
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
            tolerance, error = precision.difference, norm(answer.error[keep])
        else:
            # A solver that ends by a tolerance knows less of the imaginary part.
            solved = who == "complex_step" and iterates
            tolerance = precision.difference if solved else precision.exact
            error = answer.rounding * np.sqrt(mine.size)
            if who == "complex_step" and "autograd" in answer.theirs.keys() - unfit:
                # Complex functions lose digits of their own, as σ(z) of a saturated unit does.
                error += norm((n - answer.theirs["autograd"])[keep])
        with np.errstate(all="ignore"):
            if diff[who] > tolerance and (
                not norm(mine - theirs) <= error or _is_multiple(mine, theirs, who, answer, unfit)
            ):
                objections.append(who)
    if _is_exact(diff, answer.theirs.keys() - unfit, precision):
        objections = []  # a step of differences was too long, as where J bends over 1e-8
    # Above 2 is no mistake: along d the cost has no curvature.
    if order is not None and not order > 2 - TAYLOR_TOLERANCE:
        objections.append("taylor_order")
    checked = len(keep) if not few else math.prod(shape) if everywhere is not None else 0
    return BlockCheck(
        name, tuple(shape), checked, diff, order, tuple(objections), len(keep) if few else 0
    )


def _is_exact(diff: dict[str, float], fit: set[str], precision: Precision) -> bool:
    """Whether both exact witnesses, which know nothing of each other, confirm every digit."""
    both = {"autograd", "complex_step"}
    return both <= fit and all(diff[who] <= precision.exact for who in both)


def _is_multiple(mine, theirs, who: str, answer: Testimony, unfit: set[str]) -> bool:
    """Whether it is another multiple of what the exact witnesses say, both alike to rounding.

    However small a block is beside J, rounding does not turn all its signs.
    """
    both = {"autograd", "complex_step"}
    if not both <= answer.theirs.keys() - unfit or who not in both or mine.size < FEW:
        return False
    if relative_difference(*(answer.theirs[w][answer.judged] for w in sorted(both))) > SAME:
        return False
    k = ratio(mine, theirs)
    return abs(k - 1) > 0.1 and bool(norm(mine - k * theirs) <= SAME * norm(mine))


def _right(block, mine, answer, unfit, exact) -> np.ndarray | None:
    """The block's right gradient by the best witness that saw all of it."""
    if exact is None and (block.directions or block.checked < block.size):
        return None
    if exact is None:
        can_be_had = answer.theirs.keys() - unfit
        exact = answer.theirs[
            "complex_step" if "complex_step" in can_be_had else "finite_difference"
        ]
    if not block.directions and block.checked == block.size:
        exact = np.where(answer.judged, exact, mine.ravel())  # on a kink any side is right
    return np.asarray(exact).reshape(block.shape)


def _whole(blocks, first, answers, g, exact) -> dict[str, float]:
    """The relative difference to each witness over all blocks.

    first: what was heard before blocks that fail were looked at whole. Slopes along directions and
    coordinates make no length together.
    """
    in_part = [bool(block.directions) for block in blocks]
    if any(in_part):
        answers = first
    diff = {}
    for who in blocks[0].diff:
        if who == "autograd" and any(in_part):
            diff[who] = relative_difference(g, exact)
        elif all(who in answer.theirs for answer in answers):
            mine, theirs = (
                np.concatenate([v[a.judged] for v, a in zip(vs, answers, strict=True)])
                for vs in ([a.mine for a in answers], [a.theirs[who] for a in answers])
            )
            diff[who] = relative_difference(mine, theirs)
    return diff


def _orders(problem, J0, answers, directions) -> tuple[list[float | None], float | None]:
    """The order of the Taylor remainder of each block, and of all.

    answers: along the directions, where these were asked about: the costs are there already.
    """
    if problem.float32_cost:
        return [None] * len(problem.spans), None
    if not answers:
        along = partial(numerical.taylor_order, problem.J, problem.theta, problem.data, problem.g)
        return [along(_within(directions, span)) for span in problem.spans], along(directions)

    def order(some: list[Testimony]) -> float | None:
        slopes = np.concatenate([answer.mine for answer in some])
        ahead = np.concatenate([answer.ahead for answer in some])
        return numerical.remainder_order(np.full(len(slopes), J0), ahead, slopes)

    return [order([answer]) for answer in answers], order(answers)


def _named(problem, args, blocks, answers, mine, right, exact, m, precision) -> list[Mistake]:
    """The mistakes by name, in the blocks that are wrong and known whole."""
    wrong = {b.name: a for b, a in zip(blocks, answers, strict=True) if not b.ok}
    known = [n for n in wrong if right[n] is not None and np.isfinite(right[n]).all()]
    if not known:
        return []
    tolerance = precision.naming
    if exact is None:
        share = max(norm(wrong[n].error) / max(float(norm(right[n])), 1e-300) for n in known)
        tolerance = max(tolerance, float(share))
        if tolerance > 1e-2:
            return []
    true = {name: right[name] if name in known else mine[name] for name in mine}
    here = problem.blocks(np.asarray(problem.theta))
    name = partial(name_from_numbers, mine, true, here, m=m, tolerance=tolerance)
    found = name()
    if exact is not None and not blocks_named(found) >= set(known):
        found = name(per_example=examples.gradients(problem, m))
    if precision is FLOAT64 and not blocks_named(found) >= set(known):
        # Here, so that a right gradient need not wait for it.
        from jaxlab.gradcheck.lab_network import broken_rules

        ruled = broken_rules(problem, args)
        return ruled if blocks_named(ruled) >= set(known) else found
    return found


def _sample(size: int, most: int | None, rng: np.random.Generator) -> np.ndarray:
    if most is None or most >= size:
        return np.arange(size)
    return np.sort(rng.choice(size, most, replace=False))


def _directions(problem: Problem, rng: np.random.Generator, count: int) -> np.ndarray:
    """Random directions (count, parameters) in which each row of W has length 1.

    So each unit's z moves by about as much as its inputs are large, however many they are.
    """
    directions = np.empty((count, problem.g.size))
    for shape, span in zip(problem.shapes, problem.spans, strict=True):
        d = rng.standard_normal((count, *(shape or (1,))))
        rows = np.linalg.norm(d, axis=-1, keepdims=True) if len(shape) > 1 else 1.0
        directions[:, span] = (d / rows).reshape(count, -1)
    return directions


def _within(directions: np.ndarray, span: slice) -> np.ndarray:
    """The directions with all but one block left where it is."""
    inside = np.zeros_like(directions)
    inside[:, span] = directions[:, span]
    return inside
