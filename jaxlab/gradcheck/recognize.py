"""How is somebody's cost function called, and what does it compute?

Its arguments are recognised by name and filled with random data; forms of the parameters, one
example a row or a column, and kinds of labels are tried until one works. What it computes is then
found out by comparing costs at random parameters: J is a fingerprint that needs no gradient.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from jaxlab.errors import CheckError
from jaxlab.gradcheck.layouts import Form, Layout, form_of, forms, leaves, redrawn
from jaxlab.gradcheck.networks import LOSSES, Network, Params, Pass, named

# role: the names that people give to it, in lower case and without _
ROLES = {
    "data": "x data inputs input images features xs a1 patches samples trainx",
    "target": "y labels targets target t ys label groundtruth outputs trainy yonehot",
    "n_in": "ninput ninputs nin nx inputsize inputlayersize inputdim inputs_n visiblesize nvisible "
    "numinputs numinput nfeatures numfeatures d din",
    "n_hidden": "nhidden nh hiddensize hiddenlayersize hiddendim numhidden nhid h hidden "
    "hiddenunits nhiddenunits numhiddenunits",
    "n_out": "noutput noutputs nout ny outputsize outputlayersize outputdim numlabels numclasses "
    "nclasses noutputunits numoutputs numoutput k c dout nlabels classes",
    "sizes": "sizes layers layersizes layerdims dims architecture layersdims units nunits shape",
    "decay": "lambda lam lambd lamb lmbda lmbd reg reglambda regularization regstrength "
    "weightdecay l2 l2reg decay wd regparam",
    "m": "m nexamples nsamples numexamples batchsize numsamples n",
    "sparsity": "sparsityparam rho sparsity sparsitytarget",
    "beta": "beta sparsitypenalty sparsityweight",
}
ROLE_OF = {name: role for role, names in ROLES.items() for name in names.split()}
DECAY, SPARSITY, BETA = 0.3, 0.05, 3.0
LABELS = {
    "one-hot": "one-hot labels",
    "from-0": "labels 0 … K-1",
    "from-1": "labels 1 … K",
    "from-0-column": "labels 0 … K-1, (m, 1)",
    "from-1-column": "labels 1 … K, (m, 1)",
    "none": "no labels: an autoencoder, y = x",
}
# After so many ways that run but compute no known cost, it is another cost.
MOST_TRIES = 12
# A cost fits where this fraction of it at most is left over, in float64 and float32.
COST_TOLERANCE = {"float64": 1e-8, "float32": 2e-5}


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
    in the function's form; results: (J, gradient) at each.
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
    points: list[Any] = field(default_factory=list)
    results: list[tuple[float, Any]] = field(default_factory=list)

    @property
    def dtype(self) -> str:
        """That of the gradients; float32 where a single one is."""
        parts = [np.asarray(part) for _, g in self.results for part in raw_leaves(g)]
        return "float32" if any(part.dtype.itemsize < 8 for part in parts) else "float64"


@dataclass(frozen=True)
class Recognised:
    """A call whose cost is known: its layout and its network."""

    call: Call
    layout: Layout
    network: Network

    def params(self, point: int) -> Params:
        return self.layout.unpack(self.call.points[point])

    def cost_text(self) -> str:
        """The cost in words: "1/m Σ ½‖a - y‖² …"."""
        n, m, K = self.network, len(self.call.x), self.call.sizes[-1]
        scale = _nice(n.factor, {"mean over the m examples": 1 / m, "sum over the examples": 1.0,
            "mean over the m examples, without ½": 2 / m, "sum over the examples, without ½": 2.0,
            "half the mean over the m examples": 0.5 / m, "mean over examples and units, without ½":
            2 / (m * K), "mean over examples and units": 1 / (m * K)})  # fmt: skip
        text = f"{LOSSES[n.loss].text}; {scale or f'{n.factor:.6g} × the sum over the examples'}"
        if n.hidden != "sigmoid" and len(self.call.sizes) > 2:
            text += f"; hidden units {n.hidden}"
        if n.decay:
            blocks = ", ".join(n.decay)
            c = max(n.decay.values())
            lam = self.call.decay
            term = _nice(c, {"½λ": lam, "λ": 2 * lam, "½λ/m": lam / m, "λ/m": 2 * lam / m})
            text += f"; weight decay {term or f'½ {c:.4g}'} ‖·‖² on {blocks}"
        return text


def _nice(value: float, table: dict[str, float]) -> str:
    return next((text for text, v in table.items() if v and np.isclose(value, v, rtol=1e-7)), "")


# --- calls ---


def role_of(name: str) -> str | None:
    """The role of an argument by its name: data, target, n_in, …; None where it is unknown."""
    plain = name.lower().replace("_", "")
    shorter = (re.sub("^(train|batch|mini)", "", plain), re.sub("(train|batch|set|s)$", "", plain))
    for word in (plain, *shorter):
        if word in ROLE_OF:
            return ROLE_OF[word]
        if word.rstrip("0123456789") in (
            "nhidden",
            "hidden",
            "hiddensize",
            "nh",
            "hiddenlayersize",
        ):
            return "n_hidden"
    return None


def roles_of(function: dict) -> list[tuple[str, str, bool]]:
    """(name, role, by keyword) of every argument after the parameters.

    Raises `CheckError` where a required one is not recognised.
    """
    roles: list[tuple[str, str, bool]] = []
    for parameter in function["parameters"][1:]:
        role = role_of(parameter["name"])
        if role is None and parameter["required"]:
            names = [other for _, other, _ in roles]
            role = next((r for r in ("data", "target") if r not in names), None)
            later = {role_of(p["name"]) for p in function["parameters"][1:]}
            if role is None or role in later or "sizes" in names:
                raise CheckError(
                    f"the argument {parameter['name']!r} of {function['name']} is not recognised: "
                    "add a function example() to the file that returns all arguments, the "
                    "parameters first"
                )
        if role is not None:
            roles.append((parameter["name"], role, parameter["keyword"]))
    return roles


def calls(function: dict, example: list | None, options: Options) -> Iterator[Call]:
    """Every way in which the function may want to be called, the likeliest first."""
    if example is not None:
        yield from _calls_of_example(function, example, options)
        return
    roles = roles_of(function)
    rng = np.random.default_rng(options.seed)
    first = function["parameters"][0]["name"].lower()
    flat_first = first not in ("params", "parameters", "model", "net", "layers", "weights", "p")
    have = {role for _, role, _ in roles}
    for sizes in _sizes(roles, options):
        m = next(m for m in range(sizes[-1] + 3, 10**6)
                 if m > 6 and not {m, m + 1, m - 1} & set(sizes))  # fmt: skip
        x = rng.random((m, sizes[0]))
        classes = rng.permutation(np.r_[np.arange(sizes[-1]), rng.integers(0, sizes[-1], m)][:m])
        own = "target" not in have or ("n_out" not in have and sizes[0] == sizes[-1])
        y = x if own else np.eye(sizes[-1])[classes]
        kinds = list(LABELS)[:5] if "target" in have else ["none"]
        for labels in [options.labels] if options.labels else kinds:
            for form in _asked(forms(sizes, flat_first), options):
                for examples in [options.examples] if options.examples else ["rows", "columns"]:
                    values = _values(sizes, x, y, classes, examples, labels)
                    args: list[Any] = []
                    named: dict[str, Any] = {}
                    hidden = iter(sizes[1:-1])
                    for name, role, keyword in roles:
                        value = next(hidden, sizes[1]) if role == "n_hidden" else values[role]
                        # By name after a default that is left alone.
                        if keyword or len(args) < _place(function, name):
                            named[name] = value
                        else:
                            args.append(value)
                    decay = DECAY if "decay" in have else 0.0
                    yield Call(form, sizes, examples, labels, x, y, args, named, decay)


def _place(function: dict, name: str) -> int:
    names = [parameter["name"] for parameter in function["parameters"][1:]]
    return names.index(name)


def _values(sizes, x, y, classes, examples: str, labels: str) -> dict[str, Any]:
    rows = examples == "rows"
    target = {
        "from-0": classes,
        "from-1": classes + 1,
        "from-0-column": classes[:, None] if rows else classes[None, :],
        "from-1-column": classes[:, None] + 1 if rows else classes[None, :] + 1,
    }.get(labels, y if rows else y.T)
    return {
        "data": np.ascontiguousarray(x if rows else x.T), "target": np.ascontiguousarray(target),
        "n_in": sizes[0], "n_out": sizes[-1], "sizes": list(sizes), "decay": DECAY, "m": len(x),
        "sparsity": SPARSITY, "beta": BETA,
    }  # fmt: skip


def _sizes(roles, options: Options) -> list[tuple[int, ...]]:
    """The layers that the function may want: what was said, or what its arguments call for."""
    if options.sizes:
        return [options.sizes]
    have = [role for _, role, _ in roles]
    hidden = have.count("n_hidden")
    if hidden:
        between = (5, 6, 4, 7)[:hidden]
        classifier, autoencoder = (8, *between, 10), (8, *between, 8)
        if "target" not in have:
            return [autoencoder]
        return [classifier] if "n_out" in have else [classifier, autoencoder]
    if "target" not in have:
        return [(8, 5, 8)]
    if "sizes" in have:
        return [(8, 5, 10)]
    return [(8, 10), (8, 5, 10)] if "n_in" in have or "n_out" in have else [(8, 5, 10), (8, 10)]


def _asked(all_forms: Sequence[Form], options: Options) -> list[Form]:
    """The forms with the layouts that --layout leaves."""
    if not options.layout:
        return list(all_forms)
    kept = []
    for form in all_forms:
        layouts = tuple(layout for layout in form.layouts if layout.id == options.layout)
        if layouts:
            kept.append(Form(form.text, form.make, layouts, form.flat))
    return kept


def _calls_of_example(function: dict, example: list, options: Options) -> Iterator[Call]:
    """The call that example() settles; what its arguments mean is tried."""
    theta, rest = example[0], list(example[1:])
    names = [p["name"] for p in function["parameters"][1:]]
    by_role: dict[str, list[Any]] = {}
    for name, value in zip(names, rest, strict=False):
        by_role.setdefault(role_of(name) or "", []).append(value)
    arrays = [v for v in rest if isinstance(v, np.ndarray) and v.size > 1]
    data, target = (
        [v for v in by_role.get(role, []) if isinstance(v, np.ndarray) and v.size > 1]
        for role in ("data", "target")
    )
    if not data:
        data = [v for v in arrays if not any(v is t for t in target)][:1]
    if not target:
        target = [v for v in arrays if not any(v is d for d in data)][:1]
    decay = next((float(v) for v in by_role.get("decay", []) if np.ndim(v) == 0), 0.0)
    unknown = Form("as in example()", partial(redrawn, theta), (), False)
    call = Call(unknown, (), "", "", np.zeros((0, 0)), np.zeros((0, 0)), rest, {}, decay)
    if data and isinstance(data[0], np.ndarray) and data[0].ndim == 2:
        for examples in [options.examples] if options.examples else ["rows", "columns"]:
            x = np.asarray(data[0] if examples == "rows" else data[0].T, np.float64)
            for labels, y in _targets(x, target[0] if target else None, examples, options.labels):
                for sizes in _sizes_of_example(theta, x, y, by_role, options):
                    form = form_of(theta, sizes)
                    for asked in _asked([form] if form else [], options):
                        yield Call(asked, sizes, examples, labels, x, y, rest, {}, decay)
    yield call


def _targets(x, target, examples: str, asked: str) -> Iterator[tuple[str, np.ndarray]]:
    """What the targets of an example may mean, as a matrix with one example a row."""
    if target is None:
        yield "none", x
        return
    t = np.asarray(target)
    if t.ndim == 2 and min(t.shape) > 1:
        y = t if examples == "rows" else t.T
        if len(y) == len(x):
            yield "one-hot", np.asarray(y, np.float64)
    elif t.size == len(x):
        classes = t.ravel().astype(int)
        for first in (0, 1):
            if classes.min() >= first and asked in ("", f"from-{first}"):
                K = int(classes.max()) + 1 - first
                yield f"from-{first}", np.eye(max(K, 1))[classes - first]


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


# --- costs ---


def recognise(call: Call, options: Options) -> Recognised | None:
    """The layout and the network whose cost equals the function's at every point, if any."""
    J = np.array([j for j, _ in call.results])
    dtype = call.dtype
    tolerance = COST_TOLERANCE[dtype]
    hidden = ("sigmoid", "tanh", "relu") if len(call.sizes) > 2 else ("sigmoid",)
    for layout in call.form.layouts:
        try:
            points = [layout.unpack(point) for point in call.points]
        except ValueError:
            continue
        for loss in [options.cost] if options.cost else LOSSES:
            for activation in hidden:
                found = _fit(J, points, call, Network(loss, activation), layout, tolerance)
                if found:
                    return Recognised(call, layout, found)
    return None


