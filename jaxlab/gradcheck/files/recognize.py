"""What does somebody's cost function compute?

Found out by comparing costs at random parameters: J is a fingerprint that needs no gradient.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxlab.errors import CheckError
from jaxlab.gradcheck.factors import snap
from jaxlab.gradcheck.files.calls import Call, Options, calls
from jaxlab.gradcheck.files.child import HOPELESS, TO_ITS_END
from jaxlab.gradcheck.files.layouts import Layout, in_order, leaves, raw_leaves
from jaxlab.gradcheck.files.process import Failure
from jaxlab.gradcheck.networks import LOSSES, Network, Params, Pass, named

# After so many ways that run but compute no known cost, it is another cost.
MOST_TRIES = 12
# Of a sparse autoencoder that does not take ρ as an argument.
RHOS = (0.05, 0.01, 0.1, 0.035, 0.02, 0.2)
# After so many calls that fail for what has nothing to do with their arguments, the others do too.
MOST_HOPELESS = 3
# A cost fits where this fraction of it at most is left over, in float64 and float32.
COST_TOLERANCE = {"float64": 1e-8, "float32": 2e-5}


@dataclass(frozen=True)
class Recognised:
    """A call whose cost is known: its layout and its network."""

    call: Call
    layout: Layout
    network: Network

    def params(self, point: int) -> Params:
        return self.layout.unpack(self.call.points[point])

    def cost_text(self) -> str:
        """The cost in words: "1/m Σ ½‖a - y‖² …"."""
        n, m, K = self.network, len(self.call.x), self.call.sizes[-1]
        known = {
            "mean over the m examples": 1 / m,
            "sum over the examples": 1.0,
            "mean over the m examples, without ½": 2 / m,
            "sum over the examples, without ½": 2.0,
            "half the mean over the m examples": 0.5 / m,
            "mean over examples and units, without ½": 2 / (m * K),
            "mean over examples and units": 1 / (m * K),
        }
        scale = _nice(abs(n.factor), known)
        scale = scale or f"{abs(n.factor):.6g} × the sum over the examples"
        text = f"{LOSSES[n.loss].text}; {'minus the ' * (n.factor < 0)}{scale}"
        if n.hidden != "sigmoid" and len(self.call.sizes) > 2:
            text += f"; hidden units {n.hidden}"
        if n.decay:
            blocks = ", ".join(n.decay)
            c = max(n.decay.values())
            lam = self.call.decay
            term = _nice(c, {"½λ": lam, "λ": 2 * lam, "½λ/m": lam / m, "λ/m": 2 * lam / m})
            text += f"; weight decay {term or f'½ {c:.4g}'} ‖·‖² on {blocks}"
        if n.beta:
            text += f"; sparsity {n.beta:.4g} Σ KL({n.rho:g} ‖ ρ̂)"
        return text


def _nice(value: float, table: dict[str, float]) -> str:
    return next((text for text, v in table.items() if v and np.isclose(value, v, rtol=1e-7)), "")


# --- costs ---


def recognise(call: Call, options: Options) -> Recognised | None:
    """The layout and the network whose cost equals the function's at every point, if any."""
    J = np.array([j for j, _ in call.results])
    dtype = call.dtype
    tolerance = COST_TOLERANCE[dtype]
    hidden = ("sigmoid", "tanh", "relu") if len(call.sizes) > 2 else ("sigmoid",)
    for layout, points in _layouts(call):
        for loss in [options.cost] if options.cost else LOSSES:
            for activation in hidden:
                found = _fit(J, points, call, Network(loss, activation), layout, tolerance)
                if found:
                    return Recognised(call, layout, found)
    return _recognise_sparse(J, call, options, tolerance)


def _layouts(call: Call) -> Iterator[tuple[Layout, list[Params]]]:
    """Those that fit the parameters, and the layers at every point by each."""
    for layout in call.form.layouts:
        try:
            yield layout, [layout.unpack(point) for point in call.points]
        except ValueError:
            continue


