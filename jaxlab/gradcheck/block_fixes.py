"""What may be wrong with one block alone: a factor, a weight decay, its form, its order.

`block_fixes` finds what turns a candidate for a block's gradient into the one under test;
`network_mistakes.py` asks it of every backward pass that it tries.
"""

from collections.abc import Iterator

import numpy as np

from jaxlab.gradcheck.networks import Array, Blocks
from jaxlab.gradcheck.sums import norm

# One thing that is wrong with a block alone: (id, detail); the same key in several blocks is one
# mistake.
Key = tuple[str, str]
Fix = tuple[Key, ...]


def block_fixes(
    name: str, every: Blocks, candidate: Blocks, theta: Array, *, decay: float, m: int,
    tolerance: float,
) -> Iterator[Fix]:  # fmt: skip
    """What turns the candidate's block into the one under test, from the simplest on.

    Nothing, a factor, a weight decay, another form of the block. every: all blocks under test.
    Blocks are stacked, (points, *shape); theta: the parameters of this one. decay: of this block
    in the cost.
    """
    mine = every[name]
    g = candidate[name]
    data = mine - decay * theta
    if close(mine, g + decay * theta, tolerance):
        yield ()
        return
    if not np.isfinite(mine).all():
        yield (("not a number", "{block} has entries that are nan or infinite"),)
        return
    if not mine.any():
        yield (("zero", "{block} is zero: it never gets its gradient"),)
    k = ratio(mine, g + decay * theta)
    if k and close(mine, k * (g + decay * theta), tolerance):
        yield (_factor(k, m, len(theta[0])),)
        return
    if decay:
        k = ratio(data, g)
        if k and close(data, k * g, tolerance):
            yield (_factor(k, m, len(theta[0])),)
            return
    c = ratio(mine - g, theta)
    if close(mine, g + c * theta, tolerance):
        yield (_decay_key(c, decay, m, name),)
        return
    for key, form, factors in _forms(name, data, candidate, every, tolerance):
        if close(data, form, tolerance):
            yield (key,)
            continue
        k = ratio(data, form)
        if k and close(data, k * form, tolerance):
            units = data[0].size
            listed = factors and any(np.isclose(k, f) for f in (1, m, 1 / units, m / units))
            yield (key,) if listed else (key, _factor(k, m, len(theta[0])))
    if mine.size > 4:
        (k, c), *_ = np.linalg.lstsq(
            np.stack([g.ravel(), theta.ravel()], axis=1), mine.ravel(), rcond=None
        )
        if close(mine, k * g + c * theta, tolerance):
            yield (
                _factor(k, m, len(theta[0])),
                _decay_key(c, decay, m, name),
            )


def _forms(
    name: str, data: Array, candidate: Blocks, mine: Blocks, tolerance: float
) -> Iterator[tuple[Key, Array, bool]]:
    """Other forms of a block: (what it is called, its values, whether a factor such as 1/m is part
    of the same mistake)."""
    g = candidate[name]
    points = len(g)
    empty = [i for i in range(g.shape[1]) if not data[:, i].any() and g[:, i].any()]
    if empty and len(empty) < g.shape[1]:
        form = g.copy()
        form[:, empty] = 0
        units = ", ".join(str(i + 1) for i in empty)
        yield (
            ("unit left out", f"unit {units} of {{block}} is zero: its loop misses it"),
            form,
            False,
        )
    if g.ndim == 3:
        for mirrored, how in (
            (g.transpose(0, 2, 1).reshape(points, *g.shape[1:]), "rows for columns"),
            (
                g.reshape(points, -1).reshape(points, *g.shape[:0:-1]).transpose(0, 2, 1),
                "columns for rows",
            ),
        ):
            square = g.shape[1] == g.shape[2]
            key = ("transposed", "{block} is transposed: the product is δ aᵀ, not a δᵀ")
            if not square:
                key = ("reshaped", f"{{block}} is read in the other order, {how}")
            yield key, mirrored, False
        columns = [i for i in range(g.shape[2]) if not data[:, :, i].any() and g[:, :, i].any()]
        if columns and len(columns) < g.shape[2]:
            form = g.copy()
            form[:, :, columns] = 0
            which = ", ".join(str(i + 1) for i in columns)
            yield (
                ("input left out", f"column {which} of {{block}} is zero: its loop misses it"),
                form,
                False,
            )
        sums = g.sum(axis=1, keepdims=True) + 0 * g
        yield ("summed over units", "{block} is summed over its units"), sums, False
    if g[0].size > 1:
        everything = g.reshape(points, -1).sum(axis=1).reshape(points, *[1] * (g.ndim - 1)) + 0 * g
        # Softmax minus one-hot sums to 0, but for rounding.
        everything[np.abs(everything) < 1e-11 * norm(g)] = 0
        yield (
            ("summed over everything",
             "{block} is summed over all units too: sum over the examples alone (axis of the "
             "examples)"),
            everything, True,
        )  # fmt: skip
        yield ("reversed", "{block} has its units in reverse order"), g[:, ::-1], False
    yield ("absolute value", "{block} has lost its signs"), np.abs(g), False
    for other, theirs in candidate.items():
        if other != name and theirs.shape == g.shape:
            pair = " and ".join(sorted((name, other)))
            if close(mine[other], g, tolerance):
                yield ("swapped", f"the gradients of {pair} are swapped"), theirs, False
            elif g.ndim == 3:  # of biases it is δ of another layer
                yield (
                    ("gradient of another block", f"{{block}} has the gradient of {other}"),
                    theirs,
                    False,
                )


