"""The examples behind a cost: how many there are, and the gradient of each."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.gradcheck.functions import Problem

# What may be held at once: 128 MB in float64.
MOST_NUMBERS = 1 << 24


def how_many(problem: Problem, args: tuple[Any, ...]) -> int | None:
    """m, where the arrays among args share their first axis or their last, else None.

    Where they share both, as the inputs of an autoencoder alone do, it is the one along which J
    takes one more.
    """
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(args) if hasattr(leaf, "shape")]
    shapes = [shape for shape in shapes if shape]
    shared = {}
    for axis in (0, -1):
        if matrices := [shape for shape in shapes if len(shape) > 1] or shapes:
            lengths = {shape[axis] for shape in matrices}
            vectors = {shape[0] for shape in shapes if len(shape) == 1}
            if len(lengths) == 1 and (not vectors or lengths <= vectors):
                shared[axis] = int(*lengths)
    if problem.traced and len(set(shared.values())) > 1:
        taken = [m for axis, m in shared.items() if _takes_another(problem, axis, m)]
        return [*taken, *shared.values()][0]
    return next(iter(shared.values()), None)


def _takes_another(problem: Problem, axis: int, m: int) -> bool:
    """Whether J can be had of arrays that are one longer along the axis."""

    def longer(a):
        shape = list(a.shape)
        if shape and shape[axis] == m:
            shape[axis] += 1
        return jax.ShapeDtypeStruct(tuple(shape), a.dtype)

    try:
        jax.eval_shape(problem.J, problem.theta, [longer(a) for a in problem.data])
    except Exception:  # whatever a stranger's function does with other shapes
        return False
    return True


def gradients(problem: Problem, m: int | None) -> dict[str, np.ndarray] | None:
    """The gradient of J for every single example, block → (m, *shape).

    None where the arguments do not show which axis counts the examples, or J takes no single one.
    """
    if not problem.traced or m is None or m < 2 or m * problem.g.size > MOST_NUMBERS:
        return None
    for axis in (0, -1):
        axes = [axis if a.ndim and a.shape[axis] == m else None for a in problem.data]
        if all(axis is None for axis in axes):
            continue
        try:
            each = _each(problem, axes)
        except Exception:  # a stranger's function need not take one example
            continue
        if np.isfinite(each).all():
            return {
                name: each[:, span].reshape(m, *shape)
                for name, shape, span in zip(
                    problem.names, problem.shapes, problem.spans, strict=True
                )
            }
    return None


def _each(problem: Problem, axes: list[int | None]) -> np.ndarray:
    def gradient(*data):
        one = [
            d if axis is None else jnp.expand_dims(d, axis)
            for d, axis in zip(data, axes, strict=True)
        ]
        return jax.grad(problem.J)(problem.theta, one)

    arrays = [jnp.asarray(a) for a in problem.data]
    return np.asarray(jax.jit(jax.vmap(gradient, in_axes=axes))(*arrays), np.float64)