def _recognise_sparse(J, call: Call, options: Options, tolerance) -> Recognised | None:
    """The same for a cost with a penalty on the means of hidden sigmoid units."""
    if len(call.sizes) < 3 or (call.rho is None and call.labels != "none"):
        return None
    for layout, points in _layouts(call):
        for loss in [options.cost] if options.cost else LOSSES:
            for rho in RHOS if call.rho is None else (call.rho,):
                network = Network(loss, rho=rho, beta=1.0)
                if found := _fit(J, points, call, network, layout, tolerance):
                    return Recognised(call, layout, found)
    return None


def _fit(J, points, call: Call, network: Network, layout: Layout, tolerance) -> Network | None:
    """J = factor × D + Σ ½ decay ‖block‖² (+ beta × KL), solved for these over all points.

    There are more points than unknowns: the rest of them prove it.
    """
    if call.y.shape[1] != len(points[0][-1][0]):
        return None
    with np.errstate(all="ignore"):
        passes = [Pass(params, call.x, call.y, network) for params in points]
        D = [p.data_cost() for p in passes]
        KL = [[p.divergence()] for p in passes] if network.beta else [[] for _ in passes]
    blocks = [name for name in named(points[0]) if layout.has_bias or name[0] == "W"]
    squares = [[0.5 * float((named(p)[name] ** 2).sum()) for name in blocks] for p in points]
    features = np.column_stack([D, squares, KL])
    if not np.isfinite(features).all():
        return None
    scale = np.linalg.norm(features, axis=0)
    if not scale.all():  # softmax of one unit
        return None
    # Without decay first: one unknown less to be wrong about.
    factor = float(features[:, 0] @ J / scale[0] ** 2)
    size = float(np.linalg.norm(J))
    if not network.beta and np.linalg.norm(factor * features[:, 0] - J) <= tolerance * size:
        return Network(network.loss, network.hidden, _exact(factor, call, tolerance))
    solution, _, rank, _ = np.linalg.lstsq(features / scale, J, rcond=None)
    solution = solution / scale
    if rank < len(scale) or np.linalg.norm(features @ solution - J) > tolerance * size:
        return None
    if abs(solution[0]) * scale[0] <= tolerance * size:
        return None
    decay = {
        name: _exact_decay(float(c), call, tolerance)
        for name, c, length in zip(blocks, solution[1:], scale[1:], strict=False)
        if abs(c) * length > 1e3 * tolerance * size
    }
    factor = _exact(float(solution[0]), call, 1e3 * tolerance)
    if not network.beta:
        return Network(network.loss, network.hidden, factor, decay)
    if abs(solution[-1]) * scale[-1] <= 1e3 * tolerance * size:
        return None
    beta = snap(float(solution[-1]))
    return Network(network.loss, network.hidden, factor, decay, network.rho, beta)


def _exact(value: float, call: Call, tolerance: float) -> float:
    m, K = len(call.x), call.sizes[-1]
    nice = [s * n for n in (1, 2, 0.5, 1 / K, 2 / K) for s in (1 / m, 1, -1 / m, -1)]
    return float(next((v for v in nice if abs(v - value) <= tolerance * abs(v)), value))


def _exact_decay(value: float, call: Call, tolerance: float) -> float:
    m, lam = len(call.x), call.decay
    nice = [lam * f for f in (1, 2, 0.5, 1 / m, 2 / m, 0.5 / m)] if lam else []
    return float(next((v for v in nice if abs(v - value) <= 1e4 * tolerance * abs(v)), value))


def points_needed(sizes: tuple[int, ...]) -> int:
    """Enough points for every unknown of `_fit`, and six more."""
    return 2 * (len(sizes) - 1) + 2 + 6


