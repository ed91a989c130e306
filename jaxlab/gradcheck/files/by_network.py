"""A function's gradient beside that of the lab's network whose cost it computes."""

import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from jaxlab.errors import CheckError
from jaxlab.gradcheck.files.calls import LABELS, Call
from jaxlab.gradcheck.files.find import Recognised
from jaxlab.gradcheck.files.report import Report, block_report, shapes_differ
from jaxlab.gradcheck.layouts import in_order, leaves, names_of_arrays, rebuilt
from jaxlab.gradcheck.mistakes import Mistake, blocks_named
from jaxlab.gradcheck.network_mistakes import (
    LARGE,
    TOLERANCE,
    WrongGradient,
    is_one_factor,
    name_mistakes,
    what_is_known,
)
from jaxlab.gradcheck.networks import Blocks, Params, cost_and_grad, named
from jaxlab.gradcheck.sums import norm

# ‖g - n‖ / ‖g + n‖ of a right block: at most rounding, far below the smallest real mistake.
RIGHT = {"float64": 1e-7, "float32": 1e-4}
# A mistake in a formula is larger.
SMALL = 1e-3
POINTS_FOR_NAMES = 3


def judge_by_network(found: Recognised, report: Report) -> None:
    call, layout = found.call, found.layout
    report.cost = found.cost_text()
    rows = "row" if call.examples == "rows" else "column"
    report.layout = (
        f"{layout.text(call.form.flat)}; one example a {rows}"
        f"{f'; {LABELS[call.labels]}' if call.labels else ''}; m = {len(call.x)}"
    )
    report.note = call.settings
    params = [found.params(i) for i in range(len(call.points))]
    right = [cost_and_grad(p, call.x, call.y, found.network)[1] for p in params]
    own = list(layout.blocks(call.points[0]))
    right = [{name: blocks[name] for name in own} for blocks in right]
    try:
        mine = _mine(found, layout)
    except ValueError:
        _wrong_form(found, right, report)
        return
    tolerance = RIGHT[call.dtype]
    report.blocks = {
        n: block_report([g[n] for g in mine], [r[n] for r in right], tolerance) for n in own
    }
    if unseen := _unseen_decay(found, params, right):
        report.note += "; " * bool(report.note) + unseen
    if not report.wrong:
        return
    for other in call.form.layouts:
        if other != layout and _all_close(found, other, right, tolerance):
            report.mistakes = [asdict(_other_order(found, layout, other, report))]
            return
    if _all_close(_last_layer_first(found), layout, right, tolerance):
        report.mistakes = [asdict(_in_reverse(report))]
        return
    # A large network has equations enough at one point, and too many pairs of rules to try.
    large = sum(block.size for block in right[0].values()) > LARGE
    few = slice(0, 1 if large else POINTS_FOR_NAMES)
    problem = WrongGradient(
        mine[few], params[few], call.x, call.y, found.network, TOLERANCE[call.dtype]
    )
    mistakes = name_mistakes(problem, pairs=not large) or _packed_and_wrong(found, problem, report)
    report.mistakes = [asdict(mistake) for mistake in mistakes]
    if not blocks_named(mistakes) >= set(report.wrong):
        report.reason = what_is_known(problem)
        far = [report.blocks[name]["relative_difference"] for name in report.wrong]
        if None not in far and max(far) < SMALL:
            report.reason += (
                f" No block is off by more than {max(far):.0e}: derivatives by differences, or a "
                "number that was rounded, are wrong by so little."
            )
    elif len(mistakes) == 1 and report.wrong == own and is_one_factor(problem):
        report.reason = (
            "It is the same factor in every block: if the gradient is as you mean it, J is not. "
            f"J here: {report.cost}"
        )


