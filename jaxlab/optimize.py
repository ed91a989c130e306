"""Training: `minimize` on the full batch, `fit` on mini-batches.

Both take any optax gradient transformation, run compiled, and call back between compiled calls,
so that a progress bar and learning curves cost nothing inside the loop.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlab.backprop import (
    Inputs,
    Outputs,
    Params,
    check_shapes,
    cost_and_grad,
    differentiable_cost,
)
from jaxlab.errors import OptionError
from jaxlab.losses import Loss, squared_error
from jaxlab.precision import enable_x64

# What is done between two looks at the cost. Large enough that returning to Python costs nothing.
ITERATIONS_A_CALL = 10

Transform = Callable[[PRNGKeyArray, Array], Array]


class Trained(NamedTuple):
    """Trained parameters, and J: before each iteration (`minimize`), or over each epoch (`fit`)."""

    params: Params
    history: Float[np.ndarray, " steps"]


def minimize(
    params: Params,
    x: Inputs,
    y: Outputs,
    *,
    loss: Loss = squared_error,
    optimizer: optax.GradientTransformation | None = None,
    iterations: int = 200,
    tolerance: float = 1e-6,
    on_progress: Callable[[int, float, Params], None] = lambda iteration, J, params: None,
) -> Trained:
    """Minimises J over all examples at once, by L-BFGS with the hand-written gradient.

    x: (m, units in). y: (m, units out). optimizer: any optax transformation; `optax.lbfgs()` where
    none is given (Nocedal and Wright 2006, algorithm 7.5, with their zoom line search). Stops after
    `iterations`, or earlier, where J of the last iteration of ten is below that of the first by
    less than `tolerance` of its value. on_progress: called every ten iterations with how many are
    done, J before the last of them, and the parameters (copy them to keep them: the next iterations
    write over them). The history, float64, has J before each iteration.

    Pass the same `optimizer` object again to run without compiling again. Raises `ShapeError` and
    `OptionError`.
    """
    check_shapes(params, x, y)
    if iterations < 1:
        raise OptionError(f"iterations is {iterations}: at least 1 is needed")
    x, y = jnp.asarray(x), jnp.asarray(y)  # not anew for each call
    optimizer = optimizer or _LBFGS
    # optax's line search makes numbers of its own, which x64 would make float64.
    in_float64 = bool(x.dtype == jnp.float64)
    with enable_x64(in_float64):
        carry = _start(params, optimizer)
    history = np.zeros(0, np.float64)
    while history.size < iterations:
        count = min(ITERATIONS_A_CALL, iterations - history.size)
        with enable_x64(in_float64):
            carry, costs = _iterate(carry, x, y, count, loss, optimizer)
        costs = np.asarray(costs, np.float64)[:count]
        history = np.append(history, costs)
        on_progress(history.size, float(costs[-1]), carry[0])
        if not costs[0] - costs[-1] > tolerance * abs(costs[0]) and count == ITERATIONS_A_CALL:
            break
    return Trained(carry[0], history)


@partial(jax.jit, static_argnames="optimizer")
def _start(params, optimizer):
    """Parameters and optimiser state that compiled steps may write over: copies, not shared.

    Each with a dtype of its own: what is weakly typed at the first step but not at the second
    would compile the step twice.
    """
    return jax.tree.map(lambda leaf: jnp.array(leaf, leaf.dtype), (params, optimizer.init(params)))


# One object for all calls: compiled programs are found again by the optimiser's identity.
_LBFGS = optax.lbfgs()


@partial(jax.jit, static_argnames=("loss", "optimizer"), donate_argnums=0)
def _iterate(carry, x, y, count, loss, optimizer):
    # Here and not in `minimize`: it makes a new object each time, which would compile again.
    update = optax.with_extra_args_support(optimizer).update

    def J(params):
        return differentiable_cost(params, x, y, loss)

    def iteration(i, carry):
        params, state, costs = carry
        # A line search has already computed J and its gradient where it stopped.
        if optax.tree.get(state, "value") is not None:
            value, grads = optax.value_and_grad_from_state(J)(params, state=state)
        else:
            value, grads = cost_and_grad(params, x, y, loss)
        updates, state = update(grads, state, params, value=value, grad=grads, value_fn=J)
        return optax.apply_updates(params, updates), state, costs.at[i].set(value)

    # The number of iterations is not part of the program: a shorter last call compiles nothing.
    costs = jnp.zeros(ITERATIONS_A_CALL, x.dtype)
    *carry, costs = jax.lax.fori_loop(0, count, iteration, (*carry, costs))
    return tuple(carry), costs


def fit(
    params: Params,
    x: Inputs,
    y: Outputs | None,
    *,
    seed: int,
    optimizer: optax.GradientTransformation,
    epochs: int,
    batch_size: int = 100,
    loss: Loss = squared_error,
    transform: Transform | None = None,
    on_progress: Callable[[int, float, Params], None] = lambda epoch, J, params: None,
) -> Trained:
    """Minimises J over mini-batches, in a new random order each epoch.

    x: (m, units in). y: targets, (m, units out), or None for an autoencoder, whose target is its
    input. transform: changes a batch of inputs at random before each step (`transform(key, x) -> x`
    of the same shape). The history has the mean J over each epoch. on_progress: called with the
    number of epochs done, the mean J over the epoch, and the parameters (copy them to keep them:
    the next epoch writes over them). Where batch_size does not divide m, each epoch leaves out a
    remainder, another one each time.

    Pass the same `optimizer` and `transform` objects again to run without compiling again. Raises
    `ShapeError` and `OptionError`.
    """
    check_shapes(params, x, x if y is None else y)
    if epochs < 1 or batch_size < 1:
        raise OptionError(f"epochs is {epochs}, batch_size {batch_size}: both must be at least 1")
    x, y = jnp.asarray(x), y if y is None else jnp.asarray(y)  # not anew for each call
    # Arrays in float64 stay so where it is no longer switched on.
    in_float64 = bool(x.dtype == jnp.float64)
    with enable_x64(in_float64):
        carry = _start(params, optimizer)
    batch_size = min(batch_size, x.shape[0])
    steps = x.shape[0] // batch_size
    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    history = np.zeros(epochs)
    for epoch in range(epochs):
        order = rng.permutation(x.shape[0])[: steps * batch_size].reshape(steps, batch_size)
        with enable_x64(in_float64):
            carry, J = _epoch(carry, x, y, order, key, epoch, loss, optimizer, transform)
        # A plain float first: NumPy would turn a Ctrl-C while it waits into a ValueError.
        history[epoch] = cost = float(J)
        on_progress(epoch + 1, cost, carry[0])
    return Trained(carry[0], history)


@partial(jax.jit, static_argnames=("loss", "optimizer", "transform"), donate_argnums=0)
def _epoch(carry, x, y, order, key, epoch, loss, optimizer, transform):
    """One pass over the examples in an order of (steps, batch size) row numbers."""

    def step(carry, batch):
        params, state = carry
        number, rows = batch
        inputs = x[rows]
        if transform is not None:
            inputs = transform(jax.random.fold_in(jax.random.fold_in(key, epoch), number), inputs)
        J, grads = cost_and_grad(params, inputs, inputs if y is None else y[rows], loss)
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), J

    carry, costs = jax.lax.scan(step, carry, (jnp.arange(len(order)), order))
    return carry, costs.mean()
