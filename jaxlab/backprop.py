"""Backpropagation, written by hand. Read this file first.

A network of L layers of units is a tuple of L - 1 `Layer`s of weights. Names and formulas are
the lab sheet's (section 1.2), one example a row instead of one a column:

    lab sheet, one example                  here, m examples
    z(l+1) = W(l) a(l) + b(l)               z[l + 1] = (W @ a[l].T).T + b[None, :]
    a(l+1) = σ(z(l+1))                      a[l + 1] = sigmoid(z[l + 1])
    δ(l)   = W(l)ᵀ δ(l+1) × a(l)(1 - a(l))  delta[l] = (delta[l + 1] @ W) * a[l] * (1 - a[l])
    ∂J/∂W(l) = 1/m Σ δ(l+1) a(l)ᵀ           (delta[l + 1] / m).T @ a[l]
    ∂J/∂b(l) = 1/m Σ δ(l+1)                 (delta[l + 1] / m).sum(axis=0)

The classifier of exercises 1, 2 and 5, the autoencoder of 3 and 4 (y = x) and the softmax
classifier of 6 (no hidden layer, cross-entropy) are all this one function.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Inexact

from jaxlab.errors import ShapeError
from jaxlab.losses import Loss, sigmoid, squared_error


class Layer(NamedTuple):
    """The weights and biases between one layer of units and the next."""

    W: Inexact[Array | np.ndarray, "units_out units_in"]
    b: Inexact[Array | np.ndarray, " units_out"]


Params = tuple[Layer, ...]
Inputs = Inexact[Array | np.ndarray, "m units_in"]
Outputs = Inexact[Array | np.ndarray, "m units_out"]
EveryLayer = dict[int, Inexact[Array | np.ndarray, "m _"]]
Cost = Inexact[Array, ""]


def feed_forward(
    params: Params, x: Inputs, loss: Loss = squared_error
) -> tuple[EveryLayer, EveryLayer]:
    """The weighted inputs z[2] … z[L] and activations a[1] = x … a[L] of every layer of units.

    x is (m, units in), one example a row; z[l] and a[l] are (m, units of layer l). Hidden layers
    are sigmoid, the output layer is what the loss calls for.
    """
    z, a = {}, {1: x}
    for l, (W, b) in enumerate(params, start=1):
        # W first: a[l] @ W.T is the same, but of many W at once, as in the gradient check, XLA
        # would transpose each.
        z[l + 1] = (W @ a[l].T).T + b[None, :]
        a[l + 1] = sigmoid(z[l + 1]) if l < len(params) else loss.activation(z[l + 1])
    return z, a


@partial(jax.jit, static_argnames="loss")
def cost(params: Params, x: Inputs, y: Outputs, loss: Loss = squared_error) -> Cost:
    """J, the mean cost of m examples: the forward pass alone.

    The independent witnesses of the gradient check (autograd, finite differences, the complex
    step) differentiate this function and never see the hand-written backward pass.
    """
    check_shapes(params, x, y)
    z, _ = feed_forward(params, x, loss)
    return loss.cost(z[len(params) + 1], y).mean()


@partial(jax.jit, static_argnames="loss")
def cost_and_grad(
    params: Params, x: Inputs, y: Outputs, loss: Loss = squared_error
) -> tuple[Cost, Params]:
    """The mean cost J of m examples and its gradient, by backpropagation.

    params: L - 1 layers, W(l) of shape (units of layer l + 1, units of layer l), b(l) of shape
    (units of layer l + 1,). x: (m, units in). y: (m, units out), one-hot for a classifier, x
    itself for an autoencoder. Returns J, a scalar, and the gradient in the form of params.

    Compiled once for every combination of shapes and dtype; all arrays share one dtype. Raises
    `ShapeError` where shapes or dtypes do not fit together. Source: lab sheet, section 1.2.
    """
    check_shapes(params, x, y)
    m, L = x.shape[0], len(params) + 1

    # Forward: z2, a2, …, zL, aL.
    z, a = feed_forward(params, x, loss)
    J = loss.cost(z[L], y).mean()

    # Backward: δL, …, δ2.
    delta = {L: loss.output_error(z[L], y)}
    for l in range(L - 1, 1, -1):
        delta[l] = (delta[l + 1] @ params[l - 1].W) * a[l] * (1 - a[l])

    # Gradients: each layer's δ meets the activations that came into it. Where m is small, δ has
    # far fewer entries than W: dividing it by m, not the product, takes a tenth off the time.
    grads = tuple(
        Layer(W=_transposed(delta[l + 1] / m) @ a[l], b=(delta[l + 1] / m).sum(axis=0))
        for l in range(1, L)
    )
    return J, grads


def _transposed(delta):
    """δᵀ; in float64 or of few units as an array of its own, not left to the product with a.

    There XLA's products on a CPU take up to twice as long where they have to transpose on their
    way; but above a million numbers it is the copy that takes longer.
    """
    own = (delta.dtype == jnp.float64 or delta.shape[1] <= 32) and delta.size < 1_000_000
    return jax.lax.optimization_barrier(delta.T) if own else delta.T


@partial(jax.jit, static_argnames="loss")
def predict(params: Params, x: Inputs, loss: Loss = squared_error) -> Outputs:
    """The output layer's activations a(L), (m, units out). Their argmax is the predicted class.

    x: (m, units in), of the dtype of params. Raises `ShapeError` where they do not fit together.
    """
    check_shapes(params, x)
    return feed_forward(params, x, loss)[1][len(params) + 1]


def initialize(
    seed: int,
    sizes: Sequence[int],
    *,
    mean_output: Inexact[Array | np.ndarray, " units_out"] | None = None,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Params:
    """Random weights for layers of the given numbers of units, e.g. (8, 5, 10); zero biases.

    W(l) is uniform in ±√(6 / (units in + units out)) (Glorot and Bengio 2010, equation 16).

    mean_output: the mean target of each sigmoid output. With it the untrained network answers
    about that mean: the output biases are set for it, and the output weights start at a tenth.
    Otherwise all outputs start near ½ and far apart, the first steps push some of them into
    saturation, where δ of the squared error vanishes, and a digit is never predicted again.

    Returns one `Layer` for each two neighbouring sizes, of JAX arrays of that dtype. Raises
    `ShapeError` for fewer than two layers of units, one without units, or a mean_output that has
    not one number for each output.
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ShapeError(f"sizes are {tuple(sizes)}: name the units of two layers or more, from 1")
    if mean_output is not None and jnp.shape(mean_output) != (sizes[-1],):
        raise ShapeError(
            f"mean_output has shape {jnp.shape(mean_output)}, for {sizes[-1]} outputs it must be "
            f"({sizes[-1]},)"
        )
    # NumPy's generator: JAX's would compile a program for every shape.
    rng = np.random.default_rng(seed)
    layers = []
    for n_in, n_out in pairwise(sizes):
        limit = (6 / (n_in + n_out)) ** 0.5
        layers.append(Layer(rng.uniform(-limit, limit, (n_out, n_in)), np.zeros(n_out)))
    if mean_output is not None:
        W = 0.1 * layers[-1].W
        mean = np.clip(np.asarray(mean_output, np.float64), 1e-3, 1 - 1e-3)  # σ never is 0 or 1
        a = 0.5 if len(layers) > 1 else 0.0  # hidden units start near ½, inputs mostly at 0
        layers[-1] = Layer(W, np.log(mean / (1 - mean)) - a * W.sum(axis=1))
    return tuple(Layer(jnp.asarray(W, dtype), jnp.asarray(b, dtype)) for W, b in layers)


