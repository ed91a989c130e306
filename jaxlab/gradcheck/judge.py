"""The verdict on a function of somebody's file: right, wrong, or unchecked and why."""

import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxlab.errors import CheckError
from jaxlab.gradcheck.calls import LABELS, Call, Options
from jaxlab.gradcheck.layouts import in_order, leaves, paths, raw_leaves, rebuilt
from jaxlab.gradcheck.mistakes import Mistake, name_from_numbers
from jaxlab.gradcheck.naming import TOLERANCE, Problem, name_mistakes, what_is_known
from jaxlab.gradcheck.networks import Blocks, cost_and_grad, named
from jaxlab.gradcheck.process import Theirs
from jaxlab.gradcheck.recognize import Recognised, find, is_alike, is_gradient
from jaxlab.gradcheck.roles import role_of

# ‖g - n‖ / ‖g + n‖ of a right block: at most rounding, far below the smallest real mistake.
RIGHT = {"float64": 1e-7, "float32": 1e-4}
RIGHT_BY_DIFFERENCES = {"float64": 1e-6, "float32": 2e-2}
POINTS_FOR_NAMES = 3
STEP = {"float64": 1e-3, "float32": 3e-2}
MOST_COORDINATES = 60
LARGE = 5000
DEEPER = (8, 5, 10)  # the layers that are tried first, where none are named


@dataclass
class Report:
    """Everything that is said of one function. The keys of --json are the fields' names."""

    file: str
    function: str = ""
    verdict: str = "unchecked"
    cost: str = ""
    layout: str = ""
    blocks: dict[str, dict[str, Any]] = field(default_factory=dict)
    mistakes: list[dict[str, str]] = field(default_factory=list)
    reason: str = ""
    note: str = ""

    @property
    def wrong(self) -> list[str]:
        return [name for name, block in self.blocks.items() if not block["ok"]]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def check_file(file: Path, function: str, options: Options, seconds: float) -> Report:
    """Runs the file in a process of its own and judges one function of it.

    function: "" takes the only suitable one. Never raises for what their code does: the report
    is "unchecked" then, with the reason.
    """
    report = Report(str(file), function)
    try:
        if not file.is_file():
            raise CheckError(f"there is no file {file}")
        with Theirs(file, seconds) as theirs:
            _check(theirs, function, options, report)
    except CheckError as error:
        report.verdict, report.reason = "unchecked", str(error)
        report.blocks, report.mistakes = {}, []
    return report


def _check(theirs: Theirs, name: str, options: Options, report: Report) -> None:
    try:
        function, found, call = _choose(theirs, name, options)
    except CheckError as error:
        if not theirs.stopped:
            raise
        if not theirs.functions:
            raise CheckError(f"the file cannot be run: {theirs.stopped}") from None
        raise CheckError(f"the file does not run to its end: {theirs.stopped}. {error}") from error
    report.function = function["name"]
    if found and call.deeper:
        equal = (DEEPER[0], *2 * DEEPER[-1:])
        found, call = _with_sizes(theirs, report.function, options, equal) or (found, call)
    if found:
        _by_network(found, report)
        if report.wrong and call.sizes[-1] > 1 and len(call.sizes) == 2 and not options.sizes:
            call = _with_one_output(theirs, options, report) or call
        elif not report.wrong and _takes_any_depth(function, call) and not options.sizes:
            _with_two_hidden_layers(theirs, call, options, report)
    else:
        _by_differences(theirs, function, call, report)
    report.verdict = "wrong" if report.wrong or report.mistakes else "right"
    notes = [report.note]
    if report.verdict == "right" and (left := _left_alone(function, call)):
        notes.append(f"left as they are: {left}; what other values switch on was not checked")
    if call.deeper:
        notes.append(
            f"looked at without a hidden layer alone: with one ({'-'.join(map(str, DEEPER))}) "
            f"the function fails: {call.deeper}"
        )
    if _told_apart_by_shape(call):
        notes.append(
            "the gradients come in another order than the parameters, and were told apart by "
            "their shapes"
        )
    if theirs.stopped:
        notes.append(f"the file does not run to its end: {theirs.stopped}")
    report.note = "; ".join(note for note in notes if note)


