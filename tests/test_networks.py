"""Naming a mistake: planted in independent programs, rejected always, named right, never wrong."""

import json
import subprocess
from itertools import pairwise
from pathlib import Path

import jax
import numpy as np
import planted_networks as planted
import pytest
from in_process import verdict

import jaxlab
from jaxlab import Layer
from jaxlab.gradcheck.network_mistakes import WrongGradient, name_mistakes, what_is_known
from jaxlab.gradcheck.networks import LOSSES, Network, Pass, backward, cost_and_grad, named
from jaxlab.precision import enable_x64

DEEP = [(7, 5), (7, 4, 5), (6, 4, 3, 5), (5, 6, 3, 4, 3)]


@pytest.fixture(autouse=True)
def _theirs():
    """Other people's programs run in float64 and under JAX's usual rules, as in the command."""
    with (
        enable_x64(True),
        jax.numpy_dtype_promotion("standard"),
        np.errstate(all="ignore"),
    ):
        yield


def draw(seed, sizes, scale=1.0):
    rng = np.random.default_rng(seed)
    params = [
        (scale * rng.standard_normal((n, k)), scale * rng.standard_normal(n))
        for k, n in pairwise(sizes)
    ]
    m = int(rng.integers(3, 12))
    return params, rng.random((m, sizes[0])), np.eye(sizes[-1])[rng.integers(0, sizes[-1], m)]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("squared error", jaxlab.squared_error), ("cross-entropy", jaxlab.cross_entropy)],
)
@pytest.mark.parametrize("sizes", DEEP)
def test_the_numpy_pass_is_the_one_of_jaxlab(ours, theirs, sizes):
    params, x, y = draw(0, sizes)
    J, grads = cost_and_grad(params, x, y, Network(ours, factor=1 / len(x)))
    J2, grads2 = jaxlab.cost_and_grad(tuple(Layer(W, b) for W, b in params), x, y, theirs)
    assert J == pytest.approx(float(J2), rel=1e-12)
    theirs_by_name = named([(np.asarray(W), np.asarray(b)) for W, b in grads2])
    for name, g in theirs_by_name.items():
        np.testing.assert_allclose(grads[name], g, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("hidden", ["sigmoid", "tanh"])
def test_every_cost_has_its_gradient(loss, hidden):
    params, x, y = draw(1, (5, 4, 3, 3))
    sparsity = {"rho": 0.1, "beta": 0.3 if hidden == "sigmoid" else 0.0}
    network = Network(loss, hidden, 0.7, {"W1": 0.2, "b3": 0.1}, **sparsity)
    _, grads = cost_and_grad(params, x, y, network)
    for name, block in named(params).items():
        for i in range(block.size):
            J = []
            for step in (1e-5, -1e-5):
                block.ravel()[i] += step
                J.append(cost_and_grad(params, x, y, network)[0])
                block.ravel()[i] -= step
            assert grads[name].ravel()[i] == pytest.approx((J[0] - J[1]) / 2e-5, abs=1e-8)


def rates(python, *arguments):
    """What planted_rates.py counts, with the installed jaxlab: types are not checked there, and
    thousands of backward passes take their usual time."""
    script = Path(__file__).with_name("planted_rates.py")
    done = subprocess.run(
        [python, script, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    counted = json.loads(done.stdout)
    print({name: number for name, number in counted.items() if name != "failures"})
    return counted


@pytest.mark.parametrize("rounds", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_planted_mistakes_are_rejected_and_named(python, rounds):
    assert len({p.name for p in planted.MISTAKES}) >= 60
    found = rates(python, "singles", rounds)
    assert found["planted"] >= rounds * len(planted.MISTAKES)
    assert found["rejected"] == found["planted"]
    assert found["named"] >= 0.95 * found["planted"], found["failures"]
    assert found["named wrong"] == 0, found["failures"]


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_pairs_of_mistakes(python, count):
    found = rates(python, "pairs", count)
    assert found["rejected"] == found["planted"] == count
    assert found["named"] >= 0.8 * count, found["failures"]


@pytest.mark.parametrize("program", planted.PROGRAMS)
@pytest.mark.parametrize("loss", planted.LOSSES)
def test_the_programs_are_right_without_a_mistake(program, loss):
    report = verdict(planted.write(program, loss), (7, 4, 5))
    assert report.verdict == "right", report
    assert LOSSES[loss].text in report.cost


@pytest.mark.parametrize("sizes", DEEP[:2])
def test_nothing_is_named_where_nothing_fits(sizes):
    params, x, y = draw(2, sizes)
    network = Network(factor=1 / len(x))
    mine = backward(Pass(params, x, y, network))
    noise = np.random.default_rng(0)
    broken = {
        n: g + 0.1 * noise.standard_normal(g.shape) * np.abs(g).max() for n, g in mine.items()
    }
    problem = WrongGradient([broken], [params], x, y, network)
    assert name_mistakes(problem) == []
    assert "the output layer's blocks are wrong already" in what_is_known(problem).lower()
    last = len(sizes) - 1
    if last > 1:
        top = {f"W{last}": mine[f"W{last}"], f"b{last}": mine[f"b{last}"]}
        problem = WrongGradient([broken | top], [params], x, y, network)
        assert name_mistakes(problem) == []
        assert f"W{last}, b{last} are right, so δ{last + 1} and a{last} are" in what_is_known(
            problem
        )