def _unseen_decay(found: Recognised, params: list[Params], right: list[Blocks]) -> str:
    """What must be said of a weight decay that is too small beside J or the gradient to be seen."""
    call, decay = found.call, found.network.decay
    if call.decay and not decay:
        return (
            f"λ = {call.decay:g} leaves no trace in J here: what it adds to the gradient was not "
            "looked at"
        )
    small = [
        name
        for name, c in decay.items()
        if all(
            c * norm(named(p)[name]) < 10 * RIGHT[call.dtype] * norm(blocks[name])
            for p, blocks in zip(params, right, strict=True)
        )
    ]
    if not small:
        return ""
    return f"the weight decay of {', '.join(small)} is too small beside the rest to be looked at"


def _mine(found: Recognised, layout) -> list[Blocks]:
    """The function's gradient at every point by blocks; ValueError where it has another form."""
    call = found.call
    return [
        layout.blocks(in_order(theta, g))
        for theta, (_, g) in zip(call.points, call.results, strict=True)
    ]


def _all_close(found: Recognised, layout, right: list[Blocks], tolerance: float) -> bool:
    try:
        mine = _mine(found, layout)
    except ValueError:
        return False
    if set(mine[0]) != set(right[0]):
        return False
    return all(
        block_report([g[n] for g in mine], [r[n] for r in right], tolerance)["ok"] for n in right[0]
    )


def _other_order(found: Recognised, layout, other, report: Report) -> Mistake:
    return Mistake(
        "packed in another order",
        ", ".join(report.wrong),
        f"the gradient is right but packed as {other.text(found.call.form.flat)}, while the "
        f"parameters are {layout.text(found.call.form.flat)}: pack both alike",
    )


def _last_layer_first(found: Recognised) -> Recognised:
    """The same with the layers of its gradients, where these are a list or a vector, turned round.

    Loops over layers from the last to the first append in that order.
    """
    pieces = found.layout.pieces()
    layers = len(found.layout.sizes) - 1
    by_layer = found.layout.order not in ("WWbb", "bbWW")

    def turned(grad: Any) -> Any:
        if isinstance(grad, list | tuple) and len(grad) % layers == 0:
            n = len(grad) // layers
            return [part for i in range(layers)[::-1] for part in grad[i * n : (i + 1) * n]]
        if isinstance(grad, np.ndarray) and grad.size == found.layout.length and by_layer:
            sizes = [
                sum(math.prod(shape) for _, of, shape in pieces if of == l)
                for l in range(1, layers + 1)
            ]
            return np.concatenate(np.split(grad.ravel(), np.cumsum(sizes[:0:-1]))[::-1])
        return grad

    results = [(J, turned(grad)) for J, grad in found.call.results]
    return replace(found, call=replace(found.call, results=results))


def _in_reverse(report: Report) -> Mistake:
    text = "the gradient is right but comes last layer first: put it in the order of the parameters"
    return Mistake("packed in another order", ", ".join(report.wrong), text)


def _packed_and_wrong(found: Recognised, problem: WrongGradient, report: Report) -> list[Mistake]:
    """A gradient that is packed in another order and wrong as well."""
    for other in found.call.form.layouts:
        if other == found.layout or other.major != found.layout.major:
            continue
        try:
            mine = _mine(found, other)[:POINTS_FOR_NAMES]
        except ValueError:
            continue
        mistakes = name_mistakes(replace(problem, mine=mine), pairs=False)
        if mistakes:
            return [_other_order(found, found.layout, other, report), *mistakes]
    return []


