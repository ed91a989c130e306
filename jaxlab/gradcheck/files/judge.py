"""The verdict on a function of somebody's file: right, wrong, or unchecked and why.

Here is which function is checked and for which layers; `by_network.py` and `by_differences.py`
judge its gradient.
"""

import math
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from jaxlab.errors import CheckError
from jaxlab.gradcheck.factors import FACTORS
from jaxlab.gradcheck.files.assemble import assembled
from jaxlab.gradcheck.files.by_differences import judge_by_differences
from jaxlab.gradcheck.files.by_network import judge_by_network
from jaxlab.gradcheck.files.calls import Call, Options
from jaxlab.gradcheck.files.find import Recognised, find, is_alike, is_gradient
from jaxlab.gradcheck.files.process import EndedError, Theirs
from jaxlab.gradcheck.files.report import Report
from jaxlab.gradcheck.files.roles import COSTS, GRADIENTS, role_of
from jaxlab.gradcheck.layouts import in_order, names_of_arrays, raw_leaves, rebuilt

RIGHT_ALONE = "right for one output an example, not for several"
DEEPER = (8, 5, 10)  # the layers that are tried first, where none are named


def check_file(file: Path, function: str, options: Options, seconds: float) -> Report:
    """Runs the file in a process of its own and judges one function of it.

    function: "" takes the only suitable one. Never raises for what their code does: the report
    is "unchecked" then, with the reason.
    """
    report = Report(str(file), function)
    try:
        try:
            if not file.is_file():
                raise CheckError(f"there is no file {file}")
        except OSError as error:
            raise CheckError(f"{file} cannot be read: {error.strerror or error}") from error
        with Theirs(file, seconds) as theirs:
            _check(theirs, function, options, report)
            if report.verdict == "wrong" and theirs.two:
                _check_with_J_last(theirs, function, options, report)
            for other in [] if function else [*theirs.others]:
                _check_too(theirs, other, options, report)
    except CheckError as error:
        _leave_unchecked(report, str(error))
    except Exception as error:
        # What a stranger's code answers knows no bounds, and of a folder the rest must be checked.
        _leave_unchecked(report, f"a fault of jaxlab's own, {type(error).__name__}: {error}")
    return report


def _check_with_J_last(theirs: Theirs, function: str, options: Options, report: Report) -> None:
    """Of a gradient db, dw with J behind it db was taken for J: where that is right, it counts."""
    theirs.last, again = True, Report(report.file, function)
    with suppress(CheckError):
        _check(theirs, function, options, again)
    if again.verdict == "right":
        vars(report).update(vars(again))


def _check_too(theirs: Theirs, other: str, options: Options, report: Report) -> None:
    """Of several classes that give a gradient each is checked: one that is wrong counts."""
    too = Report(report.file, other)
    try:
        _check(theirs, other, options, too)
        said = f"{other} is {too.verdict}"
    except CheckError as error:
        said = f"NOT CHECKED: {other} ({error})"
    if too.verdict == "wrong" and report.verdict == "right":
        said = f"{report.function} is right"
        vars(report).update(vars(too))
    report.reason += "; " * bool(report.reason) + said


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
    report.function = function["name"].removesuffix("()")
    if found and call.deeper:
        equal = (DEEPER[0], *2 * DEEPER[-1:])
        found, call = _with_sizes(theirs, report.function, options, equal) or (found, call)
    is_mean = _judge(theirs, function, found, call, report)
    by_factors = all(mistake["id"] in FACTORS for mistake in report.mistakes)
    if function.get("is_step") and found and by_factors and report.wrong == list(report.blocks):
        raise CheckError(
            f"the steps of {function['name']} are a multiple of the gradient, and how long they "
            "are meant to be is not known"
        )
    if report.wrong and len(call.sizes) == 2 and call.sizes[-1] > 1 and not options.sizes:
        call = _with_one_output(theirs, options, report, is_mean) or call
    elif found and not report.wrong and _takes_any_depth(function, call) and not options.sizes:
        _with_two_hidden_layers(theirs, function["name"], call, options, report)
    report.verdict = "wrong" if report.wrong or report.mistakes else "right"
    notes = [report.note, function.get("called", "")]
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
    if theirs.ended:
        notes.append(f"at other parameters and layers it was not looked at: {theirs.ended}")
    if theirs.stopped:
        notes.append(f"the file does not run to its end: {theirs.stopped}")
    if "decay missing" in [mistake["id"] for mistake in report.mistakes] and "called" in function:
        notes.append("a decay that is added where parameters are updated was not seen")
    if theirs.passed_over and not report.reason:
        report.reason = f"NOT CHECKED: {', '.join(theirs.passed_over)}"
    if report.verdict == "right" and (apart := _spreading(theirs, function, found, call)):
        said = f"the numbers are right, BUT {apart}: give the gradient the shape of its parameters"
        report.reason = "; ".join(part for part in (said, report.reason) if part)
    report.note = "; ".join(note for note in notes if note)


