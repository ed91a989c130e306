"""What the exercises on digits share: their options, their data, how they train."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int

from jaxlab import terminal
from jaxlab.backprop import Params, initialize, predict
from jaxlab.data import Digits, load_digits
from jaxlab.errors import OptionError
from jaxlab.exercises.seed import SeedConfig
from jaxlab.losses import Loss, squared_error
from jaxlab.optimize import Trained, Transform, fit, minimize
from jaxlab.sweep import fit_together
from jaxlab.wording import listed


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

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.learning_rate < float("inf"):
            raise OptionError(f"learning-rate is {self.learning_rate}: it must be above 0, finite")
        for name in ("epochs", "batch_size", "iterations"):
            if getattr(self, name) < 1:
                option = name.replace("_", "-")
                raise OptionError(f"{option} is {getattr(self, name)}: it must be at least 1")

    @property
    def steps(self) -> int:
        """What `train` counts in its progress: epochs, or at most so many iterations."""
        return self.epochs if self.method == "adam" else self.iterations


def load(config: DigitsConfig) -> Digits:
    """The digits that the options ask for; prints what was understood of a user's file."""
    digits = load_digits(
        config.data, images=config.images, labels=config.labels, limit=config.limit
    )
    for line in digits.understood:
        terminal.say(line)
    return digits


def images_of(digits: Digits) -> dict[str, Any]:
    """For result.json: where the images come from, and how many each part has."""
    parts = {"train": digits.train, "validation": digits.validation, "test": digits.test}
    return {"source": digits.source, **{name: len(part.y) for name, part in parts.items()}}


def train(
    config: TrainingConfig,
    params: Params,
    x: np.ndarray,
    y: np.ndarray | None,
    *,
    seed: int,
    transform: Transform | None = None,
    on_progress: Callable[[int, float, Params], None] = lambda step, J, params: None,
) -> Trained:
    """Trains by the method of the options: y holds the targets, None for an autoencoder."""
    if config.method == "lbfgs":
        return minimize(
            params,
            x,
            x if y is None else y,
            iterations=config.iterations,
            on_progress=on_progress,
        )
    return fit(
        params,
        x,
        y,
        seed=seed,
        optimizer=_adam(config, len(x)),
        epochs=config.epochs,
        batch_size=config.batch_size,
        transform=transform,
        on_progress=on_progress,
    )


def train_autoencoder(
    config: TrainingConfig, x: Float[np.ndarray, "m pixels"], hidden: int, name: str, advance
) -> Trained:
    """An autoencoder of x, trained by the options; name: what the progress bar calls it."""
    params = initialize(config.seed, (x.shape[1], hidden, x.shape[1]), mean_output=x.mean(axis=0))
    with terminal.stage(advance, config.steps) as reached:
        return train(
            config, params, x, None, seed=config.seed,
            on_progress=lambda step, J, _: reached(step, f"{name}  J {J:.3f}"),
        )  # fmt: skip


def train_together(
    config: TrainingConfig,
    networks: Sequence[Params],
    x: np.ndarray,
    y: np.ndarray,
    *,
    seed: int,
    on_progress: Callable[[int, float, Params], None] = lambda step, J, params: None,
) -> list[Params]:
    """Trains each network as `train` would, with mini-batches all in one compiled program.

    on_progress: as that of `fit_together`; with L-BFGS it hears of each network in turn.
    """
    if config.method == "lbfgs":
        # A line search takes one step for all parameters, so each network needs its own.
        def each(n: int) -> Callable[[int, float, Params], None]:
            return lambda step, J, params: on_progress(
                (n * config.steps + step) // len(networks), J, params
            )

        return [
            train(config, network, x, y, seed=seed, on_progress=each(n)).params
            for n, network in enumerate(networks)
        ]
    return fit_together(
        networks,
        x,
        y,
        seed=seed,
        optimizer=_adam(config, len(x)),
        epochs=config.epochs,
        batch_size=config.batch_size,
        on_progress=on_progress,
    )


