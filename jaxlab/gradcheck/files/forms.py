"""What a function may take as its parameters.

A vector, a dict or list of arrays, or arguments of their own (W1, b1, …), each with the layouts
that it may have and a way to draw random ones.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from jaxlab.gradcheck.files.roles import piece_of
from jaxlab.gradcheck.layouts import MAJORS, ORDERS, Layout, raw_leaves, rebuilt, shape_of_numbers
from jaxlab.gradcheck.networks import Array

BIASES = ("(n,)", "(1, n)", "(n, 1)")
# The root mean square of what `draw` draws, about.
TYPICAL = 0.6
KINDS = {
    "dict": "dict",
    "list": "list",
    "pairs": "list of pairs",
    "dicts": "list of dicts",
    "lower dict": "dict",
}


@dataclass(frozen=True)
class Form:
    """What a function may take as its parameters, and the layouts that this may have.

    make(rng) draws parameters in this form. near: close to those of an example, for functions that
    work nowhere else.
    """

    text: str
    make: Callable[[np.random.Generator], Any]
    layouts: tuple[Layout, ...]
    flat: bool
    near: bool = False

    def under(self, name: str) -> "Form":
        """The same in a dict of one entry."""
        return replace(self, make=lambda rng: {name: self.make(rng)})


def forms(sizes: tuple[int, ...], flat_first: bool) -> list[Form]:
    """Every form that is tried for a network of these layers."""
    flat, structured = list(_flat(sizes)), list(_structured(sizes))
    return flat + structured if flat_first else structured + flat


def separate_forms(names: Sequence[str], sizes: tuple[int, ...]) -> list[Form]:
    """The forms of parameters that are arguments of their own: W1, b1, …, or weights, biases.

    They are dicts by the names of the arguments.
    """
    kinds = [piece for name in names if (piece := piece_of(name))]
    numbers = sorted({number for _, number in kinds})
    wanted = [(kind, numbers.index(number) + 1) for kind, number in kinds]
    found: dict[tuple, Form] = {}
    text = f"{', '.join(names)}, each an argument"
    if len(sizes) == 2 and sizes[-1] == 1 and wanted == [("W", 1), ("b", 1)]:
        make = partial(_vector_and_number, names, sizes[0])
        found[sizes] = Form(text, make, (Layout("WbWb", "rows", sizes),), False)
    for order in ORDERS:
        for layout in (Layout(order, major, sizes) for major in MAJORS):
            pieces = layout.pieces()
            here = [("b" if kind == "b" else "W", l) for kind, l, _ in pieces]
            # All W in one argument and all b in another.
            lists = order in ("WWbb", "bbWW") and wanted == list(dict.fromkeys(
                (kind, 1) for kind, _ in here))  # fmt: skip
            if here != wanted and not lists:
                continue
            for bias in BIASES[: 1 if order.startswith(("bias", "no")) else None]:
                make = partial(_by_name, names, layout, bias)
                key = (tuple(shape for _, _, shape in pieces), bias, lists)
                found.setdefault((*key, order), Form(text, make, (layout,), False))
    return list(found.values())


def _by_name(names: Sequence[str], layout: Layout, bias: str, rng: np.random.Generator) -> dict:
    arrays = _pieces(layout, bias, rng)
    if len(names) == len(arrays):
        return dict(zip(names, arrays, strict=True))
    half = len(arrays) // 2
    return {names[0]: arrays[:half], names[1]: arrays[half:]}


def _vector_and_number(names: Sequence[str], n_in: int, rng: np.random.Generator) -> dict:
    """w and b of a linear or logistic regression."""
    return {names[0]: draw((n_in,), rng), names[1]: float(draw((1,), rng)[0])}


def form_of(example: Any, sizes: tuple[int, ...]) -> Form | None:
    """The form of the parameters that an example gives; None where no layout fits."""
    fitting = []
    for order in ORDERS:
        for major in MAJORS:
            layout = Layout(order, major, sizes)
            try:
                layout.unpack(example)
            except ValueError:
                continue
            fitting.append(layout)
    if not fitting:
        return None
    flat = isinstance(example, np.ndarray) and example.ndim == 1
    return Form("as in example()", partial(redrawn, example), tuple(fitting), flat)


def redrawn(structure: Any, rng: np.random.Generator) -> Any:
    """The same structure of arrays with random numbers in it, as large as its own or smaller.

    Where an example has small weights, large ones may saturate every unit.
    """
    arrays = [leaf.ravel() for leaf in raw_leaves(structure) if leaf.dtype.kind == "f"]
    own = np.concatenate([np.zeros(0), *arrays])
    own = own[np.isfinite(own) & (own != 0)]
    size = np.sqrt(np.mean(own**2)) if own.size else 1.0
    return _redrawn(structure, rng, min(max(float(size) / TYPICAL, 0.01), 1.0))


def nearby(structure: Any, rng: np.random.Generator) -> Any:
    """The same structure of arrays with each number changed by a tenth at most."""
    arrays = [
        leaf * (1 + 0.1 * rng.uniform(-1, 1, leaf.shape))
        + 0.01 * (leaf == 0) * draw(leaf.shape, rng)
        if leaf.dtype.kind == "f"
        else leaf
        for leaf in raw_leaves(structure)
    ]
    return rebuilt(structure, iter(arrays))


def _redrawn(structure: Any, rng: np.random.Generator, scale: float) -> Any:
    if isinstance(structure, dict):
        return {key: _redrawn(part, rng, scale) for key, part in structure.items()}
    if shape := shape_of_numbers(structure):
        return (scale * draw(shape, rng)).tolist()
    if isinstance(structure, list | tuple):
        return type(structure)(_redrawn(part, rng, scale) for part in structure)
    if isinstance(structure, np.ndarray):
        return (scale * draw(structure.shape, rng)).astype(
            structure.dtype if structure.dtype.kind == "f" else np.float64
        )
    return scale * float(draw((1,), rng)[0]) if isinstance(structure, float) else structure


def draw(shape: Sequence[int], rng: np.random.Generator) -> Array:
    """Random numbers whose size differs from part to part, so that costs tell the parts apart."""
    values = rng.standard_normal(tuple(shape)).ravel()
    scale = np.exp(0.5 * rng.standard_normal(8)).repeat(-(-values.size // 8))[: values.size]
    return (0.5 * rng.uniform(0.5, 1.5) * scale * values).reshape(tuple(shape))


def _flat(sizes: tuple[int, ...]) -> Iterator[Form]:
    for biases in (True, False):
        layouts = tuple(
            Layout(order, major, sizes)
            for order in ORDERS
            for major in MAJORS
            if (order != "no-bias") == biases
        )
        n = layouts[0].length
        yield Form(f"a vector of {n} numbers", partial(draw, (n,)), layouts, True)


def _structured(sizes: tuple[int, ...]) -> Iterator[Form]:
    for major in MAJORS:
        layout = Layout("WbWb", major, sizes)
        for bias in BIASES:
            # A single layer is W, b as often as it is W1, b1.
            for kind in (*KINDS, *["plain dict"] * (len(sizes) == 2)):
                text = f"a {KINDS.get(kind, 'dict')} of arrays"
                yield Form(text, partial(_arrays, kind, layout, bias), (layout,), False)
        for order in ("bias-first", "bias-last", "no-bias"):
            layout = Layout(order, major, sizes)
            yield Form("a list of matrices", partial(_matrices, layout), (layout,), False)
            name = "W" if order == "no-bias" else "Theta"
            make = partial(_named_matrices, name, layout)
            yield Form("a dict of matrices", make, (layout,), False)
            if len(sizes) == 2:
                yield Form("a matrix", partial(_matrix, layout), (layout,), False)


def _matrices(layout: Layout, rng: np.random.Generator) -> list[Array]:
    return [draw(shape, rng) for _, _, shape in layout.pieces()]


def _named_matrices(name: str, layout: Layout, rng: np.random.Generator) -> dict[str, Array]:
    return {f"{name}{l}": W for l, W in enumerate(_matrices(layout, rng), start=1)}


def _matrix(layout: Layout, rng: np.random.Generator) -> Array:
    return _matrices(layout, rng)[0]


def _pieces(layout: Layout, bias: str, rng: np.random.Generator) -> list[Array]:
    """Random arrays in the layout's order, biases as vectors, rows or columns."""
    arrays = []
    for piece, _, shape in layout.pieces():
        if piece == "b":
            shape = {"(n,)": shape, "(1, n)": (1, *shape), "(n, 1)": (*shape, 1)}[bias]
        arrays.append(draw(shape, rng))
    return arrays


def _arrays(kind: str, layout: Layout, bias: str, rng: np.random.Generator) -> Any:
    arrays = _pieces(layout, bias, rng)
    names = [piece if kind == "plain dict" else f"{piece}{l}" for piece, l, _ in layout.pieces()]
    if kind.endswith("dict"):
        keys = [name.lower() if kind == "lower dict" else name for name in names]
        return dict(zip(keys, arrays, strict=True))
    pairs = list(zip(arrays[::2], arrays[1::2], strict=True))
    if kind == "dicts":
        return [{"W": W, "b": b} for W, b in pairs]
    return arrays if kind == "list" else pairs