def _judge(
    theirs: Theirs, function: dict, found: Recognised | None, call: Call, report: Report
) -> bool:
    """Fills the report; whether the gradient is wrong as that of a mean over outputs may be."""
    if not found:
        return judge_by_differences(theirs, function, call, report)
    judge_by_network(found, report)
    return False


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


def _with_two_hidden_layers(
    theirs: Theirs, name: str, call: Call, options: Options, report: Report
) -> None:
    """A loop over layers may be right for one hidden layer and wrong for two: then that counts."""
    n_in, hidden, n_out = call.sizes
    again = _with_sizes(theirs, name, options, (n_in, hidden, hidden + 1, n_out))
    if again:
        deeper = Report(report.file, report.function)
        judge_by_network(again[0], deeper)
        if deeper.wrong:
            vars(report).update(vars(deeper))
            report.note += "; " * bool(report.note) + "right with one hidden layer, not with two"


def _left_alone(function: dict, call: Call) -> str:
    """What was left as it is: "keep_prob = 1, no **options"."""
    given = {*call.named, *(p["name"] for p in function["parameters"][: 1 + len(call.args)])}
    left = [
        f"{p['name']} = {p['default']!r}"
        for p in function["parameters"]
        if p["name"] not in given and not p["required"] and p["plain"]
    ]
    return ", ".join(left + [f"no **{function['options']}"] * bool(function["options"]))


def _with_one_output(theirs: Theirs, options: Options, report: Report, is_mean) -> Call | None:
    """A regression may be meant for one output: J that is a mean over several is another cost.

    Where it is right for one, or wrong in a way that is known, that is the report; but only where
    several are wrong by a factor, or where targets -1 and 1 are what makes it right.
    """
    # A mean over several outputs, where one was meant, looks like one of these.
    if any(mistake["id"] not in FACTORS for mistake in report.mistakes):
        return None
    for labels in (options.labels, "signs"):
        asked = replace(options, sizes=(DEEPER[0], 1), labels=labels)
        alone = Report(report.file, report.function)
        try:
            function, found, call = _choose(theirs, report.function, asked)
            _judge(theirs, function, found, call, alone)
        except EndedError:  # what time was too short for must not be called wrong
            raise
        except CheckError:
            continue
        if not (alone.wrong or labels or report.mistakes or is_mean):
            # It is no mean over outputs that makes it wrong, which would be a factor.
            report.note = "; ".join(part for part in (report.note, RIGHT_ALONE) if part)
            return None
        words = [mistake["explanation"] for mistake in alone.mistakes]
        known = words and words != [mistake["explanation"] for mistake in report.mistakes]
        if not alone.wrong or known:
            vars(report).update(vars(alone))
            how = "wrong in this way" if alone.wrong else "right"
            note = f"{how} for one output an example"
            note += "; with several, J is a mean over them as well" if not labels else ""
            report.note = "; ".join(part for part in (alone.note, note) if part)
            return call
    return None


