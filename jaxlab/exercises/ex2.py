"""Exercise 2: a classifier of handwritten digits, with the network of exercise 1.

One hidden layer of sigmoid units, sigmoid outputs, squared error: 784-300-10, trained on 6,000
images of small MNIST. Several networks are trained, each from its own seed, so that every
accuracy comes with an interval.
"""

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlab import figures, statistics, terminal, wording
from jaxlab.backprop import Params, initialize
from jaxlab.cores import at_once
from jaxlab.data import Digits, one_hot
from jaxlab.errors import OptionError
from jaxlab.exercises.common import (
    TrainingConfig,
    accuracy,
    answers,
    images_of,
    joined,
    load,
    train,
    training_problems,
)
from jaxlab.optimize import Transform
from jaxlab.results import Result


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Exercise 2: classify handwritten digits with one hidden layer."""

    hidden: int = 300
    """Hidden units."""
    networks: int = 5
    """How many networks to train, each from its own seed."""
    shift: int = 1
    """adam: move each training image by up to so many pixels at random at each use; 0: never."""
    learning_rate: float = 0.005
    epochs: int = 40
    batch_size: int = 50


QUICK = Config(
    hidden=25, networks=3, epochs=8, learning_rate=0.01, batch_size=20, limit=1000, iterations=40
)


def run(config: Config) -> Result:
    """Trains the networks and evaluates each on the training, validation and test images."""
    if config.hidden < 1 or config.networks < 1 or config.shift < 0:
        raise OptionError("hidden and networks must be at least 1, shift at least 0")
    if config.method == "lbfgs":  # sees each image as it is
        config = replace(config, shift=0)
    digits = load(config)
    if config.shift >= digits.side // 2:
        raise OptionError(
            f"shift is {config.shift}: images of {digits.side} pixels leave the frame"
        )
    images, where = joined(digits)
    parts = {"train": digits.train, "val": digits.validation, "test": digits.test}
    with terminal.progress("training", config.networks * config.steps) as advance:
        trained = at_once(partial(train_one, config, digits), range(config.networks), advance)
    given = [answers(network.params, images) for network in trained]
    accuracies = {
        name: [accuracy(answer[where[name]], part.y) for answer in given]
        for name, part in parts.items()
    }
    problems, targets = [*digits.oddities], one_hot(digits.train.y)
    for n, (network, answer) in enumerate(zip(trained, given, strict=True)):
        name, x = f"network {n + 1} (seed {config.seed + n})", digits.train.x
        problems += training_problems(
            name, network.params, x, targets, answer[where["train"]], classifier=True
        )
    looks = min(len(network.at) for network in trained)
    curve = np.mean([network.validation[:looks] for network in trained], axis=0)
    # The figures show the network that a user would keep: the best on the validation images.
    best = int(np.argmax(accuracies["val"]))
    answer = given[best][where["test"]].argmax(axis=1)
    numbers: dict[str, Any] = {
        **{
            f"{name}_accuracy": statistics.over_seeds(accuracies[name], len(part.y))
            for name, part in parts.items()
        },
        "images": images_of(digits),
        "highest_val_accuracy": float(curve.max()),
        "shown_network": best + 1,
        "confusion": statistics.confusion(digits.test.y, answer),
    }
    wrong = np.flatnonzero(answer != digits.test.y)[:40]
    return Result(
        exercise="ex2",
        title="Neural network for handwritten digit classification",
        config=config,
        numbers=numbers,
        figures={
            "learning_curves": _learning_curves(config, digits, trained),
            "confusion": figures.confusion(numbers["confusion"]),
            "misclassified": figures.digits(
                digits.test.x[wrong],
                [f"{digits.test.y[i]} as {answer[i]}" for i in wrong],
                digits.side,
            ),
            "hidden_units": figures.hidden_units(
                np.asarray(trained[best].params[0].W), digits.side
            ),
        },
        summary=[
            ("images", digits.source),
            *(
                (f"{name} accuracy", wording.accuracy(numbers[f"{key}_accuracy"]))
                for name, key in (("training", "train"), ("validation", "val"), ("test", "test"))
            ),
            ("lowest test accuracy", f"{100 * min(accuracies['test']):.2f} %"),
        ],
        problems=problems,
    )


class Network(NamedTuple):
    """A trained network. history: J at every step. at: the steps after which it was looked at, and
    training, validation: its accuracy then."""

    params: Params
    history: np.ndarray
    at: list[int]
    training: list[float]
    validation: list[float]


def train_one(config: Config, digits: Digits, n: int, advance) -> Network:
    """Trains network number n, from a seed of its own."""
    targets = one_hot(digits.train.y)
    # The curves show as many training images as there are validation images, where there are.
    half = min(len(digits.train.y), len(digits.validation.y))
    shown = np.concatenate([digits.train.x[:half], digits.validation.x])
    at, training, validation = [], [], []

    def on_progress(step, J, params):
        answer = answers(params, shown)
        at.append(step)
        training.append(accuracy(answer[:half], digits.train.y[:half]))
        validation.append(accuracy(answer[half:], digits.validation.y))
        reached(step, f"network {n + 1}  J {J:.4f}  val. {100 * validation[-1]:.1f} %")

    params = initialize(
        config.seed + n,
        (digits.train.x.shape[1], config.hidden, targets.shape[1]),
        mean_output=targets.mean(axis=0),
    )
    with terminal.stage(advance, config.steps) as reached:
        params, history = train(
            config,
            params,
            digits.train.x,
            targets,
            seed=config.seed + n,
            transform=shifted(config.shift, digits.side) if config.shift else None,
            on_progress=on_progress,
        )
    return Network(params, history, at, training, validation)


def _learning_curves(config: Config, digits: Digits, trained: list[Network]):
    # Full-batch training may end early, each network at its own time.
    steps = min(len(network.history) for network in trained)
    looks = min(len(network.at) for network in trained)
    half = min(len(digits.train.y), len(digits.validation.y))
    shown = f", {half:,} images" if half < len(digits.train.y) else ""
    return figures.learning_curves(
        np.array([network.history[:steps] for network in trained]),
        {
            f"training{shown}": np.array([network.training[:looks] for network in trained]),
            "validation": np.array([network.validation[:looks] for network in trained]),
        },
        trained[0].at[:looks],
        "epoch" if config.method == "adam" else "iteration",
    )


@lru_cache
def shifted(pixels: int, side: int) -> Transform:
    """A transform that moves each image by up to `pixels` along each axis, background moving in.

    Small shifts do not change what a digit is: a network that sees them needs fewer images
    (Simard, Steinkraus and Platt 2003).
    """

    def shift(key: PRNGKeyArray, x: Float[Array, "m pixels"]) -> Float[Array, "m pixels"]:
        images = x.reshape(-1, side, side)
        framed = jnp.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels)))
        corners = jax.random.randint(key, (len(images), 2), 0, 2 * pixels + 1)

        def cut(image, corner):
            return jax.lax.dynamic_slice(image, (corner[0], corner[1]), (side, side))

        return jax.vmap(cut)(framed, corners).reshape(x.shape)

    return shift
