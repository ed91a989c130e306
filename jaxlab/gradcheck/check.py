"""The verdict on a gradient: one a block (W1, b1, …), by up to three independent witnesses.

    central differences   need nothing but the cost, see errors down to about 1e-9
    the complex step      needs a cost that takes complex numbers, exact to rounding
    jax.grad              needs a cost written in JAX, exact to rounding

and beside them the order of the Taylor remainder, which is 2 for a right gradient whatever the
step, and falls towards 1 for a wrong one. `functions.py` makes one problem of whatever is given,
`witnesses.py` questions the witnesses, `verdict.py` weighs them, `mistakes.py` names what is wrong.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from numbers import Integral
from typing import Any

import jax
import numpy as np

from jaxlab.backprop import Layer
from jaxlab.errors import JaxlabError, OptionError
from jaxlab.gradcheck import table
from jaxlab.gradcheck.functions import MOST_CHARACTERS, anew, problem_of
from jaxlab.gradcheck.result import GradientCheck
from jaxlab.gradcheck.verdict import judge
from jaxlab.precision import every_digit


def check_gradients(
    cost_and_grad: Any,
    params: Any,
    *args: Any,
    cost: Callable[..., Any] | None = None,
    seed: int = 0,
    coordinates: int | None = None,
    full: bool | None = None,
    dtype: str | None = None,
    m: int | None = None,
    advance: Callable[[int], None] = lambda n: None,
) -> GradientCheck:
    """Compares a gradient, block by block, with what witnesses say who do not know it.

    cost_and_grad: a function of (params, *args) that returns (J, gradient), in JAX or in NumPy;
    or a pair of functions (J, gradient); or a function of one value with a `jax.custom_vjp`,
    whose own rule is then under test. params: any pytree of floating-point arrays (a dict, a
    tuple of `Layer`s, one flat vector, …); its leaves are the blocks. args: whatever else the
    function takes; arrays of floating-point numbers become float64, all else stays as it is.

    cost: the function that returns J alone, which the witnesses differentiate; without it they
    differentiate the J that cost_and_grad returns. Where JAX cannot trace it (NumPy, `float()`),
    it is called point by point, and central differences are the only witness. Where it has a
    hand-written derivative rule inside that differences contradict, `jax.grad` is no witness. The
    complex step is left out where the cost is not analytic. Each is said in the result's `notes`. A
    cost under `jax.jit` is compiled once for all checks with arrays of the same shapes, which take
    some hundredths of a second then; any other may have changed since, and is compiled for each
    check: a third of a second for a small one.

    Small networks are checked at every coordinate. Large ones by `jax.grad` at every coordinate,
    which the other witnesses confirm along a random direction a block; without it, or in float32,
    along 8, and blocks that fail in full.
    full: every coordinate (True) or directions (False), whatever the size; above 2,000 parameters
    every coordinate is looked at without the complex step, where rounding leaves digits enough.
    coordinates: that many of each block, drawn with `seed`. dtype: "float32" computes in float32,
    for functions that must; the thresholds follow. m: the number of examples, to name a forgotten
    1/m; found out from args where not given. advance: called with the number of coordinates done,
    for a progress bar (each counts twice where there are two numerical witnesses).

    Everything else is computed in float64, switched on for the check alone; a function that refuses
    float64 is given float32. Choose params random and non-zero: zero biases hide mistakes. Raises
    `ShapeError` where the gradient has not the form of params, `OptionError` for options that make
    no sense, and `CheckError` where J is not finite, where it changes nowhere, where two calls with
    the same arguments differ (dropout), or where what was given is none of the above.
    """
    if dtype not in (None, "float64", "float32"):
        raise OptionError(f"dtype is {dtype!r}: choose float64 or float32")
    if coordinates is not None and coordinates < 1:
        raise OptionError(f"coordinates is {coordinates}: at least 1 of each block must be checked")
    if not isinstance(seed, Integral) or seed < 0:
        raise OptionError(f"seed is {seed!r}: choose a whole number from 0 on")
    if coordinates is not None and full:
        raise OptionError("coordinates asks for a sample, full for everything: choose one")
    given = {getattr(leaf, "dtype", None) for leaf in jax.tree.leaves((params, args))}
    may_be_float32 = dtype is None and np.dtype(np.float32) in given
    with every_digit(dtype != "float32"):
        try:
            problem = anew(problem_of, cost_and_grad, params, args, cost, dtype or "float64")
        except JaxlabError:
            raise
        except Exception as error:
            # A function that refuses float64 is given the float32 that it was passed here.
            if not may_be_float32:
                raise
            problem, reason = None, f"{type(error).__name__}: {error}".partition("\n")[0]
        if problem is not None:
            check = judge(problem, args, seed, coordinates, full, m, advance)
    if problem is not None:
        if problem.holds_arrays and not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
            jax.clear_caches()  # lest training meets them as they are with float64: see `anew`
        return check
    with every_digit(False):
        problem = problem_of(cost_and_grad, params, args, cost, "float32")
        check = judge(problem, args, seed, coordinates, full, m, advance)
        note = f"float32 was taken, as with float64 the function fails: {reason[:MOST_CHARACTERS]}"
        return replace(check, notes=(*check.notes, note))


def assert_gradients(*args: Any, **kwargs: Any) -> None:
    """`check_gradients` for tests: an AssertionError unless every block is right.

    Its message says which block, how wrong and in which direction, which mistake, and the table.
    """
    check = check_gradients(*args, **kwargs)
    if not check:
        lines = [f"wrong gradient in {', '.join(check.wrong)}", *table.how_wrong(check)]
        raise AssertionError("\n".join([*lines, *table.diagnosis(check), "", str(check)]))


def random_params(seed: int, sizes: tuple[int, ...]) -> tuple[Layer, ...]:
    """Layers with every weight and bias drawn from N(0, 1/units in), in float64, for a check.

    Biases are not zero: a mistake that multiplies by a bias would be invisible there.
    """
    rng = np.random.default_rng(seed)
    return tuple(
        Layer(
            rng.standard_normal((n_out, n_in)) / n_in**0.5,
            rng.standard_normal(n_out) / n_in**0.5,
        )
        for n_in, n_out in pairwise(sizes)
    )
