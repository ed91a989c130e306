"""The ways in which people lay out the parameters of a network.

One flat vector, or a dict or list of arrays: either way a sequence of pieces, W(l) and b(l) in
some order, a matrix with its rows or its columns first, a bias perhaps as a column of its
matrix. A `Layout` turns what a function takes and returns into (W, b) for every layer.
`forms.py` has what a function may take.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from jaxlab.gradcheck.networks import Array, Blocks, named

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

    def blocks(self, theta: Any) -> Blocks:
        """W1, b1, … as `unpack` does, without the biases where the layout has none."""
        return {
            name: block
            for name, block in named(self.unpack(theta)).items()
            if self.has_bias or name[0] == "W"
        }


def leaves(structure: Any) -> list[Array]:
    """The arrays of a structure in order."""
    return [np.asarray(leaf, np.float64) for leaf in raw_leaves(structure)]


def rebuilt(structure: Any, values: Iterator[Array]) -> Any:
    """The structure with other arrays in it, those of `values` in order."""
    if isinstance(structure, dict):
        return {key: rebuilt(part, values) for key, part in structure.items()}
    if shape_of_numbers(structure):
        return next(values).tolist()
    if isinstance(structure, list | tuple):
        return type(structure)(rebuilt(part, values) for part in structure)
    return next(values)


def paths(structure: Any, prefix: str = "") -> list[str]:
    """The names of the arrays of a structure: keys and places."""
    if isinstance(structure, dict):
        parts = structure.items()
    elif isinstance(structure, list | tuple) and not shape_of_numbers(structure):
        parts = enumerate(structure)  # type: ignore[assignment]
    else:
        return [prefix or "theta"]
    return [n for k, part in parts for n in paths(part, f"{prefix}.{k}" if prefix else str(k))]


def names_of_arrays(theta: Any, layout: Layout | None) -> list[str]:
    """W1, b1, … in the order of the arrays, where the layout has a piece for each; else paths."""
    names = [f"{kind}{l}" for kind, l, _ in layout.pieces()] if layout else []
    return names if len(names) == len(raw_leaves(theta)) else paths(theta)


def in_order(theta: Any, grad: Any) -> Any:
    """The gradient in the order of the parameters: by its keys (dW1 belongs to W1) or shapes.

    Of one vector it may be a column or a row.
    """
    if isinstance(theta, np.ndarray) and isinstance(grad, np.ndarray) and theta.ndim == 1:
        return grad.ravel() if grad.shape in ((theta.size, 1), (1, theta.size)) else grad
    if isinstance(theta, dict) and isinstance(grad, dict):
        keys = {key: key_of_gradient(str(key), grad) for key in theta}
        if None not in keys.values():
            return {key: in_order(theta[key], grad[keys[key]]) for key in theta}
        if len(theta) == 1:  # the name of the argument
            (only,) = theta.values()
            return in_order(only, grad)
    lists = all(
        isinstance(part, list | tuple) and not shape_of_numbers(part) for part in (theta, grad)
    )
    if lists and len(theta) == len(grad):
        return [in_order(t, g) for t, g in zip(theta, grad, strict=True)]
    if isinstance(grad, dict) or (isinstance(theta, dict) and isinstance(grad, list | tuple)):
        return _by_shape(theta, grad)
    return grad


def key_of_gradient(name: str, keys: Iterable[Any]) -> Any:
    """The key under which a dict has the gradient of a parameter: W1, dW1, grad_W1, …; or None."""
    keys = [*keys]
    for key in keys:
        if str(key) == name:
            return key
    for fold in (str, str.lower):  # W and w may be two parameters
        plain = {fold(str(key)).replace("_", ""): key for key in keys}
        own = fold(name).replace("_", "")
        for before in ("", "d", "grad", "dj", "dl", "g", "nabla", "delta"):
            if before + own in plain:
                return plain[before + own]
        for after in ("grad", "g"):
            if own + after in plain:
                return plain[own + after]
    return None


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
    if isinstance(structure, list | tuple) and not shape_of_numbers(structure):
        return [leaf for part in structure for leaf in raw_leaves(part)]
    return [np.asarray(structure)]


def shape_of_numbers(structure: Any) -> tuple[int, ...] | None:
    """The shape of a list of Python's numbers, or of equally long lists of them; else None.

    Who writes loops has lists for arrays.
    """
    if not isinstance(structure, list) or not structure:
        return None
    if all(type(part) in (int, float) for part in structure):
        return (len(structure),)
    shapes = {shape_of_numbers(part) for part in structure}
    (inner,) = shapes if len(shapes) == 1 else (None,)
    return None if inner is None else (len(structure), *inner)
