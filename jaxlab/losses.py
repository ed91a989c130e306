"""Costs and their output errors, in pairs.

A loss belongs to the activation of the output layer, because together their derivative is
simple. Each pair is written as a function of z, the weighted input of the output layer (z3 on
the lab sheet), and of the target y:

    cost(z, y)          J of each example
    output_error(z, y)  δ = ∂J/∂z of each example, derived by hand

To add a loss, write the three functions and put them into a `Loss`: `cost_and_grad`, `fit` and
`minimize` take it from there, and the gradient check needs only the cost.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

Units = Inexact[Array | np.ndarray, "m units"]
PerExample = Inexact[Array, " m"]


class Loss(NamedTuple):
    """The output layer's activation, its cost, and the error δ that belongs to both."""

    name: str
    activation: Callable[[Units], Units]
    cost: Callable[[Units, Units], PerExample]
    output_error: Callable[[Units, Units], Units]


def sigmoid(z: Inexact[Array | np.ndarray, "*shape"]) -> Inexact[Array, "*shape"]:
    """σ(z) = 1 / (1 + e^(-z)), elementwise (lab sheet, section 1.2). Its derivative is σ(1 - σ)."""
    return jax.lax.logistic(z)


def softmax(z: Units) -> Units:
    """softmax(z)_j = e^(z_j) / Σ_k e^(z_k), over the units of one example (lab sheet, 6.1)."""
    e = jnp.exp(z - _largest(z))
    return e / e.sum(axis=1, keepdims=True)


def _largest(z: Units) -> Inexact[Array | np.ndarray, "m 1"]:
    """The largest logit of each example, as a constant: subtracting it changes no softmax, but
    keeps e^z from overflowing. Of a complex z (the complex-step check) the real part counts."""
    return jax.lax.stop_gradient(z.real.max(axis=1, keepdims=True)).astype(z.dtype)


def _half_squared_distance(z: Units, y: Units) -> PerExample:
    """J = ½ ‖a - y‖² with a = σ(z), of each example (lab sheet, equation 1)."""
    # A plain square, not |·|²: it stays differentiable along a complex step.
    return 0.5 * ((sigmoid(z) - y) ** 2).sum(axis=1)


def _half_squared_distance_error(z: Units, y: Units) -> Units:
    """δ3 = (a3 - y) × a3 (1 - a3) (lab sheet, section 1.2)."""
    a = sigmoid(z)
    return (a - y) * a * (1 - a)


def _cross_entropy(z: Units, y: Units) -> PerExample:
    """J = -Σ_j y_j log softmax(z)_j, of each example (Bishop 2006, equation 4.108).

    The logarithm is taken of the sum, never of a rounded softmax, so logits of ±1000 are safe.
    """
    shifted = z - _largest(z)
    log_softmax = shifted - jnp.log(jnp.exp(shifted).sum(axis=1, keepdims=True))
    return -(y * log_softmax).sum(axis=1)


def _cross_entropy_error(z: Units, y: Units) -> Units:
    """δ = softmax(z) - y: the derivative of softmax cancels (Bishop 2006, equation 4.109).

    Holds for targets that sum to 1 over the units, as one-hot labels do.
    """
    return softmax(z) - y


squared_error = Loss(
    "squared error, sigmoid outputs",
    activation=sigmoid,
    cost=_half_squared_distance,
    output_error=_half_squared_distance_error,
)
cross_entropy = Loss(
    "cross-entropy, softmax outputs",
    activation=softmax,
    cost=_cross_entropy,
    output_error=_cross_entropy_error,
)