def layer_sizes(params: Params) -> tuple[int, ...]:
    """The number of units of every layer, (units in, …, units out)."""
    return (params[0].W.shape[1], *(W.shape[0] for W, _ in params))


# --- the flat form: all parameters in one vector, as the lab sheet asks (section 1, step 4) ---


def flatten(params: Params) -> Inexact[Array, " parameters"]:
    """All parameters as one vector θ: W1 row by row, b1, W2 row by row, b2, …"""
    return ravel_pytree(params)[0]


def unflatten(theta: Inexact[Array, " parameters"], sizes: Sequence[int]) -> Params:
    """The layers that `flatten` made θ from; sizes as in `initialize`.

    Raises `ShapeError` where theta has another length than these layers need.
    """
    _refuse_no_array("theta", theta)
    layers, start = [], 0
    needed = sum(n_out * n_in + n_out for n_in, n_out in pairwise(sizes))
    if theta.shape != (needed,):
        raise ShapeError(
            f"theta has shape {theta.shape}, but layers of {'-'.join(map(str, sizes))} units "
            f"have {needed} parameters: pass theta of shape ({needed},) or other sizes"
        )
    for n_in, n_out in pairwise(sizes):
        end_of_W = start + n_out * n_in
        end_of_b = end_of_W + n_out
        layers.append(Layer(theta[start:end_of_W].reshape(n_out, n_in), theta[end_of_W:end_of_b]))
        start = end_of_b
    return tuple(layers)


