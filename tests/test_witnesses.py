"""The witnesses by themselves: costs whose derivatives are known to the last digit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.gradcheck import numerical, witnesses
from jaxlab.gradcheck.functions import Problem
from jaxlab.gradcheck.numerical import PlainCost
from jaxlab.gradcheck.witnesses import FLOAT32, FLOAT64

THETA = np.array([2.0, 1.0])


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def quartic(t, data=()):
    """∂J/∂θ = (4 t0³, 9 t1²) = (32, 9), third derivatives (24 t0, 18) = (48, 18)."""
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
    np.testing.assert_array_equal(numerical.autograd(quartic, THETA, ()), [32, 9])


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
    coordinates = np.array([1, 0, 1, 1, 0, 1, 0])
    rows = numerical.costs_along(J, THETA, (), coordinates, offsets)
    expected = [[quartic(THETA + h * np.eye(2)[c]) for h in offsets] for c in coordinates]
    np.testing.assert_allclose(rows, expected, rtol=1e-14)
    assert numerical.costs_along(J, THETA, (), coordinates[:1], offsets).shape == (1, 3)


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
    # Nothing to see: the remainder is h² times 1e-9, below rounding of J = 1 from 1e-4 on.
    faint = PlainCost(lambda t: 1e-9 * t[0] ** 2)
    assert partial_order(faint, along)([4e-9, 0]) is None
    assert partial_order(faint, along)([4e-9 + 1e-9, 0]) is None
    # Two steps above rounding are enough, and the smallest two decide.
    visible = PlainCost(lambda t: 1e-4 * t[0] ** 2)
    assert partial_order(visible, along)([4e-4, 0]) == pytest.approx(2, abs=1e-2)


def partial_order(J, directions):
    return lambda g: numerical.taylor_order(J, THETA, (), np.array(g, float), directions)


# --- how they are made sure of ---


def problem(J, theta=THETA, rules=()):
    theta = np.asarray(theta, float)
    return Problem(
        ["theta"], [theta.shape], theta, np.zeros(theta.shape), 0.0, J, (), frozenset(rules),
        float32_cost=False, float32_gradient=False,
    )  # fmt: skip


def heard(J, mine, theta=THETA, exact=None, precision=FLOAT64, moves=None, **options):
    moves = np.arange(len(mine)) if moves is None else moves
    here = problem(J, theta)
    J0 = numerical.cost_at(J, here.theta, ())
    mine = np.array(mine, float)
    return witnesses.hear(
        here, moves, mine, exact, precision, J0, complex_step=False, **options
    )


def test_along_coordinates_and_directions():
    g = np.array([1.0, 2.0, np.nan])
    np.testing.assert_array_equal(witnesses.along(g, np.array([1, 0])), [2, 1])
    np.testing.assert_array_equal(witnesses.along(g, np.array([[3.0, 1, 0], [0, -1, 0]])), [5, -2])
    assert np.isnan(witnesses.along(g, np.array([[1.0, 0, 1]]))).all()


def test_what_rounding_may_cost():
    eps = 2.0**-52
    n, error = numerical.central_differences(PlainCost(quartic), THETA, (), np.arange(2))
    answer = heard(PlainCost(quartic), [32, 9])
    np.testing.assert_array_equal(answer.mine, [32, 9])
    np.testing.assert_array_equal(answer.theirs["finite_difference"], n)
    assert answer.theirs.keys() == {"finite_difference"}
    # The largest number around is the derivative 32, above J = 24.
    assert answer.rounding == pytest.approx(10 * eps * 32)
    np.testing.assert_allclose(answer.error, error + 10 * eps * 32 / numerical.STEP, rtol=1e-12)
    assert answer.judged.all()
    assert answer.kinks == 0
    # J itself where it is larger, 1 where all is small, and what jax.grad says.
    large = heard(PlainCost(lambda t: quartic(t) + 1000), [32, 9])
    assert large.rounding == pytest.approx(10 * eps * 1024)
    small = heard(PlainCost(lambda t: 1e-3 * quartic(t)), [32e-3, 9e-3])
    assert small.rounding == pytest.approx(10 * eps * 32e-3)
    np.testing.assert_allclose(small.error, 1e-3 * error + 10 * eps / numerical.STEP, rtol=1e-5)
    exact = heard(PlainCost(quartic), [32, 9], exact=np.array([32.0, 99.0]))
    assert exact.rounding == pytest.approx(10 * eps * 99)
    np.testing.assert_array_equal(exact.theirs["autograd"], [32, 99])
    # In float32 J's size is not what the gradient's rounding comes from.
    single = heard(PlainCost(quartic), [32, 9], precision=FLOAT32)
    assert single.rounding == pytest.approx(10 * 2.0**-23 * 32, rel=1e-3)


def test_two_points_where_asked():
    answer = heard(PlainCost(quartic), [32, 9], two_point=True)
    n = numerical.two_point_differences(PlainCost(quartic), THETA, (), np.arange(2))
    better, _ = numerical.central_differences(PlainCost(quartic), THETA, (), np.arange(2))
    np.testing.assert_array_equal(answer.theirs["finite_difference"], n)
    noise = 10 * 2.0**-52 * 32 / numerical.TWO_POINT_STEP
    np.testing.assert_allclose(answer.error, np.abs(n - better).max() + noise, rtol=1e-6)


def test_split_gives_every_block_its_part():
    whole = witnesses.Testimony(
        mine=np.arange(5.0), theirs={"autograd": np.arange(5.0) + 10}, error=np.arange(5.0) + 20,
        rounding=0.5, judged=np.array([True, False, True, True, False]), kinks=3,
    )  # fmt: skip
    first, second = witnesses.split(whole, [2, 3])
    np.testing.assert_array_equal(first.mine, [0, 1])
    np.testing.assert_array_equal(second.mine, [2, 3, 4])
    np.testing.assert_array_equal(second.theirs["autograd"], [12, 13, 14])
    np.testing.assert_array_equal(first.error, [20, 21])
    np.testing.assert_array_equal(second.judged, [True, True, False])
    assert (first.kinks, second.kinks, first.rounding) == (3, 0, 0.5)


def test_suspects_the_worst_first():
    one = np.array([3.0, 4.0, 0.0, 0.0])  # typical: 5 / 2
    other = one + np.array([0.01, -0.3, 0.26, np.nan])
    np.testing.assert_array_equal(witnesses._suspects(one, other, 0.1, 0.0), [3, 1, 2])
    np.testing.assert_array_equal(witnesses._suspects(one, other, 0.1, 0.02), [3, 1])
    np.testing.assert_array_equal(witnesses._suspects(one, other, 0.0, 0.0), [3, 1, 2, 0])
    assert witnesses._suspects(np.zeros(0), np.zeros(0), 0.1, 0.0).size == 0
    infinite = np.array([1.0, np.inf])
    np.testing.assert_array_equal(witnesses._suspects(infinite, np.ones(2), 0.1, 0.0), [1])


def agreement(theirs, error=0.0, judged=None, rules=()):
    theirs = {who: np.array(n, float) for who, n in theirs.items()}
    n = len(theirs["finite_difference"])
    answer = witnesses.Testimony(
        np.zeros(n), theirs, np.full(n, error), 0.0,
        np.ones(n, bool) if judged is None else np.array(judged), 0,
    )  # fmt: skip
    return witnesses.unfit_witnesses([answer], problem(PlainCost(quartic), rules=rules), FLOAT64)


def test_which_witness_is_unfit():
    right = [3.0, 4.0]
    assert agreement({"finite_difference": right}) == set()
    assert agreement({"finite_difference": right, "autograd": [3, 5]}) == set()
    assert agreement({"finite_difference": right, "autograd": [3, 4]}, rules=["custom"]) == set()
    assert agreement({"finite_difference": right, "autograd": [3, 5]}, rules=["custom"]) == {
        "autograd"
    }
    assert agreement({"finite_difference": right, "complex_step": right}) == set()
    assert agreement({"finite_difference": right, "complex_step": [3, 5]}) == {"complex_step"}
    # What the differences cannot see, what they may cost, and what was not judged do not count.
    assert agreement({"finite_difference": right, "complex_step": [3, 4 + 1e-6]}) == set()
    assert agreement({"finite_difference": right, "complex_step": [3, 4 + 1e-4]}) == {
        "complex_step"
    }
    assert agreement({"finite_difference": right, "complex_step": [3, 5]}, error=0.8) == set()
    assert agreement({"finite_difference": right, "complex_step": [3, 5]}, error=0.6) == {
        "complex_step"
    }
    assert agreement(
        {"finite_difference": right, "complex_step": [3, 5]}, judged=[True, False]
    ) == set()  # fmt: skip
    # Beside jax.grad a complex step must be exact, unless jax.grad itself is off.
    both = {"finite_difference": right, "autograd": right, "complex_step": [3, 4 + 1e-7]}
    assert agreement(both) == {"complex_step"}
    assert agreement(both | {"complex_step": [3, 4 + 1e-12]}) == set()
    assert agreement(both | {"autograd": [3, 5]}) == set()
    # A rule that is wrong leaves the differences to judge the complex step.
    wrong_rule = both | {"autograd": [3, 5]}
    assert agreement(wrong_rule, rules=["custom"]) == {"autograd"}
    assert agreement(wrong_rule | {"complex_step": [3, 5]}, rules=["custom"]) == {
        "autograd", "complex_step"
    }  # fmt: skip


def test_a_step_over_a_kink_is_shortened():
    kink = 2 - 1e-4  # within the step of 5e-4, beyond a tenth of it

    def J(t):
        return np.maximum(t[0] - kink, 0) + t[1] ** 2

    answer = heard(PlainCost(J), [1, 2])
    np.testing.assert_allclose(answer.theirs["finite_difference"], [1, 2], rtol=1e-9)
    assert answer.kinks == 1
    noise = 10 * 2.0**-52 * 2
    assert answer.error[0] == pytest.approx(noise / (numerical.STEP / 10), rel=0.5)
    assert answer.judged.all()
    # Nearer than a tenth of the step: a hundredth is taken.
    near = heard(PlainCost(lambda t: np.maximum(t[0] - 2 + 2e-5, 0) + t[1] ** 2), [1, 2])
    np.testing.assert_allclose(near.theirs["finite_difference"], [1, 2], rtol=1e-8)
    assert near.kinks == 1
    assert near.error[0] == pytest.approx(noise / (numerical.STEP / 100), rel=0.5)
    # Where the gradient is wrong, the differences stay as they are.
    wrong = heard(PlainCost(quartic), [31, 9])
    n, _ = numerical.central_differences(PlainCost(quartic), THETA, (), np.arange(2))
    np.testing.assert_array_equal(wrong.theirs["finite_difference"], n)
    assert wrong.kinks == 0


def test_a_step_that_is_too_long_is_shortened_but_crosses_no_kink():
    steep = PlainCost(lambda t: np.sin(1000 * t[0]) / 1000 + t[1])
    mine = [np.cos(2000.0), 1]
    answer = heard(steep, mine)
    np.testing.assert_allclose(answer.theirs["finite_difference"], mine, rtol=1e-6)
    assert answer.kinks == 0


def test_more_suspects_than_are_looked_at_first():
    n = 2 * witnesses.PROBES
    theta = np.where(np.arange(n) % 2, 1e-4, 1.0)  # every other one beside the kink at 0
    relu = PlainCost(lambda t: np.maximum(t, 0).sum())
    answer = heard(relu, np.ones(n), theta=theta)
    np.testing.assert_allclose(answer.theirs["finite_difference"], np.ones(n), rtol=1e-6)
    assert answer.kinks == n // 2
    answer = heard(relu, np.ones(n), theta=np.full(n, 1e-4))
    np.testing.assert_allclose(answer.theirs["finite_difference"], np.ones(n), rtol=1e-6)
    assert answer.kinks == n


def test_bends_over_a_kink_or_none():
    h, moves = 1e-3, np.arange(2)

    def bends(J, theta, noise=1e-18):
        at = (PlainCost(J), np.asarray(theta, float), ())
        return witnesses._bends(at, moves, h, noise).tolist()

    # At the kink, beside it within h, within 2h, beyond; and a parabola.
    for distance, bent in ((0.0, True), (0.5e-3, True), (1.5e-3, True), (3e-3, False)):
        assert bends(lambda t, d=distance: abs(t[0] + d) + t[1] ** 2, [0, 0]) == [bent, False]
    # Noise hides a bend.
    assert bends(lambda t: abs(t[0]) + t[1] ** 2, [0, 0], noise=1.0) == [False, False]


def test_on_a_kink_every_gradient_between_both_sides_is_let_through():
    J = PlainCost(lambda t: np.maximum(t[0], 0) * 2 - t[1])  # slopes 0 and 2
    for mine, judged in ((0, False), (0.5, False), (2, False), (-0.01, True), (2.01, True)):
        answer = heard(J, [mine, -1], theta=[0, 1])
        assert answer.judged.tolist() == [judged, True]
    # No kink: a wrong gradient is judged, whatever it is; NaN is never excused.
    assert heard(PlainCost(quartic), [31, 9]).judged.all()
    assert heard(J, [np.nan, -1], theta=[0, 1]).judged.all()
    # A direction over a kink is never judged.
    answer = heard(J, [99, -1], theta=[0, 1], moves=np.array([[1.0, 0], [0, 1]]))
    assert answer.judged.tolist() == [False, True]


def test_more_kinks_than_are_looked_at_first():
    n = witnesses.PROBES + 5
    relu = PlainCost(lambda t: np.maximum(t, 0).sum())
    assert not heard(relu, np.full(n, 0.25), theta=np.zeros(n)).judged.any()
    assert heard(relu, np.full(n, 1.25), theta=np.zeros(n)).judged.all()


def test_jax_costs_are_heard_by_all_three():
    def J(t, data):
        return jnp.sum(t**3)

    here = problem(J)
    answer = witnesses.hear(
        here, np.arange(2), np.array([12.0, 3.0]), np.array([12.0, 3.0]), FLOAT64, 9.0,
        complex_step=True,
    )  # fmt: skip
    assert set(answer.theirs) == {"finite_difference", "complex_step", "autograd"}
    np.testing.assert_allclose(answer.theirs["complex_step"], [12, 3], rtol=1e-15)
