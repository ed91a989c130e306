"""Naming a mistake: planted in independent programs, rejected always, named right, never wrong."""

from itertools import pairwise

import jax
import numpy as np
import planted_networks as planted
import pytest
from in_process import verdict

import jaxlab
from jaxlab import Layer
from jaxlab.gradcheck.naming import Problem, name_mistakes, what_is_known
from jaxlab.gradcheck.networks import LOSSES, Network, Pass, backward, cost_and_grad, named

DEEP = [(7, 5), (7, 4, 5), (6, 4, 3, 5), (5, 6, 3, 4, 3)]


@pytest.fixture(autouse=True)
def _theirs():
    """Other people's programs run in float64 and under JAX's usual rules, as in the command."""
    with (
        jax.enable_x64(True),
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
    network = Network(loss, hidden, 0.7, {"W1": 0.2, "b3": 0.1})
    _, grads = cost_and_grad(params, x, y, network)
    for name, block in named(params).items():
        for i in range(block.size):
            J = []
            for step in (1e-5, -1e-5):
                block.ravel()[i] += step
                J.append(cost_and_grad(params, x, y, network)[0])
                block.ravel()[i] -= step
            assert grads[name].ravel()[i] == pytest.approx((J[0] - J[1]) / 2e-5, abs=1e-8)


def one(planted_one, loss, seed):
    """The report on one planted mistake, with random sizes, parameters and data."""
    rng = np.random.default_rng(seed)
    if planted_one.square:
        sizes = (int(rng.integers(4, 7)),) * 3
    elif planted_one.program == "rows":
        sizes = DEEP[rng.integers(0 if planted_one.old.startswith("delta = ") else 1, 4)]
    else:
        sizes = tuple(int(n) for n in rng.choice(np.arange(3, 9), 3, replace=False))
    return verdict(planted.write(planted_one.program, loss, (planted_one,)), sizes, seed)


def rates(cases):
    """(rejected, named right, named wrong, which were not named right) of single mistakes."""
    rejected = right = wrong = 0
    failures = []
    for mistake, loss, seed in cases:
        report = one(mistake, loss, seed)
        ids = {found["id"] for found in report.mistakes}
        rejected += report.verdict == "wrong"
        right += bool(ids & mistake.ids)
        wrong += bool(ids) and not ids & mistake.ids
        if not ids & mistake.ids:
            failures.append((mistake.name, mistake.program, loss, seed, ids))
    return rejected, right, wrong, failures


def test_planted_mistakes_are_rejected_and_named():
    assert len({p.name for p in planted.MISTAKES}) >= 60
    cases = [(p, p.losses[i % len(p.losses)], i) for i, p in enumerate(planted.MISTAKES)]
    rejected, right, wrong, failures = rates(cases)
    print(f"{len(cases)} planted, {rejected} rejected, {right} named right, {wrong} named wrong")
    assert rejected == len(cases)
    assert right >= 0.95 * len(cases), failures
    assert wrong == 0, failures


@pytest.mark.slow
def test_planted_mistakes_with_every_loss_and_many_parameters():
    cases = [
        (p, loss, 1000 * seed + i)
        for seed in range(1, 6)
        for i, p in enumerate(planted.MISTAKES)
        for loss in p.losses
    ]
    rejected, right, wrong, failures = rates(cases)
    print(f"{len(cases)} planted, {rejected} rejected, {right} named right, {wrong} named wrong")
    assert rejected == len(cases)
    assert right >= 0.95 * len(cases), failures
    assert wrong == 0, failures


def pairs(count, seed):
    """(rejected, both named) of pairs of mistakes in one program."""
    rng = np.random.default_rng(seed)
    rejected = both = done = 0
    failures = []
    while done < count:
        a, b = (planted.MISTAKES[i] for i in rng.integers(0, len(planted.MISTAKES), 2))
        losses = [loss for loss in a.losses if loss in b.losses]
        if a.program != b.program or a.name == b.name or not losses:
            continue
        loss = losses[rng.integers(len(losses))]
        try:
            source = planted.write(a.program, loss, (a, b))
        except AssertionError:  # both in the same line
            continue
        sizes = (5, 5, 5) if a.square or b.square else (6, 4, 3, 5)
        sizes = sizes if a.program == "rows" or len(sizes) == 3 else (7, 4, 5)
        done += 1
        report = verdict(source, sizes, seed=done)
        ids = {found["id"] for found in report.mistakes}
        rejected += report.verdict == "wrong"
        both += bool(ids & a.ids and ids & b.ids)
        if not (ids & a.ids and ids & b.ids):
            failures.append((a.name, b.name, a.program, loss, ids))
    return rejected, both, failures


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_pairs_of_mistakes(count):
    rejected, both, failures = pairs(count, seed=count)
    print(f"{count} pairs, {rejected} rejected, {both} with both named")
    assert rejected == count
    assert both >= 0.8 * count, failures


@pytest.mark.parametrize("program", planted.PROGRAMS)
@pytest.mark.parametrize("loss", planted.LOSSES)
def test_the_programs_are_right_without_a_mistake(program, loss):
    report = verdict(planted.write(program, loss), (7, 4, 5))
    assert report.verdict == "right", report
    assert LOSSES[loss].text in report.cost


@pytest.mark.parametrize("factor", [1.0, 1 / 7])
@pytest.mark.parametrize("sizes", DEEP)
def test_nothing_is_named_where_nothing_fits(factor, sizes):
    params, x, y = draw(2, sizes)
    network = Network(factor=factor)
    mine = backward(Pass(params, x, y, network))
    noise = np.random.default_rng(0)
    broken = {
        n: g + 0.1 * noise.standard_normal(g.shape) * np.abs(g).max() for n, g in mine.items()
    }
    problem = Problem([broken], [params], x, y, network)
    assert name_mistakes(problem) == []
    assert "the output layer's blocks are wrong already" in what_is_known(problem).lower()
    last = len(sizes) - 1
    if last > 1:
        top = {f"W{last}": mine[f"W{last}"], f"b{last}": mine[f"b{last}"]}
        problem = Problem([broken | top], [params], x, y, network)
        assert name_mistakes(problem) == []
        assert f"W{last}, b{last} are right, so δ{last + 1} and a{last} are" in what_is_known(
            problem
        )