def _with_sizes(
    theirs: Theirs, name: str, options: Options, sizes: tuple[int, ...]
) -> tuple[Recognised, Call] | None:
    """The function called with other layers; None where it fails there or has another cost."""
    try:
        _, found, call = _choose(theirs, name, replace(options, sizes=sizes))
    except CheckError:
        return None
    return (found, call) if found else None


def _takes_any_depth(function: dict, call: Call) -> bool:
    """Whether its parameters may be those of more layers: a list or dict, or a vector and sizes."""
    with_sizes = any(role_of(p["name"]) == "sizes" for p in function["parameters"])
    return len(call.sizes) == 3 and not call.by_name and (with_sizes or not call.form.flat)


def _with_two_hidden_layers(theirs: Theirs, call: Call, options: Options, report: Report) -> None:
    """A loop over layers may be right for one hidden layer and wrong for two: then that counts."""
    n_in, hidden, n_out = call.sizes
    again = _with_sizes(theirs, report.function, options, (n_in, hidden, hidden + 1, n_out))
    if again:
        deeper = Report(report.file, report.function)
        _by_network(again[0], deeper)
        if deeper.wrong:
            vars(report).update(vars(deeper))
            report.note += "; " * bool(report.note) + "right with one hidden layer, not with two"


def _left_alone(function: dict, call: Call) -> str:
    """The numbers among its arguments that were left at their defaults, "keep_prob = 1"."""
    given = {*call.named, *(p["name"] for p in function["parameters"][: 1 + len(call.args)])}
    return ", ".join(
        f"{p['name']} = {p['default']:g}"
        for p in function["parameters"]
        if p["name"] not in given and p["default"] is not None
    )


def _with_one_output(theirs: Theirs, options: Options, report: Report) -> Call | None:
    """A regression may be meant for one output: J that is a mean over several is another cost.

    Where it is right for one, that is the report.
    """
    alone = Report(report.file, report.function)
    again = _with_sizes(theirs, report.function, options, (DEEPER[0], 1))
    if again is None:
        return None
    found, call = again
    _by_network(found, alone)
    if alone.wrong:
        return None
    vars(report).update(vars(alone))
    report.note = "right for one output an example; with several, J is a mean over them as well"
    return call


def _told_apart_by_shape(call: Call) -> bool:
    theta, (_, grad) = call.points[0], call.results[0]
    shapes, own, put = (
        [part.shape for part in raw_leaves(value)] for value in (theta, grad, in_order(theta, grad))
    )
    return isinstance(grad, list | tuple) and own != put and shapes != own


def _choose(theirs: Theirs, name: str, options: Options):
    """The function, and how it is called."""

    def asked(function: dict):
        def call(one: Call, points: list):
            return theirs.call(function["name"], points, one.args, one.named, one.by_name)

        return find(call, function, theirs.example, options)

    there = {function["name"]: function for function in theirs.functions}
    listed = ", ".join(there) or "none"
    if name:
        for part in name.split(","):
            if part not in there:
                raise CheckError(f"{theirs.file.name} has no function {part!r}; it has: {listed}")
        function = _pair(name, [there[part] for part in name.split(",")])
        return function, *asked(function)
    suitable, reasons = [], []
    for function in theirs.functions:
        if function["name"] == "example" or len(function["parameters"]) < 2:
            continue
        try:
            found, call = asked(function)
            if is_gradient(call):
                suitable.append((function, found, call))
            else:
                reasons.append(f"{function['name']} returns (J, …), but … is no gradient")
        except CheckError as error:
            if "seconds" in str(error) or "ended Python" in str(error):
                raise
            reasons.append(str(error))
    # A cost that is known beats one that merely runs, a gradient built like the parameters others.
    alike = [s for s in suitable if is_alike(s[2], s[2].points[0], s[2].results[0][1])] or suitable
    known = [s for s in alike if s[1] is not None] or alike
    if len(known) == 1:
        return known[0]
    if not known and (pair := _cost_and_gradient(theirs.functions)):
        return _choose(theirs, pair, options)
    if not known:
        if len(reasons) == 1:
            raise CheckError(reasons[0])
        classes = ", ".join(theirs.classes)
        methods = f"; methods are not called (of {classes}): add a function that calls them"
        advice = "name one, FILE.py:FUNCTION, to read why not; or two, FILE.py:COST,GRADIENT"
        raise CheckError(
            f"no function of {theirs.file.name} takes parameters and data and returns (J, "
            f"gradient); it has: {listed}{methods * bool(classes)}{f'; {advice}' * bool(there)}"
        )
    names = ", ".join(f"{theirs.file.name}:{function['name']}" for function, *_ in known)
    raise CheckError(f"several functions can be checked; name one of {names}")


