"""Exercise 5: bias and variance against the number of hidden units.

For each of ten sizes, several networks on the whole training set give accuracies with intervals,
and several more, each on a resampled training set, give the decomposition

    E ‖f(x) - y‖²  =  ‖E f(x) - y‖²  +  E ‖f(x) - E f(x)‖²
                          bias²             variance

of the squared error of an image x, the expectation taken over training sets and starts (Geman,
Bienenstock and Doursat 1992). What is noise in the labels counts as bias.
"""

from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxlab import figures, statistics, terminal, wording
from jaxlab.backprop import initialize
from jaxlab.cores import at_once
from jaxlab.data import Digits, one_hot
from jaxlab.errors import OptionError, ShapeError
from jaxlab.exercises.common import (
    TrainingConfig,
    accuracy,
    images_of,
    joined,
    load,
    train_together,
    training_problems,
)
from jaxlab.results import Result
from jaxlab.sweep import predict_together
from jaxlab.wording import listed


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Exercise 5: bias and variance against the number of hidden units."""

    hidden: tuple[int, ...] = (4, 8, 16, 32, 64, 100, 180, 300, 500, 800)
    """Numbers of hidden units to try."""
    networks: int = 5
    """How many networks of each size to train on the whole training set."""
    resamples: int = 6
    """How many more of each size to train, each on a resampled training set."""
    learning_rate: float = 0.01
    epochs: int = 30
    batch_size: int = 100


QUICK = Config(
    hidden=(2, 3, 4, 5, 6, 8, 10, 12, 14, 16),
    networks=2, resamples=2, epochs=6, batch_size=10, iterations=20, limit=500,
)  # fmt: skip


def run(config: Config) -> Result:
    """Trains every network and chooses the size by the validation images."""
    if not config.hidden or min(config.hidden) < 1:
        raise OptionError("hidden needs at least one number of units, each at least 1")
    if config.networks < 1 or config.resamples < 2:
        raise OptionError("networks must be at least 1, resamples at least 2: a variance needs two")
    digits = load(config)
    trained = train_all(config, digits)
    numbers = evaluate(trained, digits)
    return Result(
        exercise="ex5",
        title="Bias and variance against the number of hidden units",
        config=config,
        numbers=numbers,
        figures=_figures(config, numbers),
        summary=[("images", digits.source), *_summary(numbers)],
        problems=[*digits.oddities, *trained.problems],
    )


# To all images, of a network of each size; and what went wrong in training them.
Answers = tuple[list[np.ndarray], list[str]]


class Trained(NamedTuple):
    """The answers of all networks to all images: of each network one array for each size.

    on_whole, on_resampled: of those trained on the whole training set, and on resampled ones.
    """

    sizes: list[int]
    on_whole: list[list[np.ndarray]]
    on_resampled: list[list[np.ndarray]]
    problems: list[str]


def train_all(config: Config, digits: Digits) -> Trained:
    """Trains the networks; those of all sizes that have a seed and a training set together."""
    sizes = sorted(set(config.hidden))
    x, targets = digits.train.x, one_hot(digits.train.y)
    images, where = joined(digits)
    count = config.networks + config.resamples
    with terminal.progress("training networks", count * config.steps) as advance:

        def answers_of(run: tuple[int, np.ndarray, str], advance) -> Answers:
            """Of a network of each size, trained on these rows of the images."""
            seed, rows, which = run
            networks = [
                initialize(
                    seed, (x.shape[1], hidden, targets.shape[1]), mean_output=targets.mean(axis=0)
                )
                for hidden in sizes
            ]
            with terminal.stage(advance, config.steps) as reached:
                networks = train_together(
                    config, networks, x[rows], targets[rows], seed=seed,
                    on_progress=lambda step, J, params: reached(step, f"seed {seed}, {which}"),
                )  # fmt: skip
            given, problems = predict_together(networks, images), []
            for hidden, params, answer in zip(sizes, networks, given, strict=True):
                name = f"{hidden} hidden units, seed {seed}, {which}"
                seen = answer[where["train"]][rows]
                problems.extend(
                    training_problems(name, params, x[rows], targets[rows], seen, classifier=True)
                )
            return given, problems

        seeds = range(config.seed, config.seed + max(config.networks, config.resamples))
        everything = np.arange(len(x))
        on_whole = [(seed, everything, "whole training set") for seed in seeds[: config.networks]]
        # The same resampled training sets for every size: what differs is the size alone.
        rng = np.random.default_rng(config.seed)
        resampled = [rng.integers(0, len(x), len(x)) for _ in range(config.resamples)]
        on_resampled = [
            (seed, rows, "resampled") for seed, rows in zip(seeds, resampled, strict=False)
        ]
        given, problems = zip(*at_once(answers_of, on_whole + on_resampled, advance), strict=True)
    return Trained(
        sizes,
        [*given[: config.networks]],
        [*given[config.networks :]],
        _merged([*chain.from_iterable(problems)], count * len(sizes)),
    )


def _merged(problems: list[str], networks: int) -> list[str]:
    """The problems of so many networks, those that never answer some digit in one sentence.

    Few hidden units cannot do better, and dozens of sentences would hide what else went wrong.
    """
    never = [problem for problem in problems if ": never answers " in problem]
    if len(never) < 2:
        return problems
    sizes = sorted({int(problem.split()[0]) for problem in never})
    return [problem for problem in problems if problem not in never] + [
        f"{len(never)} of {networks} networks never answer some digit, even to a training image: "
        f"those have {listed(sizes)} hidden units; use more, or train longer"
    ]


def evaluate(trained: Trained, digits: Digits) -> dict[str, Any]:
    """Accuracies, bias and variance of each size, and the size that is chosen."""
    _, where = joined(digits)
    parts = {"train": digits.train, "val": digits.validation, "test": digits.test}
    accuracies: dict[str, list[dict[str, Any]]] = {name: [] for name in parts}
    for given in zip(*trained.on_whole, strict=True):
        for name, part in parts.items():
            right = [accuracy(answer[where[name]], part.y) for answer in given]
            accuracies[name].append(statistics.over_seeds(right, len(part.y)))
    decomposed = [
        decompose(
            np.array([answer[where["test"]] for answer in given], np.float64),
            one_hot(digits.test.y),
        )
        for given in zip(*trained.on_resampled, strict=True)
    ]
    bias_squared, variance = zip(*decomposed, strict=True)
    # An answer that is no number counts as wrong, and its network is not chosen.
    sound = [np.isfinite(given).all() for given in zip(*trained.on_whole, strict=True)]
    judged = [entry["mean"] * ok for entry, ok in zip(accuracies["val"], sound, strict=True)]
    return {
        "images": images_of(digits),
        "hidden_units": trained.sizes,
        **{f"{name}_accuracy": values for name, values in accuracies.items()},
        "bias_squared": bias_squared,
        "variance": variance,
        "chosen": trained.sizes[int(np.argmax(judged))],
    }


def _figures(config: Config, numbers: dict[str, Any]) -> dict[str, Any]:
    sizes, chosen = numbers["hidden_units"], numbers["chosen"]
    bias_squared, variance = numbers["bias_squared"], numbers["variance"]
    curves = {
        name: numbers[f"{key}_accuracy"]
        for name, key in (("training", "train"), ("validation", "val"), ("test", "test"))
    }
    means, intervals = statistics.in_percent(curves)
    kind = wording.kind(numbers["test_accuracy"][0])
    mark = (chosen, f"chosen: {chosen}")
    return {
        "accuracies": figures.lines(
            sizes, means, xlabel="hidden units", ylabel="accuracy, %",
            title=f"Mean of {config.networks} networks, {kind}"
            if config.networks > 1
            else f"One network, Wilson's {kind}",
            intervals=intervals, chosen=mark, log="x",
        ),
        "bias_variance": figures.lines(
            sizes,
            {
                "squared error": np.add(bias_squared, variance),
                "bias²": bias_squared,
                "variance": variance,
            },
            xlabel="hidden units", ylabel="squared error ‖f(x) − y‖², test images",
            title=f"{config.resamples} networks on resampled training sets",
            chosen=mark, log="xy",
        ),
    }  # fmt: skip


def _summary(numbers: dict[str, Any]) -> list[tuple[str, str]]:
    sizes, validation = numbers["hidden_units"], numbers["val_accuracy"]
    chosen = sizes.index(numbers["chosen"])
    return [
        ("chosen by validation", f"{sizes[chosen]} hidden units"),
        ("its validation accuracy", wording.accuracy(validation[chosen])),
        ("its test accuracy", wording.accuracy(numbers["test_accuracy"][chosen])),
        *(
            (
                f"{size} hidden units",
                f"validation {100 * validation[i]['mean']:.2f} %, "
                f"bias² {numbers['bias_squared'][i]:.4f}, variance {numbers['variance'][i]:.4f}",
            )
            for i, size in enumerate(sizes)
        ),
    ]


def decompose(
    answers: Float[np.ndarray, "networks m classes"], targets: Float[np.ndarray, "m classes"]
) -> tuple[float, float]:
    """bias² and variance of the squared error, means over m examples; both unbiased.

    They sum to the networks' mean squared error. The mean of R networks is itself off by a
    variance / R, which would be counted as bias; it is taken off. Raises `ShapeError` for a single
    network, which has no variance.
    """
    R = len(answers)
    if R < 2:
        raise ShapeError(f"answers are of {R} network: two or more have a variance")
    mean = answers.mean(axis=0)
    variance = ((answers - mean[None]) ** 2).sum(axis=(0, 2)).mean() / (R - 1)
    bias_squared = ((mean - targets) ** 2).sum(axis=1).mean() - variance / R
    return float(bias_squared), float(variance)