def _adam(config: TrainingConfig, m: int) -> optax.GradientTransformation:
    """Adam with a step that falls to zero along a cosine, over all steps with m examples."""
    steps = config.epochs * max(m // config.batch_size, 1)
    return _cosine_adam(config.learning_rate, steps)


@lru_cache
def _cosine_adam(learning_rate: float, steps: int) -> optax.GradientTransformation:
    """One object for equal arguments, so that its compiled program is found again.

    β₂ is 0.99 instead of 0.999: a memory of 100 steps suits runs of a few thousand, and gave
    better networks in each exercise.
    """
    return optax.adam(optax.cosine_decay_schedule(learning_rate, steps), b2=0.99)


def answers(
    params: Params, x: Float[np.ndarray, "m units"], loss: Loss = squared_error
) -> Float[np.ndarray, "m units_out"]:
    """The output layer's activations for each example; argmax is the digit it is taken for."""
    return np.asarray(predict(params, jnp.asarray(x), loss))


def accuracy(answer: Float[np.ndarray, "m classes"], labels: Int[np.ndarray, " m"]) -> float:
    """The fraction of all examples that are classified rightly."""
    return float((answer.argmax(axis=1) == labels).mean())


def mean_squared_error(
    answer: Float[np.ndarray, "m pixels"], x: Float[np.ndarray, "m pixels"]
) -> float:
    """Of an autoencoder's reconstructions: the mean over all examples and all pixels."""
    return float(((answer - x) ** 2).mean())


def joined(digits: Digits) -> tuple[Float[np.ndarray, "all pixels"], dict[str, slice]]:
    """The images of all parts in one array, and where in it each part lies.

    One shape of evaluation for all parts: a network's program is compiled once.
    """
    parts = {"train": digits.train, "val": digits.validation, "test": digits.test}
    ends = np.cumsum([len(part.y) for part in parts.values()])
    where = {
        name: slice(int(end) - len(part.y), int(end))
        for (name, part), end in zip(parts.items(), ends, strict=True)
    }
    return np.concatenate([part.x for part in parts.values()]), where


def training_problems(
    name: str,
    params: Params,
    x: Float[np.ndarray, "m pixels"],
    y: Float[np.ndarray, "m units"],
    answer: Float[np.ndarray, "m units"],
    *,
    classifier: bool,
) -> list[str]:
    """What is wrong with a trained network, each in a sentence; empty if nothing was found.

    Looks for the ways in which training fails without an error: parameters or answers that are no
    numbers, no better than the same answer to every example, a class that is never answered, and
    hidden units that do the same for every example. answer: the network's answers to x. classifier:
    y holds one-hot labels; else it is x, for an autoencoder.
    """
    numbers = (answer, *(leaf for layer in params for leaf in layer))
    if not all(np.isfinite(leaf).all() for leaf in numbers):
        return [f"{name}: training diverged to NaN; try a smaller --learning-rate"]
    if len(x) == 1:
        return [f"{name}: trained on a single image, of which nothing general can be learned"]
    problems = []
    reached, same = (((y - a) ** 2).sum(axis=1).mean() / 2 for a in (answer, y.mean(axis=0)))
    by_chance = y.mean(axis=0).max() if classifier else 1.0
    if reached > 1.05 * same:
        problems.append(
            f"{name}: worse than the same answer to every example (½ squared error {reached:.3g} "
            f"against {same:.3g}); try a smaller --learning-rate"
        )
    elif reached > 0.95 * same and (
        not classifier or accuracy(answer, y.argmax(axis=1)) < 1.5 * by_chance
    ):
        problems.append(
            f"{name}: next to nothing was learned: ½ squared error {reached:.3g}, {same:.3g} for "
            "the same answer to every example; train longer, or with another --learning-rate"
        )
    if classifier:
        never = np.setdiff1d(y.argmax(axis=1), answer.argmax(axis=1))
        stuck = [int(digit) for digit in never if answer[:, digit].max() < 0.05]
        if stuck:
            problems.append(
                f"{name}: never answers {listed(stuck)}: these outputs are stuck near zero; try "
                "another --seed or a smaller --learning-rate"
            )
        elif never.size:
            problems.append(
                f"{name}: never answers {listed(never.tolist())}, even to a training image; "
                f"{'use more hidden units, or ' * (len(params) > 1)}train longer"
            )
    if len(params) > 1:
        W, b = map(np.asarray, params[0])
        z2 = x[:1000] @ W.T + b
        unmoved = int((np.ptp(1 / (1 + np.exp(-np.clip(z2, -50, 50))), axis=0) < 1e-3).sum())
        if unmoved > len(b) // 2:
            problems.append(
                f"{name}: {unmoved} of {len(b)} hidden units do the same for every example "
                "(saturated); try a smaller --learning-rate"
            )
    return problems
