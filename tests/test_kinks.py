"""Steps over a kink, steps that are too long, and parameters that lie on a kink."""

import numpy as np
import pytest
from test_numerical import THETA, quartic
from test_witnesses import heard

from jaxlab.gradcheck import numerical, witnesses
from jaxlab.gradcheck.numerical import PlainCost

pytestmark = pytest.mark.usefixtures("float64")


def counted(J):
    """The cost and the list that grows with each call of it."""
    calls = []

    def call(t):
        calls.append(1)
        return J(t)

    return PlainCost(call), calls


def test_a_step_over_a_kink_is_shortened():
    kink = 2 - 2e-4  # within the step of 2⁻¹¹, beyond twice an eighth of it

    def J(t):
        return np.maximum(t[0] - kink, 0) + t[1] ** 2

    answer = heard(PlainCost(J), [1, 2])
    np.testing.assert_allclose(answer.theirs["finite_difference"], [1, 2], rtol=1e-9)
    assert answer.kinks == 1
    noise = 10 * 2.0**-52 * 2
    assert answer.error[0] == pytest.approx(noise / (numerical.STEP / 8), rel=0.5)
    assert answer.judged.all()
    # Nearer than an eighth of the step: a 128th is taken.
    near = heard(PlainCost(lambda t: np.maximum(t[0] - 2 + 2e-5, 0) + t[1] ** 2), [1, 2])
    np.testing.assert_allclose(near.theirs["finite_difference"], [1, 2], rtol=1e-8)
    assert near.kinks == 1
    assert near.error[0] == pytest.approx(noise / (numerical.STEP / 128), rel=0.5)
    # A gradient that is wrong elsewhere changes nothing about it.
    both = heard(PlainCost(J), [1, 5])
    np.testing.assert_allclose(both.theirs["finite_difference"], [1, 4 - 2], rtol=1e-9)
    assert both.kinks == 1
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
    theta = np.where(np.arange(n) % 2, 2 + 1e-4, 3.0)  # every other one beside the kink at 2
    relu = PlainCost(lambda t: np.maximum(t - 2, 0).sum())
    answer = heard(relu, np.ones(n), theta=theta)
    np.testing.assert_allclose(answer.theirs["finite_difference"], np.ones(n), rtol=1e-6)
    assert answer.kinks == n // 2
    answer = heard(relu, np.ones(n), theta=np.full(n, 2 + 1e-4))
    np.testing.assert_allclose(answer.theirs["finite_difference"], np.ones(n), rtol=1e-6)
    assert answer.kinks == n


def test_steps_are_in_proportion_to_what_is_small():
    theta = np.array([1e-5, 1e-4, 1e-3, 0.0, 0.5])
    J = PlainCost(lambda t: np.sin(t[:3] / [1e-5, 1e-4, 1e-3]).sum() + t[3] + t[4] ** 2)
    g = np.append(np.cos(1) / theta[:3], [1, 1])
    answer = heard(J, g, theta=theta)
    np.testing.assert_allclose(answer.theirs["finite_difference"], g, rtol=1e-9)
    assert answer.judged.all()
    assert answer.kinks == 0
    # What a wrong gradient says changes nothing of that, and no kink excuses it.
    answer = heard(J, 1.01 * g, theta=theta)
    np.testing.assert_allclose(answer.theirs["finite_difference"], g, rtol=1e-9)
    assert answer.judged.all()


def test_steps_are_in_proportion_to_what_is_large():
    seconds = 1.7e9 + np.array([0.3, 60.0, 7200.0])
    g = 1 / seconds
    answer = heard(PlainCost(lambda t: np.log(t).sum()), g, theta=seconds)
    np.testing.assert_allclose(answer.theirs["finite_difference"], g, rtol=1e-9)
    assert np.all(answer.error < 1e-6 * g)
    # What bends over less than that is left to the usual step, which such numbers do not round.
    for J, slope in ((np.sin, np.cos), (lambda t: (t - 1.7e9) ** 2, lambda t: 2 * (t - 1.7e9))):
        answer = heard(PlainCost(lambda t, J=J: J(t).sum()), slope(seconds), theta=seconds)
        found = answer.theirs["finite_difference"]
        np.testing.assert_allclose(found, slope(seconds), rtol=1e-8)
        assert answer.judged.all()


def test_jax_grad_says_where_a_step_is_doubted():
    J = PlainCost(lambda t: np.maximum(t[0] - 2 + 1e-4, 0))
    n, _ = numerical.central_differences(J, np.array([2.0]), (), np.arange(1))
    assert abs(n[0] - 1) > 1e-3
    # The gradient under test has the very number that the step over the kink gave.
    answer = heard(J, n, theta=[2.0], exact=np.array([1.0]))
    np.testing.assert_allclose(answer.theirs["finite_difference"], [1], rtol=1e-9)
    assert answer.kinks == 1


def test_only_numbers_take_the_place_of_a_difference():
    def J(t):  # undefined near θ, but not at it
        return np.nan if 1e-6 < abs(t[0] - 2) < 4e-4 else 3 * t[0]

    answer = heard(PlainCost(J), [5], theta=[2.0])
    np.testing.assert_allclose(answer.theirs["finite_difference"], [3], rtol=1e-9)


