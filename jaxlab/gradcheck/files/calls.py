"""How is somebody's cost function called?

Its arguments are recognised by name and filled with random data; forms of the parameters, one
example a row or a column, and kinds of labels are tried, the likeliest first.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count, product
from typing import Any

import numpy as np

from jaxlab.errors import CheckError
from jaxlab.gradcheck.files.child import Opaque
from jaxlab.gradcheck.files.forms import Form, form_of, forms, nearby, redrawn, separate_forms
from jaxlab.gradcheck.files.roles import Arguments, arguments_of, params_among, piece_of, role_of
from jaxlab.gradcheck.float32 import is_float32
from jaxlab.gradcheck.layouts import leaves, raw_leaves

SETTINGS = {"decay": 0.3, "rate": 0.3, "sparsity": 0.05, "beta": 3.0}
# Names of parameters that are a structure of arrays rather than a vector.
STRUCTURED = ("params", "parameters", "model", "net", "layers", "weights", "p")
LABELS = {
    "one-hot": "one-hot labels",
    "from-0": "labels 0 … K-1",
    "from-1": "labels 1 … K",
    "from-0-column": "labels 0 … K-1, (m, 1)",
    "from-1-column": "labels 1 … K, (m, 1)",
    "none": "no labels: an autoencoder, y = x",
    "single": "one target an example, (m, 1)",
    "single-vector": "one target an example, (m,)",
    "signs": "targets -1 or 1, (m,)",
}


@dataclass(frozen=True)
class Options:
    """What the user says instead of leaving it to be found out; "" or None: found out."""

    sizes: tuple[int, ...] | None = None
    examples: str = ""
    labels: str = ""
    layout: str = ""
    cost: str = ""
    seed: int = 0


@dataclass
class Call:
    """One way to call the function: its arguments, and what they mean.

    x: (m, units in) and y: (m, units out), however the function takes them. points: parameters
    in the function's form, where by_name a dict by the names of its arguments; results: (J,
    gradient) at each. settings: λ and the like, "lam = 0.3". rho: the mean activation that was
    asked for, None where no argument says it. deeper: what the function said of a
    network with a hidden layer, where it was taken for one without. own: the parameters of
    example() themselves, of which the points are redrawn.
    """

    form: Form
    sizes: tuple[int, ...]
    examples: str
    labels: str
    x: np.ndarray
    y: np.ndarray
    args: list[Any]
    named: dict[str, Any]
    decay: float
    settings: str
    by_name: bool = False
    rho: float | None = None
    own: Any = None
    points: list[Any] = field(default_factory=list)
    results: list[tuple[float, Any]] = field(default_factory=list)
    deeper: str = ""

    @property
    def dtype(self) -> str:
        """That in which costs and gradients were computed: float32 where a single one was."""
        parts = [np.asarray(part) for _, g in self.results for part in raw_leaves(g)]
        if any(part.dtype.itemsize < 8 for part in parts):
            return "float32"
        gradients = np.concatenate([np.zeros(0), *map(np.ravel, parts)])
        costs = np.array([J for J, _ in self.results])
        return "float32" if is_float32(gradients) or is_float32(costs) else "float64"


def calls(function: dict, example: list | None, options: Options) -> Iterator[Call]:
    """Every way in which the function may want to be called, the likeliest first."""
    if example is not None:
        yield from _calls_of_example(function, example, options)
        return
    arguments = arguments_of(function)
    roles = [role for _, role, _ in arguments.rest]
    settings = _settings((name, role, SETTINGS.get(role)) for name, role, _ in arguments.rest)
    decay = SETTINGS["decay"] if "decay" in roles else 0.0
    rho = SETTINGS["sparsity"] if "sparsity" in roles else None
    rng = np.random.default_rng(options.seed)
    for sizes in _sizes(arguments.params, roles, options):
        own = "target" not in roles or ("n_out" not in roles and sizes[0] == sizes[-1])
        x, y, classes = draw_data(sizes, own, rng)
        ways = product(
            _labels("target" in roles, not own and sizes[-1] == 1, options),
            forms_of(arguments, sizes, options),
            [options.examples] if options.examples else ["rows", "columns"],
        )
        for labels, form, examples in ways:
            values = values_of(sizes, x, y, classes, examples, labels)
            args, named = _filled(function, arguments, values, sizes)
            yield Call(
                form, sizes, examples, labels, x, y, args, named, decay, settings,
                arguments.by_name, rho,
            )  # fmt: skip


def draw_data(sizes: tuple[int, ...], own: bool, rng: np.random.Generator):
    """x, y and the classes 0, 1, … that y stands for; own: x is its own target.

    m is the number of nothing else, nor next to it, lest one be taken for the other.
    """
    m = next(m for m in count(max(7, sizes[-1] + 3)) if not {m, m + 1, m - 1} & set(sizes))
    x = rng.random((m, sizes[0]))
    K = max(2, sizes[-1])
    classes = rng.permutation(np.r_[np.arange(K), rng.integers(0, K, m)][:m])
    y = x if own else classes[:, None] * 1.0 if sizes[-1] == 1 else np.eye(K)[classes]
    return x, y, classes


def _labels(with_targets: bool, single: bool, options: Options) -> list[str]:
    """The kinds of labels that are tried; single: one output, which is no class."""
    if single:
        return ["signs"] if options.labels == "signs" else ["single-vector", "single"]
    if options.labels:
        return [options.labels]
    return list(LABELS)[:5] if with_targets else ["none"]


def forms_of(arguments: Arguments, sizes: tuple[int, ...], options: Options) -> list[Form]:
    """What the parameters may look like."""
    first = arguments.params[0]
    if len(arguments.params) > 1:
        return _asked(separate_forms(arguments.params, sizes), options)
    possible = forms(sizes, flat_first=first.lower() not in STRUCTURED)
    if arguments.by_name:
        possible = [form.under(first) for form in possible]
    return _asked(possible, options)


def _filled(
    function: dict, arguments: Arguments, values: dict[str, Any], sizes: tuple[int, ...]
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments beside the parameters: by their places, and by their names."""
    names = [parameter["name"] for parameter in function["parameters"][1:]]
    args: list[Any] = []
    named: dict[str, Any] = {}
    hidden = iter(sizes[1:-1])
    for name, role, keyword in arguments.rest:
        value = next(hidden, sizes[1]) if role == "n_hidden" else values[role]
        # By name as well where an argument before it keeps its default.
        if keyword or arguments.by_name or len(args) < names.index(name):
            named[name] = value
        else:
            args.append(value)
    return args, named


