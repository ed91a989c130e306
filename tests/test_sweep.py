"""Many networks in one program: each is trained as it would be alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlab
from jaxlab import ShapeError, sweep

pytestmark = pytest.mark.usefixtures("standard_promotion")


@pytest.fixture(scope="module")
def digits():
    return jaxlab.load_digits(limit=600)


def networks(*hidden):
    return [jaxlab.initialize(n, (784, *units, 10)) for n, units in enumerate(hidden)]


@pytest.mark.parametrize(
    ("hidden", "optimizer"),
    [([(5,), (3,), (12,)], optax.adam(0.01)), ([(4, 3), (2, 6)], optax.sgd(0.5, momentum=0.9))],
)
def test_each_network_is_trained_as_it_would_be_alone(digits, hidden, optimizer):
    x, y = jnp.asarray(digits.train.x), jnp.asarray(jaxlab.one_hot(digits.train.y))
    options = {"seed": 3, "optimizer": optimizer, "epochs": 3, "batch_size": 50}
    costs = []
    together = jaxlab.fit_together(
        networks(*hidden), x, y, **options, on_progress=lambda epoch, J, params: costs.append(J)
    )
    alone = [jaxlab.fit(network, x, y, **options) for network in networks(*hidden)]
    for ours, theirs in zip(together, alone, strict=True):
        assert jaxlab.backprop.layer_sizes(ours) == jaxlab.backprop.layer_sizes(theirs.params)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=2e-5), ours, theirs.params
        )
    sums = np.sum([trained.history for trained in alone], axis=0)
    np.testing.assert_allclose(costs, sums, rtol=1e-5)


def test_the_wide_network_has_the_sum_of_costs_and_zeros_off_the_blocks(digits):
    x, y = jnp.asarray(digits.test.x), jnp.asarray(jaxlab.one_hot(digits.test.y))
    some = networks((5,), (3,), (4,))
    wide = sweep.side_by_side(some)
    assert jaxlab.backprop.layer_sizes(wide) == (784, 12, 30)
    assert np.count_nonzero(wide[1].W) == 10 * (5 + 3 + 4)
    J = jaxlab.cost(wide, x, jnp.tile(y, (1, 3)))
    assert J == pytest.approx(float(sum(jaxlab.cost(network, x, y) for network in some)), rel=1e-6)


def test_predictions_together_are_those_of_each(digits):
    x, some = jnp.asarray(digits.test.x), networks((5,), (3,))
    for answer, network in zip(jaxlab.predict_together(some, x), some, strict=True):
        np.testing.assert_allclose(answer, jaxlab.predict(network, x), atol=1e-6)


def test_a_network_that_does_not_fit_is_refused_by_name(digits):
    x, y = jnp.asarray(digits.test.x), jnp.asarray(jaxlab.one_hot(digits.test.y))
    odd = jaxlab.initialize(0, (700, 3, 10))
    with pytest.raises(ShapeError, match="W1 has 700 columns, x has 784 columns"):
        jaxlab.fit_together(
            [*networks((3,)), odd], x, y, seed=0, optimizer=optax.adam(0.1), epochs=1
        )
