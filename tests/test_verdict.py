"""The verdict on numbers that are given: thresholds, who is believed, and what comes out."""

from functools import partial

import numpy as np
import pytest

from jaxlab.gradcheck import numerical, verdict, witnesses
from jaxlab.gradcheck.check import check_gradients
from jaxlab.gradcheck.functions import Problem
from jaxlab.gradcheck.numerical import PlainCost
from jaxlab.gradcheck.result import BlockCheck, relative_difference
from jaxlab.gradcheck.witnesses import FLOAT32, FLOAT32_GRADIENT, FLOAT64

EXACT = np.array([3.0, 4.0, 12.0])  # of length 13


def said(off, *, error=0.0, rounding=0.0, judged=(True, True, True), mine=EXACT):
    """Witnesses that differ from EXACT by so much in the last coordinate."""
    theirs = {who: EXACT + np.array([0, 0, by]) for who, by in off.items()}
    return witnesses.Testimony(mine, theirs, np.full(3, error), rounding, np.array(judged), 0)


def judged(answer, order=2.0, few=False, everywhere=None, unfit=frozenset(), precision=FLOAT64):
    return verdict._judge(
        "W1", (1, 3), answer, order, few, everywhere, precision=precision, unfit=set(unfit)
    )


def test_a_block_is_wrong_from_its_threshold_on():
    # ‖g - n‖ / ‖g + n‖ = off / 26, but for the last digits.
    for precision in (FLOAT64, FLOAT32, FLOAT32_GRADIENT):
        for who, line in (
            ("finite_difference", precision.difference),
            ("autograd", precision.exact),
            ("complex_step", precision.exact),
        ):
            below = judged(said({who: 0.9 * 26 * line}), precision=precision)
            above = judged(said({who: 1.1 * 26 * line}), precision=precision)
            assert below.ok
            assert above.objections == (who,)
            assert above.diff[who] == pytest.approx(1.1 * line, rel=0.02)
    assert (FLOAT64.exact, FLOAT64.difference, FLOAT64.naming) == (1e-9, 1e-6, 1e-8)
    assert (FLOAT32.exact, FLOAT32.difference, FLOAT32.naming) == (1e-4, 1e-2, 1e-5)


def test_what_rounding_and_steps_may_cost_is_no_objection():
    # Errors of three coordinates add up by their squares.
    for allowed, ok in ((0.6, True), (0.55, False)):
        assert judged(said({"finite_difference": 1.0}, error=allowed)).ok is ok
        assert judged(said({"autograd": 1.0}, rounding=allowed)).ok is ok
        assert judged(said({"complex_step": 1.0}, rounding=allowed)).ok is ok
    # What the complex step is off from jax.grad is its own affair, unless that is unfit.
    apart = said({"complex_step": 1.0, "autograd": 0.0})
    assert judged(apart).ok
    assert judged(apart, unfit={"autograd"}).objections == ("complex_step",)
    mine = said({"complex_step": 0.0, "autograd": 0.0}, mine=EXACT + 1)
    assert judged(mine).objections == ("complex_step", "autograd")


def test_what_is_not_judged_does_not_count():
    assert judged(said({"autograd": 1.0}, judged=(True, True, False))).ok
    assert not judged(said({"autograd": 1.0}, judged=(False, True, True))).ok
    assert judged(said({"finite_difference": 1.0}, judged=(True, True, False))).ok


def test_an_unfit_witness_has_no_say():
    off = said({"complex_step": 1.0, "autograd": 1.0})
    block = judged(off, unfit={"complex_step", "autograd"})
    assert block.ok
    assert block.diff == {"complex_step": relative_difference(EXACT, EXACT + np.array([0, 0, 1]))}


def test_the_order_of_the_remainder_counts_below_two():
    right = said({"autograd": 0.0})
    for order, ok in ((None, True), (1.91, True), (3.0, True), (1.89, False), (np.nan, False)):
        block = judged(right, order)
        assert block.ok is ok
        assert block.objections == (() if ok else ("taylor_order",))


