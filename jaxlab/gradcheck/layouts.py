"""The ways in which people lay out the parameters of a network.

One flat vector, or a dict or list of arrays: either way a sequence of pieces, W(l) and b(l) in
some order, a matrix with its rows or its columns first, a bias perhaps as a column of its
matrix. A `Layout` turns what a function takes and returns into (W, b) for every layer.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from jaxlab.gradcheck.networks import Array

# id (that of --layout): in words, the likeliest first.
ORDERS = {
    "WbWb": "W1, b1, W2, b2, …",
    "WWbb": "W1, W2, …, b1, b2, …",
    # Column by column it is b1, W1, b2, W2 as well; this one is what people mean.
    "bias-first": "W1, W2, … with the bias as first column",
    "bWbW": "b1, W1, b2, W2, …",
    "bbWW": "b1, b2, …, W1, W2, …",
    "bias-last": "W1, W2, … with the bias as last column",
    "no-bias": "W1, W2, … without biases",
}
MAJORS = {"rows": "row by row", "columns": "column by column"}


@dataclass(frozen=True)
class Layout:
    """One order of the pieces. id is that of the option --layout."""

    order: str
    major: str
    sizes: tuple[int, ...]

    @property
    def id(self) -> str:
        return self.order if self.major == "rows" else f"{self.order}-columns"

    def text(self, flat: bool) -> str:
        how = MAJORS[self.major] if flat else f"W ({self._matrix()})"
        return f"{ORDERS[self.order]}, {how}; {'-'.join(map(str, self.sizes))}"

    def _matrix(self) -> str:
        return "units out, units in" if self.major == "rows" else "units in, units out"

    @property
    def has_bias(self) -> bool:
        return self.order != "no-bias"

    def pieces(self) -> list[tuple[str, int, tuple[int, ...]]]:
        """(kind, l, shape) in order; kind is W, b, or B for a matrix with a bias column."""
        layers = list(enumerate(pairwise(self.sizes), start=1))

        def matrix(kind: str, l: int, n_in: int, n_out: int):
            shape = (n_out, n_in) if self.major == "rows" else (n_in, n_out)
            return kind, l, shape

        W = [matrix("W", l, n_in, n_out) for l, (n_in, n_out) in layers]
        b = [("b", l, (n_out,)) for l, (_, n_out) in layers]
        if self.order.startswith("bias"):
            return [matrix("B", l, n_in + 1, n_out) for l, (n_in, n_out) in layers]
        if self.order in ("WbWb", "bWbW"):
            pairs = zip(W, b, strict=True) if self.order == "WbWb" else zip(b, W, strict=True)
            return [piece for pair in pairs for piece in pair]
        return {"WWbb": W + b, "bbWW": b + W, "no-bias": W}[self.order]

    @property
    def length(self) -> int:
        return sum(int(np.prod(shape)) for _, _, shape in self.pieces())

    def unpack(self, theta: Any) -> list[tuple[Array, Array]]:
        """(W, b) of every layer, W (units out, units in), from a vector or a structure of arrays.

        Raises ValueError where it does not fit.
        """
        parts = leaves(theta)
        pieces = self.pieces()
        if len(parts) == 1 and (parts[0].ndim == 1 or len(pieces) > 1):
            vector, start, cut = parts[0].ravel(), 0, []
            if vector.size != self.length:
                raise ValueError(f"{vector.size} numbers, {self.length} are needed")
            for _, _, shape in pieces:
                end = start + int(np.prod(shape))
                cut.append(vector[start:end])
                start = end
            parts = cut
        if len(parts) != len(pieces):
            raise ValueError(f"{len(parts)} arrays, {len(pieces)} are needed")
        W: dict[int, Array] = {}
        b: dict[int, Array] = {}
        for part, (kind, l, shape) in zip(parts, pieces, strict=True):
            if kind != "b" and part.ndim != 1 and part.shape != shape:
                raise ValueError(f"{kind}{l} has shape {part.shape}, not {shape}")
            block = part.reshape(shape)
            if kind != "b" and self.major == "columns":
                block = block.T
            if kind == "b":
                b[l] = block
            elif kind == "W":
                W[l] = block
            else:
                first = self.order == "bias-first"
                W[l], b[l] = (block[:, 1:], block[:, 0]) if first else (block[:, :-1], block[:, -1])
        return [(W[l], b.get(l, np.zeros(len(W[l])))) for l in sorted(W)]


@dataclass(frozen=True)
class Form:
    """What a function may take as its parameters, and the layouts that this may have.

    make(rng) draws parameters in this form.
    """

    text: str
    make: Callable[[np.random.Generator], Any]
    layouts: tuple[Layout, ...]
    flat: bool


def forms(sizes: tuple[int, ...], flat_first: bool) -> list[Form]:
    """Every form that is tried for a network of these layers."""
    flat, structured = list(_flat(sizes)), list(_structured(sizes))
    return flat + structured if flat_first else structured + flat


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
    """The same structure of arrays with random numbers in it."""
    if isinstance(structure, dict):
        return {key: redrawn(part, rng) for key, part in structure.items()}
    if isinstance(structure, list | tuple):
        return type(structure)(redrawn(part, rng) for part in structure)
    if isinstance(structure, np.ndarray):
        return draw(structure.shape, rng).astype(
            structure.dtype if structure.dtype.kind == "f" else np.float64
        )
    return float(draw((1,), rng)[0]) if isinstance(structure, float) else structure


def draw(shape: Sequence[int], rng: np.random.Generator) -> Array:
    """Random numbers whose size differs from part to part, so that costs tell the parts apart."""
    values = rng.standard_normal(tuple(shape)).ravel()
    scale = np.exp(0.5 * rng.standard_normal(8)).repeat(-(-values.size // 8))[: values.size]
    return (0.5 * rng.uniform(0.5, 1.5) * scale * values).reshape(tuple(shape))


def leaves(structure: Any) -> list[Array]:
    """The arrays of a structure in order."""
    if isinstance(structure, dict):
        return [leaf for part in structure.values() for leaf in leaves(part)]
    if isinstance(structure, list | tuple):
        return [leaf for part in structure for leaf in leaves(part)]
    return [np.asarray(structure, np.float64)]


def rebuilt(structure: Any, values: Iterator[Array]) -> Any:
    """The structure with other arrays in it, those of `values` in order."""
    if isinstance(structure, dict):
        return {key: rebuilt(part, values) for key, part in structure.items()}
    if isinstance(structure, list | tuple):
        return type(structure)(rebuilt(part, values) for part in structure)
    return next(values)


def paths(structure: Any, prefix: str = "") -> list[str]:
    """The names of the arrays of a structure: keys and places."""
    if isinstance(structure, dict):
        parts = structure.items()
    elif isinstance(structure, list | tuple):
        parts = enumerate(structure)  # type: ignore[assignment]
    else:
        return [prefix or "theta"]
    return [n for k, part in parts for n in paths(part, f"{prefix}.{k}" if prefix else str(k))]


def in_order(theta: Any, grad: Any) -> Any:
    """The gradient with its dicts in the order of the parameters' dicts."""
    if isinstance(theta, dict) and isinstance(grad, dict) and set(theta) == set(grad):
        return {key: in_order(theta[key], grad[key]) for key in theta}
    lists = isinstance(theta, list | tuple) and isinstance(grad, list | tuple)
    if lists and len(theta) == len(grad):
        return [in_order(t, g) for t, g in zip(theta, grad, strict=True)]
    return grad


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
        for bias in ("(n,)", "(1, n)", "(n, 1)"):
            # A single layer is W, b as often as it is W1, b1.
            for kind in ("dict", "list", "pairs", *["plain dict"] * (len(sizes) == 2)):
                text = f"a {'list of pairs' if kind == 'pairs' else kind} of arrays"
                yield Form(text, partial(_arrays, kind, layout, bias), (layout,), False)
        for order in ("bias-first", "bias-last", "no-bias"):
            layout = Layout(order, major, sizes)
            yield Form("a list of matrices", partial(_matrices, layout), (layout,), False)
            if len(sizes) == 2:
                yield Form("a matrix", partial(_matrix, layout), (layout,), False)


def _matrices(layout: Layout, rng: np.random.Generator) -> list[Array]:
    return [draw(shape, rng) for _, _, shape in layout.pieces()]


def _matrix(layout: Layout, rng: np.random.Generator) -> Array:
    return _matrices(layout, rng)[0]


def _arrays(kind: str, layout: Layout, bias: str, rng: np.random.Generator) -> Any:
    arrays = {}
    for piece, l, shape in layout.pieces():
        if piece == "b":
            shape = {"(n,)": shape, "(1, n)": (1, *shape), "(n, 1)": (*shape, 1)}[bias]
        arrays[piece if kind == "plain dict" else f"{piece}{l}"] = draw(shape, rng)
    if kind.endswith("dict"):
        return arrays
    values = list(arrays.values())
    return values if kind == "list" else list(zip(values[::2], values[1::2], strict=True))
