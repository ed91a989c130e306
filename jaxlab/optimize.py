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
from jaxtyping import Float, PRNGKeyArray

from jaxlab.backprop import Batch, Params, check_shapes, cost_and_grad, differentiable_cost
from jaxlab.errors import OptionError
from jaxlab.losses import Loss, squared_error

# What is done between two looks at the cost. Large enough that returning to Python costs nothing.
ITERATIONS_A_CALL = 10

Transform = Callable[[PRNGKeyArray, Batch], Batch]


class Trained(NamedTuple):
    """Trained parameters, and J after each iteration or epoch."""

    params: Params
    history: Float[np.ndarray, " steps"]


def minimize(
    params: Params,
    x: Batch,
    y: Batch,
    *,
    loss: Loss = squared_error,
    optimizer: optax.GradientTransformation | None = None,
    iterations: int = 200,
    tolerance: float = 1e-6,
    on_progress: Callable[[int, float, Params], None] = lambda iteration, J, params: None,
) -> Trained:
    """Minimises J over all examples at once, by L-BFGS with the hand-written gradient.

    optimizer: any optax transformation; `optax.lbfgs()` where none is given (Nocedal and Wright
    2006, algorithm 7.5, with their zoom line search). Stops after `iterations`, or earlier, once
    ten of them lower J by less than `tolerance` of its value. on_progress: called with the
    number of iterations done, J and the parameters. The history has J before each iteration.
    """
    check_shapes(params, x, y)
    if iterations < 1:
        raise OptionError(f"iterations is {iterations}: at least 1 is needed")
    optimizer = optax.with_extra_args_support(optimizer or _LBFGS)
    carry = _own_buffers((params, optimizer.init(params)))
    history = np.zeros(0, np.float64)
    while history.size < iterations:
        count = min(ITERATIONS_A_CALL, iterations - history.size)
        carry, costs = _iterate(carry, x, y, loss, optimizer, count)
        costs = np.asarray(costs, np.float64)
        history = np.append(history, costs)
        on_progress(history.size, costs[-1], carry[0])
        if not costs[0] - costs[-1] > tolerance * abs(costs[0]):
            break
    return Trained(carry[0], history)


def _own_buffers(tree):
    """A copy that compiled steps may write over: neither the caller's arrays nor shared ones."""
    return jax.tree.map(jnp.copy, tree)


# One object for all calls: compiled programs are found again by the optimiser's identity.
_LBFGS = optax.lbfgs()


@partial(jax.jit, static_argnames=("loss", "optimizer", "count"), donate_argnums=0)
def _iterate(carry, x, y, loss, optimizer, count):
    def J(params):
        return differentiable_cost(params, x, y, loss)

    def iteration(carry, _):
        params, state = carry
        # A line search has already computed J and its gradient where it stopped.
        stored = optax.tree.get(state, "value") is not None
        if stored:
            value, grads = optax.value_and_grad_from_state(J)(params, state=state)
        else:
            value, grads = cost_and_grad(params, x, y, loss)
        updates, state = optimizer.update(grads, state, params, value=value, grad=grads, value_fn=J)
        return (optax.apply_updates(params, updates), state), value

    return jax.lax.scan(iteration, carry, length=count)


def fit(
    params: Params,
    x: Batch,
    y: Batch | None,
    *,
    key: PRNGKeyArray,
    optimizer: optax.GradientTransformation,
    epochs: int,
    batch_size: int = 100,
    loss: Loss = squared_error,
    transform: Transform | None = None,
    on_progress: Callable[[int, float, Params], None] = lambda epoch, J, params: None,
) -> Trained:
    """Minimises J over mini-batches, in a new random order each epoch.

    y: targets, or None for an autoencoder, whose target is its input. transform: changes a batch
    of inputs at random before each step (`transform(key, x) -> x`). on_progress: called with the
    number of epochs done, the mean J over the epoch, and the parameters. Where batch_size does
    not divide m, each epoch leaves out a remainder, another one each time.

    Pass the same `optimizer` and `transform` objects again to run without compiling again.
    """
    check_shapes(params, x, x if y is None else y)
    if epochs < 1 or batch_size < 1:
        raise OptionError(f"epochs is {epochs}, batch_size {batch_size}: both must be at least 1")
    carry = _own_buffers((params, optimizer.init(params)))
    batch_size = min(batch_size, x.shape[0])
    history = []
    for epoch in range(epochs):
        carry, J = _epoch(
            carry, jax.random.fold_in(key, epoch), x, y, loss, optimizer, batch_size, transform
        )
        history.append(float(J))
        on_progress(epoch + 1, history[-1], carry[0])
    return Trained(carry[0], np.array(history))


@partial(
    jax.jit, static_argnames=("loss", "optimizer", "batch_size", "transform"), donate_argnums=0
)
def _epoch(carry, key, x, y, loss, optimizer, batch_size, transform):
    steps = x.shape[0] // batch_size
    key_order, key_transform = jax.random.split(key)
    order = jax.random.permutation(key_order, x.shape[0])[: steps * batch_size]

    # All batches of the epoch are gathered at once: one large copy instead of one a step.
    def batches(rows):
        return rows[order].reshape(steps, batch_size, rows.shape[1])

    def step(carry, batch):
        params, state = carry
        x, y, key = batch
        x = x if transform is None else transform(key, x)
        J, grads = cost_and_grad(params, x, x if y is None else y, loss)
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), J

    keys = jax.random.split(key_transform, steps)
    inputs = batches(x), None if y is None else batches(y), keys
    carry, costs = jax.lax.scan(step, carry, inputs)
    return carry, costs.mean()
