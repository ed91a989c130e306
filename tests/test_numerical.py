"""The numerical witnesses by themselves: costs whose derivatives are known to the last digit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.gradcheck import numerical
from jaxlab.gradcheck.numerical import PlainCost

THETA = np.array([2.0, 1.0])


pytestmark = pytest.mark.usefixtures("float64")


def quartic(t, data=()):
    """∂J/∂θ = (4 t0³, 9 t1²) = (32, 9), third derivatives (24 t0, 18) = (48, 18); J = 24."""
    return t[0] ** 4 + 3 * t[1] ** 3 + 5


BOTH = pytest.mark.parametrize("J", [PlainCost(quartic), quartic], ids=["called", "traced"])
# The two coordinates, and their sum and difference.
DIRECTIONS = np.array([[1.0, 1.0], [1.0, -1.0]])


@BOTH
def test_central_differences_and_what_they_say_of_their_step(J):
    done = []
    n, error = numerical.central_differences(
        J, THETA, (), np.arange(2), step=0.1, advance=done.append
    )
    np.testing.assert_allclose(n, [32, 9], rtol=1e-12)
    # Two points alone are h²/6 of the third derivative off.
    np.testing.assert_allclose(error, [0.01 / 6 * 48, 0.01 / 6 * 18], rtol=1e-9)
    assert sum(done) == 2
    n, error = numerical.central_differences(J, THETA, (), DIRECTIONS, step=0.1)
    np.testing.assert_allclose(n, [41, 23], rtol=1e-12)
    np.testing.assert_allclose(error, [0.01 / 6 * 66, 0.01 / 6 * 30], rtol=1e-9)
    n, error = numerical.central_differences(J, THETA, (), np.arange(2))
    np.testing.assert_allclose(n, [32, 9], rtol=1e-10)
    np.testing.assert_allclose(error, numerical.STEP**2 / 6 * np.array([48, 18]), rtol=1e-3)


@BOTH
def test_differences_of_two_points(J):
    done = []
    n = numerical.two_point_differences(J, THETA, (), np.arange(2), step=0.1, advance=done.append)
    np.testing.assert_allclose(n, [32 + 0.08, 9 + 0.03], rtol=1e-12)
    assert sum(done) == 2
    n = numerical.two_point_differences(J, THETA, (), np.arange(2))
    # The step that loses least: both h² f‴/6 and the rounding of J over h are below this.
    np.testing.assert_allclose(n, [32, 9], rtol=1e-9)


@pytest.mark.parametrize("traced", [True, False])
def test_derivatives_on_both_sides_of_a_kink(traced):
    def bent(t, data=()):  # slopes -1 and 1 at 0, and 3 t0² that the second order takes along
        return abs(t[0]) + 3 * t[0] ** 2 + 7 * t[1]

    J = bent if traced else PlainCost(bent)
    left, right = numerical.one_sided_derivatives(J, np.array([0.0, 1.0]), (), np.arange(2), 0.1)
    np.testing.assert_allclose(left, [-1, 7], rtol=1e-12)
    np.testing.assert_allclose(right, [1, 7], rtol=1e-12)


def test_complex_steps_and_autograd_are_exact():
    done = []
    n = numerical.complex_steps(quartic, THETA, (), np.arange(2), advance=done.append)
    np.testing.assert_allclose(n, [32, 9], rtol=1e-15)
    assert sum(done) == 2
    np.testing.assert_allclose(
        numerical.complex_steps(quartic, THETA, (), DIRECTIONS), [41, 23], rtol=1e-15
    )
    # As small as numbers get: with a step of 0.1 the third derivative would be seen.
    far = numerical.complex_steps(quartic, THETA, (), np.arange(2), step=0.1)
    np.testing.assert_allclose(far, [32 - 0.08, 9 - 0.03], rtol=1e-12)
    J0, gradient = numerical.cost_and_autograd(quartic, THETA, ())
    assert J0 == quartic(THETA, ())
    np.testing.assert_array_equal(gradient, [32, 9])


def test_where_jax_computes_on_a_gpu_complex_numbers_are_left_to_the_cpu(monkeypatch):
    data = [np.ones(2)]
    assert numerical._on_cpu(THETA, data) == (THETA, data)
    cpu = jax.local_devices(backend="cpu")[0]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    for array in jax.tree.leaves(numerical._on_cpu(THETA, data)):
        assert array.committed
        assert array.devices() == {cpu}

    def none(backend):
        raise RuntimeError(f"Unknown backend {backend}")

    monkeypatch.setattr(jax, "local_devices", none)
    assert numerical._on_cpu(THETA, data) == (THETA, data)


@BOTH
def test_costs_along_many_moves(J, monkeypatch):
    assert numerical.cost_at(J, THETA, ()) == 16 + 3 + 5
    monkeypatch.setattr(numerical, "MOST_COORDINATES_AT_ONCE", 3)
    monkeypatch.setattr(numerical, "CHUNKS_PER_CALL", 2)
    moves = np.random.default_rng(0).standard_normal((20, 2))
    offsets = np.array([0.0, 0.5, -1.0])
    done = []
    rows = numerical.costs_along(J, THETA, (), moves, offsets, done.append)
    expected = [[quartic(THETA + h * d) for h in offsets] for d in moves]
    np.testing.assert_allclose(rows, expected, rtol=1e-14)
    assert rows.dtype == np.float64
    assert sum(done) == 20
    assert len(done) > 1  # the progress bar moves
    assert (max(done) == 1) is isinstance(J, PlainCost)  # traced, many at once
    coordinates = np.array([1, 0, 1, 1, 0, 1, 0])
    rows = numerical.costs_along(J, THETA, (), coordinates, offsets)
    expected = [[quartic(THETA + h * np.eye(2)[c]) for h in offsets] for c in coordinates]
    np.testing.assert_allclose(rows, expected, rtol=1e-14)
    assert numerical.costs_along(J, THETA, (), coordinates[:1], offsets).shape == (1, 3)
    # So many parameters that not even one coordinate would fit.
    monkeypatch.setattr(numerical, "MOST_NUMBERS_AT_ONCE", 1)
    np.testing.assert_array_equal(numerical.costs_along(J, THETA, (), coordinates, offsets), rows)


def test_float32_parameters_stay_float32():
    seen = set()

    def J(t, data):
        seen.add(t.dtype)
        return (t**2).sum()

    theta = THETA.astype(np.float32)
    rows = numerical.costs_along(J, theta, (), DIRECTIONS, np.array([0.0, 1.0]))
    np.testing.assert_array_equal(rows, [[5, 13], [5, 9]])
    assert seen == {np.dtype(np.float32)}


def test_the_order_of_the_remainder_worked_by_hand():
    # Of J = t0² + t1³ at (2, 1) along (1, 0): h²; so exactly of order 2, and of order 1 beside a
    # gradient that is 1 off: h² + h.
    J = PlainCost(lambda t: t[0] ** 2 + t[1] ** 3)
    along = np.array([[1.0, 0.0]])
    order = partial_order(J, along)
    assert order([4, 3]) == pytest.approx(2, abs=1e-4)
    r1, r2 = 1e-4 + 1e-8, 1e-5 + 1e-10
    assert order([3, 3]) == pytest.approx(np.log10(r1 / r2), abs=1e-6)
    # The remainders of all directions are summed, not their logarithms: here that of t1 alone.
    assert partial_order(J, np.eye(2))([4, 2]) == pytest.approx(
        np.log10((1e-4 + 4e-8 + 1e-12) / (1e-5 + 4e-10 + 1e-15)), abs=1e-6
    )
    # … nor do remainders of two signs cancel: h² and 3 h² + h³ - h.
    assert partial_order(J, np.eye(2))([4, 4]) == pytest.approx(
        np.log10((1e-4 - 2e-8 - 1e-12) / (1e-5 - 2e-10 - 1e-15)), abs=1e-6
    )


def test_a_remainder_below_rounding_is_not_seen():
    # Rounding is taken for 1000 eps = 2.2e-13 of J, or of 1 where J is smaller; the remainder of
    # c (t0 - 2)² is c h², and two of the three steps must be above.
    def order(c, J0=0.0, directions=DIRECTIONS[:1]):
        J = PlainCost(lambda t: J0 + c * (t[0] - 2) ** 2)
        return partial_order(J, directions)([0, 0])

    assert order(1e-3) == pytest.approx(2, abs=1e-6)
    assert order(4e-5) == pytest.approx(2, abs=1e-2)  # 4e-13 at the step of 1e-4
    assert order(1.5e-5) is None
    assert order(1e-6) is None
    assert order(0.0) is None
    assert order(4e-5, J0=-10.0) is None
    assert order(4e-4, J0=-10.0) == pytest.approx(2, abs=1e-2)
    # Both are summed over the directions.
    assert order(1.5e-5, directions=DIRECTIONS) is None
    assert order(3e-5, directions=DIRECTIONS) == pytest.approx(2, abs=1e-2)
    # The two smallest steps that are seen decide, here 1e-3 and 1e-4: 2e-10 and 1.1e-12.
    bent = PlainCost(lambda t: 1e-4 * ((t[0] - 2) ** 2 + 1000 * (t[0] - 2) ** 3))
    assert partial_order(bent, DIRECTIONS[:1])([0, 0]) == pytest.approx(
        np.log10(2 / 0.011), abs=1e-2
    )


def partial_order(J, directions):
    return lambda g: numerical.taylor_order(J, THETA, (), np.array(g, float), directions)


def test_what_is_held_at_once_is_bounded_by_what_the_cost_computes(monkeypatch):
    def J(theta, data):
        x, y = data
        return jnp.mean((jax.nn.sigmoid(x.T @ theta.reshape(7, 5)) - y) ** 2)

    rng = np.random.default_rng(0)
    theta, data = rng.standard_normal(35), [rng.random((7, 900)), rng.random((900, 5))]
    assert numerical.facts(J, theta, data).largest == 900 * 5  # not x, which stays
    whole = numerical.costs_along(J, theta, data, np.arange(35), 1e-3 * numerical.CENTRAL)
    monkeypatch.setattr(numerical, "MOST_NUMBERS_ON_THE_WAY", 3 * 4 * 900 * 5)
    sizes = []
    monkeypatch.setattr(
        numerical, "_costs_along",
        lambda J, theta, data, moves, offsets, call=numerical._costs_along: (
            sizes.append(moves.shape[1]) or call(J, theta, data, moves, offsets)
        ),
    )  # fmt: skip
    parts = numerical.costs_along(J, theta, data, np.arange(35), 1e-3 * numerical.CENTRAL)
    assert {*sizes} == {3}
    np.testing.assert_allclose(parts, whole, rtol=1e-13)


def squares(theta, data):
    return jnp.sum(jnp.sin(data[0] @ theta) ** 2)


def looped(theta, data):
    return jax.lax.fori_loop(0, 3, lambda i, J: J + jnp.sin(theta).sum(), 0.0 * theta.sum())


def compiled_in_haste(J, points=4):
    theta, data = np.linspace(0.1, 0.5, 5), [np.ones((7, 5))]
    numerical.costs_along(J, theta, data, np.arange(5), 1e-3 * numerical.CENTRAL)
    program = numerical._costs_along
    return numerical._in_haste_where_it_pays(program, J, theta, data, points) is not program


def test_what_is_asked_once_and_for_little_is_compiled_in_haste():
    assert not compiled_in_haste(squares)
    once = numerical.asked_once(lambda theta, data: squares(theta, data))
    assert compiled_in_haste(once)
    assert not compiled_in_haste(once, points=10**7)
    assert not compiled_in_haste(numerical.asked_once(lambda theta, data: looped(theta, data)))
    theta, data = np.linspace(0.1, 0.5, 5), [np.ones((7, 5))]
    moves = np.arange(5), 1e-3 * numerical.CENTRAL
    np.testing.assert_allclose(
        numerical.costs_along(once, theta, data, *moves),
        numerical.costs_along(squares, theta, data, *moves), rtol=1e-14,
    )  # fmt: skip


def test_an_xla_without_these_options_compiles_as_ever(monkeypatch):
    for one in (numerical._hasty, numerical._knows_haste):
        one.cache_clear()
    monkeypatch.setattr(numerical, "IN_HASTE", {"xla_gone": True})
    assert not compiled_in_haste(numerical.asked_once(lambda theta, data: squares(theta, data)))
    numerical._knows_haste.cache_clear()