def _settings(arguments: Iterable[tuple[str, str | None, Any]]) -> str:
    """What was put for λ and the like, "lam = 0.3"; of each argument its name, role and value."""
    return ", ".join(
        f"{name} = {value:g}"
        for name, role, value in arguments
        if role in SETTINGS and isinstance(value, int | float | np.number)
    )


def values_of(sizes, x, y, classes, examples: str, labels: str) -> dict[str, Any]:
    rows = examples == "rows"
    target = {
        "from-0": classes,
        "from-1": classes + 1,
        "from-0-column": classes[:, None] if rows else classes[None, :],
        "from-1-column": classes[:, None] + 1 if rows else classes[None, :] + 1,
        "single-vector": y.ravel(),
        "signs": 2 * y.ravel() - 1,
    }.get(labels, y if rows else y.T)
    return {
        "data": np.ascontiguousarray(x if rows else x.T), "target": np.ascontiguousarray(target),
        "n_in": sizes[0], "n_out": sizes[-1], "sizes": list(sizes), "m": len(x), **SETTINGS,
    }  # fmt: skip


def _sizes(params: Sequence[str], have: list[str], options: Options) -> list[tuple[int, ...]]:
    """The layers that the function may want: what was said, or what its arguments call for."""
    if options.sizes:
        return [options.sizes]
    matrices = [piece[0] for name in params if (piece := piece_of(name))].count("W")
    hidden = have.count("n_hidden") or max(0, matrices - 1)
    if hidden:
        between = (5, 6, 4, 7, *range(11, 100))[:hidden]
        classifier, autoencoder = (8, *between, 10), (8, *between, 8)
        if "target" not in have:
            return [autoencoder]
        one_output = (8, *between, 1)
        return [classifier, *[autoencoder] * ("n_out" not in have), one_output]
    if "target" not in have:
        return [(8, 5, 8)]
    if "sizes" in have:
        return [(8, 5, 10)]
    if "n_in" in have or "n_out" in have:
        return [(8, 10), (8, 5, 10)]
    return [(8, 5, 10), (8, 10), (8, 1), (8, 5, 6, 10), (8, 5, 1)]


def _asked(all_forms: Sequence[Form], options: Options) -> list[Form]:
    """The forms with the layouts that --layout leaves."""
    if not options.layout:
        return list(all_forms)
    kept = []
    for form in all_forms:
        layouts = tuple(layout for layout in form.layouts if layout.id == options.layout)
        if layouts:
            kept.append(replace(form, layouts=layouts))
    return kept


