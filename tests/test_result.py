"""The result of a check: what counts as wrong, and its numbers."""

from dataclasses import replace

import numpy as np
import pytest
from test_verdict import check_of, judged, said

from jaxlab.gradcheck.files.report import block_report
from jaxlab.gradcheck.mistakes import Mistake
from jaxlab.gradcheck.result import GradientCheck, relative_difference


def result(cost_diff=0.0, precision="float64", blocks=()):
    return GradientCheck(
        tuple(blocks), {"autograd": 0.5}, 2.0, cost_diff, True, precision=precision
    )


def test_two_costs_that_are_not_the_same():
    for precision, line in (("float64", 1e-9), ("float32", 1e-4)):
        assert result(0.9 * line, precision)
        assert result(1.1 * line, precision).wrong == ("J",)
        assert not result(np.nan, precision)
    bad = judged(said({"autograd": 1.0}))
    assert result(1.0, blocks=[check_of(), bad]).wrong == ("J", "W1")


def test_the_numbers_of_a_result():
    one = result(blocks=[judged(said({"autograd": 0.0}), few=True)]).numbers()
    block = {"ok": True, "shape": [1, 3], "checked": 0, "directions": 3, "diff_autograd": 0.0,
             "taylor_order": 2.0}  # fmt: skip
    assert one == {"diff_autograd": 0.5, "taylor_order": 2.0, "diff_cost": 0.0,
                   "blocks": {"W1": block}}  # fmt: skip
    assert "directions" not in result(blocks=[check_of()]).numbers()["blocks"]["W1"]
    named = replace(result(), mistakes=(Mistake("factor", "W1", "twice"),)).numbers()
    assert named["mistakes"] == [{"id": "factor", "block": "W1", "explanation": "twice"}]


def test_relative_difference():
    a = np.array([3.0, 4.0])
    assert relative_difference(a, a) == 0
    assert relative_difference(np.zeros(2), np.zeros(2)) == 0
    assert relative_difference(a, 3 * a) == 0.5
    assert relative_difference(a, -a) == np.inf
    assert relative_difference(a, np.array([np.nan, 4])) == np.inf


def test_a_block_of_a_file_is_as_far_off_as_its_length_apart():
    def how_far(g, n):
        block = block_report([np.array(g)], [np.array(n)], tolerance=1e-8)
        return block["relative_difference"], block["ok"]

    assert how_far([3.0, 4], [3, 4]) == how_far([0.0, 0], [0, 0]) == (0, True)
    assert how_far([3.0, 4], [9, 12]) == (0.5, False)
    assert how_far([3.0, 4], [0, 0]) == (1, False)
    assert how_far([3.0, 4], [3, np.nan]) == how_far([np.inf], [2.0]) == (None, False)
    assert how_far([1e200], [2e200]) == (pytest.approx(1 / 3), False)  # whose squares are infinite
    assert how_far([-3e200, 4e200], [-3e200, 4e200]) == (0, True)
    # Exact opposites, as a wrong sign leaves them, are as far off as those that rounding parts.
    exact, ok = how_far([3.0, 4], [-3, -4])
    rounded, _ = how_far([3.0, 4 + 5e-15], [-3, -4])
    assert not ok
    assert exact > rounded > 1e14
