"""A function's gradient beside differences of its own J, where that is no cost that we know."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from jaxlab.errors import CheckError
from jaxlab.gradcheck.files.calls import Call
from jaxlab.gradcheck.files.process import Theirs
from jaxlab.gradcheck.files.report import Report, block_report
from jaxlab.gradcheck.layouts import in_order, leaves, paths, raw_leaves, rebuilt
from jaxlab.gradcheck.mistakes import Mistake, name_from_numbers
from jaxlab.gradcheck.sums import norm

# ‖g - n‖ / ‖g + n‖ of a right block.
RIGHT = {"float64": 1e-6, "float32": 2e-2}
STEP = {"float64": 2.0**-10, "float32": 2.0**-5}
# Where that proves too long, both of these are taken; float32 has no digits for them.
SHORTER = {"float64": (2.0**-13, 2.0**-16), "float32": ()}
# A step is short enough where half of it gives the same up to that fraction of the largest slope.
CONVERGED = {"float64": 1e-6, "float32": 1e-1}
# Of a gradient: what is less counts as rounding.
SMALL = 1e-6
# Of each array. Of a larger one that many are looked at, and all together along directions.
MOST_COORDINATES = 60
DIRECTIONS = 4


def judge_by_differences(theirs: Theirs, function: dict, call: Call, report: Report) -> bool:
    """Whether the gradient is that of J times its number of outputs, but for weight decay."""
    theta, (_, g) = call.points[0], call.results[0]
    parts, own = leaves(theta), leaves(in_order(theta, g))
    names = paths(theta)
    report.cost = "not one that this lab knows: checked by differences of J alone"
    report.layout = f"{call.form.text}; blocks unknown" if call.form.flat else call.form.text
    if [p.size for p in parts] != [p.size for p in own]:
        report.blocks = {n: {"ok": False, "relative_difference": None} for n in names}
        text = f"parameters of {sum(p.size for p in parts)} numbers, a gradient of "
        text += f"{sum(p.size for p in own)}: they must be alike"
        report.mistakes = [asdict(Mistake("shape", ", ".join(names), text))]
        return False
    if (digits := _decimals([J for J, _ in call.results])) is not None:
        raise CheckError(
            f"J is rounded to {digits} decimals, which hides how it changes: return it unrounded"
        )
    rng = np.random.default_rng(0)
    dtype = call.dtype
    mine, right, at = {}, {}, {}
    left_out, unseen, lost, notes = 0, [], [], []
    for i, (name, part) in enumerate(zip(names, parts, strict=True)):
        where = np.sort(rng.permutation(part.size)[:MOST_COORDINATES])
        whole = len(where) == part.size
        moves = np.zeros((len(where), part.size))
        moves[np.arange(len(where)), where] = 1
        if not whole:
            directions = rng.standard_normal((DIRECTIONS, part.size))
            directions /= np.linalg.norm(directions, axis=1, keepdims=True)
            moves = np.concatenate([moves, directions])
            notes.append(
                f"of {name} {len(where)} of {part.size:,} numbers were looked at each, and all "
                f"along {DIRECTIONS} directions"
            )
        values, noise, smooth = _differences(theirs, function, call, i, moves)
        left_out += int((~smooth).sum())
        if part.size and not smooth.any():
            unseen.append(name)
            continue
        slopes = moves @ own[i].ravel()
        report.blocks[name] = block_report(
            [slopes[smooth]], [values[smooth]], RIGHT[dtype], noise[smooth].max(initial=0.0)
        )
        if report.blocks[name]["ok"] and report.blocks[name]["relative_difference"] > RIGHT[dtype]:
            lost.append(name)
        seen = smooth[: len(where)]
        mine[name], right[name] = slopes[: len(where)][seen], values[: len(where)][seen]
        at[name] = part.ravel()[where][seen]
        if whole and smooth.all():
            mine[name], right[name] = own[i].reshape(part.shape), values.reshape(part.shape)
            at[name] = part
    if left_out:
        notes.append(f"{left_out} parameters at a kink of J were left out")
    if lost:
        notes.append(
            f"the gradient of {', '.join(lost)} is so small beside J that rounding may hide a "
            "mistake in it"
        )
    report.note = "; ".join(notes)
    if unseen and not report.wrong:
        raise CheckError(
            f"J is not smooth anywhere along {', '.join(unseen)}: it jumps, or has too few digits "
            "for differences. Compute it in float64"
        )
    if report.wrong:
        tolerance = RIGHT[dtype]
        mistakes = name_from_numbers(mine, right, at, m=len(call.x) or None, tolerance=tolerance)
        report.mistakes = [asdict(mistake) for mistake in mistakes]
        if not mistakes:
            report.reason = "No mistake that this checker knows explains the numbers."
    outputs = call.sizes[-1] if call.sizes else 1
    return bool(report.wrong) and all(
        _is_times(outputs, mine[name], right[name], at[name]) for name in report.blocks
    )


def _is_times(k: int, mine: np.ndarray, right: np.ndarray, theta: np.ndarray) -> bool:
    """Whether mine - k × right is a penalty's: c × θ, or c × sign(θ), in some places or nowhere."""
    rest, size = mine - k * right, norm(mine)
    there = np.abs(rest) > SMALL * size
    for penalty in (theta, np.sign(theta)):
        with np.errstate(all="ignore"):
            c = np.median((rest / penalty)[there]) if there.any() else 0.0
            if norm(rest - np.where(there, c * penalty, 0.0)) <= 1e-5 * size:
                return True
    return False