def _fit(J, points, call: Call, network: Network, layout: Layout, tolerance) -> Network | None:
    """J = factor × D + Σ ½ decay ‖block‖², solved for factor and decays over all points.

    There are more points than unknowns: the rest of them prove it.
    """
    if call.y.shape[1] != len(points[0][-1][0]):
        return None
    with np.errstate(all="ignore"):
        D = [Pass(params, call.x, call.y, network).data_cost() for params in points]
    blocks = [name for name in named(points[0]) if layout.has_bias or name[0] == "W"]
    squares = [[0.5 * float((named(p)[name] ** 2).sum()) for name in blocks] for p in points]
    features = np.column_stack([D, squares])
    if not np.isfinite(features).all():
        return None
    scale = np.linalg.norm(features, axis=0)
    # Without decay first: one unknown less to be wrong about.
    factor = float(features[:, 0] @ J / scale[0] ** 2)
    size = float(np.linalg.norm(J))
    if np.linalg.norm(factor * features[:, 0] - J) <= tolerance * size:
        return Network(network.loss, network.hidden, _exact(factor, call, tolerance))
    solution, _, rank, _ = np.linalg.lstsq(features / scale, J, rcond=None)
    solution = solution / scale
    if rank < len(scale) or np.linalg.norm(features @ solution - J) > tolerance * size:
        return None
    if abs(solution[0]) * scale[0] <= tolerance * size:
        return None
    decay = {
        name: _exact_decay(c, call, tolerance)
        for name, c, length in zip(blocks, solution[1:], scale[1:], strict=True)
        if abs(c) * length > 1e3 * tolerance * size
    }
    return Network(
        network.loss, network.hidden, _exact(float(solution[0]), call, 1e3 * tolerance), decay
    )