def _cost_and_gradient(functions: list[dict]) -> str:
    """COST,GRADIENT, where two functions with the same arguments are named so; "" otherwise."""
    taking = {
        function["name"]: [p["name"] for p in function["parameters"]]
        for function in functions
        if len(function["parameters"]) > 1
    }
    gradients = [name for name in taking if re.search("grad|back|^dj", name.lower())]
    pairs = [
        f"{name},{gradient}"
        for name in taking
        for gradient in gradients
        if re.search("cost|loss|objective|^j$", name.lower())
        and name not in gradients
        and taking[name] == taking[gradient]
    ]
    return pairs[0] if len(pairs) == 1 else ""


def _pair(name: str, functions: list[dict]) -> dict:
    """One function, or one that gives J and another that gives the gradient."""
    first, *others = functions
    arguments = [parameter["name"] for parameter in first["parameters"]]
    for other in others:
        if arguments != [parameter["name"] for parameter in other["parameters"]]:
            raise CheckError(
                f"{first['name']} and {other['name']} take different arguments: write one function "
                "that takes parameters and data and returns (J, gradient)"
            )
    if len(functions) > 2:
        raise CheckError("name two functions at most: FILE.py:COST,GRADIENT")
    return first | {"name": name}


# --- against the network that it computes ---


def _by_network(found: Recognised, report: Report) -> None:
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
    own = [name for name in right[0] if layout.has_bias or name[0] == "W"]
    right = [{name: blocks[name] for name in own} for blocks in right]
    try:
        mine = _mine(found, layout)
    except ValueError:
        _wrong_form(found, right, report)
        return
    tolerance = RIGHT[call.dtype]
    report.blocks = {n: _block([g[n] for g in mine], [r[n] for r in right], tolerance) for n in own}
    if not report.wrong:
        return
    for other in call.form.layouts:
        if other != layout and _all_close(found, other, right, tolerance):
            report.mistakes = [_other_order(found, layout, other, report)]
            return
    if _all_close(_last_layer_first(found), layout, right, tolerance):
        report.mistakes = [_in_reverse(report)]
        return
    # A large network has equations enough at one point, and too many pairs of rules to try.
    large = sum(block.size for block in right[0].values()) > LARGE
    few = slice(0, 1 if large else POINTS_FOR_NAMES)
    problem = Problem(mine[few], params[few], call.x, call.y, found.network, TOLERANCE[call.dtype])
    mistakes = name_mistakes(problem, pairs=not large) or _packed_and_wrong(found, problem, report)
    report.mistakes = [asdict(mistake) for mistake in mistakes]
    named_blocks = {name for mistake in mistakes for name in mistake.block.split(", ")}
    if not set(report.wrong) <= named_blocks:
        report.reason = what_is_known(problem)
    elif len(mistakes) == 1 and report.wrong == own and _is_one_factor(mine, right):
        report.reason = (
            "It is the same factor in every block: if the gradient is as you mean it, J is not. "
            f"J here: {report.cost}"
        )


