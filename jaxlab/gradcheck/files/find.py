"""Which of the ways to call somebody's cost function works, and is its cost one that we know?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxlab.errors import CheckError
from jaxlab.gradcheck.files.calls import Call, Options, calls
from jaxlab.gradcheck.files.child import HOPELESS, TO_ITS_END
from jaxlab.gradcheck.files.process import Failure
from jaxlab.gradcheck.known_cost import RHOS, Costs, in_words, points_needed, recognise
from jaxlab.gradcheck.layouts import Layout, in_order, leaves, raw_leaves
from jaxlab.gradcheck.networks import LOSSES, Network, Params

# After so many ways that run but compute no known cost, it is another cost.
MOST_TRIES = 12
# After so many calls that fail for what has nothing to do with their arguments, the others do too.
MOST_HOPELESS = 3
CONSTANT = "whatever the parameters"

# Calls the function at some points: a call, points → (J, gradient) at each, or why it failed.
Ask = Callable[[Call, list[Any]], tuple[list[tuple[float, Any]], Failure | None]]


@dataclass(frozen=True)
class Recognised:
    """A call whose cost is known: its layout and its network."""

    call: Call
    layout: Layout
    network: Network

    def params(self, point: int) -> Params:
        return self.layout.unpack(self.call.points[point])

    def cost_text(self) -> str:
        call = self.call
        return in_words(self.network, len(call.sizes), len(call.x), call.sizes[-1], call.decay)


def find(
    ask: Ask, function: dict, example: list | None, options: Options
) -> tuple[Recognised | None, Call]:
    """The first call whose cost is known, else None and the first that works at all.

    Of several that work, one whose gradient is built like the parameters is preferred: another may
    run without being what was meant. Raises `CheckError` with what it said where no call works.
    """
    rng = np.random.default_rng(options.seed + 1)
    works, unlike, tries, tries_unlike, hopeless = None, None, 0, 0, 0
    failures, deeper = list[Failure](), Failure("", -1)
    for call in calls(function, example, options):
        if call.form.near and (works or unlike):
            break
        if unlike and unlike[1].sizes == call.sizes and unlike[1].labels != call.labels:
            continue  # labels have nothing to do with it
        failure = _call_twice(ask, call, rng)
        alike = failure is None and is_alike(call)
        if failure is None and not alike:
            tries_unlike += 1
            if unlike or tries_unlike > MOST_TRIES:
                continue
        failure = failure or _call_at_more_points(ask, call, rng)
        found = None if failure else _recognised(call, options)
        if found and alike:
            if len(call.sizes) == 2 and call.sizes[-1] > 1 and not call.form.flat:
                call.deeper = deeper.text
            return found, call
        if failure is None and alike:
            works = works or call
            tries += 1
            if tries == MOST_TRIES:
                break
            continue
        if failure is None:
            # By name, arguments may have been taken for all parameters that are only some.
            unlike = (found, call) if found or (example and not call.by_name) else None
            failure = _forms_differ(call)
        failures.append(failure)
        if len(call.sizes) > 2 and not call.form.flat:
            deeper = max(deeper, failure, key=lambda one: one.reached)
        hopeless += _is_hopeless(failure)
        if hopeless == MOST_HOPELESS:
            break
    if works is None and unlike:
        return unlike
    if works is None:
        raise _why_not(function, failures, example)
    return None, works


def _call_twice(ask: Ask, call: Call, rng: np.random.Generator) -> Failure | None:
    """Calls it at one point, two times: a function that gives other numbers can't be checked."""
    point = call.form.make(rng)
    results, failure = ask(call, [point, point])
    if failure:
        return failure
    if not np.isfinite(results[0][0]):
        return Failure(f"J is {results[0][0]}", TO_ITS_END)
    if any(leaf.dtype.kind not in "biuf" for leaf in raw_leaves(results[0][1])):
        return Failure("the gradient has a part that is no array of numbers", TO_ITS_END)
    if _differs(*results):
        raise CheckError(
            "two calls with the same arguments give different numbers (dropout, random noise, "
            "something kept between calls?): fix the seed inside the function, then check again"
        )
    call.points, call.results = [point], results[:1]
    return None


