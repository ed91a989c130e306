"""The result of a check: what counts as wrong, and its numbers."""

from dataclasses import replace

import numpy as np
from test_verdict import check_of, judged, said

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
