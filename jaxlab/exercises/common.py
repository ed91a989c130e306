"""What the exercises on digits share: their options, their data, how they train."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int

from jaxlab import terminal
from jaxlab.backprop import Params, cost, predict
from jaxlab.data import Digits, load_digits
from jaxlab.errors import OptionError
from jaxlab.losses import Loss, squared_error
from jaxlab.optimize import Trained, Transform, fit, minimize


@dataclass(frozen=True)
class SeedConfig:
    """Options of every exercise."""

    seed: int = 0
    """Where every random choice comes from."""


@dataclass(frozen=True)
class DigitsConfig(SeedConfig):
    """Options of the exercises on handwritten digits."""

    data: Path | None = None
    """A small MNIST file of your own (.npz, .mat, .csv); else the one that comes with jaxlab."""
    images: str | None = None
    """The name of the array of images in that file, where it is not found by itself."""
    labels: str | None = None
    """The name of the array of labels in that file, where it is not found by itself."""
    limit: int | None = None
    """Use only that many images in all."""


@dataclass(frozen=True)
class TrainingConfig(DigitsConfig):
    """Options of the exercises that train a network."""

    method: Literal["adam", "lbfgs"] = "adam"
    """adam: mini-batches (fit). lbfgs: all examples at once (minimize)."""
    learning_rate: float = 0.01
    """adam: the first step size; it falls to zero along a cosine."""
    epochs: int = 30
    """adam: how often each training image is used."""
    batch_size: int = 100
    """adam: images a step."""
    iterations: int = 400
    """lbfgs: the maximum number of iterations."""


def load(config: DigitsConfig) -> Digits:
    """The digits that the options ask for; prints what was understood of a user's file."""
    digits = load_digits(
        config.data, images=config.images, labels=config.labels, limit=config.limit
    )
    for line in digits.understood:
        terminal.say(line)
    return digits


def train(
    config: TrainingConfig,
    params: Params,
    x: np.ndarray,
    y: np.ndarray | None,
    *,
    seed: int,
    loss: Loss = squared_error,
    transform: Transform | None = None,
    on_progress: Callable[[int, float, Params], None] = lambda step, J, params: None,
) -> Trained:
    """Trains by the method of the options: y holds the targets, None for an autoencoder."""
    if config.learning_rate <= 0:
        raise OptionError(f"learning-rate is {config.learning_rate}: it must be above 0")
    x = jnp.asarray(x)
    targets = x if y is None else jnp.asarray(y)
    if config.method == "lbfgs":
        return minimize(
            params, x, targets, loss=loss, iterations=config.iterations, on_progress=on_progress
        )
    steps = config.epochs * max(len(x) // config.batch_size, 1)
    return fit(
        params,
        x,
        None if y is None else targets,
        key=jax.random.key(seed),
        optimizer=_adam(config.learning_rate, steps),
        epochs=config.epochs,
        batch_size=config.batch_size,
        loss=loss,
        transform=transform,
        on_progress=on_progress,
    )


@lru_cache
def _adam(learning_rate: float, steps: int) -> optax.GradientTransformation:
    """Adam with a step that falls to zero along a cosine; one object for equal arguments, so that
    its compiled program is found again.

    β₂ is 0.99 instead of 0.999: a memory of 100 steps suits runs of a few thousand, and gave
    better networks in each exercise.
    """
    return optax.adam(optax.cosine_decay_schedule(learning_rate, max(steps, 1)), b2=0.99)


def classify(params: Params, x: np.ndarray, loss: Loss = squared_error) -> Int[np.ndarray, " m"]:
    """The digit that each example is taken for."""
    return np.asarray(predict(params, jnp.asarray(x), loss)).argmax(axis=1)


def accuracy(
    params: Params, x: np.ndarray, labels: np.ndarray, loss: Loss = squared_error
) -> float:
    """The fraction of all examples that are classified rightly."""
    return float((classify(params, x, loss) == labels).mean())


def mean_squared_error(params: Params, x: np.ndarray) -> float:
    """Of an autoencoder's reconstructions: the mean over all examples and all pixels."""
    return float(((np.asarray(predict(params, jnp.asarray(x))) - x) ** 2).mean())


def training_problems(
    name: str,
    params: Params,
    x: Float[np.ndarray, "m pixels"],
    y: np.ndarray,
    loss: Loss = squared_error,
) -> list[str]:
    """What is wrong with a trained network, each in a sentence; empty if nothing was found.

    Looks for the ways in which training fails without an error: a cost that is no number, no
    better than answering the same to every example, a class that is never predicted, and hidden
    units that answer the same to every example.
    """
    x, y = jnp.asarray(x), jnp.asarray(y)
    J = float(cost(params, x, y, loss))
    if not np.isfinite(J):
        return [f"{name}: training diverged, J is {J}; try a smaller --learning-rate"]
    problems = []
    answer = np.asarray(predict(params, x, loss))
    mean = np.asarray(y).mean(axis=0)
    same_answer = 0.5 * float(((np.asarray(y) - mean) ** 2).sum(axis=1).mean())
    reached = 0.5 * float(((np.asarray(y) - answer) ** 2).sum(axis=1).mean())
    if reached > 0.95 * same_answer:
        problems.append(
            f"{name}: nothing was learned: the squared error is {reached:.3g}, answering the mean "
            f"to every example gives {same_answer:.3g}; try a smaller --learning-rate"
        )
    is_classifier = not (x.shape == y.shape and bool((x == y).all()))
    if is_classifier:
        present = np.unique(np.asarray(y).argmax(axis=1))
        never = np.setdiff1d(present, answer.argmax(axis=1))
        if never.size:
            digits = ", ".join(map(str, never))
            problems.append(
                f"{name}: never answers {digits}, even on its training images: that output is "
                "stuck near zero; try another --seed or a smaller --learning-rate"
            )
    if len(params) > 1:
        W, b = params[0]
        a2 = np.asarray(jax.nn.sigmoid(x @ W.T + b[None, :]))
        stuck = int((np.ptp(a2, axis=0) < 1e-3).sum())
        if stuck > a2.shape[1] // 2:
            problems.append(
                f"{name}: {stuck} of {a2.shape[1]} hidden units answer the same to every example "
                "(saturated); try a smaller --learning-rate"
            )
    return problems
