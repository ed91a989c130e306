"""Exercise 2: a classifier of handwritten digits, with the network of exercise 1.

One hidden layer of sigmoid units, sigmoid outputs, squared error: 784-300-10, trained on 6,000
images of small MNIST. Several networks are trained, each from its own seed, so that every
accuracy comes with an interval.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlab import figures, statistics, terminal
from jaxlab.backprop import Params, initialize
from jaxlab.data import one_hot
from jaxlab.errors import OptionError
from jaxlab.exercises.common import (
    TrainingConfig,
    accuracy,
    answers,
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
    digits = load(config)
    if config.shift >= digits.side // 2:
        raise OptionError(
            f"shift is {config.shift}: images of {digits.side} pixels leave the frame"
        )
    targets = one_hot(digits.train.y)
    transform = shifted(config.shift, digits.side) if config.shift else None
    images, where = joined(digits)
    labels = {"train": digits.train.y, "val": digits.validation.y, "test": digits.test.y}
    # The curves show as many training images as there are validation images, where there are.
    half = min(len(digits.train.y), len(digits.validation.y))
    curve_images = np.concatenate([digits.train.x[:half], digits.validation.x])

    accuracies: dict[str, list[float]] = {name: [] for name in labels}
    costs: list[np.ndarray] = []
    curves: dict[str, list[list[float]]] = {"training": [], "validation": []}
    problems: list[str] = [*digits.oddities]
    networks: list[tuple[Params, np.ndarray]] = []
    with terminal.progress("training", config.networks * config.steps) as advance:
        for n in range(config.networks):
            seen: dict[str, list[float]] = {name: [] for name in curves}
            at: list[int] = []

            def on_progress(step, J, params, seen=seen, at=at, n=n):
                answer = answers(params, curve_images)
                seen["training"].append(accuracy(answer[:half], digits.train.y[:half]))
                seen["validation"].append(accuracy(answer[half:], digits.validation.y))
                at.append(step)
                val = 100 * seen["validation"][-1]
                reached(step, f"network {n + 1}  J {J:.4f}  val. {val:.1f} %")

            seed = config.seed + n
            params = initialize(
                seed,
                (digits.train.x.shape[1], config.hidden, targets.shape[1]),
                mean_output=targets.mean(axis=0),
            )
            with terminal.stage(advance, config.steps) as reached:
                params, history = train(
                    config,
                    params,
                    digits.train.x,
                    targets,
                    seed=seed,
                    transform=transform,
                    on_progress=on_progress,
                )
            answer = answers(params, images)
            for name in labels:
                accuracies[name].append(accuracy(answer[where[name]], labels[name]))
            problems += training_problems(
                f"network {n + 1} (seed {seed})",
                params, digits.train.x, targets, answer[where["train"]],
            )  # fmt: skip
            costs.append(history)
            networks.append((params, answer[where["test"]].argmax(axis=1)))
            for name, values in seen.items():
                curves[name].append(values)

    numbers: dict[str, Any] = {
        f"{name}_accuracy": statistics.over_seeds(accuracies[name], len(labels[name]))
        for name in labels
    }
    # The figures show the network that a user would keep: the best on the validation images.
    best = int(np.argmax(accuracies["val"]))
    params, answer = networks[best]
    numbers["shown_network"] = best + 1
    numbers["confusion"] = statistics.confusion(digits.test.y, answer)
    wrong = np.flatnonzero(answer != digits.test.y)[:40]
    # Full-batch training may end early, each network at its own time.
    shortest = min(len(history) for history in costs)
    step = "epoch" if config.method == "adam" else "iteration"
    recorded = min(len(values) for values in curves["training"])
    return Result(
        exercise="ex2",
        title="Neural network for handwritten digit classification",
        config=config,
        numbers=numbers,
        figures={
            "learning_curves": figures.learning_curves(
                np.array([history[:shortest] for history in costs]),
                {name: np.array([row[:recorded] for row in rows]) for name, rows in curves.items()},
                at[:recorded],
                step,
            ),
            "confusion": figures.confusion(numbers["confusion"]),
            "misclassified": figures.digits(
                digits.test.x[wrong],
                [f"{digits.test.y[i]} as {answer[i]}" for i in wrong],
                digits.side,
            ),
            "hidden_units": figures.hidden_units(np.asarray(params[0].W), digits.side),
        },
        summary=[
            ("images", digits.source),
            *(
                (f"{name} accuracy", statistics.percent(numbers[f"{key}_accuracy"]))
                for name, key in (("training", "train"), ("validation", "val"), ("test", "test"))
            ),
            ("lowest test accuracy", f"{100 * min(accuracies['test']):.2f} %"),
        ],
        problems=problems,
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
