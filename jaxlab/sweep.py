"""Many networks in one compiled program: a sweep over the number of hidden units.

Networks that see the same batches stand side by side as one wide network:

    W(1)   one below the other: each hidden unit sees every input
    W(2)   blocks along the diagonal: each network's outputs see its own units alone

Its cost is the sum of theirs, so `cost_and_grad` of it, with zeros off the blocks, is the gradient
of each. An optimiser that treats each parameter by itself, as Adam does, then trains each network
as it would alone, up to rounding; and one large product does the work of many small ones. Ten
networks of 4 to 300 hidden units take 0.6 to 0.8 of the time that they take one after another.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from jaxlab.backprop import Inputs, Layer, Outputs, Params, check_shapes, layer_sizes, predict
from jaxlab.errors import ShapeError
from jaxlab.optimize import fit

Sizes = tuple[int, ...]


def fit_together(
    networks: Sequence[Params],
    x: Inputs,
    y: Outputs,
    *,
    seed: int,
    optimizer: optax.GradientTransformation,
    epochs: int,
    batch_size: int = 100,
    on_progress: Callable[[int, float, Params], None] = lambda epoch, J, params: None,
) -> list[Params]:
    """Each network as `fit` with these arguments trains it, all in one program.

    networks: as many layers each, with x's columns in and y's columns out; the hidden units may
    differ. Sigmoid outputs and squared error, where outputs do not depend on one another.
    optimizer: one that updates each parameter by its own gradients alone; not L-BFGS, and no
    clipping by the norm of all. on_progress: as in `fit`, with the sum of the J of all. Raises
    `ShapeError` where the networks do not fit x and y, or have different numbers of layers.
    """
    layers = [len(network) for network in networks]
    if len({*layers}) != 1:
        found = f"they have {', '.join(map(str, layers))}" if layers else "there is none"
        raise ShapeError(f"networks must be one or more, all with as many layers: {found}")
    for network in networks:
        check_shapes(network, x, y)
    sizes = tuple(map(layer_sizes, networks))
    trained = fit(
        side_by_side(networks),
        x,
        np.tile(y, (1, len(networks))),
        seed=seed,
        optimizer=_within_blocks(optimizer, sizes),
        epochs=epochs,
        batch_size=batch_size,
        on_progress=on_progress,
    )
    return taken_apart(trained.params, sizes)


def predict_together(
    networks: Sequence[Params], x: Inputs
) -> list[Float[np.ndarray, "m units_out"]]:
    """`predict` of each network for the same x: (m, units out) of each. Raises `ShapeError`."""
    if not networks:
        raise ShapeError("networks is empty: pass one or more")
    ends = [*accumulate(layer_sizes(network)[-1] for network in networks)]
    return np.split(np.asarray(predict(side_by_side(networks), x)), ends[:-1], axis=1)


def side_by_side(networks: Sequence[Params]) -> Params:
    """The wide network whose outputs are those of all networks, one after the other."""
    from scipy.linalg import block_diag  # 0.2 s of importing, which other exercises need not wait

    # NumPy, as in all of this file: JAX would compile a program for every shape of every part.
    first, *others = zip(*networks, strict=True)
    return (
        Layer(np.concatenate([W for W, _ in first]), np.concatenate([b for _, b in first])),
        *(
            Layer(block_diag(*(W for W, _ in layers)), np.concatenate([b for _, b in layers]))
            for layers in others
        ),
    )


def taken_apart(wide: Params, sizes: Sequence[Sizes]) -> list[Params]:
    """The networks that `side_by_side` joined; sizes: the units of every layer of each."""
    ends = [[0, *accumulate(units)] for units in zip(*sizes, strict=True)]
    wide = jax.tree.map(np.asarray, wide)

    def layer(l: int, n: int) -> Layer:
        units_out = slice(*ends[l + 1][n : n + 2])
        units_in = slice(*ends[l][n : n + 2]) if l else slice(None)
        return Layer(wide[l].W[units_out, units_in], wide[l].b[units_out])

    return [tuple(layer(l, n) for l in range(len(wide))) for n in range(len(sizes))]


@lru_cache(maxsize=16)
def _within_blocks(
    optimizer: optax.GradientTransformation, sizes: tuple[Sizes, ...]
) -> optax.GradientTransformation:
    """The optimiser, told nothing of the gradients off the blocks: there W stays zero."""
    ones = [
        tuple(Layer(np.ones((n_out, n_in)), np.ones(n_out)) for n_in, n_out in pairwise(units))
        for units in sizes
    ]
    inside = [W > 0 for W, _ in side_by_side(ones)]

    def keep(grads: Params, params: Params | None = None) -> Params:
        return tuple(
            Layer(jnp.where(here, W, jnp.zeros_like(W)), b) if l else Layer(W, b)
            for l, ((W, b), here) in enumerate(zip(grads, inside, strict=True))
        )

    return optax.chain(optax.stateless(keep), optimizer)