def test_what_was_looked_at():
    right = said({"autograd": 0.0})
    block = judged(right)
    assert (block.checked, block.directions, block.shape, block.size) == (3, 0, (1, 3), 3)
    block = judged(right, few=True)
    assert (block.checked, block.directions) == (0, 3)
    # Along directions, jax.grad is compared at every coordinate.
    block = judged(right, few=True, everywhere=(EXACT, EXACT + 1))
    assert (block.checked, block.directions) == (3, 3)
    assert block.objections == ("autograd",)
    assert block.diff["autograd"] == relative_difference(EXACT, EXACT + 1)


def check_of(checked=3, directions=0):
    return BlockCheck("W1", (1, 3), checked, {}, None, (), directions)


def test_the_right_gradient_by_the_best_witness_that_saw_all():
    answer = said({"finite_difference": 0.5, "complex_step": 0.25}, mine=EXACT + 9)
    mine = EXACT[None, :] + 9
    right = partial(verdict._right, mine=mine, answer=answer)
    np.testing.assert_array_equal(right(check_of(), unfit=set(), exact=None), [[3, 4, 12.25]])
    np.testing.assert_array_equal(
        right(check_of(), unfit={"complex_step"}, exact=None), [[3, 4, 12.5]]
    )
    np.testing.assert_array_equal(right(check_of(), unfit=set(), exact=EXACT), [EXACT])
    for in_part in (check_of(checked=2), check_of(directions=8), check_of(2, 8)):
        assert right(in_part, unfit=set(), exact=None) is None
        np.testing.assert_array_equal(right(in_part, unfit=set(), exact=EXACT), [EXACT])
    kink = said({}, judged=(True, True, False))
    found = verdict._right(check_of(), mine, kink, set(), EXACT)
    np.testing.assert_array_equal(found, [[3, 4, 21]])  # on a kink any side is right
    found = verdict._right(check_of(directions=8), mine, kink, set(), EXACT)
    np.testing.assert_array_equal(found, [EXACT])


def whole(blocks, answers, g, exact=None, first=None):
    return verdict._whole(blocks, first or answers, answers, g, exact)


def test_the_difference_over_all_blocks():
    answers = [said({"autograd": 0.0}), said({"autograd": 1.0})]
    both = np.concatenate([EXACT, EXACT])
    blocks = [judged(a) for a in answers]
    expected = relative_difference(both, both + np.array([0, 0, 0, 0, 0, 1]))
    assert whole(blocks, answers, both) == {"autograd": expected}
    answers[1] = said({"autograd": 1.0}, judged=(True, True, False))
    assert whole(blocks, answers, both) == {"autograd": 0}
    # A witness that is missing in one block has no difference over all; directions leave jax.grad.
    assert whole(blocks, [answers[0], said({})], both) == {}
    along = [judged(a, few=True) for a in answers]
    assert whole(along, answers, both, 3 * both) == {"autograd": 0.5}
    # A block that failed along directions was then looked at whole: slopes and coordinates do not
    # mix, so what was heard first counts.
    mixed = [along[0], blocks[1]]
    later = [answers[0], said({"finite_difference": 5.0})]
    first = [said({"finite_difference": 0.0}), said({"finite_difference": 0.5})]
    mixed = [judged(first[0], few=True), judged(later[1])]
    expected = relative_difference(both, both + np.array([0, 0, 0, 0, 0, 0.5]))
    assert whole(mixed, later, both, first=first) == {"finite_difference": expected}


def a_problem(shapes, **more):
    size = sum(int(np.prod(shape)) for shape in shapes)
    given = {"theta": np.ones(size), "g": np.full(size, 2.0), "own_J": float(size), "data": (),
             "J": PlainCost(lambda t: float((t**2).sum())), "rules": frozenset(),
             "J0": float(size), "autograd": None, "refusal": "",
             "float32_cost": False, "float32_gradient": False}  # fmt: skip
    return Problem([str(i) for i in range(len(shapes))], list(shapes), **(given | more))


