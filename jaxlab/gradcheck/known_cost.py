"""What does somebody's cost compute?

Found out by comparing costs at random parameters: J is a fingerprint that needs no gradient.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxlab.gradcheck.factors import snap
from jaxlab.gradcheck.layouts import Layout
from jaxlab.gradcheck.networks import LOSSES, Array, Network, Params, Pass, named

# Mean activations that a sparse autoencoder may have been written with.
RHOS = (0.05, 0.01, 0.1, 0.035, 0.02, 0.2)
# A cost fits where this fraction of it at most is left over.
TOLERANCE = {"float64": 1e-8, "float32": 2e-5}


@dataclass(frozen=True)
class Costs:
    """J at several parameters, and what it was computed on.

    points: parameters, as a vector or a structure of arrays; J: one cost each, computed in dtype.
    x: (m, units in), y: (m, units out). decay: the λ that the cost was given, 0 where none. rhos:
    mean activations that a penalty on hidden units may ask for, () where there can be none.
    """

    points: Sequence[Any]
    J: Array
    x: Array
    y: Array
    dtype: str = "float64"
    decay: float = 0.0
    rhos: tuple[float, ...] = ()


def points_needed(sizes: tuple[int, ...]) -> int:
    """Enough points for every unknown of `_fit`, and six more."""
    return 2 * (len(sizes) - 1) + 2 + 6


def recognise(
    seen: Costs, layouts: Sequence[Layout], losses: Sequence[str] = tuple(LOSSES)
) -> tuple[Layout, Network] | None:
    """The layout and the network whose cost equals J at every point, if any."""
    if not np.isfinite(seen.J).all():
        return None
    readings = [*_readings(seen, layouts)]
    for layout, params in readings:
        for loss in losses:
            for hidden in ("sigmoid", "tanh", "relu") if len(layout.sizes) > 2 else ("sigmoid",):
                if found := _fit(seen, layout, params, Network(loss, hidden)):
                    return layout, found
    for layout, params in readings:
        for loss in losses:
            for rho in seen.rhos if len(layout.sizes) > 2 else ():
                if found := _fit(seen, layout, params, Network(loss, rho=rho, beta=1.0)):
                    return layout, found
    return None


def _readings(seen: Costs, layouts: Sequence[Layout]) -> Iterator[tuple[Layout, list[Params]]]:
    """The layouts that fit the parameters, and the layers at every point by each."""
    for layout in layouts:
        try:
            yield layout, [layout.unpack(point) for point in seen.points]
        except ValueError:
            continue


def _fit(seen: Costs, layout: Layout, params: list[Params], network: Network) -> Network | None:
    """J = factor × D + Σ ½ decay ‖block‖² (+ beta × KL), solved for these over all points.

    There are more points than unknowns: the rest of them prove it.
    """
    if seen.y.shape[1] != layout.sizes[-1]:
        return None
    with np.errstate(all="ignore"):
        passes = [Pass(p, seen.x, seen.y, network) for p in params]
        D = [p.data_cost() for p in passes]
        KL = [[p.divergence()] for p in passes] if network.beta else [[] for _ in passes]
    blocks = [name for name in named(params[0]) if layout.has_bias or name[0] == "W"]
    squares = [[0.5 * float((named(p)[name] ** 2).sum()) for name in blocks] for p in params]
    features = np.column_stack([D, squares, KL])
    if not np.isfinite(features).all():
        return None
    scale = np.linalg.norm(features, axis=0)
    if not scale.all():  # softmax of one unit
        return None
    J, tolerance = seen.J, TOLERANCE[seen.dtype]
    # Without decay first: one unknown less to be wrong about.
    factor = float(features[:, 0] @ J / scale[0] ** 2)
    size = float(np.linalg.norm(J))
    if not network.beta and np.linalg.norm(factor * features[:, 0] - J) <= tolerance * size:
        return replace(network, factor=_exact_factor(factor, seen, tolerance))
    solution, _, rank, _ = np.linalg.lstsq(features / scale, J, rcond=None)
    solution = solution / scale
    if rank < len(scale) or np.linalg.norm(features @ solution - J) > tolerance * size:
        return None
    if abs(solution[0]) * scale[0] <= tolerance * size:
        return None
    decay = {
        name: _exact_decay(float(c), seen, tolerance)
        for name, c, length in zip(blocks, solution[1:], scale[1:], strict=False)
        if abs(c) * length > 1e3 * tolerance * size
    }
    factor = _exact_factor(float(solution[0]), seen, 1e3 * tolerance)
    if not network.beta:
        return replace(network, factor=factor, decay=decay)
    if abs(solution[-1]) * scale[-1] <= 1e3 * tolerance * size:
        return None
    return replace(network, factor=factor, decay=decay, beta=snap(float(solution[-1])))


def _exact_factor(value: float, seen: Costs, tolerance: float) -> float:
    m, K = len(seen.x), seen.y.shape[1]
    nice = [s * n for n in (1, 2, 0.5, 1 / K, 2 / K) for s in (1 / m, 1, -1 / m, -1)]
    return float(next((v for v in nice if abs(v - value) <= tolerance * abs(v)), value))


def _exact_decay(value: float, seen: Costs, tolerance: float) -> float:
    m, lam = len(seen.x), seen.decay
    nice = [lam * f for f in (1, 2, 0.5, 1 / m, 2 / m, 0.5 / m)] if lam else []
    return float(next((v for v in nice if abs(v - value) <= 1e4 * tolerance * abs(v)), value))


def in_words(network: Network, layers: int, m: int, K: int, decay: float) -> str:
    """The cost of a network of so many layers, over m examples and K outputs: "1/m Σ ½‖a - y‖² …".

    decay: the λ that it was given.
    """
    known = {
        "mean over the m examples": 1 / m,
        "sum over the examples": 1.0,
        "mean over the m examples, without ½": 2 / m,
        "sum over the examples, without ½": 2.0,
        "half the mean over the m examples": 0.5 / m,
        "mean over examples and units, without ½": 2 / (m * K),
        "mean over examples and units": 1 / (m * K),
    }
    scale = _nice(abs(network.factor), known)
    scale = scale or f"{abs(network.factor):.6g} × the sum over the examples"
    text = f"{LOSSES[network.loss].text}; {'minus the ' * (network.factor < 0)}{scale}"
    if network.hidden != "sigmoid" and layers > 2:
        text += f"; hidden units {network.hidden}"
    if network.decay:
        c = max(network.decay.values())
        term = _nice(c, {"½λ": decay, "λ": 2 * decay, "½λ/m": decay / m, "λ/m": 2 * decay / m})
        blocks = ", ".join(network.decay)
        text += f"; weight decay {term or f'½ {c:.4g}'} ‖·‖² on {blocks}"
    if network.beta:
        text += f"; sparsity {network.beta:.4g} Σ KL({network.rho:g} ‖ ρ̂)"
    return text


def _nice(value: float, table: dict[str, float]) -> str:
    return next((text for text, v in table.items() if v and np.isclose(value, v, rtol=1e-7)), "")