def _factor(k: float, m: int, units: int) -> Key:
    """The name of a factor: times m, 1/m, 2, -1, …"""
    table = (
        (m, "1/m forgotten", f"{{block}} is m = {m} times what it should be: divide by m"),
        (1 / m, "1/m twice",
         f"{{block}} is 1/m = 1/{m} of what it should be: divided by m once too often"),
        (-1, "sign", "{block} has the wrong sign"),
        (-m, "sign and 1/m",
         f"{{block}} is -m = -{m} times what it should be: turn the sign, and divide by m"),
        (-1 / m, "sign and 1/m",
         f"{{block}} is -1/m = -1/{m} times what it should be: the sign is turned, and it "
         "is divided by m once too often"),
        (2, "factor", "{block} is 2 times what it should be: a ½ is forgotten, or a 2 is too many"),
        (0.5, "factor", "{block} is ½ of what it should be: a ½ is too many, or a 2 is forgotten"),
        (m / max(m - 1, 1), "1/(m-1)",
         f"{{block}} is divided by m - 1 = {m - 1}: divide by m = {m}"),
        (1 / m**2, "1/m twice", f"{{block}} is 1/m² = 1/{m * m} of what it should be"),
        (m / 2, "1/m forgotten", f"{{block}} is m/2 = {m / 2:g} times what it should be"),
        (2 / m, "1/m twice", f"{{block}} is 2/m = 2/{m} of what it should be"),
    )  # fmt: skip
    for value, id, text in table:
        if np.isclose(k, value, rtol=1e-4):
            return id, text
    if np.isclose(k, 1 / units, rtol=1e-4) and units > 1:
        return "factor", f"{{block}} is 1/{units} of what it should be: averaged over the units too"
    return "factor", f"{{block}} is {k:.6g} times what it should be"


def _decay_key(c: float, decay: float, m: int, name: str) -> Key:
    """The name of a weight decay with coefficient c where the cost has `decay`."""
    if not decay:
        what = "the bias" if name.startswith("b") else "{block}"
        id = "bias decayed" if name.startswith("b") else "decay not in the cost"
        return id, f"{what} is decayed ({c:+.4g} × {{block}}), but the cost has no such term"
    if abs(c) < 1e-7 * abs(decay):
        return (
            "decay missing",
            f"the weight decay of the cost is missing: add {decay:.4g} × {{block}}"
            + ", or leave the biases out of the cost's, as is usual" * name.startswith("b"),
        )
    for factor, id, how in (
        (-1, "decay sign", "has the wrong sign"),
        (1 / m, "decay factor", f"is divided by m = {m} once too often"),
        (m, "decay factor", f"is m = {m} times too large: divide it by m"),
        (2, "decay factor", "is 2 times too large: the ½ of ½λ‖W‖² cancels the 2"),
        (
            0.5,
            "decay factor",
            "is half of what it should be: the derivative of λ‖W‖² is 2λW, that of ½λ‖W‖² is λW",
        ),
    ):
        if np.isclose(c, factor * decay, rtol=1e-4):
            return id, f"the weight decay of {{block}} {how}"
    return (
        "decay factor",
        f"the weight decay of {{block}} is {c / decay:.6g} times what it should be",
    )


def close(one: Array, other: Array, tolerance: float) -> bool:
    """Whether two arrays agree to this part of their largest number."""
    size = max(np.abs(one).max(), np.abs(other).max())
    return bool(np.abs(one - other).max() <= tolerance * size)


def ratio(one: Array, other: Array) -> float:
    """The factor k for which k × other is nearest to one."""
    size = float((other * other).sum())
    return float((one * other).sum()) / size if size else float("nan")