def _told_apart_by_shape(call: Call) -> bool:
    theta, (_, grad) = call.points[0], call.results[0]
    shapes, own, put = (
        [part.shape for part in raw_leaves(value)] for value in (theta, grad, in_order(theta, grad))
    )
    return isinstance(grad, list | tuple) and own != put and shapes != own


def _spreading(theirs: Theirs, function: dict, found: Recognised | None, call: Call) -> str:
    """What becomes of parameters from which such a gradient is subtracted, where that is more.

    Where the function takes parameters of the gradient's shapes as well, these may be meant.
    """
    theta, (J, grad) = call.points[0], call.results[0]
    parts, own = raw_leaves(theta), raw_leaves(in_order(theta, grad))
    if len(parts) != len(own):
        return ""
    names = names_of_arrays(theta, found.layout if found else None)
    texts = []
    for name, p, g in zip(names, parts, own, strict=True):
        with suppress(ValueError):
            after = np.broadcast_shapes(p.shape, g.shape)
            if p.size == g.size < math.prod(after):
                texts.append(f"{name} {p.shape} less its gradient {g.shape} gives {after}")
    if texts:
        shaped = (p.reshape(g.shape) if p.size == g.size else p
                  for p, g in zip(parts, own, strict=True))  # fmt: skip
        with suppress(CheckError):
            point = rebuilt(theta, shaped)
            good, _ = theirs.call(function["name"], [point], call.args, call.named, call.by_name)
            if good and np.isclose(good[0][0], J, rtol=1e-6):
                return ""
    return ", ".join(texts)


def _choose(theirs: Theirs, name: str, options: Options):
    """The function, and how it is called."""

    def asked(function: dict):
        def call(one: Call, points: list):
            return theirs.call(function["name"], points, one.args, one.named, one.by_name)

        return find(call, function, theirs.example, options)

    there = {function["name"]: function for function in theirs.functions}
    listed = ", ".join(there) or "none"
    if name.partition(".")[0] in [one["name"] for one in theirs.classes] or name.endswith("()"):
        return _choose_assembled(theirs, "" if name.endswith("()") else name, options)
    if name:
        for part in name.split(","):
            if part not in there:
                raise CheckError(f"{theirs.file.name} has no function {part!r}; it has: {listed}")
        function = _pair(name, [there[part] for part in name.split(",")])
        return function, *asked(function)
    suitable, reasons = [], dict[str, str]()
    for function in theirs.functions:
        if function["name"] == "example" or not _may_be_called(function, theirs.example):
            continue
        try:
            found, call = asked(function)
            if is_gradient(call):
                suitable.append((function, found, call))
            else:
                text = f"{function['name']} returns (J, …), but … is no gradient"
                reasons[function["name"]] = text
        except EndedError:
            raise
        except CheckError as error:
            reasons[function["name"]] = str(error)
    # A cost that is known beats one that merely runs, a gradient built like the parameters others.
    alike = [s for s in suitable if is_alike(s[2])] or suitable
    known = [s for s in alike if s[1] is not None] or alike
    if len(known) == 1:
        also = [s[0]["name"] for s in suitable if s[0] is not known[0][0]]
        theirs.passed_over = [
            *(f"{other} (name it, {theirs.file.name}:{other})" for other in also),
            *(f"{other} ({why})" for other, why in reasons.items() if _is_meant(other, why)),
        ]
        if theirs.classes and theirs.example is None:
            theirs.others = _of_classes(theirs, options)
        return known[0]
    pair = "" if known else _cost_and_gradient(theirs.functions, theirs.example)
    if pair and not theirs.classes:
        return _choose(theirs, pair, options)
    methods = ""
    if not known and theirs.example is None:
        try:
            return _choose_assembled(theirs, "", options)
        except EndedError:
            raise
        except CheckError as error:
            if pair:
                return _choose(theirs, pair, options)
            classes = ", ".join(one["name"] for one in theirs.classes)
            methods = f"; methods (of {classes}) cannot be called: {error}" * bool(classes)
            methods += ": add a function that calls them" * bool(classes)
    if not known:
        if len(reasons) == 1 and not methods:
            raise CheckError(*reasons.values())
        meant = [why for other, why in reasons.items() if _is_meant(other, why)]
        if len(meant) == 1 and not methods:
            raise CheckError(*meant)
        advice = "name one, FILE.py:FUNCTION, to read why not; or two, FILE.py:COST,GRADIENT"
        raise CheckError(
            f"no function of {theirs.file.name} takes parameters and data and returns (J, "
            f"gradient); it has: {listed}{methods}{f'; {advice}' * bool(there)}"
        )
    names = ", ".join(f"{theirs.file.name}:{function['name']}" for function, *_ in known)
    raise CheckError(f"several functions can be checked; name one of {names}")


