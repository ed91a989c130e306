"""Mistakes in backpropagation by name, where the cost under test is that of a lab's network.

Where the parameters are W1, b1, W2, … and the arguments x and y, costs at a few points tell
whether J is one that `networks.py` has. The rules of `rules.py` can be tried then.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jaxlab.gradcheck import numerical
from jaxlab.gradcheck.files.calls import Call, Options
from jaxlab.gradcheck.files.forms import Form
from jaxlab.gradcheck.files.layouts import MAJORS, Layout
from jaxlab.gradcheck.files.recognize import Recognised, points_needed, recognise
from jaxlab.gradcheck.functions import Problem
from jaxlab.gradcheck.mistakes import Mistake
from jaxlab.gradcheck.network_mistakes import LARGE, WrongGradient, name_mistakes
from jaxlab.gradcheck.networks import Array


def broken_rules(problem: Problem, args: Sequence[Any]) -> list[Mistake]:
    """The rules that are broken in a gradient of a lab's network; none where J is another cost.

    args: what the cost takes beside the parameters. Blocks are called as in the problem, in
    explanations as on the lab sheet.
    """
    g = list(problem.blocks(problem.g).values())
    found = next(filter(None, (recognise(call, Options()) for call in _calls(problem, args))), None)
    if found is None:
        return []
    mistakes = name_mistakes(_of_network(found, g), pairs=problem.g.size <= LARGE)
    theirs = {
        f"{kind}{l}": name
        for (kind, l, _), name in zip(found.layout.pieces(), problem.names, strict=True)
    }
    return [
        Mistake(m.id, ", ".join(theirs[name] for name in m.block.split(", ")), m.explanation)
        for m in mistakes
    ]


def _of_network(found: Recognised, g: list[Array]) -> WrongGradient:
    mine = found.layout.blocks(g)
    return WrongGradient([mine], [found.params(0)], found.call.x, found.call.y, found.network)


def _calls(problem: Problem, args: Sequence[Any]) -> Iterator[Call]:
    """What the parameters and arguments may mean, with J at enough points to tell."""
    theta = np.asarray(problem.theta, np.float64)
    arrays = [a for a in map(np.asarray, jax.tree.leaves(args)) if a.ndim and a.dtype.kind in "iuf"]
    if not arrays or arrays[0].ndim != 2:
        return
    rng = np.random.default_rng(0)
    for layout in _layouts(problem.shapes):
        for x in (arrays[0], arrays[0].T):
            y = _targets(arrays[1] if len(arrays) > 1 else arrays[0], len(x), layout.sizes[-1])
            if x.shape[1] != layout.sizes[0] or y is None:
                continue
            away = rng.uniform(-0.5, 0.5, (points_needed(layout.sizes) - 1, theta.size)) * theta
            moves = np.concatenate([np.zeros((1, theta.size)), away])
            J = numerical.costs_along(problem.J, theta, problem.data, moves, np.ones(1))[:, 0]
            call = Call(
                Form("", lambda rng: None, (layout,), False), layout.sizes, "rows",
                "" if len(arrays) > 1 else "none", np.asarray(x, np.float64), y, [], {}, 0.0, "",
            )  # fmt: skip
            call.points = [list(problem.blocks(theta + move).values()) for move in moves]
            call.results = [
                (float(value), point) for value, point in zip(J, call.points, strict=True)
            ]
            yield call


def _layouts(shapes: list[tuple[int, ...]]) -> Iterator[Layout]:
    """Those that arrays of these shapes, in this order, may have."""
    n = len(shapes) // 2
    for order, matrices in (("WbWb", shapes[::2]), ("WWbb", shapes[:n]), ("no-bias", shapes)):
        if not matrices or any(len(shape) != 2 for shape in matrices):
            continue
        for major in MAJORS:
            out, into = (0, 1) if major == "rows" else (1, 0)
            sizes = (matrices[0][into], *(shape[out] for shape in matrices))
            layout = Layout(order, major, sizes)
            try:
                layout.unpack([np.empty(shape) for shape in shapes])
            except ValueError:
                continue
            yield layout


def _targets(y: Array, m: int, units: int) -> Array | None:
    """Targets as a matrix (m, units): as they are, from columns, or from labels 0, 1, …"""
    for matrix in (y, y.T):
        if matrix.shape == (m, units):
            return np.asarray(matrix, np.float64)
    labels = y.ravel()
    if labels.shape != (m,):
        return None
    if units == 1:
        return np.asarray(labels[:, None], np.float64)
    whole = (labels == np.floor(labels)).all() and labels.min() >= 0 and labels.max() < units
    return np.eye(units)[labels.astype(int)] if whole else None
