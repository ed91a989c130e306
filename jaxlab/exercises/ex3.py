"""Exercise 3: an autoencoder, and the check of its gradient.

The same pass as in exercise 1 with the input as the target, y = x. Checked whole on 8-5-8, and on
coordinates drawn at random from a real 784-64-784 that looks at digits.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from jaxlab import figures, terminal
from jaxlab.backprop import cost, cost_and_grad
from jaxlab.errors import OptionError
from jaxlab.exercises.common import DigitsConfig, images_of, load
from jaxlab.exercises.ex1 import blocks_of, check_problems, check_summary, n_parameters
from jaxlab.gradcheck.check import check_gradients, random_params
from jaxlab.gradcheck.result import GradientCheck
from jaxlab.results import Result


@dataclass(frozen=True)
class Config(DigitsConfig):
    """Exercise 3: gradient check of the autoencoder."""

    inputs: int = 8
    """Input units of the small autoencoder, and as many output units."""
    hidden: int = 5
    """Hidden units of the small autoencoder."""
    examples: int = 100
    """Examples in a batch."""
    digit_hidden: int = 64
    """Hidden units of the autoencoder of digits."""
    coordinates: int = 100
    """How many coordinates of each block of the autoencoder of digits to check."""


QUICK = Config(coordinates=10, examples=20)


def run(config: Config) -> Result:
    """Checks both autoencoders against three independent witnesses."""
    if min(config.inputs, config.hidden, config.examples, config.digit_hidden) < 1:
        raise OptionError("inputs, hidden, examples and digit-hidden must all be at least 1")
    rng = np.random.default_rng(config.seed)
    digits = load(config)
    small_x = rng.random((config.examples, config.inputs))
    digit_x = np.asarray(digits.train.x[: config.examples], np.float64)
    too_few = []
    if len(digit_x) < config.examples:
        few = f"{len(digit_x):,} training images, not {config.examples:,}: there are no more"
        too_few = [f"the autoencoder of digits was checked on {few}"]
    small_sizes = (config.inputs, config.hidden, config.inputs)
    digit_sizes = (digit_x.shape[1], config.digit_hidden, digit_x.shape[1])

    check = partial(_check, seed=config.seed)
    with terminal.progress("checking 2 networks", 2 * n_parameters(small_sizes)) as advance:
        small = check(small_sizes, small_x, None, advance)
    blocks = (digit_sizes[0] * digit_sizes[1],) * 2 + digit_sizes[1:]
    total = 2 * sum(min(size, config.coordinates) for size in blocks)
    with terminal.progress("checking digits", total) as advance:
        large = check(digit_sizes, digit_x, config.coordinates, advance)

    names = ["-".join(map(str, sizes)) for sizes in (small_sizes, digit_sizes)]
    return Result(
        exercise="ex3",
        title="An autoencoder and its gradient",
        config=config,
        numbers={
            "images": images_of(digits),
            **small.numbers(),
            "digits": {"sizes": digit_sizes, **large.numbers()},
        },
        figures={
            "differences": figures.differences(
                {
                    f"autoencoder {names[0]}": blocks_of(small),
                    f"autoencoder {names[1]}, digits": blocks_of(large),
                }
            )
        },
        summary=[
            *((f"{names[0]}: {what}", value) for what, value in check_summary(small)),
            *((f"{names[1]}: {what}", value) for what, value in check_summary(large)),
        ],
        table=f"autoencoder {names[0]}\n\n{small}\n\nautoencoder {names[1]}, digits\n\n{large}",
        problems=[
            *digits.oddities,
            *too_few,
            *check_problems(small, f"autoencoder {names[0]}"),
            *check_problems(large, f"autoencoder {names[1]}"),
        ],
    )


def _check(sizes, x, coordinates, advance, *, seed) -> GradientCheck:
    params = random_params(seed, sizes)
    return check_gradients(
        cost_and_grad,
        params,
        x,
        x,
        cost=cost,
        seed=seed,
        coordinates=coordinates,
        advance=advance,
    )
