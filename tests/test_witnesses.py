"""What the witnesses say of costs that are known, what rounding costs them, and who is unfit."""

import jax.numpy as jnp
import numpy as np
import pytest
from test_numerical import THETA, quartic

from jaxlab.gradcheck import numerical, witnesses
from jaxlab.gradcheck.functions import Problem
from jaxlab.gradcheck.numerical import PlainCost
from jaxlab.gradcheck.witnesses import FLOAT32, FLOAT32_GRADIENT, FLOAT64, Precision

pytestmark = pytest.mark.usefixtures("float64")


def problem(J, theta=THETA, rules=()):
    theta = np.asarray(theta, float)
    return Problem(
        ["theta"], [theta.shape], theta, np.zeros(theta.shape), 0.0, J, (), frozenset(rules),
        J0=0.0, autograd=None, refusal="", float32_cost=False, float32_gradient=False,
    )  # fmt: skip


def heard(J, mine, theta=THETA, exact=None, precision=FLOAT64, moves=None, **options):
    moves = np.arange(len(mine)) if moves is None else moves
    here = problem(J, theta)
    J0 = numerical.cost_at(J, here.theta, ())
    mine = np.array(mine, float)
    return witnesses.hear(here, moves, mine, exact, precision, J0, complex_step=False, **options)


def test_along_coordinates_and_directions():
    g = np.array([1.0, 2.0, np.nan])
    np.testing.assert_array_equal(witnesses.along(g, np.array([1, 0])), [2, 1])
    np.testing.assert_array_equal(witnesses.along(g, np.array([[3.0, 1, 0], [0, -1, 0]])), [5, -2])
    assert np.isnan(witnesses.along(g, np.array([[1.0, 0, 1]]))).all()


def test_where_the_lines_are_drawn():
    double, single = (float(np.finfo(dtype).eps) for dtype in (np.float64, np.float32))
    step, side = 2.0**-11, 2.0**-20
    assert FLOAT64 == Precision("float64", double, double, step, side, 1e-9, 1e-6, 1e-8)
    assert FLOAT32 == Precision("float32", single, single, 2.0**-5, 2.0**-7, 1e-4, 1e-2, 1e-5)
    assert FLOAT32_GRADIENT == Precision("float32", double, single, step, side, 1e-4, 1e-4, 1e-5)


def test_what_rounding_may_cost():
    eps = 2.0**-52
    n, error = numerical.central_differences(PlainCost(quartic), THETA, (), np.arange(2))
    answer = heard(PlainCost(quartic), [32, 9])
    np.testing.assert_array_equal(answer.mine, [32, 9])
    np.testing.assert_array_equal(answer.theirs["finite_difference"], n)
    assert answer.theirs.keys() == {"finite_difference"}
    # The largest number around is the derivative 32, above J = 24. (approx lets 1e-12 pass.)
    assert answer.rounding / (10 * eps) == pytest.approx(32)
    np.testing.assert_allclose(answer.error, error + 10 * eps * 32 / numerical.STEP, rtol=1e-12)
    assert answer.judged.all()
    assert answer.kinks == 0
    # J itself where it is larger, 1 where all is small, and what jax.grad says.
    large = heard(PlainCost(lambda t: quartic(t) + 1000), [32, 9])
    assert large.rounding / (10 * eps) == pytest.approx(1024)
    small = heard(PlainCost(lambda t: 1e-3 * quartic(t)), [32e-3, 9e-3])
    assert small.rounding / (10 * eps) == pytest.approx(32e-3)
    np.testing.assert_allclose(small.error, 1e-3 * error + 10 * eps / numerical.STEP, rtol=1e-5)
    exact = heard(PlainCost(quartic), [32, 9], exact=np.array([32.0, 99.0]))
    assert exact.rounding / (10 * eps) == pytest.approx(99)
    np.testing.assert_array_equal(exact.theirs["autograd"], [32, 99])
    below_zero = heard(PlainCost(lambda t: 5 - 8 * t[0] + 0 * t[1]), [-8, 0])
    assert below_zero.rounding / (10 * eps) == pytest.approx(11)
    steep = heard(PlainCost(lambda t: 64 - 32 * t[0] + 0 * t[1]), [-32, 0])
    assert steep.rounding / (10 * eps) == pytest.approx(32)
    # In float32 J's size is not what the gradient's rounding comes from.
    single = heard(PlainCost(lambda t: quartic(t) + 1000), [32, 9], precision=FLOAT32)
    assert single.rounding == pytest.approx(10 * 2.0**-23 * 32, rel=1e-3)


def test_a_derivative_that_is_not_finite_has_no_size():
    for J_there in (np.inf, np.nan):  # one step to the right of 2

        def J(t, there=J_there):
            return there if abs(t[0] - 2 - numerical.STEP) < 1e-5 else 0.25

        answer = heard(PlainCost(J), [0], theta=[2.0])
        assert answer.rounding / (10 * 2.0**-52) == pytest.approx(0.25)


def test_two_points_where_asked():
    answer = heard(PlainCost(quartic), [32, 9], two_point=True)
    n = numerical.two_point_differences(PlainCost(quartic), THETA, (), np.arange(2))
    better, _ = numerical.central_differences(PlainCost(quartic), THETA, (), np.arange(2))
    np.testing.assert_array_equal(answer.theirs["finite_difference"], n)
    noise = 10 * 2.0**-52 * 32 / numerical.TWO_POINT_STEP
    np.testing.assert_allclose(answer.error, np.abs(n - better).max() + noise, rtol=1e-6)


@pytest.mark.parametrize("steep", [0, 199])
@pytest.mark.parametrize("sign", [1, -1])
def test_what_two_points_cost_is_seen_on_a_sample_with_both_ends(steep, sign):
    calls = []

    def J(t):
        calls.append(1)
        return sign * 1e3 * t[steep] ** 3 + t.sum()

    answer = heard(PlainCost(J), np.ones(200), theta=np.zeros(200), two_point=True)
    # h²/6 of the third derivative, 6e3.
    np.testing.assert_allclose(answer.error, 1e3 * numerical.TWO_POINT_STEP**2, rtol=0.01)
    # J, two points each, four at the sample, and five where the steep one is looked at for a kink.
    assert len(calls) == 1 + 2 * 200 + 4 * witnesses.PROBES + 5


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
    # Nothing finite, and numbers whose squares are too large for float64.
    nothing = np.full(2, np.nan)
    np.testing.assert_array_equal(witnesses._suspects(nothing, np.ones(2), 0.1, 0.0), [0, 1])
    np.testing.assert_array_equal(witnesses._suspects(nothing, np.ones(2), 0.0, 2.0), [0, 1])
    huge, other = np.array([1e200, 1.0]), np.array([1e200, np.nan])
    np.testing.assert_array_equal(witnesses._suspects(huge, other, 0.1, 0.0), [1])


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
    # What central differences lose is no excuse between the two that are exact.
    assert agreement(both, error=0.8) == {"complex_step"}
    # A rule that is wrong leaves the differences to judge the complex step.
    wrong_rule = both | {"autograd": [3, 5]}
    assert agreement(wrong_rule, rules=["custom"]) == {"autograd"}
    assert agreement(wrong_rule | {"complex_step": [3, 5]}, rules=["custom"]) == {
        "autograd", "complex_step"
    }  # fmt: skip


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
