"""Whatever was given for a check, as one problem: J(θ) of a flat vector, and a gradient to judge.

Here is what is known of other people's functions: how they return a cost and a gradient, whether
JAX can trace them, whether `jax.grad` of them is a witness of its own, in which precision they
compute, and whether they return the same twice.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxlab.backprop import Layer
from jaxlab.errors import CheckError, ShapeError
from jaxlab.gradcheck import numerical
from jaxlab.gradcheck.float32 import is_float32
from jaxlab.gradcheck.layouts import key_of_gradient
from jaxlab.gradcheck.sums import norm

# A cost with more operations than that is not compiled but called: compiling would take minutes.
# Python loops over examples unroll to so many.
MOST_OPERATIONS = 5_000
# What is quoted of another's error, and of trees that differ.
MOST_CHARACTERS, MOST_KEYS = 200, 3
CALLBACKS = {"pure_callback", "io_callback"}
HOLDS_ARRAYS = "arrays that are no arguments"  # no operation, but found beside these
CUSTOM_RULES = ("custom_vjp_call", "custom_vjp_call_jaxpr", "custom_jvp_call")


@dataclass(frozen=True)
class Problem:
    """A gradient under test: g at θ, of a cost J(θ, data).

    own_J: the cost that came with g. rules: the names of hand-written derivative rules inside J,
    which `jax.grad` would follow. J0: J at θ. autograd: ∂J/∂θ by `jax.grad`, where that can be
    had and follows no such rule. refusal: what `jax.grad` said where it cannot be had. iterates: J
    has a loop that ends by a condition, as solvers do. holds_arrays: there are arrays of 64 bits in
    it that are no arguments.
    float32_cost, float32_gradient: it was computed so.
    """

    names: list[str]
    shapes: list[tuple[int, ...]]
    theta: np.ndarray | Array
    g: np.ndarray
    own_J: float
    J: numerical.FlatCost
    data: numerical.Data
    rules: frozenset[str]
    J0: float
    autograd: np.ndarray | None
    refusal: str
    float32_cost: bool
    float32_gradient: bool
    iterates: bool = False
    holds_arrays: bool = False

    @property
    def traced(self) -> bool:
        return not isinstance(self.J, numerical.PlainCost)

    @property
    def spans(self) -> list[slice]:
        ends = list(accumulate(map(math.prod, self.shapes)))
        sizes = map(math.prod, self.shapes)
        return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]

    def blocks(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """name → its part of a flat vector, in its shape."""
        return {
            name: np.asarray(flat[span], np.float64).reshape(shape)
            for name, shape, span in zip(self.names, self.shapes, self.spans, strict=True)
        }


def problem_of(
    function: Any, params: Any, args: tuple[Any, ...], cost: Callable[..., Any] | None, dtype: str
) -> Problem:
    """The problem that `check_gradients` was given; in the precision that is switched on."""
    params, args = floats_to(dtype, params), floats_to(dtype, args)
    names = block_names(params)
    leaves = _float_leaves(params)
    call, cost, J_and_grad = _cost_and_gradient(function, cost, params, args)
    own_J, grads = _scalar(J_and_grad[0]), _like(params, J_and_grad[1])
    _check_form(params, grads, names)
    _refuse_unseen(params, grads)
    _refuse_other_numbers(J_and_grad, _detached(call(*_copies((params, *args)))))
    grad_leaves = _floats_only(params, grads)
    called = own_J if cost is None else _scalar(cost(*_copies((params, *args))))
    cost = CostPart(function) if cost is None else cost
    J, theta, data, primitives, in_float32 = _traced(cost, params, args)
    rules = primitives & frozenset(CUSTOM_RULES)
    J0, autograd, refusal = (called, None, "") if J is None else _autograd(J, theta, data, rules)
    if (
        autograd is not None
        and not np.isfinite(autograd).all()
        and all(np.isfinite(np.asarray(leaf)).all() for leaf in (J0, *grad_leaves))
    ):  # as of p log p at p = 0, which derivatives are written by hand for
        autograd, refusal = None, "it is not finite at these parameters"
    rtol = 1e-4 if dtype == "float32" or in_float32 else 1e-9
    if J is None or not np.isclose(J0, called, rtol=rtol, atol=0, equal_nan=True):
        # Not traced; or traced it is another function, as where it counts its calls.
        J, data, J0, autograd, refusal = _plain(cost, params, args), [], called, None, ""
    else:
        theta = jnp.asarray(theta)
    return Problem(
        names,
        [np.shape(leaf) for leaf in leaves],
        theta,
        np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in grad_leaves]),
        own_J,
        J,
        data,
        rules,
        J0,
        autograd,
        refusal,
        float32_cost=dtype == "float32" or in_float32 or _in_float32(J0, J, theta, data),
        float32_gradient=dtype == "float32" or _in_float32_too(call, params, args, grad_leaves),
        iterates="while" in primitives,
        holds_arrays=HOLDS_ARRAYS in primitives,
    )


@dataclass(frozen=True)
class CostPart:
    """J of a function that returns J and the gradient."""

    func: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        return self.func(*args)[0]


def _cost_and_gradient(function, cost, params, args):
    """A function that returns (J, gradient), a cost of its own where there is one, and what the
    function returns here."""

    def called(call, cost):
        return call, cost, _detached(call(*_copies((params, *args))))

    if isinstance(function, tuple | list) and len(function) == 2 and all(map(callable, function)):
        J, grad = function
        return called(lambda *args: (J(*_copies(args)), grad(*_copies(args))), cost or J)
    if not callable(function):
        raise CheckError(
            f"{function!r} cannot be called: pass a function that returns (cost, gradient), a "
            "pair of functions, or a function with a jax.custom_vjp"
        )
    out = _detached(function(*_copies((params, *args))))
    if isinstance(_unwrapped(function), RULED):
        if isinstance(out, tuple | list) or np.size(out) != 1:
            raise CheckError(
                "the function with a derivative rule returns more than one number: check a sum of "
                "them with fixed random weights, jax.jit(lambda x: (weights * f(x)).sum())"
            )
        return called(jax.value_and_grad(function, allow_int=True), cost or Primal(function))
    if isinstance(out, tuple | list) and len(out) == 2:
        return function, cost, out
    is_number = not isinstance(out, tuple | list | Mapping) and np.size(out) == 1
    if is_number and not _traced(function, params, args)[3].isdisjoint(CUSTOM_RULES):
        return called(jax.value_and_grad(function, allow_int=True), cost or function)
    what = f"{len(out)} values" if isinstance(out, tuple | list) else f"one {type(out).__name__}"
    raise CheckError(
        f"the function returns {what}, not the two of (cost, gradient): return both, or pass a "
        "pair of functions (cost, gradient), or a function with a jax.custom_vjp"
    )


RULED = (jax.custom_vjp, jax.custom_jvp)


def _unwrapped(function: Any) -> Any:
    """What is inside `jax.jit` and other decorators, down to a hand-written derivative rule."""
    return inspect.unwrap(function, stop=lambda f: isinstance(f, RULED))


@dataclass(frozen=True)
class Primal:
    """The function that a custom_vjp or custom_jvp was written for."""

    func: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        return _unwrapped(self.func).fun(*args)


def _refuse_other_numbers(first, second) -> None:
    """Raises `CheckError` where two calls with the same arguments returned different numbers."""
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=False):
        try:
            a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
        except (TypeError, ValueError):
            continue
        scale = 1e-5 if getattr(one, "dtype", None) == np.float32 else 1e-10
        with np.errstate(all="ignore"):
            same = a.shape == b.shape and (
                np.array_equal(a, b, equal_nan=True) or norm(a - b) <= scale * norm(a)
            )
        if not same:
            raise CheckError(
                "the check is not deterministic: two calls with the same arguments return "
                f"different numbers (J = {_scalar(first[0]):.8g} and {_scalar(second[0]):.8g}). "
                "Switch dropout and other randomness off, or fix its seed inside the function"
            )


def _scalar(J: Any) -> float:
    J = _detached(J)
    if J is None or isinstance(J, tuple | list | Mapping | str):
        raise CheckError(
            f"the cost is a {type(J).__name__}: it must be one number, without anything beside it "
            "(has_aux)"
        )
    if np.size(J) != 1:
        raise CheckError(f"the cost has shape {np.shape(J)}: it must be one number")
    value = np.asarray(J).reshape(())
    if not (value.dtype.kind in "biu" or jnp.issubdtype(value.dtype, jnp.floating)):
        raise CheckError(f"the cost has dtype {value.dtype}: it must be a real number")
    return float(value)


def _detached(tree: Any) -> Any:
    """The tree with PyTorch's tensors as NumPy's arrays."""

    def convert(leaf):
        return leaf.detach().cpu().numpy() if hasattr(leaf, "detach") else leaf

    return jax.tree.map(convert, tree)


# --- params and gradient ---


def block_names(params: Any) -> list[str]:
    """W1, b1, W2, … for layers; for any other pytree the path of each leaf."""
    if isinstance(params, tuple) and all(isinstance(layer, Layer) for layer in params):
        return [f"{name}{l}" for l in range(1, len(params) + 1) for name in ("W", "b")]
    paths, _ = jax.tree_util.tree_flatten_with_path(params)
    return [_name_of(path) for path, leaf in paths if _is_float(leaf)]


def _name_of(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".") or "theta"


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, float | np.floating) or (
        isinstance(leaf, jax.Array | np.ndarray) and jnp.issubdtype(leaf.dtype, jnp.floating)
    )


def _float_leaves(params: Any) -> list[Any]:
    leaves = jax.tree.leaves(params)
    floats = [leaf for leaf in leaves if _is_float(leaf)]
    if not floats:
        kinds = ", ".join(
            sorted({str(getattr(leaf, "dtype", type(leaf).__name__)) for leaf in leaves})
        )
        raise CheckError(
            f"params has no floating-point arrays (it has {kinds or 'nothing'}): pass NumPy or "
            "JAX arrays of floats, in any dict, list, tuple or registered dataclass"
        )
    if not any(map(np.size, floats)):
        raise CheckError("params has no numbers: every array in it is empty")
    return floats


def _like(params: Any, grads: Any) -> Any:
    """The gradient with the form of params, where it is clear what belongs where.

    Lists stand for tuples, "dW1" in a dict for "W1", and what else the dict holds is left out.
    """
    if type(params) is dict and isinstance(grads, Mapping):
        named = {key: key_of_gradient(str(key), grads) for key in params}
        if None not in named.values():
            return {key: _like(params[key], grads[theirs]) for key, theirs in named.items()}
    plain = isinstance(params, list | tuple) and isinstance(grads, list | tuple)
    if plain and type(params) is not type(grads) and len(params) == len(grads):
        parts = [_like(p, g) for p, g in zip(params, grads, strict=True)]
        return type(params)(*parts) if hasattr(params, "_fields") else type(params)(parts)
    return grads


def _check_form(params, grads, names) -> None:
    form, form_of_g = jax.tree.structure(params), jax.tree.structure(grads)
    if str(form) != str(form_of_g):
        raise ShapeError(f"the gradient is not built like params: {_apart(params, grads)}")
    pairs = zip(names, _float_leaves(params), _floats_only(params, grads), strict=True)
    for name, p, d in pairs:
        if np.shape(p) != np.shape(d):
            hint = ": is it transposed?" if np.shape(p) == np.shape(d)[::-1] else ""
            raise ShapeError(f"{name} has shape {np.shape(p)}, its gradient {np.shape(d)}{hint}")


def _apart(params, grads) -> str:
    """How two trees differ: in their keys, or else in their kinds of nodes."""
    if type(params).__module__.startswith("flax.nnx"):
        return "of a flax.nnx module pass the state, nnx.split(model, nnx.Param)[1], as params"
    wanted, own = (
        [_name_of(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
        for tree in (params, grads)
    )
    kinds = [type(tree).__name__ for tree in (grads, params)]
    if jax.tree.structure(0) in map(jax.tree.structure, (params, grads)):
        return f"it is a {kinds[0]}, params a {kinds[1]}: several arrays go into one dict or tuple"
    missing = [key for key in wanted if key not in own][:MOST_KEYS]
    others = [key for key in own if key not in wanted][:MOST_KEYS]
    if not (missing or others):
        forms = [str(jax.tree.structure(tree))[:MOST_CHARACTERS] for tree in (grads, params)]
        return " instead of ".join(forms)
    parts = (f"without {', '.join(missing)}" * bool(missing),
             f"with {', '.join(others)} beside" * bool(others))  # fmt: skip
    return f"it comes {' and '.join(part for part in parts if part)}"


def _refuse_unseen(params, grads) -> None:
    """Raises `CheckError` for a gradient of what is not looked at, or one that is not real."""
    paths, _ = jax.tree_util.tree_flatten_with_path(params)
    for (path, p), g in zip(paths, jax.tree.leaves(grads), strict=True):
        if getattr(g, "dtype", None) == jax.dtypes.float0 or not isinstance(
            g, float | int | complex | np.ndarray | np.generic | jax.Array
        ):
            continue
        name = _name_of(path)
        if not _is_float(p) and jnp.issubdtype(jnp.result_type(g), jnp.number) and np.any(g):
            kind = getattr(p, "dtype", type(p).__name__)
            raise CheckError(
                f"{name} is {kind}, and only floating-point numbers are checked: pass it as floats "
                "(a complex one as two), or leave its gradient zero"
            )
        if np.iscomplexobj(g):
            raise CheckError(f"the gradient of {name} is complex, its parameters are real")


def _floats_only(params, grads) -> list[Any]:
    """The leaves of grads where params has floats."""
    leaves = jax.tree.leaves(params)
    both = zip(leaves, jax.tree.leaves(grads), strict=True)
    return [g for p, g in both if _is_float(p)]


def floats_to(dtype: Any, tree: Any) -> Any:
    """The tree with its arrays of floating-point numbers in another dtype, all else as it is."""

    def convert(leaf):
        if not _is_float(leaf) or isinstance(leaf, float):
            return leaf
        kind = jnp.asarray if isinstance(leaf, jax.Array) else np.asarray
        return kind(leaf, dtype)

    return jax.tree.map(convert, tree)


def _copies(tree: Any) -> Any:
    """The tree with arrays of its own, so that a function may write into what it is given."""
    return jax.tree.map(lambda leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf, tree)


def anew(function: Callable[..., Any], *args: Any) -> Any:
    """What it returns; where JAX still holds a part of it as it was without float64, anew.

    JAX 0.9 and 0.10 remember NumPy's arrays of int64 as int32 while a compiled function holds them:
    labels that a loss closes over, after training.
    """
    try:
        return function(*args)
    except TypeError as error:
        if "same dtypes" not in str(error):
            raise
        jax.clear_caches()
        return function(*args)


# --- the cost as a function of one vector ---


def flat_problem(
    cost: Callable[..., Any], params: Any, args: tuple[Any, ...], *, data_traced: bool = True
) -> tuple[numerical.FlatCost, np.ndarray, numerical.Data]:
    """J(θ, data), θ and data for the numerical witnesses, from cost(params, *args).

    J takes a real or a complex θ, whose dtype arrays of floating-point numbers among the arguments
    follow.
    A compiled cost (`jax.jit`) with arrays of the same shapes gives the same J, so that nothing
    is compiled twice. Any other function may have changed since, with a global variable.
    data_traced: JAX sees the arrays among the arguments as variables, too.
    """
    leaves, structure = jax.tree.flatten(params)
    arg_leaves, arg_structure = jax.tree.flatten(args)
    is_data = tuple(data_traced and _is_numeric(leaf) for leaf in arg_leaves)
    rest = tuple(None if d else leaf for leaf, d in zip(arg_leaves, is_data, strict=True))
    fixed = tuple(None if _is_float(leaf) else leaf for leaf in leaves)
    shapes = tuple(np.shape(leaf) if _is_float(leaf) else None for leaf in leaves)
    is_compiled = hasattr(getattr(cost, "func", cost), "lower")
    key = (cost, structure, shapes, fixed, arg_structure, rest, is_data)
    J = None
    if is_compiled:
        with suppress(TypeError):  # not everything can be a key of the cache
            J = _flat_cost(*key)
    J = J or numerical.asked_once(_flat_cost.__wrapped__(*key))
    theta = np.concatenate([np.ravel(np.asarray(leaf)) for leaf in leaves if _is_float(leaf)])
    return J, theta, [leaf for leaf, d in zip(arg_leaves, is_data, strict=True) if d]


@lru_cache(maxsize=64)
def _flat_cost(cost, structure, shapes, fixed, arg_structure, rest, is_data):
    sizes = [math.prod(shape) for shape in shapes if shape is not None]
    ends = list(accumulate(sizes))

    def J(theta, data):
        parts = iter(jnp.split(theta, ends[:-1]))
        leaves = [
            leaf if shape is None else next(parts).reshape(shape)
            for leaf, shape in zip(fixed, shapes, strict=True)
        ]
        arrays = iter(_arrays_to(theta.dtype, data))
        kept = _copies(rest)  # a function may write into what it is given
        arg_leaves = [next(arrays) if d else leaf for leaf, d in zip(kept, is_data, strict=True)]
        params = jax.tree.unflatten(structure, leaves)
        return jnp.reshape(cost(params, *jax.tree.unflatten(arg_structure, arg_leaves)), ())

    return J


def _arrays_to(dtype, arrays):
    return [jnp.asarray(a, dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a for a in arrays]


def _is_numeric(leaf: Any) -> bool:
    if isinstance(leaf, np.ndarray):
        return leaf.dtype.kind in "biufc"
    return isinstance(leaf, jax.Array)


def _traced(cost, params, args):
    """J, θ, data, the operations inside J, and whether it rounds to fewer digits than θ has.

    J is None where JAX cannot trace the cost.
    """
    for data_traced in (True, False):
        J, theta, data = flat_problem(cost, params, args, data_traced=data_traced)
        try:
            closed = anew(numerical.trace, J, theta, data)
        except Exception:  # whatever a stranger's function does with a tracer
            continue
        known = numerical.facts(J, theta, data)
        primitives = [*known.primitives]
        if len(primitives) > MOST_OPERATIONS or not CALLBACKS.isdisjoint(primitives):
            break
        floats = [kind for kind in known.dtypes if jnp.issubdtype(kind, jnp.floating)]
        if half := [str(kind) for kind in floats if kind.itemsize < 4]:
            raise CheckError(
                f"J is computed in {half[0]}, which has too few digits to tell a right gradient "
                "from a wrong one: check it with float32 or float64 in its place"
            )
        fewer = any(kind.itemsize < 8 for kind in floats)
        if any(np.dtype(one.dtype).itemsize == 8 for one in numerical.constants(closed)):
            primitives.append(HOLDS_ARRAYS)
        data = [jnp.asarray(array) for array in data]  # once, not with every call
        return J, theta, data, frozenset(primitives), fewer and theta.dtype == np.float64
    return None, theta, data, frozenset(), False


def _autograd(J, theta, data, rules) -> tuple[float, np.ndarray | None, str]:
    """J at θ, its gradient by `jax.grad`, and what that said where it cannot be had.

    Both by one program. Of a reverse rule written by hand `jax.grad` knows no better.
    """
    refusal = ""
    if not any("vjp" in rule for rule in rules):
        try:
            J0, gradient = numerical.cost_and_autograd(J, theta, data)
            return float(J0), np.asarray(gradient, np.float64), ""
        except Exception as error:  # of a while_loop, or of a primitive without a derivative
            refusal = str(error).partition("\n")[0]
    return numerical.cost_at(J, theta, data), None, refusal


def _plain(cost, params, args) -> numerical.PlainCost:
    leaves, structure = jax.tree.flatten(params)

    def J(theta: np.ndarray) -> float:
        moved, start = [], 0
        for leaf in leaves:
            if not _is_float(leaf):
                moved.append(leaf)
                continue
            size = np.size(leaf)
            part = theta[start : start + size].reshape(np.shape(leaf))
            start += size
            if isinstance(leaf, float):
                moved.append(float(part))
            else:
                kind = jnp.asarray if isinstance(leaf, jax.Array) else np.array
                moved.append(kind(part, leaf.dtype))
        return _scalar(cost(jax.tree.unflatten(structure, moved), *_copies(args)))

    return numerical.PlainCost(J)


# --- precision ---


def _in_float32(J0: float, J, theta, data) -> bool:
    with np.errstate(over="ignore"):
        if float(np.float32(J0)) != J0:
            return False  # it has more than seven digits
    return is_float32(_costs_nearby(J, theta, data))


def _in_float32_too(call, params, args, grads) -> bool:
    """Whether a gradient has seven digits, and not only as its parameters, in float32, have."""
    if not is_float32(_joined(grads)):
        return False
    if all(np.asarray(leaf).dtype == np.float32 for leaf in grads):
        return True
    moved = jax.tree.map(lambda p: p * (1 + 2.0**-30) if _is_float(p) else p, params)
    _, again = _detached(call(*_copies((moved, *args))))
    return is_float32(_joined(_floats_only(params, _like(params, again))))


def _joined(leaves: list[Any]) -> np.ndarray:
    return np.concatenate([np.ravel(np.asarray(leaf)) for leaf in leaves])


def _costs_nearby(J, theta, data) -> np.ndarray:
    rng = np.random.default_rng(0)
    directions = np.asarray(theta) * rng.uniform(1e-3, 2e-3, (4, theta.size))
    return numerical.costs_along(J, theta, data, directions, np.ones(1))
