"""Forward pass, cost and backward pass that are methods of a class, or functions of their own.

Here they are put together as one would by hand: make an object, put the parameters into it, call
forward, cost and backward, return (J, gradient). Which attributes are parameters, what forward
returns and where backward leaves the gradient is seen by calling them once. The few lines that
come out run beside the file's own code, as a function of parameters and data like any other, and
the report quotes them.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from jaxlab.errors import CheckError
from jaxlab.gradcheck.files.calls import Options, draw_data, forms_of, values_of
from jaxlab.gradcheck.files.forms import draw
from jaxlab.gradcheck.files.passes import (
    DECAY,
    FORWARD,
    INITIAL,
    RATE,
    UPDATES,
    Assembled,
    Parts,
)
from jaxlab.gradcheck.files.process import Theirs
from jaxlab.gradcheck.files.roles import (
    COSTS,
    GRADIENTS,
    WHOLE,
    Arguments,
    params_among,
)
from jaxlab.gradcheck.files.written import arguments_written, role_of_argument
from jaxlab.gradcheck.layouts import paths, raw_leaves, rebuilt

# Some mistakes run only where layers are equally wide.
LAYERS = [(8, 5, 10), (8, 5, 1), (8, 5, 6, 10), (8, 10, 10), (8, 10), (8, 1)]
LAYERS_OF_AUTOENCODERS = [(8, 5, 8), (8, 8, 8)]
MOST_LAYERS = len(LAYERS) + 4


def assembled(theirs: Theirs, name: str, options: Options) -> Iterator[Assembled]:
    """The ways to put methods or functions together, the likeliest first.

    name: "" for all of the file, or "Network", or "Network.backward". Raises `CheckError` with
    what went wrong where there is none.
    """
    wanted, _, method = name.partition(".")
    why: list[tuple[int, str]] = [(0, "none computes a gradient, by its name")]
    found = False
    for one in theirs.classes:
        if wanted in ("", one["name"]):
            for parts in _of_class(theirs, one, options, why):
                for way in parts.put_together(method):
                    found = True
                    yield way
    for parts in () if wanted else _of_functions(theirs, options, why):
        for way in parts.put_together(""):
            found = True
            yield way
    if not found:
        raise CheckError(max(reversed(why), key=lambda reason: reason[0])[1])


# --- classes ---


def _of_class(
    theirs: Theirs, one: dict, options: Options, why: list[tuple[int, str]]
) -> Iterator[Parts]:
    """Objects of a class, with layers and data of every form that may be meant."""
    methods = [*one["methods"], {"name": "", "parameters": one["parameters"] or []}]
    names = [method["name"].lower() for method in methods]
    if not any(re.search(f"{GRADIENTS}|{COSTS}|{UPDATES}", name) for name in names):
        return
    roles = {role_of_argument(p["name"], {}) for method in methods for p in method["parameters"]}
    own = "target" not in roles and "data" in roles
    likely = LAYERS_OF_AUTOENCODERS if own else LAYERS
    layers = [options.sizes] if options.sizes else [*likely]
    for sizes in layers:
        for parts in _objects(theirs, one, sizes, own, options, why):
            have = _layers(parts.theta)
            if not have or sizes in have:
                yield parts
            elif not options.sizes and len(layers) < MOST_LAYERS:  # it has others by itself
                layers += [others for others in have if others not in layers]


def _objects(
    theirs: Theirs, one: dict, sizes: tuple[int, ...], own: bool, options: Options,
    why: list[tuple[int, str]],
) -> Iterator[Parts]:  # fmt: skip
    for examples, data in _data(sizes, own, options):
        base = _known(sizes, data["X"].shape[examples == "columns"])
        of_methods = {k: v for k, v in base.items() if k not in ("n_in", "n_hidden", "sizes")}
        del base["m"]  # in a constructor, n is n_in
        n_in, n_hidden, n_out = (base[role] for role in ("n_in", "n_hidden", "n_out"))
        for known in (
            base,
            base | {"n_hidden": f"[{n_hidden}]"},  # hidden_sizes=[5]
            base | {"data": n_in, "target": n_out, "output": n_out},  # inputs, hidden, outputs
        ):
            arguments = None
            if one["parameters"] is not None:
                arguments = arguments_written(
                    one["parameters"], known, ("n_in", "n_hidden", "n_out")
                )
            if arguments is None:
                why.append((0, f"an argument of {one['name']} is not recognised"))
                continue
            opening = [f"net = {one['name']}({arguments})"]
            theta, others, error = _attributes(theirs, opening, data)
            # Some have no parameters before they know the data.
            for method in one["methods"] if not theta and not error else ():
                call = arguments_written(method["parameters"], known)
                if re.search(INITIAL, method["name"].lower()) and call is not None:
                    line = f"net.{method['name']}({call})"
                    theta, others, _ = _attributes(theirs, [*opening, line], data)
                    opening += [line] if theta else []
            if error or not theta:
                error = error or "it has no attributes that hold parameters"
                why.append((10, f"{opening[0]}: {error}"))
                continue
            yield Parts(
                theirs, one["name"], one["methods"], tuple(opening), theta, of_methods, sizes,
                data, examples, others, why,
            )  # fmt: skip
            break


def _attributes(
    theirs: Theirs, opening: list[str], data: dict[str, np.ndarray]
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """The attributes that may be parameters: arrays, with random numbers in them; and single
    numbers or whole ones, as they are. And why there are none."""
    attributes, error = theirs.evaluate("\n".join([*opening, "result = state(net)"]), data)
    rng = np.random.default_rng(0)
    m = {*data["X"].shape} & {*data["Y"].shape} - {1} if data["X"] is not data["Y"] else set()
    arrays, others = {}, {}
    for name, value in (attributes or {}).items():
        parts = raw_leaves(value)
        if not parts or not all(part.dtype.kind in "fi" and part.size for part in parts):
            continue
        # What has a number for each example was computed or given.
        if any(m & {*part.shape} for part in parts):
            continue
        if all(part.dtype.kind == "f" for part in parts) and any(part.ndim for part in parts):
            arrays[name] = rebuilt(value, (draw(part.shape, rng) for part in parts))
        elif role_of_argument(name, {}) is None and not isinstance(value, dict | list | tuple):
            others[name] = np.asarray(value, np.float64) if parts[0].ndim else float(value)
    return arrays, others, error


def _layers(theta: dict[str, Any]) -> list[tuple[int, ...]]:
    """Those that an object may have, where its matrices follow from one another."""
    named = zip(paths(theta), raw_leaves(theta), strict=True)
    shapes = [leaf.shape for name, leaf in named if leaf.ndim == 2 and not _is_bias(name)]
    return [
        (chain[0][0], *(n_out for _, n_out in chain))
        for chain in (shapes, [shape[::-1] for shape in shapes])
        if chain and all(one[1] == other[0] for one, other in pairwise(chain))
    ]


def _is_bias(name: str) -> bool:
    words = [part for part in name.lower().split(".") if not part.isdigit()]
    return bool(re.search("^b|bias|sesgo|biais|vies|schwelle|intercept", words[-1].strip("_")))


# --- functions ---


def _of_functions(theirs: Theirs, options: Options, why: list[tuple[int, str]]) -> Iterator[Parts]:
    """Functions for forward and backward, where the first takes parameters and data."""
    names = {f["name"]: [p["name"] for p in f["parameters"]] for f in theirs.functions}
    forwards = [
        name for name, arguments in names.items()
        if re.search(FORWARD, name.lower()) and not re.search(f"{GRADIENTS}|{COSTS}", name.lower())
        and len(arguments) > 1
    ]  # fmt: skip
    if not forwards or not any(re.search(GRADIENTS, name.lower()) for name in names):
        return
    for params in dict.fromkeys(params_among(names[name]) for name in forwards):
        written = {f"={name}": f"params[{name!r}]" for name in params}
        if len(params) == 1:
            written |= {f"={name}": f"params[{params[0]!r}]" for name in (*WHOLE, "parameters")}
        for sizes in [options.sizes] if options.sizes else LAYERS:
            for examples, data in _data(sizes, False, options):
                known = _known(sizes, data["X"].shape[examples == "columns"]) | written
                for form in forms_of(Arguments(params, [], True), sizes, options):
                    theta = form.make(np.random.default_rng(options.seed))
                    yield Parts(
                        theirs, "", theirs.functions, (), theta, known, sizes, data, examples, {},
                        why,
                    )  # fmt: skip


# --- data ---


def _data(
    sizes: tuple[int, ...], own: bool, options: Options
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """X and Y with one example a row or a column, targets of every kind; own: Y is X."""
    x, y, classes = draw_data(sizes, own, np.random.default_rng(options.seed))
    kinds = ["single", "single-vector"] if sizes[-1] == 1 else ["one-hot", "from-0"]
    if options.labels and sizes[-1] > 1:
        kinds = [options.labels]
    for kind in ["one-hot"] if own else kinds:
        for examples in [options.examples] if options.examples else ["rows", "columns"]:
            values = values_of(sizes, x, y, classes, examples, kind)
            X = values["data"]
            yield examples, {"X": X, "Y": X if own else values["target"]}
    if options.examples != "rows" and not own:  # for those that take one example
        yield "columns", {"X": x[:1].T, "Y": y[:1].T}


def _known(sizes: tuple[int, ...], m: int) -> dict[str, str]:
    """What is put for arguments, by their roles."""
    return {
        "data": "X", "target": "Y", "n_in": str(sizes[0]), "n_out": str(sizes[-1]),
        "n_hidden": ", ".join(map(str, sizes[1:-1])), "sizes": str(list(sizes)), "m": str(m),
        "decay": DECAY, "rate": RATE, "iterations": "1",
    }  # fmt: skip