def _decimals(costs: list[float]) -> int | None:
    """How many decimals costs at random parameters are rounded to, None where they are not."""
    # Beyond these a float has no more anyway.
    finest = 1e-9 * max(map(abs, costs))
    return next(
        (n for n in range(9) if 10.0**-n > finest and all(J == round(J, n) for J in costs)), None
    )


def _differences(theirs: Theirs, function: dict, call: Call, leaf: int, moves: np.ndarray):
    """∂J along moves of one array, one a row, what rounding leaves of it, and where J is smooth.

    Of fourth order. At a kink (ReLU) a step and its half disagree, however short they are.
    """
    dtype = call.dtype

    def slopes(moves: np.ndarray, h: float):
        J = _costs(theirs, function, call, leaf, moves, h)
        long = (8 * (J[4] - J[1]) - (J[5] - J[0])) / (6 * h)
        short = (8 * (J[3] - J[2]) - (J[4] - J[1])) / (3 * h)
        noise = 10 * np.finfo(dtype).eps * np.abs(J).max(axis=0) / h
        allowed = CONVERGED[dtype] * max(1e-300, float(np.abs(short).max(initial=0.0))) + noise
        return short, noise, np.abs(long - short) <= allowed

    values, noise, smooth = slopes(moves, STEP[dtype])
    again = np.flatnonzero(~smooth)
    if again.size and SHORTER[dtype]:
        # Two: a single one may look smooth by chance.
        (near, of_near, one), (nearer, of_nearer, two) = (
            slopes(moves[again], h) for h in SHORTER[dtype]
        )
        values[again], noise[again] = near, of_near
        apart = CONVERGED[dtype] * np.abs(near) + of_near + of_nearer
        smooth[again] = one & two & (np.abs(near - nearer) <= apart)
    return values, noise, smooth


def _costs(theirs: Theirs, function: dict, call: Call, leaf: int, moves, h: float) -> np.ndarray:
    """J at six steps along each move, (6, moves)."""
    theta = call.points[0]
    parts = leaves(theta)
    kind = raw_leaves(theta)[leaf].dtype
    offsets = [-1, -0.5, -0.25, 0.25, 0.5, 1]

    def moved() -> Iterator[Any]:
        for move in moves:
            for offset in offsets:
                changed = [*parts]
                changed[leaf] = (parts[leaf] + offset * h * move.reshape(parts[leaf].shape)).astype(
                    kind
                )
                yield rebuilt(theta, iter(changed))

    results, error = theirs.call(
        function["name"], list(moved()), call.args, call.named, call.by_name
    )
    if error:
        raise CheckError(f"{function['name']} fails at other parameters: {error.text}")
    return np.array([j for j, _ in results]).reshape(len(moves), len(offsets)).T