def _refuse_one_at_a_time(found: Recognised, shapes, own, text: str) -> None:
    """Raises `CheckError` where a function seems to be meant for one example, given m of them.

    Then each gradient has a multiple of m in it; or, where J is a sum, that of each bias has.
    """
    m = len(found.call.x)
    with_m = [
        i for i, (shape, size) in enumerate(zip(shapes, own, strict=True))
        if shape != size and any(n % m == 0 for n in size)
    ]  # fmt: skip
    biases = [kind == "b" for kind, _, _ in found.layout.pieces()]
    units = sum(found.layout.sizes[1:])
    vector = len(shapes) == 1 and len(biases) > 1
    longer = vector and math.prod(own[0]) - math.prod(shapes[0]) == (m - 1) * units
    of_biases = len(biases) == len(shapes) and [i for i, b in enumerate(biases) if b] == with_m
    is_sum = abs(found.network.factor) in (1.0, 2.0)
    if (len(with_m) == len(shapes) > 1) or (is_sum and (longer or (of_biases and with_m))):
        raise CheckError(
            f"{text}: the m = {m} examples are in it, so it seems to take one example at a time: "
            "add a function example() to the file that returns its arguments for one"
        )


def _how_summed(call: Call, biases: dict[str, tuple[tuple, tuple]]) -> str:
    """Over what gradients of biases seem to be summed, where that is not the examples alone.

    biases: the shape of each, and that of its gradient.
    """
    said: dict[str, list[str]] = {}
    axes = set()
    for name, (shape, own) in biases.items():
        units, numbers = math.prod(shape), math.prod(own)
        if numbers == 1 < units:
            how = "over the units as well"
        elif numbers == len(call.x) != units:
            how = "over the units instead" if units > 1 else "not summed"
        else:
            continue
        said.setdefault(how, []).append(name)
        # (n, 1) + (n, m) or (1, n) + (m, n): there the examples are.
        axes.add(shape.index(1) if len(shape) == 2 and shape.count(1) == 1 else None)
    if not said:
        return ""
    axis = f" (axis={axes.pop()})" if len(axes) == 1 and None not in axes else ""
    texts = ", ".join(f"that of {' and '.join(names)} is {how}" for how, names in said.items())
    return f". The gradient of a bias is a sum over the examples{axis}; {texts}"


def _wrong_form(found: Recognised, right: list[Blocks], report: Report) -> None:
    """A gradient that is not built like the parameters is wrong, whatever its numbers."""
    call, names = found.call, list(right[0])
    if _all_close(_last_layer_first(found), found.layout, right, RIGHT[call.dtype]):
        report.blocks = {name: {"ok": False, "relative_difference": None} for name in names}
        report.mistakes = [asdict(_in_reverse(report))]
        return
    grads = [in_order(theta, g) for theta, (_, g) in zip(call.points, call.results, strict=True)]
    shapes, own = ([part.shape for part in leaves(part)] for part in (call.points[0], grads[0]))
    text = f"the parameters are {len(shapes)} arrays, the gradient is {len(own)}"
    bad, hint = names, ""
    if len(shapes) == len(own):
        differ = [i for i, (s, o) in enumerate(zip(shapes, own, strict=True)) if s != o]
        # In the order of the arrays, which is not that of the names.
        each = names_of_arrays(call.points[0], found.layout)
        text = "; ".join(shapes_differ(each[i], shapes[i], own[i]) for i in differ)
        hint = _how_summed(
            call, {each[i]: (shapes[i], own[i]) for i in differ if each[i][0] == "b"}
        )
        _refuse_one_at_a_time(found, shapes, own, text)
        if len(shapes) == len(names):
            bad = [each[i] for i in differ]
    report.blocks = {name: {"ok": False, "relative_difference": None} for name in names}
    if bad != names:
        # Right values in place of what has no form, to read what has one.
        for i, (theta, grad) in enumerate(zip(call.points, grads, strict=True)):
            pairs = zip(leaves(theta), leaves(grad), strict=True)
            parts = [g if g.shape == t.shape else t for t, g in pairs]
            grads[i] = named(found.layout.unpack(rebuilt(theta, iter(parts))))
        tolerance = RIGHT[call.dtype]
        report.blocks |= {
            name: block_report([g[name] for g in grads], [r[name] for r in right], tolerance)
            for name in names if name not in bad
        }  # fmt: skip
    report.name_shapes(bad, f"{text}: they must be alike{hint}")
