"""Training: it minimises, repeats itself bit for bit, and says when it failed."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlab
from jaxlab import OptionError, cross_entropy, optimize
from jaxlab.exercises.common import answers, training_problems
from jaxlab.exercises.ex2 import shifted
from jaxlab.precision import enable_x64

pytestmark = pytest.mark.usefixtures("standard_promotion")


@pytest.fixture(scope="module")
def digits():
    return jaxlab.load_digits(limit=1000)


@pytest.fixture(scope="module")
def targets(digits):
    return jaxlab.one_hot(digits.train.y)


def start(digits, targets, hidden=20, seed=0):
    return jaxlab.initialize(seed, (784, hidden, 10), mean_output=targets.mean(axis=0))


def same_bits(one, other):
    return jax.tree.all(jax.tree.map(np.array_equal, one, other))


def test_minimize_reaches_the_minimum_of_a_convex_cost():
    # Softmax regression with two classes that overlap: its minimum is where the gradient is zero.
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((60, 3)), jnp.float32)
    y = jnp.asarray(jaxlab.one_hot(rng.integers(0, 2, 60), 2))
    params = (jaxlab.Layer(jnp.zeros((2, 3)), jnp.zeros(2)),)
    trained = jaxlab.minimize(params, x, y, loss=cross_entropy, iterations=100)
    _, grads = jaxlab.cost_and_grad(trained.params, x, y, cross_entropy)
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads)) < 1e-4
    assert len(trained.history) < 100  # stops by itself


@pytest.mark.parametrize("optimizer", [None, optax.adam(0.1)], ids=["lbfgs", "adam"])
def test_minimize_lowers_J_and_never_runs_longer_than_asked(digits, targets, optimizer):
    seen = []
    trained = jaxlab.minimize(
        start(digits, targets), jnp.asarray(digits.train.x), jnp.asarray(targets),
        optimizer=optimizer, iterations=25, tolerance=-1.0,
        on_progress=lambda i, J, params: seen.append(i),
    )  # fmt: skip
    assert seen == [10, 20, 25]
    assert trained.history.shape == (25,)
    assert trained.history[-1] < 0.8 * trained.history[0]


def test_the_same_optimizer_again_compiles_nothing(digits, targets):
    # One that takes no line search's values: optax wraps it in a new object for those.
    optimizer = optax.scale_by_adam()

    def run():
        jaxlab.minimize(
            start(digits, targets), digits.train.x, targets, optimizer=optimizer, iterations=1
        )
        return optimize._start._cache_size(), optimize._iterate._cache_size()

    assert run() == run()


def test_the_same_seed_gives_the_same_bits_and_another_does_not(digits, targets):
    def run(seed):
        return jaxlab.fit(
            start(digits, targets), digits.train.x, targets, seed=seed, optimizer=OPTIMIZER,
            epochs=2, batch_size=50, transform=shifted(1, 28),
        ).params  # fmt: skip

    assert same_bits(run(3), run(3))
    assert not same_bits(run(3), run(4))


OPTIMIZER = optax.adam(0.01)


def test_training_leaves_the_callers_parameters_alone(digits, targets):
    params = start(digits, targets)
    before = jax.tree.map(np.array, params)
    jaxlab.fit(params, digits.train.x, targets, seed=0, optimizer=OPTIMIZER, epochs=1)
    jaxlab.minimize(params, jnp.asarray(digits.train.x), jnp.asarray(targets), iterations=1)
    assert same_bits(before, params)


def test_fit_with_a_remainder_and_with_batches_larger_than_the_data(digits, targets):
    x, y = digits.train.x[:33], targets[:33]
    for batch_size in (10, 1000):
        trained = jaxlab.fit(
            start(digits, targets), x, y, seed=0, optimizer=OPTIMIZER, epochs=3,
            batch_size=batch_size,
        )  # fmt: skip
        assert trained.history.shape == (3,)
        assert trained.history[2] < trained.history[0]


def test_one_step_of_fit_is_one_step_of_gradient_descent(digits, targets):
    x, y = digits.train.x[:8], targets[:8]
    params = start(digits, targets)
    trained = jaxlab.fit(params, x, y, seed=0, optimizer=optax.sgd(0.5), epochs=1, batch_size=8)
    J, grads = jaxlab.cost_and_grad(params, x, y)
    assert trained.history[0] == pytest.approx(float(J), rel=1e-6)
    for after, p, g in zip(*map(jax.tree.leaves, (trained.params, params, grads)), strict=True):
        np.testing.assert_allclose(after, p - 0.5 * g, rtol=1e-5, atol=1e-7)


def test_an_autoencoder_learns_its_input(digits):
    x = digits.train.x
    params = jaxlab.initialize(0, (784, 16, 784), mean_output=x.mean(axis=0))
    trained = jaxlab.fit(params, x, None, seed=0, optimizer=OPTIMIZER, epochs=20, batch_size=20)
    before, after = (((answers(p, x) - x) ** 2).mean() for p in (params, trained.params))
    assert after < 0.6 * before


@pytest.mark.parametrize("bad", [{"epochs": 0}, {"epochs": 1, "batch_size": 0}])
def test_senseless_settings_are_refused(digits, targets, bad):
    with pytest.raises(OptionError, match="must be at least 1"):
        jaxlab.fit(
            start(digits, targets), digits.train.x, targets, seed=0, optimizer=OPTIMIZER, **bad
        )
    with pytest.raises(OptionError, match="iterations is 0"):
        jaxlab.minimize(start(digits, targets), digits.train.x, targets, iterations=0)


def test_shifts_move_whole_images_and_lose_nothing_inside():
    images = np.zeros((500, 28, 28), np.float32)
    images[:, 10:18, 12:15] = np.random.default_rng(0).random((8, 3))
    moved = np.asarray(shifted(2, 28)(jax.random.key(0), jnp.asarray(images.reshape(500, 784))))
    moves = set()
    for image in moved.reshape(500, 28, 28):
        match = [
            (i, j) for i in range(-2, 3) for j in range(-2, 3)
            if np.array_equal(image, np.roll(images[0], (i, j), (0, 1)))
        ]  # fmt: skip
        assert len(match) == 1
        moves.add(match[0])
    assert len(moves) == 25


def problems(params, digits, targets):
    return training_problems(
        "a network", params, digits.train.x, targets, answers(params, digits.train.x),
        classifier=True,
    )  # fmt: skip


def test_a_good_network_has_no_problems(digits, targets):
    trained = jaxlab.fit(
        start(digits, targets), digits.train.x, targets, seed=0, optimizer=OPTIMIZER,
        epochs=20, batch_size=20,
    )  # fmt: skip
    assert problems(trained.params, digits, targets) == []


def test_failed_training_is_noticed(digits, targets):
    first, second = start(digits, targets)
    untrained = problems((first, second), digits, targets)
    assert "next to nothing was learned" in untrained[0]

    saturated = (jaxlab.Layer(first.W, first.b + 100), second)
    assert any(
        "20 of 20 hidden units do the same" in p for p in problems(saturated, digits, targets)
    )

    stuck = (first, jaxlab.Layer(second.W, second.b.at[7].set(-20.0)))
    assert any(
        "never answers 7: these outputs are stuck" in p for p in problems(stuck, digits, targets)
    )

    diverged = (first, jaxlab.Layer(second.W * jnp.nan, second.b))
    assert problems(diverged, digits, targets) == [
        "a network: training diverged to NaN; try a smaller --learning-rate"
    ]


TRAINERS = {
    "minimize": partial(jaxlab.minimize, iterations=12),
    "fit": partial(jaxlab.fit, seed=0, optimizer=OPTIMIZER, epochs=12, batch_size=10),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("train", TRAINERS.values(), ids=TRAINERS)
def test_training_keeps_its_dtype_whatever_jax_makes_of_numbers(train, dtype):
    """Somebody who checks gradients has float64 switched on, or had."""
    rng = np.random.default_rng(0)
    with enable_x64(True):
        x = jnp.asarray(rng.random((50, 8)), dtype)
        y = jnp.eye(3, dtype=dtype)[rng.integers(0, 3, 50)]
        params = jaxlab.initialize(0, (8, 5, 3), dtype=dtype)
        within = train(params, x, y)
    for trained in (within, train(params, x, y)):
        assert {leaf.dtype for leaf in jax.tree.leaves(trained.params)} == {jnp.dtype(dtype)}
        assert trained.history[-1] < trained.history[0]


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [25, 100])
def test_no_digit_is_lost_by_lbfgs_from_the_mean_start(hidden):
    digits = jaxlab.load_digits()
    targets = jaxlab.one_hot(digits.train.y)
    x, y = jnp.asarray(digits.train.x), jnp.asarray(targets)
    for seed in range(5):
        params = jaxlab.initialize(seed, (784, hidden, 10), mean_output=targets.mean(axis=0))
        trained = jaxlab.minimize(params, x, y, iterations=150)
        assert problems(trained.params, digits, targets) == []
        assert trained.history[-1] < 0.03
