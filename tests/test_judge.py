"""The verdict on small problems: what is asked about, who is believed, what is looked at again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_verdict import a_problem

from jaxlab import CheckError
from jaxlab.gradcheck import functions, verdict
from jaxlab.gradcheck.numerical import PlainCost

pytestmark = pytest.mark.usefixtures("float64")

SHAPES = [(2,), (1, 3), (4,)]
THETA = np.arange(1.0, 10.0)


def squares(t, data=()):
    """Its gradient is t."""
    return (t**2).sum() / 2


CALLED = PlainCost(squares)
BOTH = pytest.mark.parametrize("J", [CALLED, squares], ids=["called", "traced"])


def judge(J, g=THETA, theta=THETA, shapes=SHAPES, args=(), done=None, **options):
    about = {key: options.pop(key) for key in ("rules", "float32_cost") if key in options}
    called = J if isinstance(J, PlainCost) else PlainCost(lambda t: float(J(t, ())))
    own_J, autograd = float(called(theta, ())), None
    if J is not called:
        _, autograd, _ = functions._autograd(J, np.array(theta), (), about.get("rules", ()))
    here = a_problem(shapes, J=J, g=np.array(g, float), theta=np.array(theta), own_J=own_J,
                     J0=own_J, autograd=autograd, **about)  # fmt: skip
    options = {"seed": 0, "coordinates": None, "full": None, "m": None} | options
    return verdict.judge(here, args, advance=(lambda n: None) if done is None else done.append,
                         **options)  # fmt: skip


def looked_at(check):
    """How many coordinates and directions of each block."""
    return [(block.checked, block.directions) for block in check.blocks]


def wrong_in(*coordinates):
    return THETA * np.where(np.isin(np.arange(9), coordinates), 2, 1)


@pytest.mark.parametrize(
    ("J", "full", "looked", "asked"),
    [
        (CALLED, True, [(2, 0), (3, 0), (4, 0)], 9),
        (squares, True, [(2, 0), (3, 0), (4, 0)], 2 * 9),
        # Without jax.grad a block that fails is looked at whole; each has 8 directions before.
        (CALLED, False, [(0, 8), (3, 0), (0, 8)], 3 * 8 + 3),
        (squares, False, [(2, 1), (3, 1), (4, 1)], 2 * 3),
    ],
)
def test_every_block_is_judged_by_its_own_numbers(J, full, looked, asked):
    done = []
    check = judge(J, wrong_in(3), full=full, done=done)
    assert check.wrong == ("1",)
    assert looked_at(check) == looked
    assert sum(done) == asked
    witnesses = {"finite_difference"} | ({"complex_step", "autograd"} if J is squares else set())
    assert check.diff.keys() == witnesses
    assert check.analytic is (J is squares)
    first, second, third = check.blocks
    assert set(second.objections) == witnesses | {"taylor_order"}
    assert [b.taylor_order for b in check.blocks] == pytest.approx([2, 1, 2], abs=0.05)
    assert check.taylor_order == pytest.approx(1, abs=0.05)
    # (3, 8, 5) for (3, 4, 5): 4 over the length of (6, 12, 10); along a direction d, 4 d over
    # (6, 12, 10) · d.
    off = 4 / 280**0.5
    whole = full or J is CALLED
    d = verdict._directions(a_problem(SHAPES), np.random.default_rng(0), 1)[0, 2:5]
    for who in witnesses:
        exactly = whole or who == "autograd"
        expected = off if exactly else abs(4 * d[1] / (d @ [6, 12, 10]))
        assert second.diff[who] == pytest.approx(expected, rel=1e-6)
        assert max(first.diff[who], third.diff[who]) < 1e-9
    all_known = full or J is squares
    assert (check.right["0"] is not None) is all_known
    np.testing.assert_allclose(check.right["1"], [[3, 4, 5]], rtol=1e-9)
    if all_known:
        np.testing.assert_allclose(check.right["2"], [6, 7, 8, 9], rtol=1e-9)
    np.testing.assert_array_equal(check.mine["1"], [[3, 8, 5]])


@BOTH
def test_a_right_gradient_is_asked_about_once(J):
    for full, asked in ((True, 9), (False, 3 * (8 if J is CALLED else 1))):
        done = []
        assert judge(J, full=full, done=done)
        assert sum(done) == asked * (1 if J is CALLED else 2)


@BOTH
def test_blocks_asked_about_in_groups_are_judged_as_together(J, monkeypatch):
    together = judge(J, wrong_in(3), full=False)
    heard, hear = [], verdict.hear
    monkeypatch.setattr(verdict, "hear", lambda *a, **k: (heard.append(a[1]), hear(*a, **k))[1])
    for most, groups in ((1, 3), (2 * 9 * (8 if J is CALLED else 1), 2)):
        monkeypatch.setattr(verdict, "MOST_IN_DIRECTIONS", most)
        heard.clear()
        check = judge(J, wrong_in(3), full=False)
        assert len([moves for moves in heard if moves.ndim == 2]) == groups
        assert looked_at(check) == looked_at(together)
        assert check.wrong == together.wrong == ("1",)
        orders = [[b.taylor_order for b in c.blocks] for c in (check, together)]
        assert orders[0] == pytest.approx(orders[1], abs=1e-6)


@pytest.mark.parametrize("full", [True, False])
def test_no_order_over_all_where_no_block_has_one(full):
    def bilinear(t, data=()):  # linear in each block, not in both
        return t[0] * t[1]

    for J in (bilinear, PlainCost(bilinear)):
        check = judge(J, [3, 2], np.array([2.0, 3.0]), [(1,), (1,)], full=full)
        assert check
        assert [block.taylor_order for block in check.blocks] == [None, None]
        assert check.taylor_order is None


def test_which_problems_are_looked_at_whole(monkeypatch):
    # limit of the size (it is 9), options → along directions?
    for limit, options, few in (
        (9, {}, False),
        (8, {}, True),
        (8, {"full": True}, False),
        (9, {"full": False}, True),
        (8, {"coordinates": 1}, False),
    ):
        monkeypatch.setattr(verdict, "WHOLE_UP_TO", limit)
        monkeypatch.setattr(verdict, "WHOLE_PLAIN_UP_TO", limit)
        for J, directions in ((CALLED, 8), (squares, 1)):
            assert [d for _, d in looked_at(judge(J, **options))] == [directions * few] * 3


def test_a_cost_in_float32():
    check = judge(squares, float32_cost=True)
    assert check
    assert check.precision == "float32"
    assert looked_at(check) == [(2, 8), (3, 8), (4, 8)]  # however small
    assert check.diff.keys() == {"finite_difference", "autograd"}
    assert [b.taylor_order for b in check.blocks] == [None] * 3
    assert check.taylor_order is None


def test_two_points_for_every_coordinate_of_a_large_network(monkeypatch):
    def high(t, data=()):  # rounding of J leaves too few digits to two points
        return squares(t) + 1e9

    for J, limit, full, two_points in (
        (squares, 8, True, True),
        (squares, 9, True, False),
        (squares, 8, None, False),
        (high, 8, True, False),
    ):
        monkeypatch.setattr(verdict, "WHOLE_UP_TO", limit)
        check = judge(J, full=full)
        assert check
        assert ("complex_step" in check.diff) is not two_points
        assert any("of two points" in note for note in check.notes) is two_points


def test_what_is_not_finite_is_refused_and_zero_is_not():
    for J, theta in (
        (PlainCost(lambda t: float("nan")), THETA),
        (lambda t, data: (t**0.5).sum(), np.arange(9.0)),  # a slope of ∞ at 0
    ):
        with pytest.raises(CheckError, match="nothing to compare with"):
            judge(J, theta=theta)
    assert judge(squares, g=np.arange(9.0), theta=np.arange(9.0))
    assert judge(CALLED, g=np.zeros(9), theta=np.zeros(9))


@jax.custom_jvp
def ruled(t):
    return t**2 / 2


@ruled.defjvp
def _(primals, tangents):
    return ruled(*primals), 3 * primals[0] * tangents[0]


def test_jax_grad_has_no_say_where_it_follows_a_rule():
    assert "autograd" not in judge(squares, rules=frozenset({"custom_vjp_call"})).diff
    assert "autograd" in judge(squares, rules=frozenset({"custom_jvp_call"})).diff

    def wrong_rule(t, data):
        return ruled(t).sum()

    check = judge(wrong_rule, rules=frozenset({"custom_jvp_call"}), full=False)
    assert check
    assert "autograd" not in check.diff
    assert looked_at(check) == [(0, 8)] * 3
    check = judge(wrong_rule, wrong_in(8), rules=frozenset({"custom_jvp_call"}), full=False)
    assert check.wrong == ("2",)
    assert looked_at(check) == [(0, 8), (0, 8), (4, 0)]
    np.testing.assert_allclose(check.right["2"], [6, 7, 8, 9], rtol=1e-12)


def test_a_cost_that_is_not_analytic_or_takes_no_complex_numbers():
    check = judge(lambda t, data: (jnp.conj(t) * t).sum() / 2)
    assert check
    assert not check.analytic
    assert check.diff["complex_step"] == 1  # of 0 from the gradient

    def real_only(t, data):
        if jnp.iscomplexobj(t):
            raise TypeError
        return squares(t)

    check = judge(real_only)
    assert check
    assert not check.analytic
    assert check.diff.keys() == {"finite_difference", "autograd"}


def corner(t):
    """At 0 some directions cross a kink, those along which t0 and t1 rise together."""
    return max(min(t[0], t[1]), 0) + (t[2:] ** 2).sum() / 2


AT_THE_CORNER = np.array([0.0, 0, 3, 4])


def judge_the_corner(J=corner, **options):
    return judge(PlainCost(lambda t: float(J(t))), g=AT_THE_CORNER, theta=AT_THE_CORNER,
                 shapes=[(2,), (2,)], **options)  # fmt: skip


def test_directions_over_a_kink_are_followed_by_every_coordinate(monkeypatch):
    # In float32 no remainder is taken, which would bend over the kink.
    for float32 in (False, True):
        check = judge_the_corner(full=False, float32_cost=float32)
        assert check
        assert looked_at(check) == [(2, 0), (0, 8)]
    monkeypatch.setattr(verdict, "WHOLE_PLAIN_UP_TO", 0)
    check = judge_the_corner(float32_cost=True)
    assert looked_at(check) == [(2, 0), (0, 8)]
    assert not any("not looked at whole" in note for note in check.notes)
    monkeypatch.setattr(verdict, "DETAIL_SECONDS", -1)
    check = judge_the_corner(float32_cost=True)
    assert check
    assert looked_at(check) == [(0, 8), (0, 8)]
    assert any("0 was not looked at whole" in note for note in check.notes)
    # At the kink of max(t0, 0) every direction crosses it: nothing is left to judge.
    with pytest.raises(CheckError, match="at 0 the parameters lie on a kink"):
        judge_the_corner(lambda t: max(t[0], 0) + corner(t))
    assert judge_the_corner(lambda t: max(t[0], 0) + corner(t), full=False)


def bent(t, data=()):
    """A kink beside t3 = 4, and nothing that curves in its block."""
    line = 7 * t[2] + jnp.where(t[3] > 4 - 2e-5, t[3], 4 - 2e-5) + 7 * t[4]
    return (t[:2] ** 2).sum() / 2 + line + (t[5:] ** 2).sum() / 2


BENT = PlainCost(lambda t: float(bent(t)))


@pytest.mark.parametrize(
    ("J", "full", "looked", "asked"),
    [  # Every coordinate is seen, or the differences along directions are there.
        (BENT, True, [(2, 0), (3, 0), (4, 0)], 9),
        (BENT, False, [(0, 8), (3, 0), (0, 8)], 3 * 8 + 3),
        (bent, False, [(2, 1), (3, 1), (4, 1)], 2 * 3),
    ],
)
def test_a_remainder_that_bends_over_a_kink_is_no_objection(J, full, looked, asked):
    done = []
    check = judge(J, g=[1, 2, 7, 1, 7, 6, 7, 8, 9], full=full, done=done)
    assert check
    assert check.blocks[1].taylor_order is None
    assert [check.blocks[i].taylor_order for i in (0, 2)] == pytest.approx([2, 2], abs=0.01)
    assert looked_at(check) == looked
    assert sum(done) == asked
    assert any("crossed a kink" in note for note in check.notes)


def test_what_a_sample_leaves_out_bends_the_remainder():
    objections = set()
    for seed in range(8):
        check = judge(CALLED, wrong_in(3), coordinates=1, seed=seed)
        assert check.wrong == ("1",)
        assert looked_at(check) == [(1, 0)] * 3
        assert check.right["1"] is None
        objections.add(check.blocks[1].objections)
    assert objections == {("taylor_order",), ("finite_difference", "taylor_order")}
    # The sample alone is compared with jax.grad as well, though all of it is known.
    seen = {judge(squares, wrong_in(3), coordinates=1, seed=s).blocks[1].diff["autograd"]
            for s in range(8)}  # fmt: skip
    assert sorted(seen) == pytest.approx([0, 1 / 3])


def test_m_is_counted_in_the_arguments_unless_given():
    x = (np.ones((5, 3)), np.ones(5))
    for times, options in ((5, {"args": x}), (7, {"args": x, "m": 7})):
        mistake, _ = judge(CALLED, times * THETA, **options).mistakes  # or a decay: this g is θ
        assert mistake.id == "1/m forgotten"
        assert f"m = {times}" in mistake.explanation