def test_how_much_is_asked_again():
    """Four points a coordinate; and where these doubt it, eight and five at the 64 worst."""
    n = 2 * witnesses.PROBES
    for offset in (0, 1e8):  # where J is large its rounding is no disagreement
        J, calls = counted(lambda t, offset=offset: offset + t.sum())
        heard(J, np.ones(n), theta=np.linspace(0.1, 0.9, n))
        assert len(calls) == 1 + 4 * n
    J, calls = counted(np.sum)
    heard(J, np.full(n, 2.0), theta=np.ones(n))
    assert len(calls) == 1 + 4 * n + (8 + 5) * witnesses.PROBES


def test_kinks_are_counted_where_the_next_steps_are_right():
    n = witnesses.PROBES + 1
    J = PlainCost(lambda t: np.maximum(t[:-1] - 2, 0).sum() + t[-1])  # the last is wrong by little
    mine = np.append(np.ones(n - 1), 1.0001)
    answer = heard(J, mine, theta=np.full(n, 2 + 1e-4))
    np.testing.assert_allclose(answer.theirs["finite_difference"], np.ones(n), rtol=1e-6)
    assert answer.kinks == n - 1


@pytest.mark.parametrize(
    # Second differences over 0.01h, h and 2h, and the noise in such units over 0.01h.
    ("close", "at_h", "at_2h", "noise", "bends"),
    [
        (1, 1, 1, 0, False),
        (10, 10, 10, 0, False),
        (-10, 10, -10, 0, False),
        (1, 30, 1, 0, True),
        (1, 1, 30, 0, True),
        (1, -30, 1, 0, True),
        (1, 1, -30, 0, True),
        (30, 1, 1, 0, True),
        (-30, 1, 1, 0, True),
        (1, 30, 1, 100, False),
        (30, 1, 1, 100, False),
        (1, 300, 1, 100, True),
        (300, 1, 1, 100, True),
    ],
)
def test_a_second_difference_that_changes_with_the_step_bends(close, at_h, at_2h, noise, bends):
    h = 1e-3

    def J(t):
        rise = {1: close * (0.01 * h) ** 2, 100: at_h * h**2, 200: at_2h * (2 * h) ** 2}
        return 0.5 + 0.25 * t[0] + rise.get(round(t[0] / (0.01 * h)), 0)  # on the right alone

    at = (PlainCost(J), np.zeros(1), ())
    noise = noise * (0.01 * h) ** 2 + 1e-18
    assert witnesses._bends(at, np.arange(1), h, noise).tolist() == [bends]


def test_a_kink_bends_wherever_it_is_within_reach():
    h = 1e-3
    for distance, bent in ((0.0, True), (0.5, True), (1.5, True), (3, False)):
        J = PlainCost(lambda t, d=distance * h: abs(t[0] + d) + t[1] ** 2)
        found = witnesses._bends((J, np.zeros(2), ()), np.arange(2), h, 1e-18)
        assert found.tolist() == [bent, False]


def test_on_a_kink_every_gradient_between_both_sides_is_right():
    J = PlainCost(lambda t: np.maximum(t[0], 0) * 2 - t[1])  # slopes 0 and 2
    for mine, judged in (
        (0, False), (0.5, False), (2, False), (-1e-6, False), (2 + 1e-6, False),
        (-1e-3, True), (2 + 1e-3, True),
    ):  # fmt: skip
        answer = heard(J, [mine, -1], theta=[0, 1])
        assert answer.judged.tolist() == [judged, True]
    # No kink: a wrong gradient is judged, whatever it is; NaN is never excused.
    assert heard(PlainCost(quartic), [31, 9]).judged.all()
    assert heard(J, [np.nan, -1], theta=[0, 1]).judged.all()
    # A wrong gradient beside it is judged.
    assert heard(J, [0.5, 7], theta=[0, 1]).judged.tolist() == [False, True]
    # A direction over a kink is never judged.
    answer = heard(J, [99, -1], theta=[0, 1], moves=np.array([[1.0, 0], [0, 1]]))
    assert answer.judged.tolist() == [False, True]


def test_what_is_no_kink():
    def sides(left, right, at=0.0, slope=0.5, moves=None):
        J = PlainCost(lambda t: float(np.where(t[0] < at, left, right) * (t[0] - at)))
        return heard(J, [slope], theta=[at], moves=moves).judged.tolist()

    along = np.ones((1, 1))
    assert sides(0, 1, slope=0.7, moves=along) == sides(1, 0, slope=0.7, moves=along) == [False]
    # Slopes that differ by less than a thousandth, as they do where J curves.
    assert sides(1, 1.0001, slope=1.00005) == [True]
    assert sides(-1, -1.0001, slope=-1.00005) == [True]
    assert sides(1, 1.0001, slope=7, moves=along) == [True]
    # Rounding of a large J.
    large = PlainCost(lambda t: 1e8 + t[0])
    for theta in (0.1, 0.2, 0.3, 0.4):
        assert heard(large, [7], theta=[theta], moves=along).judged.all()
    # A side without a derivative.
    for place, value in ((-2, np.inf), (-2, -np.inf), (2, np.inf), (2, -np.inf), (1, np.nan)):

        def J(t, place=place, value=value):
            return value if round(t[0] / 1e-6) == place else t[0]

        assert heard(PlainCost(J), [7], theta=[0], moves=along).judged.all()


def test_more_kinks_than_are_looked_at_first():
    n = witnesses.PROBES + 5
    relu = PlainCost(lambda t: np.maximum(t, 0).sum())
    assert not heard(relu, np.full(n, 0.25), theta=np.zeros(n)).judged.any()
    assert heard(relu, np.full(n, 1.25), theta=np.zeros(n)).judged.all()
