"""Mistakes in backpropagation by name, where the cost under test is that of a lab's network.

Where the parameters are W1, b1, W2, … and the arguments x and y, costs at a few points tell
whether J is one that `networks.py` has. The rules of `rules.py` can be tried then.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from jaxlab.gradcheck import numerical
from jaxlab.gradcheck.functions import Problem
from jaxlab.gradcheck.known_cost import RHOS, Costs, points_needed, recognise
from jaxlab.gradcheck.layouts import MAJORS, Layout
from jaxlab.gradcheck.mistakes import Mistake
from jaxlab.gradcheck.network_mistakes import LARGE, WrongGradient, name_mistakes
from jaxlab.gradcheck.networks import Array


def broken_rules(problem: Problem, args: Sequence[Any]) -> list[Mistake]:
    """The rules that are broken in a gradient of a lab's network; none where J is another cost.

    args: what the cost takes beside the parameters. Blocks are called as in the problem, in
    explanations as on the lab sheet.
    """
    g = list(problem.blocks(problem.g).values())
    for asked, seen in _readings(problem, args):
        if known := recognise(seen, [asked]):
            layout, network = known
            params = layout.unpack(seen.points[0])
            wrong = WrongGradient([layout.blocks(g)], [params], seen.x, seen.y, network)
            pairs = zip(layout.pieces(), problem.names, strict=True)
            theirs = {f"{kind}{l}": name for (kind, l, _), name in pairs}
            return [
                replace(mistake, block=", ".join(theirs[n] for n in mistake.block.split(", ")))
                for mistake in name_mistakes(wrong, pairs=problem.g.size <= LARGE)
            ]
    return []


def _readings(problem: Problem, args: Sequence[Any]) -> Iterator[tuple[Layout, Costs]]:
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
            points = [list(problem.blocks(theta + move).values()) for move in moves]
            rhos = () if len(arrays) > 1 else RHOS
            yield layout, Costs(points, J, np.asarray(x, np.float64), y, rhos=rhos)


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
