"""The ways in which people lay out the parameters of a network.

One flat vector, or a dict or list of arrays: either way a sequence of pieces, W(l) and b(l) in
some order, a matrix with its rows or its columns first, a bias perhaps as a column of its
matrix. A `Layout` turns what a function takes and returns into (W, b) for every layer.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from jaxlab.gradcheck.networks import Array
from jaxlab.gradcheck.roles import piece_of

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
BIASES = ("(n,)", "(1, n)", "(n, 1)")
KINDS = {
    "dict": "dict",
    "list": "list",
    "pairs": "list of pairs",
    "dicts": "list of dicts",
    "lower dict": "dict",
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
                text = f"{', '.join(names)}, each an argument"
                found.setdefault((*key, order), Form(text, make, (layout,), False))
    return list(found.values())


def _by_name(names: Sequence[str], layout: Layout, bias: str, rng: np.random.Generator) -> dict:
    arrays = _pieces(layout, bias, rng)
    if len(names) == len(arrays):
        return dict(zip(names, arrays, strict=True))
    half = len(arrays) // 2
    return {names[0]: arrays[:half], names[1]: arrays[half:]}


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
    """The gradient in the order of the parameters: by its keys (dW1 belongs to W1) or shapes."""
    if isinstance(theta, dict) and isinstance(grad, dict):
        keys = {key: _key_of_gradient(str(key), grad) for key in theta}
        if None not in keys.values():
            return {key: in_order(theta[key], grad[keys[key]]) for key in theta}
    lists = isinstance(theta, list | tuple) and isinstance(grad, list | tuple)
    if lists and len(theta) == len(grad):
        return [in_order(t, g) for t, g in zip(theta, grad, strict=True)]
    if isinstance(grad, dict) or (isinstance(theta, dict) and isinstance(grad, list | tuple)):
        return _by_shape(theta, grad)
    return grad


def _key_of_gradient(name: str, grad: dict) -> Any:
    """The key under which a dict has the gradient of a parameter."""
    plain = {str(key).lower().replace("_", ""): key for key in grad}
    name = name.lower().replace("_", "")
    for before in ("", "d", "grad", "dj", "dl", "g", "nabla", "delta"):
        if before + name in plain:
            return plain[before + name]
    return next((plain[name + end] for end in ("grad", "g") if name + end in plain), None)


def _by_shape(theta: Any, grad: Any) -> Any:
    """The gradient's arrays in the order of the parameters, where their shapes leave no doubt."""

    def shapes(parts: list[Array]) -> list[tuple[int, ...]]:
        return [tuple(n for n in part.shape if n != 1) for part in parts]

    parts = leaves(grad)
    wanted, own = shapes(leaves(theta)), shapes(parts)
    if wanted == own or sorted(wanted) != sorted(own) or len(set(own)) < len(own):
        return grad
    raw = raw_leaves(grad)
    return [raw[own.index(shape)] for shape in wanted]


def raw_leaves(structure: Any) -> list[Any]:
    """The arrays of a structure, of the dtype that they have."""
    if isinstance(structure, dict):
        return [leaf for part in structure.values() for leaf in raw_leaves(part)]
    if isinstance(structure, list | tuple):
        return [leaf for part in structure for leaf in raw_leaves(part)]
    return [np.asarray(structure)]


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
            if len(sizes) == 2:
                yield Form("a matrix", partial(_matrix, layout), (layout,), False)


def _matrices(layout: Layout, rng: np.random.Generator) -> list[Array]:
    return [draw(shape, rng) for _, _, shape in layout.pieces()]


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