def _choose_assembled(theirs: Theirs, name: str, options: Options):
    """Several methods or functions as one, and how it is called; name: "", "Net" or "Net.back"."""
    works, others, reason = None, list[str](), None
    for way in assembled(theirs, name, options):
        if works and works[2]:  # its cost is known
            if not theirs.classes:
                break
            others.append(way.name)
            continue
        function = way.function()
        theirs.evaluate(way.source(), {}, function["name"])

        def call(one: Call, points: list, name=function["name"]):
            return theirs.call(name, points, one.args, one.named, one.by_name)

        asked = replace(options, examples=way.examples, sizes=way.sizes)
        try:
            found, one = find(call, function, way.example, asked)
        except EndedError:
            raise
        except CheckError as error:
            reason = reason or error
            continue
        if (is_alike(one) or way.misshapen) and (works is None or found):
            works = way, function, found, one
    if works is None:
        raise reason or CheckError("they give no gradient")
    way, function, found, one = works
    theirs.evaluate(way.source(), {}, function["name"])
    if not name:
        theirs.others = [
            o for o in dict.fromkeys(others) if o.split(".")[0] != way.name.split(".")[0]
        ]
        same = [o for o in dict.fromkeys(others) if o not in (*theirs.others, way.name)]
        theirs.passed_over = [f"{one} (name it, {theirs.file.name}:{one})" for one in same]
    return function, found, one


def _of_classes(theirs: Theirs, options: Options) -> list[str]:
    """The methods that give a gradient, beside functions that do."""
    with suppress(CheckError):
        return list(dict.fromkeys(way.name for way in assembled(theirs, "", options)
                                  if "." in way.name))  # fmt: skip
    return []


def _may_be_called(function: dict, example: list | None) -> bool:
    """Whether it takes parameters and data; where there is an example, as many as that has."""
    takes = len(function["parameters"])
    return takes > 1 or (takes == 1 and example is not None and (
        function["variadic"] or len(example) == 1))  # fmt: skip


def _is_meant(name: str, why: str) -> bool:
    """Whether a function that cannot be called was meant to be checked, by its name."""
    returns = "no gradient" in why or "not a pair" in why
    return bool(re.search(f"{COSTS}|{GRADIENTS}", name.lower())) and not returns


def _cost_and_gradient(functions: list[dict], example: list | None) -> str:
    """COST,GRADIENT, where two functions with the same arguments are named so; "" otherwise."""
    taking = {
        function["name"]: [p["name"] for p in function["parameters"]]
        for function in functions
        if function["name"] != "example" and _may_be_called(function, example)
    }
    gradients = [name for name in taking if re.search(GRADIENTS, name.lower())]
    pairs = [
        f"{name},{gradient}"
        for name in taking
        for gradient in gradients
        if name not in gradients and taking[name] == taking[gradient]
    ]
    named = [pair for pair in pairs if re.search(COSTS, pair.split(",")[0].lower())] or pairs
    return named[0] if len(named) == 1 else ""


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