def _is_one_factor(mine: list[Blocks], right: list[Blocks]) -> bool:
    g, n = (
        np.concatenate([block[name].ravel() for block in blocks for name in right[0]])
        for blocks in (mine, right)
    )
    k = float(g @ n) / float(n @ n)
    return bool(np.linalg.norm(g - k * n) <= 1e-4 * np.linalg.norm(g))


def _mine(found: Recognised, layout) -> list[Blocks]:
    """The function's gradient at every point by blocks; ValueError where it has another form."""
    call = found.call
    grads = [
        named(layout.unpack(in_order(theta, g)))
        for theta, (_, g) in zip(call.points, call.results, strict=True)
    ]
    return [{n: g[n] for n in g if layout.has_bias or n[0] == "W"} for g in grads]


def _all_close(found: Recognised, layout, right: list[Blocks], tolerance: float) -> bool:
    try:
        mine = _mine(found, layout)
    except ValueError:
        return False
    if set(mine[0]) != set(right[0]):
        return False
    return all(
        _block([g[n] for g in mine], [r[n] for r in right], tolerance)["ok"] for n in right[0]
    )


def _other_order(found: Recognised, layout, other, report: Report) -> dict[str, str]:
    return asdict(
        Mistake(
            "packed in another order",
            ", ".join(report.wrong),
            f"the gradient is right but packed as {other.text(found.call.form.flat)}, while the "
            f"parameters are {layout.text(found.call.form.flat)}: pack both alike",
        )
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


def _in_reverse(report: Report) -> dict[str, str]:
    text = "the gradient is right but comes last layer first: put it in the order of the parameters"
    return asdict(Mistake("packed in another order", ", ".join(report.wrong), text))


def _packed_and_wrong(found: Recognised, problem: Problem, report: Report) -> list[Mistake]:
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
            return [Mistake(**_other_order(found, found.layout, other, report)), *mistakes]
    return []


def _wrong_form(found: Recognised, right: list[Blocks], report: Report) -> None:
    """A gradient that is not built like the parameters is wrong, whatever its numbers."""
    call, names = found.call, list(right[0])
    if _all_close(_last_layer_first(found), found.layout, right, RIGHT[call.dtype]):
        report.blocks = {name: {"ok": False, "relative_difference": None} for name in names}
        report.mistakes = [_in_reverse(report)]
        return
    grads = [in_order(theta, g) for theta, (_, g) in zip(call.points, call.results, strict=True)]
    shapes, own = ([part.shape for part in leaves(part)] for part in (call.points[0], grads[0]))
    text = f"the parameters are {len(shapes)} arrays, the gradient is {len(own)}"
    bad = names
    if len(shapes) == len(own):
        differ = [i for i, (s, o) in enumerate(zip(shapes, own, strict=True)) if s != o]
        each = names if len(shapes) == len(names) else paths(call.points[0])
        text = "; ".join(f"{each[i]} has shape {shapes[i]}, its gradient {own[i]}" for i in differ)
        m = len(call.x)
        with_m = [i for i in differ if any(size % m == 0 for size in own[i])]
        if len(with_m) == len(shapes) > 1:
            raise CheckError(
                f"{text}: there is a multiple of the m = {m} examples in each, so it seems to take "
                "one example at a time: add a function example() to the file that returns its "
                "arguments for one"
            )
        if len(shapes) == len(names):
            bad = [names[i] for i in differ]
    report.blocks = {name: {"ok": False, "relative_difference": None} for name in names}
    if bad != names:
        # Right values in place of what has no form, to read what has one.
        for i, (theta, grad) in enumerate(zip(call.points, grads, strict=True)):
            pairs = zip(leaves(theta), leaves(grad), strict=True)
            parts = [g if g.shape == t.shape else t for t, g in pairs]
            grads[i] = named(found.layout.unpack(rebuilt(theta, iter(parts))))
        tolerance = RIGHT[call.dtype]
        report.blocks |= {
            name: _block([g[name] for g in grads], [r[name] for r in right], tolerance)
            for name in names if name not in bad
        }  # fmt: skip
    report.mistakes = [asdict(Mistake("shape", ", ".join(bad), f"{text}: they must be alike"))]
    rest = [name for name in report.wrong if name not in bad]
    if rest:
        report.reason = f"{', '.join(rest)} will be explained once every block has its shape"


def _block(mine: list, right: list, tolerance: float) -> dict[str, Any]:
    g, n = np.stack(mine), np.stack(right)
    apart, together = float(np.linalg.norm(g - n)), float(np.linalg.norm(g + n))
    if not np.isfinite(apart):
        return {"ok": False, "relative_difference": None}
    difference = apart / together if together else (1.0 if apart else 0.0)
    return {"ok": difference <= tolerance, "relative_difference": difference}


# --- against differences of its own J ---


def _by_differences(theirs: Theirs, function: dict, call: Call, report: Report) -> None:
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
        return
    rng = np.random.default_rng(0)
    dtype = call.dtype
    mine, right, at = {}, {}, {}
    left_out, unseen = 0, []
    for i, (name, part) in enumerate(zip(names, parts, strict=True)):
        where = np.sort(rng.permutation(part.size)[:MOST_COORDINATES])
        values, smooth = _differences(theirs, function, call, i, where, STEP[dtype])
        left_out += int((~smooth).sum())
        if not smooth.any():
            unseen.append(name)
            continue
        full = len(where) == part.size
        mine[name] = own[i].ravel()[where][smooth]
        right[name], at[name] = values[smooth], part.ravel()[where][smooth]
        report.blocks[name] = _block([mine[name]], [right[name]], RIGHT_BY_DIFFERENCES[dtype])
        if full and smooth.all():
            mine[name], right[name] = own[i].reshape(part.shape), values.reshape(part.shape)
            at[name] = part
    if left_out:
        report.note = f"{left_out} parameters at a kink of J were left out"
    if unseen and not report.wrong:
        raise CheckError(
            f"J is not smooth anywhere along {', '.join(unseen)}: it jumps, or has too few digits "
            "for differences. Compute it in float64"
        )
    if report.wrong:
        tolerance = RIGHT_BY_DIFFERENCES[dtype]
        mistakes = name_from_numbers(mine, right, at, m=len(call.x) or None, tolerance=tolerance)
        report.mistakes = [asdict(mistake) for mistake in mistakes]
        if not mistakes:
            report.reason = "No mistake that this checker knows explains the numbers."


def _differences(theirs: Theirs, function: dict, call: Call, leaf: int, where, h: float):
    """∂J/∂θ at some coordinates of one array, by differences of fourth order; where J is smooth.

    At a kink (ReLU) two steps disagree.
    """
    theta = call.points[0]
    parts = leaves(theta)
    kind = raw_leaves(theta)[leaf].dtype
    offsets = [-1, -0.5, -0.25, 0.25, 0.5, 1]

    def moved() -> Iterator[Any]:
        for i in where:
            for offset in offsets:
                changed = [part.copy() for part in parts]
                changed[leaf].ravel()[i] += offset * h
                changed[leaf] = changed[leaf].astype(kind)
                yield rebuilt(theta, iter(changed))

    results, error = theirs.call(
        function["name"], list(moved()), call.args, call.named, call.by_name
    )
    if error:
        raise CheckError(f"{function['name']} fails at other parameters: {error.text}")
    J = np.array([j for j, _ in results]).reshape(len(where), len(offsets)).T
    short = (8 * (J[4] - J[1]) - (J[5] - J[0])) / (6 * h)
    shorter = (8 * (J[3] - J[2]) - (J[4] - J[1])) / (3 * h)
    scale = max(1e-300, float(np.abs(short).max()))
    smooth = np.abs(short - shorter) <= (1e-5 if h < 1e-2 else 1e-1) * scale
    return short, smooth
