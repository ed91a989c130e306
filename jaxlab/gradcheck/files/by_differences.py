"""A function's gradient beside differences of its own J, where that is no cost that we know."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np

from jaxlab.errors import CheckError
from jaxlab.gradcheck.files.calls import Call
from jaxlab.gradcheck.files.process import Theirs
from jaxlab.gradcheck.files.report import Report, block_report, shapes_differ
from jaxlab.gradcheck.layouts import in_order, leaves, paths, raw_leaves, rebuilt
from jaxlab.gradcheck.mistakes import name_from_numbers
from jaxlab.gradcheck.sums import norm
from jaxlab.wording import listed

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
# At how many more points a gradient that is right at the first is looked at, in short.
MORE_POINTS = 3
# So few wrong numbers of an array are named; a difference so small is said to be small.
FEW, BARELY = 2, 1e-3

Ask = Callable[..., Any]  # `Theirs.call` of the function


def judge_by_differences(theirs: Theirs, function: dict, call: Call, report: Report) -> bool:
    """Whether the gradient is that of J times its number of outputs, but for weight decay.

    Looked at closely at one point, and along one direction of each array at others, among them
    the parameters of example() themselves: what a condition switches on at one may be off at
    another. Where it seems wrong there, that point is looked at closely.
    """
    ask = partial(theirs.call, function["name"])
    report.cost = "not one that this lab knows: checked by differences of J alone"
    report.layout = f"{call.form.text}; blocks unknown" if call.form.flat else call.form.text
    names, theta = paths(call.points[0]), call.points[0]
    grads = [in_order(theta, g) for _, g in call.results]
    parts, own = leaves(theta), leaves(grads[0])
    bad = [n for n, p, g in zip(names, parts, own, strict=False) if p.size != g.size]
    if len(parts) != len(own) or len(bad) == len(names):
        report.blocks = {n: {"ok": False, "relative_difference": None} for n in names}
        numbers = (sum(p.size for p in some) for some in (parts, own))
        text = "parameters of {} numbers, a gradient of {}: they must be alike".format(*numbers)
        report.name_shapes(names, text)
        return False
    if bad:
        return _judge_the_rest(theirs, function, call, report, bad)
    if (digits := _decimals([J for J, _ in call.results])) is not None:
        raise CheckError(
            f"J is rounded to {digits} decimals, which hides how it changes: return it unrounded"
        )
    is_times = _judge_at(0, ask, call, report)
    if not report.wrong:
        call = _with_its_own_point(ask, call)
    for point in range(1, min(MORE_POINTS + 1, len(call.points))):
        # Beside one of these it may fail, or its time may be over: it was right at the first.
        with suppress(CheckError):
            if not report.wrong and _seems_wrong_at(point, ask, call):
                there = Report(report.file, report.function, cost=report.cost, layout=report.layout)
                _judge_at(point, ask, call, there)
                if there.wrong:
                    there.note += "; " * bool(there.note) + "right at other parameters"
                    vars(report).update(vars(there))
    return is_times


def _judge_the_rest(
    theirs: Theirs, function: dict, call: Call, report: Report, bad: list[str]
) -> bool:
    """Where some arrays have not the size of their parameters: the others, with zeros for these."""
    theta, texts, results = call.points[0], [], []
    for J, g in call.results:
        pairs = [*zip(leaves(theta), leaves(in_order(theta, g)), strict=True)]
        shaped = (g if g.size == p.size else np.zeros_like(p) for p, g in pairs)
        results.append((J, rebuilt(theta, shaped)))
    for name, (p, g) in zip(paths(theta), pairs, strict=True):
        texts += [shapes_differ(name, p.shape, g.shape)] * (name in bad)
    judge_by_differences(theirs, function, replace(call, results=results), report)
    report.blocks |= {name: {"ok": False, "relative_difference": None} for name in bad}
    report.name_shapes(bad, f"{'; '.join(texts)}: they must be alike")
    return False


def _with_its_own_point(ask: Ask, call: Call) -> Call:
    """The call with the parameters of example() themselves as the second of its points."""
    if call.own is None:
        return call
    with suppress(CheckError):
        results, failure = ask([call.own], call.args, call.named, call.by_name)
        if failure is None and np.isfinite(results[0][0]):
            (theta, *points), (result, *others) = call.points, call.results
            sizes, own = (
                [p.size for p in leaves(in_order(call.own, g))] for _, g in (result, results[0])
            )
            if sizes == own:
                return replace(
                    call, points=[theta, call.own, *points], results=[result, *results, *others]
                )
    return call


def _seems_wrong_at(point: int, ask: Ask, call: Call) -> bool:
    """Whether the gradient is wrong along a random direction of some array."""
    theta, (_, g) = call.points[point], call.results[point]
    rng = np.random.default_rng(point)
    for i, (part, own) in enumerate(zip(leaves(theta), leaves(in_order(theta, g)), strict=True)):
        if not part.size:
            continue
        move = rng.standard_normal((1, part.size))
        move /= np.linalg.norm(move)
        values, noise, smooth = _differences(ask, call, point, i, move)
        slopes = move @ own.ravel()
        if smooth[0] and not block_report([slopes], [values], RIGHT[call.dtype], noise[0])["ok"]:
            return True
    return False


def _judge_at(point: int, ask: Ask, call: Call, report: Report) -> bool:
    """Fills the report by what is seen at one point; see `judge_by_differences`."""
    theta, (_, g) = call.points[point], call.results[point]
    parts, own, names = leaves(theta), leaves(in_order(theta, g)), paths(theta)
    rng = np.random.default_rng(0)
    dtype = call.dtype
    mine, right, at = {}, {}, {}
    left_out, everywhere, unseen, lost, notes = 0, [], [], [], []
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
        values, noise, smooth = _differences(ask, call, point, i, moves)
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
            everywhere.append(name)
    if left_out:
        notes.append(f"{left_out} parameters at a kink of J were left out")
    if lost:
        notes.append(
            f"the gradient of {', '.join(lost)} is so small beside J that rounding may hide a "
            "mistake in it"
        )
    if dtype == "float32":
        percent = 100 * RIGHT[dtype]
        notes.append(f"computed in float32: below {percent:g} % of a block nothing can be seen")
    report.note = "; ".join(notes)
    if unseen and not report.wrong:
        raise CheckError(
            f"J is not smooth anywhere along {', '.join(unseen)}: it jumps, or has too few digits "
            "for differences. Compute it in float64"
        )
    if report.wrong:
        tolerance = RIGHT[dtype]
        # Of inputs alone it is not known whether their rows or their columns are the examples.
        m = len(call.x) or None if call.labels != "none" else None
        mistakes = name_from_numbers(mine, right, at, m=m, tolerance=tolerance)
        report.mistakes = [asdict(mistake) for mistake in mistakes]
        if not mistakes:
            report.reason = _what_is_seen(mine, right, everywhere, report)
    outputs = call.sizes[-1] if call.sizes else 1
    return bool(report.wrong) and all(
        _is_times(outputs, mine[name], right[name], at[name]) for name in report.blocks
    )


def _what_is_seen(mine: dict, right: dict, everywhere: list[str], report: Report) -> str:
    """What can be said of numbers that no mistake explains."""
    text = "No mistake that this checker knows explains the numbers."
    for name in report.wrong:
        g, n = np.asarray(mine[name]), np.asarray(right[name])
        off = np.argwhere(np.abs(g - n) > 1e-3 * np.abs(g - n).max())
        if name in everywhere and len(off) <= FEW < g.size / 2:
            places = listed([str(place.tolist()) for place in off])
            text += f" In {name} only {places} {'is' if len(off) == 1 else 'are'} wrong."
    far = [report.blocks[name]["relative_difference"] for name in report.wrong]
    if None not in far and max(far) < BARELY:
        text += (
            f" No block is off by more than {max(far):.0e}: J may have a small number in it that "
            "its gradient has not, as log(p + 1e-7) does, or the gradient is by differences."
        )
    return text


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


def _differences(ask: Ask, call: Call, point: int, leaf: int, moves: np.ndarray):
    """∂J along moves of one array, one a row, what rounding leaves of it, and where J is smooth.

    Of fourth order. At a kink (ReLU) a step and its half disagree, however short they are.
    """
    dtype = call.dtype

    def slopes(moves: np.ndarray, h: float):
        J = _costs(ask, call, point, leaf, moves, h)
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


def _costs(ask: Ask, call: Call, point: int, leaf: int, moves, h: float) -> np.ndarray:
    """J at six steps along each move, (6, moves)."""
    theta = call.points[point]
    parts = raw_leaves(theta)
    part = np.asarray(parts[leaf], np.float64)
    offsets = [-1, -0.5, -0.25, 0.25, 0.5, 1]

    def points() -> Iterator[Any]:
        for move in moves:
            for offset in offsets:
                changed = [*parts]
                moved = part + offset * h * move.reshape(part.shape)
                changed[leaf] = moved.astype(parts[leaf].dtype)
                yield rebuilt(theta, iter(changed))

    results, error = ask([*points()], call.args, call.named, call.by_name)
    if error:
        raise CheckError(f"it fails at other parameters: {error.text}")
    return np.array([j for j, _ in results]).reshape(len(moves), len(offsets)).T