def _call_at_more_points(ask: Ask, call: Call, rng: np.random.Generator) -> Failure | None:
    """Calls it at as many points as a cost is told by."""
    more = [call.form.make(rng) for _ in range(points_needed(call.sizes or (1, 1, 1)) - 1)]
    results, failure = ask(call, more)
    if failure:
        return failure
    call.points, call.results = call.points + more, call.results + results
    costs = {J for J, _ in call.results}
    if not np.isfinite([*costs]).all():
        return Failure("J is not finite at some random parameters", TO_ITS_END)
    if len(costs) == 1:
        return Failure(f"J is {call.results[0][0]:g} {CONSTANT}", TO_ITS_END)
    return None


def _is_hopeless(failure: Failure) -> bool:
    return failure.reached == HOPELESS or CONSTANT in failure.text


def _recognised(call: Call, options: Options) -> Recognised | None:
    if not call.sizes:
        return None
    rhos = () if call.labels != "none" else RHOS
    seen = Costs(
        call.points, np.array([J for J, _ in call.results]), call.x, call.y, call.dtype, call.decay,
        rhos if call.rho is None else (call.rho,),
    )  # fmt: skip
    found = recognise(seen, call.form.layouts, [options.cost] if options.cost else tuple(LOSSES))
    return Recognised(call, *found) if found else None


def _why_not(function: dict, failures: list[Failure], example: list | None) -> CheckError:
    """What the call said that was most nearly as the function wants to be called."""
    reason = max(failures, key=lambda failure: failure.reached, default=None)
    how, advice = (
        ("with what example() returns",
         "Parameters are its first argument, or those named W1, b1, W2, …")
        if example
        else ("with random data",
              "Check --sizes, or add a function example() to the file that returns its arguments")
    )  # fmt: skip
    text = f"{function['name']} cannot be called {how}: "
    text += reason.text if reason else "no layout of that name fits"
    # Of a missing import, other arguments make no difference.
    hopeless = not example and reason is not None and reason.reached == HOPELESS
    return CheckError(text if hopeless else f"{text}. {advice}")


def is_gradient(call: Call) -> bool:
    """Whether what the function returns beside J may be meant for a gradient.

    Functions for the forward pass return J and what they computed on the way.
    """
    theta, (_, grad) = call.points[0], call.results[0]
    parts = leaves(theta), leaves(in_order(theta, grad))
    shapes, own = ([part.shape for part in some] for some in parts)
    return len(shapes) == len(own) or set(own) <= set(shapes)


def is_alike(call: Call) -> bool:
    """Whether the gradient has the form of the parameters, by one layout at least."""
    theta, (_, grad) = call.points[0], call.results[0]
    try:
        wanted, own = leaves(theta), leaves(in_order(theta, grad))
    except (TypeError, ValueError):
        return False
    if call.form.layouts and call.sizes:
        return any(_unpacks(layout, own) for layout in call.form.layouts)
    return [part.size for part in wanted] == [part.size for part in own]


def _unpacks(layout: Layout, parts: list[np.ndarray]) -> bool:
    try:
        layout.unpack(parts)
    except ValueError:
        return False
    return True


def _forms_differ(call: Call) -> Failure:
    theta, (_, grad) = call.points[0], call.results[0]
    shapes, own = ([part.shape for part in raw_leaves(value)] for value in (theta, grad))
    text = f"it is given parameters of shape {shapes} and returns a gradient of shape {own}"
    return Failure(text, TO_ITS_END)


def _differs(one: tuple[float, Any], other: tuple[float, Any]) -> bool:
    mine, yours = raw_leaves(one[1]), raw_leaves(other[1])
    if one[0] != other[0] or len(mine) != len(yours):
        return True
    return any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(mine, yours, strict=True))