def cost_and_grad_flat(
    theta: Inexact[Array, " parameters"],
    x: Inputs,
    y: Outputs,
    sizes: Sequence[int],
    loss: Loss = squared_error,
) -> tuple[Cost, Inexact[Array, " parameters"]]:
    """`cost_and_grad` of one vector of parameters: J and ∂J/∂θ, a vector like θ.

    Raises `ShapeError` as that and `unflatten` do.
    """
    J, grads = cost_and_grad(unflatten(theta, sizes), x, y, loss)
    return J, flatten(grads)


# --- the hand-written gradient as JAX's own ---


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def differentiable_cost(params: Params, x: Inputs, y: Outputs, loss: Loss = squared_error) -> Cost:
    """J, whose `jax.grad` with respect to params *is* the hand-written gradient.

    For everything that differentiates by itself, such as optax's line searches. Differentiating
    with respect to x or y raises `TypeError`: no gradient was written for them.
    """
    return cost(params, x, y, loss)


def _forward(params, x, y, loss):
    if x.perturbed or y.perturbed:
        raise TypeError(
            "jaxlab's hand-written gradient is with respect to params alone; "
            "for the gradient with respect to x or y differentiate jaxlab.cost"
        )
    return cost_and_grad(jax.tree.map(lambda leaf: leaf.value, params), x.value, y.value, loss)


def _backward(loss, grads, dJ):
    return jax.tree.map(lambda grad: dJ * grad, grads), None, None


differentiable_cost.defvjp(_forward, _backward, symbolic_zeros=True)


# --- shapes that do not fit are refused by name, never broadcast ---


def check_shapes(
    params: Params, x: Array | np.ndarray, y: Array | np.ndarray | None = None
) -> None:
    """Raises `ShapeError`, naming the arrays, unless params, x and y (if given) fit together."""
    batches = {"x": x} if y is None else {"x": x, "y": y}
    for name, batch in batches.items():
        _refuse_no_array(name, batch)
    if not params:
        raise ShapeError("params is empty: a network needs at least one Layer(W, b)")
    for name, batch in batches.items():
        if jnp.ndim(batch) != 2:
            raise ShapeError(
                f"{name} has shape {jnp.shape(batch)}: pass a matrix with one example a row, "
                f"(m, units)"
            )
    units, units_of = x.shape[1], "x has {} columns"
    for l, (W, b) in enumerate(params, start=1):
        _refuse_no_array(f"W{l}", W)
        _refuse_no_array(f"b{l}", b)
        if jnp.ndim(W) != 2 or jnp.ndim(b) != 1:
            raise ShapeError(
                f"W{l} has shape {jnp.shape(W)} and b{l} has shape {jnp.shape(b)}: "
                f"W{l} must be (units out, units in), b{l} (units out,)"
            )
        if W.shape[1] != units:
            raise ShapeError(f"W{l} has {W.shape[1]} columns, {units_of.format(units)}")
        if W.shape[0] != b.shape[0]:
            raise ShapeError(f"W{l} has {W.shape[0]} rows, b{l} has {b.shape[0]} entries")
        units, units_of = W.shape[0], f"layer {l} has {{}} units"
    if y is not None and y.shape[1] != units:
        raise ShapeError(
            f"y has {y.shape[1]} columns, the output layer has {units} units "
            f"(labels of a classifier must be one-hot)"
        )
    if y is not None and (x.shape[0] != y.shape[0] or x.shape[0] == 0):
        raise ShapeError(f"x has {x.shape[0]} examples, y has {y.shape[0]}; at least 1 is needed")
    dtypes = {name: batch.dtype for name, batch in batches.items()}
    for l, (W, b) in enumerate(params, start=1):
        dtypes |= {f"W{l}": W.dtype, f"b{l}": b.dtype}
    if len(set(dtypes.values())) > 1 or not jnp.issubdtype(x.dtype, jnp.inexact):
        raise ShapeError(
            "all arrays must share one floating-point dtype, but "
            + ", ".join(f"{name} is {dtype}" for name, dtype in dtypes.items())
        )


def _refuse_no_array(name: str, value: object) -> None:
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        raise ShapeError(f"{name} is a {type(value).__name__}: pass an array of numbers")