def find(
    theirs: Callable[[Call, list[Any]], tuple[list[tuple[float, Any]], Failure | None]],
    function: dict,
    example: list | None,
    options: Options,
) -> tuple[Recognised | None, Call]:
    """The first call whose cost is known, else None and the first that works at all.

    Of several that work, one whose gradient is built like the parameters is preferred: another may
    run without being what was meant. theirs(call, points) calls the function. Raises `CheckError`
    with what it said where no call works.
    """
    rng = np.random.default_rng(options.seed + 1)
    deeper, constant = Failure("", -1), 0
    works, unlike, errors, tries, tries_unlike = None, None, list[Failure](), 0, 0
    for call in calls(function, example, options):
        if unlike and unlike[1].sizes == call.sizes and unlike[1].labels != call.labels:
            continue  # labels have nothing to do with it
        one = call.form.make(rng)
        results, error = theirs(call, [one, one])
        if error is None and not np.isfinite(results[0][0]):
            error = Failure(f"J is {results[0][0]}", TO_ITS_END)
        if error:
            errors.append(error)
            if len(call.sizes) > 2 and not call.form.flat:
                deeper = max(deeper, error, key=lambda failure: failure.reached)
            if [e.reached for e in errors].count(HOPELESS) >= MOST_HOPELESS:
                break
            continue
        alike = is_alike(call, one, results[0][1])
        if not alike:
            tries_unlike += 1
            if unlike or tries_unlike > MOST_TRIES:
                continue
        if _differs(*results):
            raise CheckError(
                "two calls with the same arguments give different numbers (dropout, random noise, "
                "something kept between calls?): fix the seed inside the function, then check again"
            )
        more = [call.form.make(rng) for _ in range(points_needed(call.sizes or (1, 1, 1)) - 1)]
        results_of_more, error = theirs(call, more)
        call.points, call.results = [one, *more], results[:1] + results_of_more
        if error is None and not np.isfinite([J for J, _ in call.results]).all():
            error = Failure("J is not finite at some random parameters", TO_ITS_END)
        if error:
            errors.append(error)
            continue
        if len({J for J, _ in call.results}) == 1:
            errors.append(Failure(f"J is {results[0][0]:g} whatever the parameters", TO_ITS_END))
            constant += 1
            if constant == MOST_HOPELESS:
                break
            continue
        found = recognise(call, options) if call.sizes else None
        if found and alike:
            if len(call.sizes) == 2 and call.sizes[-1] > 1 and not call.form.flat:
                call.deeper = deeper.text
            return found, call
        if not alike:
            # By name, arguments may have been taken for all parameters that are only some.
            unlike = (found, call) if found or (example and not call.by_name) else None
            errors.append(Failure(_forms_differ(one, results[0][1]), TO_ITS_END))
            if len(call.sizes) > 2 and not call.form.flat:
                deeper = errors[-1]
            continue
        works = works or call
        tries += 1
        if tries == MOST_TRIES:
            break
    if works is None and unlike:
        return unlike
    if works is None:
        # What comes furthest was called most nearly as it wants to be.
        reason = max(errors, key=lambda error: error.reached, default=None)
        how = "with random data"
        advice = "Check --sizes, or add a function example() to the file that returns its arguments"
        if example:
            how = "with what example() returns"
            advice = "Parameters are its first argument, or those named W1, b1, W2, …"
        text = f"{function['name']} cannot be called {how}: "
        text += reason.text if reason else "no layout of that name fits"
        # Of a missing import, other arguments make no difference.
        hopeless = not example and reason is not None and reason.reached == HOPELESS
        raise CheckError(text if hopeless else f"{text}. {advice}")
    return None, works


def is_gradient(call: Call) -> bool:
    """Whether what the function returns beside J may be meant for a gradient.

    Functions for the forward pass return J and what they computed on the way.
    """
    theta, (_, grad) = call.points[0], call.results[0]
    parts = leaves(theta), leaves(in_order(theta, grad))
    shapes, own = ([part.shape for part in some] for some in parts)
    return len(shapes) == len(own) or set(own) <= set(shapes)


def is_alike(call: Call, theta: Any, grad: Any) -> bool:
    """Whether the gradient has the form of the parameters, by one layout at least."""
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


def _forms_differ(theta: Any, grad: Any) -> str:
    shapes, own = ([part.shape for part in raw_leaves(value)] for value in (theta, grad))
    return f"it is given parameters of shape {shapes} and returns a gradient of shape {own}"


def _differs(one: tuple[float, Any], other: tuple[float, Any]) -> bool:
    mine, yours = raw_leaves(one[1]), raw_leaves(other[1])
    if one[0] != other[0] or len(mine) != len(yours):
        return True
    return any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(mine, yours, strict=True))