def _exact(value: float, call: Call, tolerance: float) -> float:
    m, K = len(call.x), call.sizes[-1]
    nice = [s * n for n in (1, 2, 0.5, 1 / K, 2 / K) for s in (1 / m, 1, -1 / m, -1)]
    return next((v for v in nice if abs(v - value) <= tolerance * abs(v)), value)


def _exact_decay(value: float, call: Call, tolerance: float) -> float:
    m, lam = len(call.x), call.decay
    nice = [lam * f for f in (1, 2, 0.5, 1 / m, 2 / m, 0.5 / m)] if lam else []
    return next((v for v in nice if abs(v - value) <= 1e4 * tolerance * abs(v)), value)


def points_needed(sizes: tuple[int, ...]) -> int:
    """Enough points for every unknown of `_fit`, and six more."""
    return 2 * (len(sizes) - 1) + 1 + 6


def raw_leaves(structure: Any) -> list[Any]:
    """The arrays of a structure, of the dtype that they have."""
    if isinstance(structure, dict):
        return [leaf for part in structure.values() for leaf in raw_leaves(part)]
    if isinstance(structure, list | tuple):
        return [leaf for part in structure for leaf in raw_leaves(part)]
    return [np.asarray(structure)]


def find(
    theirs: Callable[[Call, list[Any]], tuple[list[tuple[float, Any]], str]],
    function: dict,
    example: list | None,
    options: Options,
) -> tuple[Recognised | None, Call]:
    """The first call whose cost is known, else None and the first that works at all.

    theirs(call, points) calls the function. Raises `CheckError` with what it said where no call
    works.
    """
    rng = np.random.default_rng(options.seed + 1)
    works, errors, tries = None, Counter[str](), 0
    for call in calls(function, example, options):
        one = call.form.make(rng)
        results, error = theirs(call, [one, one])
        if error or not np.isfinite(results[0][0]):
            errors[error or f"J is {results[0][0]}"] += 1
            continue
        if _differs(*results):
            raise CheckError(
                "two calls with the same arguments give different numbers (dropout, random noise, "
                "something kept between calls?): fix the seed inside the function, then check again"
            )
        more = [call.form.make(rng) for _ in range(points_needed(call.sizes or (1, 1, 1)) - 1)]
        results_of_more, error = theirs(call, more)
        call.points, call.results = [one, *more], results[:1] + results_of_more
        if error:
            errors[error] += 1
            continue
        found = recognise(call, options) if call.sizes else None
        if found:
            return found, call
        works = works or call
        tries += 1
        if tries == MOST_TRIES:
            break
    if works is None:
        error = errors.most_common(1)[0][0] if errors else "no layout of that name fits"
        raise CheckError(
            f"{function['name']} cannot be called with random data: {error}. Check --sizes, or "
            "add a function example() to the file that returns its arguments, the parameters first"
        )
    return None, works


def _differs(one: tuple[float, Any], other: tuple[float, Any]) -> bool:
    pairs = zip(raw_leaves(one[1]), raw_leaves(other[1]), strict=True)
    return one[0] != other[0] or any(not np.array_equal(a, b, equal_nan=True) for a, b in pairs)