def test_precision_follows_the_numbers():
    assert verdict._precision(a_problem([(2,)])) is FLOAT64
    assert verdict._precision(a_problem([(2,)], float32_cost=True)) is FLOAT32
    assert verdict._precision(a_problem([(2,)], float32_gradient=True)) is FLOAT32_GRADIENT
    both = a_problem([(2,)], float32_gradient=True, float32_cost=True)
    assert verdict._precision(both) is FLOAT32


def test_what_is_small():
    traced = {"J": lambda t, data: (t**2).sum()}
    for size, small in ((verdict.WHOLE_UP_TO, True), (verdict.WHOLE_UP_TO + 1, False)):
        assert verdict._is_small(a_problem([(size,)], **traced)) is small
    for size, small in ((verdict.WHOLE_PLAIN_UP_TO, True), (verdict.WHOLE_PLAIN_UP_TO + 1, False)):
        assert verdict._is_small(a_problem([(size,)])) is small
    assert verdict._seconds(a_problem([(2,)], **traced), np.arange(100)) == 0


def test_seconds_are_of_four_calls_a_coordinate(monkeypatch):
    clock = [7.0]

    def J(t):  # half a second
        clock[0] += 0.5
        return float(t.sum())

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    assert verdict._seconds(a_problem([(2,)], J=PlainCost(J)), np.arange(100)) == 4 * 100 * 0.5


def test_two_points_where_ten_digits_are_left():
    # Rounding of J over the step: eps J / h must be below a tenth of 1e-6 of a coordinate (2).
    line = 2 * 1e-6 / 10 * numerical.TWO_POINT_STEP / 2.0**-52
    for J0, enough in ((0.99 * line, True), (1.01 * line, False), (-1.01 * line, False)):
        assert verdict._two_points_will_do(a_problem([(2, 3)]), J0) is enough


def test_samples_and_directions():
    rng = np.random.default_rng(0)
    assert verdict._sample(5, None, rng).tolist() == [0, 1, 2, 3, 4]
    assert verdict._sample(5, 5, rng).tolist() == [0, 1, 2, 3, 4]
    drawn = verdict._sample(50, 49, rng)
    assert len(set(drawn.tolist())) == 49
    assert (np.diff(drawn) > 0).all()
    here = a_problem([(3, 4), (5,), ()])
    directions = verdict._directions(here, rng, 8)
    assert directions.shape == (8, 18)
    np.testing.assert_allclose(np.linalg.norm(directions[:, :12].reshape(8, 3, 4), axis=2), 1)
    assert directions[:, 12:].all()
    # Vectors and numbers are left as they are drawn, from N(0, 1).
    ones = verdict._directions(a_problem([(1000,), ()]), rng, 8)
    assert ones[:, :1000].std() == pytest.approx(1, abs=0.05)
    assert len(set(abs(ones[:, 1000]))) == 8
    inside = verdict._within(directions, slice(12, 17))
    np.testing.assert_array_equal(inside[:, 12:17], directions[:, 12:17])
    assert not inside[:, :12].any()
    assert not inside[:, 17:].any()


def test_naming_allows_what_the_differences_leave_open():
    here = a_problem([(1, 3)], theta=np.array([5.0, 7.0, 9.0]))
    right = {"0": EXACT[None, :]}
    mine = {"0": 2 * EXACT[None, :] + 1e-4 * np.array([0, 3, -1])}  # 2.4e-5 of it unexplained
    block = judged(said({"finite_difference": 0.0}, mine=2 * EXACT))
    block = BlockCheck("0", *[getattr(block, f) for f in (
        "shape", "checked", "diff", "taylor_order", "objections", "directions")])  # fmt: skip

    def named(error, exact=None, m=5, right=right):
        answers = [said({"finite_difference": 0.0}, error=error)]
        return [mistake.id for mistake in verdict._named(
            here, (), [block], answers, mine, right, exact, m, FLOAT64)]  # fmt: skip

    # Errors of 13 · 1e-3 and 13 · 1e-6 in all; and more than 1 % explains everything.
    assert named(13e-3 / 3**0.5) == ["factor"]
    assert named(13e-6 / 3**0.5) == []
    assert named(13 * 0.02 / 3**0.5) == []
    assert named(13e-3 / 3**0.5, right={"0": None}) == []
    assert named(13e-3 / 3**0.5, exact=EXACT) == []