def _calls_of_example(function: dict, example: list, options: Options) -> Iterator[Call]:
    """The call that example() settles; what its arguments mean is tried."""
    names = [p["name"] for p in function["parameters"]]
    params = params_among(names)
    by_name = len(params) > 1 or params[0] != names[0]
    theta, rest, named = example[0], list(example[1:]), {}
    if by_name:
        given = dict(zip(names, example, strict=False))
        theta = {name: given.pop(name) for name in params if name in given}
        rest, named = [], given
    if any(isinstance(leaf.flat[0], Opaque) for leaf in raw_leaves(theta) if leaf.size):
        raise CheckError(
            "the parameters that example() returns are no arrays, nor a dict, list or tuple of "
            "them: add a function that takes these and calls yours"
        )
    by_role: dict[str, list[Any]] = {}
    pairs = [*zip(names[1:], rest, strict=False), *named.items()]
    for name, value in pairs:
        by_role.setdefault(role_of(name) or "", []).append(value)
    arrays = [v for v in [*rest, *named.values()] if isinstance(v, np.ndarray) and v.size > 1]
    data, target = (
        [v for v in by_role.get(role, []) if isinstance(v, np.ndarray) and v.size > 1]
        for role in ("data", "target")
    )
    if not data:
        data = [v for v in arrays if not any(v is t for t in target)][:1]
    if not target:
        target = [v for v in arrays if not any(v is d for d in data)][:1]
    decay = next((float(v) for v in by_role.get("decay", []) if np.ndim(v) == 0), 0.0)
    rho = next((float(v) for v in by_role.get("sparsity", []) if np.ndim(v) == 0), None)
    unknown = Form("as in example()", partial(redrawn, theta), (), False)
    none = np.zeros((0, 0))
    settings = _settings((name, role_of(name), value) for name, value in pairs)
    call = Call(
        unknown, (), "", "", none, none, rest, named, decay, settings, by_name,
        own=theta if all(leaf.dtype.kind == "f" for leaf in raw_leaves(theta)) else None,
    )  # fmt: skip
    found = []
    if data and isinstance(data[0], np.ndarray) and data[0].ndim == 2:
        for examples in [options.examples] if options.examples else ["rows", "columns"]:
            x = np.asarray(data[0] if examples == "rows" else data[0].T, np.float64)
            for labels, y in _targets(x, target[0] if target else None, examples, options.labels):
                for sizes in _sizes_of_example(theta, x, y, by_role, options):
                    form = form_of(theta, sizes)
                    found += [
                        replace(
                            call, form=asked, sizes=sizes, examples=examples, labels=labels,
                            x=x, y=y, rho=rho,
                        )
                        for asked in _asked([form] if form else [], options)
                    ]  # fmt: skip
    found.append(call)
    yield from found
    for call in found:
        close = replace(call.form, make=partial(nearby, theta), near=True)
        yield replace(call, form=close, points=[], results=[])


def _targets(x, target, examples: str, asked: str) -> Iterator[tuple[str, np.ndarray]]:
    """What the targets of an example may mean, as a matrix with one example a row."""
    if target is None:
        yield "none", x
        return
    t = np.asarray(target)
    if t.ndim == 2 and (min(t.shape) > 1 or len(x) == 1):
        y = t if examples == "rows" else t.T
        if len(y) == len(x):
            yield "one-hot", np.asarray(y, np.float64)
    elif t.size == len(x):
        t = t.ravel()
        for first in (0, 1) if (t == np.floor(t)).all() and t.max() <= len(t) else ():
            if t.min() >= first and asked in ("", f"from-{first}"):
                K = int(t.max()) + 1 - first
                yield f"from-{first}", np.eye(max(K, 1))[t.astype(int) - first]
        if asked in ("", "signs"):
            yield "single-vector", np.asarray(t[:, None], np.float64)


def _sizes_of_example(theta, x, y, by_role, options: Options) -> list[tuple[int, ...]]:
    if options.sizes:
        return [options.sizes]
    n_in, n_out = x.shape[1], y.shape[1]
    for given in by_role.get("sizes", []):
        return [tuple(int(n) for n in leaves(given))] if np.size(given) > 1 else []
    hidden = [int(n) for n in by_role.get("n_hidden", []) if np.ndim(n) == 0]
    found: list[tuple[int, ...]] = [(n_in, *hidden, n_out)]
    parts = leaves(theta)
    if len(parts) == 1:
        # A vector: one hidden layer of h units has h (n_in + 1) + n_out (h + 1) parameters.
        h, rest = divmod(parts[0].size - n_out, n_in + 1 + n_out)
        found += [(n_in, h, n_out)] if rest == 0 and h > 0 else []
        h, rest = divmod(parts[0].size, n_in + n_out)
        found += [(n_in, h, n_out)] if rest == 0 and h > 0 else []
    else:
        widths = [n for part in parts if part.ndim == 2 for n in part.shape]
        inner = [n for n in dict.fromkeys(widths) if n not in (n_in, n_out)]
        biases = [part.size for part in parts if part.ndim == 1 or 1 in part.shape]
        found += [(n_in, *biases)] if biases and biases[-1] == n_out else []
        found += [(n_in, n, n_out) for n in inner]
    return list(dict.fromkeys(found))
