"""Right gradients over random networks: the check may reject none of them."""

from functools import partial

import jax
import numpy as np
import pytest

import jaxlab
from jaxlab import cross_entropy, squared_error
from jaxlab.errors import CheckError
from jaxlab.gradcheck.check import check_gradients, random_params

# Draws that share a network's shape and m, for which programs are compiled once.
PER_NETWORK = 50
MOST_EXAMPLES = 500


def network(number):
    """Layers, m, loss, whether it is an autoencoder, and whether a cost is given besides."""
    rng = np.random.default_rng(number)
    sizes = tuple(map(int, rng.integers(1, 11, rng.integers(2, 6))))
    # As many below 22 examples as above; the ends by turns, lest chance miss them.
    m = {0: 1, 1: MOST_EXAMPLES}.get(number % 8, round(MOST_EXAMPLES ** rng.uniform()))
    autoencoder = rng.random() < 0.25
    if autoencoder:
        sizes = (*sizes[:-1], sizes[0])
    # Softmax wants targets that sum to 1, which the pixels of an autoencoder do not.
    loss = squared_error if autoencoder or rng.random() < 0.5 else cross_entropy
    return sizes, m, loss, autoencoder, bool(rng.integers(2))


def at_the_limits(params, rng):
    """Biases so large that nearly every unit is saturated, up to σ′(z) = e^-30."""
    return tuple(
        layer._replace(b=rng.choice([-1, 1], layer.b.shape) * rng.uniform(3, 30, layer.b.shape))
        for layer in params
    )


def rejected(draws, first=0):
    """Descriptions of the right gradients that the check rejects, of the draws from `first` on."""
    found = []
    for draw in range(first, first + draws):
        number = draw // PER_NETWORK
        if draw % (4 * PER_NETWORK) == 0:
            jax.clear_caches()  # compiled programs of networks that do not come back
        sizes, m, loss, autoencoder, separate = network(number)
        rng = np.random.default_rng(draw)
        scale = 10 ** rng.uniform(-3, 3)
        params = jax.tree.map(lambda p, s=scale: s * p, random_params(draw, sizes))
        saturated = rng.random() < 0.25
        if saturated:
            params = at_the_limits(params, rng)
        x = rng.random((m, sizes[0]))
        y = x if autoencoder else np.eye(sizes[-1])[rng.integers(0, sizes[-1], m)]
        x = x * rng.choice([1, 1, 1, 255])
        check = partial(
            check_gradients, jaxlab.cost_and_grad, params, x, y, loss,
            cost=jaxlab.cost if separate else None, seed=draw,
        )  # fmt: skip
        if loss is cross_entropy and sizes[-1] == 1:  # the probability of a single class is 1
            with pytest.raises(CheckError, match="softmax over a single output"):
                check()
            continue
        check = check()
        if not check:
            found.append(
                f"draw {draw}, scale {scale:.3g}, {sizes}, m {m}, {loss.name}"
                f"{', autoencoder' * autoencoder}{', saturated' * saturated}\n{check}"
            )
    return found