def blocks_of_three(*objections):
    return [BlockCheck(str(i), (1, 3), 3, {}, None, o, 0) for i, o in enumerate(objections)]


def test_naming_is_of_the_blocks_that_are_wrong_and_known(monkeypatch):
    here = a_problem([(1, 3)] * 3, theta=np.array([5.0, 7, 9, 2, 4, 3, 8, 6, 7]))
    right = {"0": EXACT[None, :], "1": EXACT[None, ::-1], "2": None}
    mine = {"0": 2 * right["0"], "1": 2 * right["1"], "2": EXACT[None, :]}

    def named(*objections, errors=(0.0, 0.0, 0.0), exact=None):
        answers = [said({}, error=error) for error in errors]
        found = verdict._named(here, (), blocks_of_three(*objections), answers, mine, right, exact,
                               5, FLOAT64)  # fmt: skip
        return [(mistake.id, mistake.block) for mistake in found]

    wrong = ("finite_difference",)
    assert named(wrong, (), ()) == [("factor", "0")]
    assert named(wrong, wrong, ()) == [("factor", "0, 1")]
    assert named(wrong, wrong, wrong) == [("factor", "0, 1")]
    assert named((), (), wrong) == []
    # The block whose right gradient is known worst says what a name may leave open.
    assert named(wrong, wrong, (), errors=(0.0, 0.05, 0)) == [("factor", "0, 1")]
    assert named(wrong, wrong, (), errors=(0.0, 0.1, 0)) == []
    # Every example is looked at where jax.grad is a witness and a block has no name yet.
    asked = []
    monkeypatch.setattr(verdict.examples, "gradients", lambda *about: asked.append(about))
    assert named(wrong, (), (), exact=EXACT) == [("factor", "0")]
    mine["1"] = np.array([[7.0, 1.0, 5.0]])
    assert named((), wrong, ()) == []
    assert asked == []
    assert named(wrong, wrong, (), exact=EXACT) == [("factor", "0")]
    assert asked == [(here, 5)]


def test_the_order_over_all_blocks_where_one_of_them_has_one():
    def bilinear(t):  # linear in each block
        return float(t[0] * t[1])

    here = a_problem([(1,), (1,)], J=PlainCost(bilinear), g=np.ones(2))
    directions = np.array([[1.0, 0.5], [0.5, 1.0]])
    orders, whole = verdict._orders(here, 1.0, [], directions)
    assert orders == [None, None]
    assert whole == pytest.approx(2, abs=1e-3)


def test_the_order_from_the_costs_beside_the_differences_is_the_same():
    J, theta, g = PlainCost(lambda t: float((t**4).sum())), np.ones(5), np.array([4, 4, 4, 4, 5.0])
    here = a_problem([(3,), (2,)], J=J, theta=theta, g=g)
    directions = np.array([[1.0, 2, 3, 1, 2], [1, -1, 1, 2, 1]])
    moves = np.concatenate([verdict._within(directions, span) for span in here.spans])
    answers = witnesses.split(
        witnesses.hear(here, moves, moves @ g, None, FLOAT64, 5.0, complex_step=False), [2, 2]
    )
    orders, whole = verdict._orders(here, 5.0, answers, directions)
    alone, _ = verdict._orders(here, 5.0, [], directions)
    assert orders == pytest.approx(alone)
    assert orders == pytest.approx([2, 1], abs=0.01)
    assert whole == pytest.approx(1, abs=0.01)


def test_a_sample_of_coordinates_is_one_of_the_block():
    theta = np.arange(1.0, 21.0)
    check = check_gradients(lambda t: ((t**2).sum(), 2 * t), theta, coordinates=3, seed=1)
    assert check
    assert check.blocks[0].checked == 3
    np.testing.assert_array_equal(check.right["theta"], 2 * theta)
