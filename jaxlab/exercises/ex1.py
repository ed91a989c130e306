"""Exercise 1: backpropagation of a network with one hidden layer, proven right.

8 input units, 5 hidden units, 10 output units, a batch of 100; sigmoid activations and squared
error. The pass itself is `jaxlab/backprop.py`.
"""

from dataclasses import dataclass
from itertools import pairwise

import jax
import numpy as np

from jaxlab import figures, terminal
from jaxlab.backprop import Params, cost, cost_and_grad
from jaxlab.errors import OptionError
from jaxlab.exercises.seed import SeedConfig
from jaxlab.gradcheck import numerical
from jaxlab.gradcheck.check import check_gradients, random_params
from jaxlab.gradcheck.functions import flat_problem
from jaxlab.gradcheck.result import GradientCheck, relative_difference
from jaxlab.gradcheck.table import WITNESSES
from jaxlab.precision import enable_x64
from jaxlab.results import Result


@dataclass(frozen=True)
class Config(SeedConfig):
    """Exercise 1: gradient check of the hand-written backpropagation."""

    inputs: int = 8
    """Input units."""
    hidden: int = 5
    """Hidden units."""
    outputs: int = 10
    """Output units."""
    examples: int = 100
    """Examples in the batch."""


QUICK = Config()
# Coordinates that the figure of steps looks at: all of a small network.
MOST_FOR_STEPS = 500


def run(config: Config) -> Result:
    """Checks the gradient of every block of parameters against three independent witnesses."""
    sizes = (config.inputs, config.hidden, config.outputs)
    if min(*sizes, config.examples) < 1:
        raise OptionError("inputs, hidden, outputs and examples must all be at least 1")
    x, y = random_batch(config.seed, config.examples, config.inputs, config.outputs)
    params = random_params(config.seed, sizes)
    with terminal.progress("checking the gradient", 2 * n_parameters(sizes)) as advance:
        check = check_gradients(
            cost_and_grad, params, x, y, cost=cost, seed=config.seed, advance=advance
        )
    name = "-".join(map(str, sizes))
    return Result(
        exercise="ex1",
        title="Neural network backpropagation",
        config=config,
        numbers=check.numbers(),
        figures={
            "differences": figures.differences({f"network {name}": blocks_of(check)}),
            "steps": step_figure(params, x, y),
        },
        summary=check_summary(check),
        table=str(check),
        problems=check_problems(check, f"network {name}"),
    )


def random_batch(seed: int, m: int, inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs in [0, 1] and one-hot targets for a check; float64."""
    rng = np.random.default_rng(seed)
    return rng.random((m, inputs)), np.eye(outputs)[rng.integers(0, outputs, m)]


def n_parameters(sizes: tuple[int, ...]) -> int:
    """Weights and biases of a network with layers of these numbers of units."""
    return sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes))


def blocks_of(check: GradientCheck) -> dict[str, dict[str, float]]:
    """block → witness → relative difference, for the figure."""
    return {block.name: block.diff for block in check.blocks}


def check_summary(check: GradientCheck) -> list[tuple[str, str]]:
    """The rows that answer the lab's question: which diff value did you get?"""
    names = ("central differences", "complex step", "jax.grad")
    rows = [
        (f"diff to {name}", f"{check.diff[witness]:.2e}")
        for name, witness in zip(names, WITNESSES, strict=True)
    ]
    order = "below rounding" if check.taylor_order is None else f"{check.taylor_order:.4f}"
    return [
        *rows,
        ("order of the Taylor remainder", f"{order} (2 for a right gradient)"),
        ("verdict", "right" if check else f"WRONG: {', '.join(check.wrong)}"),
    ]


def check_problems(check: GradientCheck, name: str) -> list[str]:
    """A sentence for each block that is wrong, for J, and for what could not be seen."""
    cost = [f"{name}: J is not the cost checked against"] if "J" in check.wrong else []
    return (
        cost
        + [
            f"{name}: the gradient of {block.name} is wrong, say {', '.join(block.objections)}"
            for block in check.blocks
            if not block.ok
        ]
        + [f"{name}: {note}" for note in check.notes]
    )


def step_figure(params: Params, x: np.ndarray, y: np.ndarray):
    """Why the step matters: the witnesses' distance from the gradient over a range of steps."""
    steps = 10.0 ** np.arange(-12, 0)
    with enable_x64(True):
        J, theta, data = flat_problem(cost, params, (x, y))
        _, grads = cost_and_grad(params, x, y)
        g = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(grads)])
        some = np.unique(np.linspace(0, g.size - 1, MOST_FOR_STEPS).astype(int))
        central = [numerical.central_differences(J, theta, data, some, step=h)[0] for h in steps]
        exact = [numerical.complex_steps(J, theta, data, some, step=h) for h in steps]
    errors = ([relative_difference(g[some], n) for n in ns] for ns in (central, exact))
    return figures.errors_against_step(steps, *errors, numerical.STEP)
