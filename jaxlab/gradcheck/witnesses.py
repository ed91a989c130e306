"""What the witnesses say of a gradient along some moves: coordinates, or random directions.

Central differences are not believed blindly. Where they disagree, smaller steps are tried: a step
that crossed a kink (ReLU, abs, max) or was too long for a steep cost is no evidence. Where the
derivatives on both sides of the very point differ, there is no derivative, and any gradient
between the two is right.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxlab.gradcheck import numerical
from jaxlab.gradcheck.functions import Problem
from jaxlab.gradcheck.sums import norm

At = tuple[Any, Any, Any]  # J, θ, data

# How many of the worst disagreements are looked at before all are.
PROBES = 64
# Parameters below which a step in proportion to them is a hundredth of the usual one, or less; and
# those above which it finds what rounding hides: there the cost bends slowly, if by size at all.
SMALL, LARGE = 1e-2, 1e4
# The doubt, as a part of a derivative by differences, below which there is no kink nearby.
SURE = 1e-3


@dataclass(frozen=True)
class Precision:
    """What a cost computed in float64 or float32 allows.

    eps: of the cost. rounding: eps of the gradient. step: of central differences.
    one_sided_step: of the derivatives on the left and on the right. exact: the relative
    difference to an exact witness above which a block is wrong; difference: that to central
    differences. naming: what a mistake's name may leave unexplained.
    """

    name: str
    eps: float
    rounding: float
    step: float
    one_sided_step: float
    exact: float
    difference: float
    naming: float


# A block is right when its relative difference ‖g - n‖ / ‖g + n‖ is below these. In float64 right
# gradients reach 1e-16 (exact witnesses) and 1e-9 (central differences), in float32 1e-7 and 1e-3;
# the smallest real mistake that we planted gives about 1e-4. A right gradient whose terms all but
# cancel may lose digits, so the line is drawn well above rounding.
FLOAT64 = Precision("float64", 2.0**-52, 2.0**-52, numerical.STEP, 2.0**-20, 1e-9, 1e-6, 1e-8)
FLOAT32 = Precision("float32", 2.0**-23, 2.0**-23, 2.0**-5, 2.0**-7, 1e-4, 1e-2, 1e-5)
# A gradient in float32 of a cost in float64.
FLOAT32_GRADIENT = Precision(
    "float32", 2.0**-52, 2.0**-23, numerical.STEP, 2.0**-20, 1e-4, 1e-4, 1e-5
)


@dataclass(frozen=True)
class Testimony:
    """Derivatives along n moves: of the gradient under test and of each witness.

    error: what steps and rounding may cost central differences, each. rounding: what it may cost
    an exact witness. judged: false where there is no derivative, at a kink. kinks: how many steps
    crossed one and were shortened. ahead: J after each of `TAYLOR_STEPS` along each direction.
    """

    mine: np.ndarray
    theirs: dict[str, np.ndarray]
    error: np.ndarray
    rounding: float
    judged: np.ndarray
    kinks: int
    ahead: np.ndarray | None = None


# Where J is infinite beside θ so are differences, which is looked into and no reason to warn.
@np.errstate(all="ignore")
def hear(
    problem: Problem,
    moves: np.ndarray,
    mine: np.ndarray,
    exact: np.ndarray | None,
    precision: Precision,
    J0: float,
    *,
    complex_step: bool,
    two_point: bool = False,
    advance: numerical.Advance = lambda n: None,
) -> Testimony:
    """Central differences along the moves, made sure of, and the exact witnesses beside them.

    exact: by `jax.grad`, along the same moves, where it can be had.
    """
    at, ahead = (problem.J, problem.theta, problem.data), None
    if two_point:
        n, error = _two_point(at, moves, advance)
    elif moves.ndim == 2:  # the Taylor remainder is for directions: its costs in the same call
        offsets = np.append(precision.step * numerical.CENTRAL, numerical.TAYLOR_STEPS)
        different, each = np.unique(offsets, return_inverse=True)  # two steps are 2⁻¹⁰
        costs = numerical.costs_along(*at, moves, different, advance)[:, each]
        ahead = costs[:, numerical.CENTRAL.size :]
        n, error = numerical.fourth_order(costs[:, : numerical.CENTRAL.size], precision.step)
    else:
        n, error = numerical.central_differences(*at, moves, step=precision.step, advance=advance)
    # The size of the numbers that a gradient is summed from: rounding is a fraction of it.
    largest = max(float(np.abs(v).max()) for v in (n, exact) if v is not None)
    scale = max(abs(J0), largest if np.isfinite(largest) else 0.0)
    # Inside a small J there may be numbers near 1, as in (a - y)² and log a of saturated units.
    noise = 10 * precision.eps * max(scale, 1.0)
    rounding = 10 * precision.rounding * (scale if precision is FLOAT64 else largest)
    error = error + noise / (numerical.TWO_POINT_STEP if two_point else precision.step)
    theirs = {"finite_difference": n}
    if complex_step:
        theirs["complex_step"] = numerical.complex_steps(*at, moves, advance=advance)
    if exact is not None:
        theirs["autograd"] = exact

    expected = mine if exact is None else exact
    sure = np.zeros(len(moves), bool)
    if moves.ndim == 1:
        sure = _steps_in_proportion(at, moves, expected, n, error, precision, noise, J0)
    kinks = _shorten_steps(at, moves, expected, n, error, sure, precision, noise)
    judged = np.ones(len(moves), bool)
    for witness in theirs.keys() - {"complex_step"}:
        _find_kinks(at, moves, mine, theirs[witness], exact, sure, judged, precision, noise)
    return Testimony(mine, theirs, error, rounding, judged, kinks, ahead)


def along(g: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """g along each move."""
    with np.errstate(all="ignore"):
        return g[moves] if moves.ndim == 1 else _dot(moves, g)


def _dot(moves, g):
    # 0 · nan is nan: what a direction leaves where it is must not count.
    return np.multiply(moves, g, out=np.zeros_like(moves), where=moves != 0).sum(axis=1)


def split(whole: Testimony, sizes: list[int]) -> list[Testimony]:
    """The parts of a testimony that belong to moves of the given numbers."""
    ends = np.cumsum(sizes)
    parts = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    return [
        replace(
            whole,
            mine=whole.mine[part],
            theirs={who: n[part] for who, n in whole.theirs.items()},
            error=whole.error[part],
            judged=whole.judged[part],
            kinks=whole.kinks if i == 0 else 0,
            ahead=None if whole.ahead is None else whole.ahead[part],
        )
        for i, part in enumerate(parts)
    ]


@np.errstate(all="ignore")
def unfit_witnesses(answers: list[Testimony], problem: Problem, precision: Precision) -> set[str]:
    """Those that contradict central differences for a reason of their own.

    The complex step where the cost is not analytic; `jax.grad` where it follows a rule that was
    written by hand, or where it alone objects: a part of J is hidden from it (stop_gradient).
    """
    who = answers[0].theirs.keys()
    said = {w: np.concatenate([a.theirs[w][a.judged] for a in answers]) for w in who}
    said["mine"] = np.concatenate([a.mine[a.judged] for a in answers])
    error = norm(np.concatenate([a.error[a.judged] for a in answers]))

    def agree(one: str, other: str, tolerance: float) -> bool:
        apart = norm(said[one] - said[other])
        together = norm(said[one] + said[other])
        allowed = error if "finite_difference" in (one, other) else 0.0
        return bool(apart <= max(tolerance * together, allowed))

    unfit = set()
    if "autograd" in who and not agree("autograd", "finite_difference", precision.difference):
        alone = (
            "complex_step" in who
            and agree("mine", "complex_step", precision.exact)
            and agree("mine", "finite_difference", precision.difference)
        )
        if problem.rules or alone:
            unfit.add("autograd")
    if "complex_step" in who:
        if "autograd" in who - unfit:
            fits = agree("complex_step", "autograd", precision.exact) or not agree(
                "finite_difference", "autograd", precision.difference
            )
        else:
            fits = agree("complex_step", "finite_difference", precision.difference)
        if not fits:
            unfit.add("complex_step")
    return unfit


def _two_point(at: At, moves, advance) -> tuple[np.ndarray, np.ndarray]:
    """Differences of two points, and what their step costs, seen on a sample."""
    n = numerical.two_point_differences(*at, moves, advance=advance)
    sample = np.linspace(0, len(moves) - 1, min(PROBES, len(moves))).astype(int)
    better, _ = numerical.central_differences(*at, moves[sample])
    return n, np.full(len(moves), np.abs(n[sample] - better).max())


def _suspects(one: np.ndarray, other: np.ndarray, tolerance: float, noise: float) -> np.ndarray:
    """Where two differ by more than their share of what a block may differ, the worst first."""
    with np.errstate(all="ignore"):
        apart = np.nan_to_num(np.abs(one - other), nan=np.inf)
        finite = one[np.isfinite(one)]
        typical = np.sqrt(np.mean(np.square(finite))) if finite.size else 0.0
    suspects = np.flatnonzero(apart > tolerance * np.nan_to_num(typical) + noise)
    return suspects[np.argsort(-apart[suspects], kind="stable")]


def _shorten_steps(at: At, moves, expected, n, error, sure, precision, noise) -> int:
    """Takes smaller steps where central differences are not what is expected; in place.

    sure: where there is no doubt of them.
    Returns how many steps had crossed a kink.
    """
    h = precision.step
    suspects = _suspects(n, expected, precision.difference, noise / h)
    suspects = suspects[~sure[suspects]]
    kinks = 0
    for turn, these in enumerate(np.split(suspects, [PROBES])):
        if not these.size:
            break
        here = moves[these]
        near, _ = numerical.central_differences(*at, here, step=h / 8)
        nearest, _ = numerical.central_differences(*at, here, step=h / 128)
        unsure = ~(np.abs(near - nearest) <= noise / h * (8 + 128))
        value = np.where(unsure, nearest, near)
        rounding = np.where(unsure, noise / h * 128, noise / h * 8)
        changed = ~(np.abs(value - n[these]) <= 10 * rounding) & np.isfinite(value)
        if turn == 0 and not changed.any():
            return 0  # the differences are right as they are: it is the gradient that is wrong
        kinks += int((changed & _bends(at, here, h, noise)).sum())
        n[these] = np.where(changed, value, n[these])
        error[these] = np.where(changed, rounding, error[these])
    return kinks


def _steps_in_proportion(at: At, moves, expected, n, error, precision, noise, J0) -> np.ndarray:
    """Takes steps in proportion to the parameter where that leaves less doubt; in place.

    The cost may bend over far less than the shortest of the usual steps: as log p does at p = 1e-5,
    or a weight of inputs that nobody scaled. Or over far more: seconds since 1970. Returns where
    such a derivative is beyond doubt.
    """
    sizes = np.abs(np.asarray(at[1])[moves])
    sure = np.zeros(len(moves), bool)
    suspects = _suspects(n, expected, precision.difference, noise / precision.step)
    small = suspects[(sizes[suspects] > 0) & (sizes[suspects] < SMALL)]
    suspects = np.append(small, np.flatnonzero(sizes > LARGE))
    for first in range(0, len(suspects), PROBES):
        these = suspects[first : first + PROBES]
        size = sizes[these]
        directions = _scaled(at, moves[these])
        slopes, doubts = numerical.central_differences(*at, directions, step=precision.step)
        # A small parameter's large derivative is no part of J.
        of_J = np.where(size < SMALL, 10 * precision.eps * max(abs(J0), 1.0), noise)
        value, doubt = slopes / size, (doubts + of_J / precision.step) / size
        # Over a kink the usual step may look exact.
        clear = (size < SMALL) & (doubt <= SURE * np.abs(value))
        better = np.isfinite(value) & (clear | ~(error[these] <= doubt))
        # Over steps that long a sine of seconds is anything; a small step may be wrong by as much.
        better &= (size < SMALL) | (np.abs(value - n[these]) <= error[these] + doubt)
        n[these] = np.where(better, value, n[these])
        error[these] = np.where(better, doubt, error[these])
        sure[these] = better & (doubt <= SURE * np.abs(value))
        if not better.any():
            break
    return sure


def _bends(at: At, moves, h, noise) -> np.ndarray:
    """Whether the second difference grows as the step shrinks, as over a kink, or vanishes."""
    offsets = h * np.array([-2.0, -1.0, -0.01, 0.0, 0.01, 1.0, 2.0])
    far, left, near_left, J0, near_right, right, far_right = numerical.costs_along(
        *at, moves, offsets
    ).T
    wide = np.maximum(np.abs(left + right - 2 * J0), np.abs(far + far_right - 2 * J0) / 4) / h**2
    close = np.abs(near_left + near_right - 2 * J0) / (0.01 * h) ** 2
    hidden = noise / (0.01 * h) ** 2
    return (wide > 3 * close + hidden) | (close > 3 * wide + hidden)


def _find_kinks(at: At, moves, mine, n, exact, sure, judged, precision, noise) -> None:
    """Takes out of judgement where θ lies on a kink and the gradient between both sides.

    A direction that crosses several kinks at once is never judged: the slopes of a right gradient
    need not lie between its sides. Coordinates must be looked at. sure: where differences have
    shown that there is none.
    """
    h = precision.one_sided_step
    suspects = _suspects(n, mine, precision.exact, noise / precision.step)
    suspects = suspects[np.isfinite(mine[suspects]) & ~sure[suspects]]
    for these in np.split(suspects, [PROBES]):
        if not these.size:
            return
        left, right, sizes = _both_sides(at, moves[these], h)
        jump, room = np.abs(right - left), 3 * noise / (h * sizes)
        kink = jump > 1e-3 * np.maximum(np.abs(left), np.abs(right)) + room
        if not kink.any():
            return
        if moves.ndim == 1:
            slack = room + 1e-6 * jump
            kink &= mine[these] >= np.minimum(left, right) - slack
            kink &= mine[these] <= np.maximum(left, right) + slack
        # Where a smooth cost bends within the step, the sides differ as well; but then another step
        # finds another difference, and `jax.grad` knows.
        if exact is not None and kink.any():
            left, right, _ = _both_sides(at, moves[these], h / 8)
            nearer = np.abs(right - left)
            stays = (nearer > jump / 2 - 10 * room) & (nearer < 2 * jump + 10 * room)
            apart = np.abs(mine[these] - exact[these])
            kink &= stays | (apart <= precision.exact * np.abs(exact[these]) + noise)
        judged[these[kink]] = False


def _both_sides(at: At, moves, h: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The derivatives on the left and on the right, and the size of each step in units of h.

    Steps along small parameters are in proportion to them: of inputs near 1e8, weights near 1e-8
    bend J over less than the usual one.
    """
    left, right = numerical.one_sided_derivatives(*at, moves, h)
    sizes = np.ones(len(moves))
    if moves.ndim == 1:
        own = np.abs(np.asarray(at[1])[moves])
        small = np.flatnonzero((own > 0) & (own < SMALL))
        sizes[small] = own[small]
        for these in np.split(small, range(PROBES, len(small), PROBES)):
            if these.size:
                sides = numerical.one_sided_derivatives(*at, _scaled(at, moves[these]), h)
                left[these], right[these] = sides / own[these]
    return left, right, sizes


def _scaled(at: At, moves: np.ndarray) -> np.ndarray:
    """Directions along single coordinates, each as long as its parameter is large."""
    directions = np.zeros((len(moves), at[1].size))
    directions[np.arange(len(moves)), moves] = np.abs(np.asarray(at[1])[moves])
    return directions
