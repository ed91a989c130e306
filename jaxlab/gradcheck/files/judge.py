"""The verdict on a function of somebody's file: right, wrong, or unchecked and why.

Here is which function is checked and for which layers; `by_network.py` and `by_differences.py`
judge its gradient.
"""

import re
from dataclasses import replace
from pathlib import Path

from jaxlab.errors import CheckError
from jaxlab.gradcheck.files.by_differences import judge_by_differences
from jaxlab.gradcheck.files.by_network import judge_by_network
from jaxlab.gradcheck.files.calls import Call, Options
from jaxlab.gradcheck.files.layouts import in_order, raw_leaves
from jaxlab.gradcheck.files.process import EndedError, Theirs
from jaxlab.gradcheck.files.recognize import Recognised, find, is_alike, is_gradient
from jaxlab.gradcheck.files.report import Report
from jaxlab.gradcheck.files.roles import role_of

DEEPER = (8, 5, 10)  # the layers that are tried first, where none are named


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
        _leave_unchecked(report, str(error))
    except Exception as error:
        # What a stranger's code answers knows no bounds, and of a folder the rest must be checked.
        _leave_unchecked(report, f"a fault of jaxlab's own, {type(error).__name__}: {error}")
    return report


def _leave_unchecked(report: Report, reason: str) -> None:
    report.verdict, report.reason = "unchecked", reason
    report.blocks, report.mistakes = {}, []


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
        judge_by_network(found, report)
        if report.wrong and call.sizes[-1] > 1 and len(call.sizes) == 2 and not options.sizes:
            call = _with_one_output(theirs, options, report) or call
        elif not report.wrong and _takes_any_depth(function, call) and not options.sizes:
            _with_two_hidden_layers(theirs, call, options, report)
    else:
        judge_by_differences(theirs, function, call, report)
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
        judge_by_network(again[0], deeper)
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
    judge_by_network(found, alone)
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
        except EndedError:
            raise
        except CheckError as error:
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
