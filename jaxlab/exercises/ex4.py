"""Exercise 4: digits reconstructed by an autoencoder.

The number of hidden units and of iterations are chosen on the validation images: first a network
of each size is trained, then the best size for each length of training. The measure to beat is
principal component analysis with as many components, the best linear code of the training images.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxlab import figures, terminal
from jaxlab.backprop import Params
from jaxlab.cores import at_once
from jaxlab.data import Digits
from jaxlab.errors import OptionError
from jaxlab.exercises.common import (
    TrainingConfig,
    answers,
    images_of,
    joined,
    load,
    mean_squared_error,
    train_autoencoder,
    training_problems,
)
from jaxlab.results import Result

# The mean, and the principal components, largest variance first.
Components = tuple[Float[np.ndarray, " pixels"], Float[np.ndarray, "components pixels"]]


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Exercise 4: reconstruct digits with an autoencoder."""

    hidden: tuple[int, ...] = (16, 32, 64, 128, 256)
    """Numbers of hidden units to try."""
    fractions: tuple[float, ...] = (0.03, 0.1, 0.3)
    """Shorter trainings of the best size to try, as fractions of epochs (or iterations)."""
    epochs: int = 100
    batch_size: int = 100
    iterations: int = 1000


QUICK = Config(
    hidden=(8, 16), fractions=(0.5,), epochs=20, batch_size=20, iterations=40, limit=1000
)


def run(config: Config) -> Result:
    """Searches, then reconstructs the test images with the chosen autoencoder."""
    if not config.hidden or min(config.hidden) < 1:
        raise OptionError("hidden needs at least one number of units, each at least 1")
    if not all(0 < fraction < 1 for fraction in config.fractions):
        raise OptionError("fractions must lie between 0 and 1")
    digits = load(config)
    pca = principal_components(digits.train.x)
    found = search(config, digits, pca)
    numbers = evaluate(found, digits, pca)
    return Result(
        exercise="ex4",
        title="Reconstructing with an autoencoder",
        config=config,
        numbers=numbers,
        figures=_figures(found, digits, pca),
        summary=[("images", digits.source), *_summary(numbers)],
        problems=[*digits.oddities, *found.problems],
    )


class Autoencoder(NamedTuple):
    """One that was trained. row: its errors on the training and validation images."""

    row: dict[str, Any]
    params: Params
    problems: list[str]


class Search(NamedTuple):
    """All autoencoders that were trained.

    rows: of each, its errors, the sizes first, then the lengths. by_size: hidden units → the
    parameters of the one that was trained to the end. best: the one that is chosen.
    """

    rows: list[dict[str, Any]]
    by_size: dict[int, Params]
    best: Autoencoder
    problems: list[str]


def search(config: Config, digits: Digits, pca: Components) -> Search:
    """Trains one autoencoder of each size, then the best size for each shorter training."""
    sizes = sorted(set(config.hidden))
    lengths = {max(1, round(fraction * config.steps)) for fraction in config.fractions}
    # Where there are few steps, a fraction of them can round to all.
    shorter = sorted(length for length in lengths if length < config.steps)
    (images, where), validation = joined(digits), digits.validation.x
    x = digits.train.x
    with terminal.progress("training", len(sizes) * config.steps + sum(shorter)) as advance:

        def one(training: tuple[int, int], advance) -> Autoencoder:
            hidden, length = training
            of_length = replace(config, epochs=length, iterations=length)
            name = f"{hidden} hidden units"
            params, history = train_autoencoder(of_length, x, hidden, name, advance)
            updates = len(history)
            if config.method == "adam":
                updates *= max(len(x) // config.batch_size, 1)
            answer = answers(params, images)
            of_pca = {
                name: mean_squared_error(pca_reconstruction(pca, part, hidden), part)
                for name, part in (("train", x), ("val", validation))
            }
            row = {
                "hidden_units": hidden,
                "iterations": updates,
                "train_mse": mean_squared_error(answer[where["train"]], x),
                "val_mse": mean_squared_error(answer[where["val"]], validation),
                "pca_train_mse": of_pca["train"],
                "pca_val_mse": of_pca["val"],
            }
            problems = training_problems(
                f"{name}, {updates:,} iterations", params, x, x, answer[where["train"]],
                classifier=False,
            )  # fmt: skip
            return Autoencoder(row, params, problems)

        def longest_first(trainings: list[tuple[int, int]]) -> list[Autoencoder]:
            return at_once(one, trainings[::-1], advance)[::-1]

        of_each_size = longest_first([(hidden, config.steps) for hidden in sizes])
        best_size = min(of_each_size, key=_error).row["hidden_units"]
        trained = of_each_size + longest_first([(best_size, length) for length in shorter])
    return Search(
        rows=[one.row for one in trained],
        by_size={one.row["hidden_units"]: one.params for one in of_each_size},
        best=min(trained, key=_error),
        problems=[problem for one in trained for problem in one.problems],
    )


def _error(trained: Autoencoder) -> float:
    """On the validation images; of one that diverged above all others."""
    return float(np.nan_to_num(trained.row["val_mse"], nan=np.inf))


def evaluate(found: Search, digits: Digits, pca: Components) -> dict[str, Any]:
    """The errors on the test images, and all else that stands in the result."""
    test = digits.test.x
    images, where = joined(digits)

    def compared(params: Params, hidden: int) -> dict[str, float]:
        mse = mean_squared_error(answers(params, images)[where["test"]], test)
        pca_mse = mean_squared_error(pca_reconstruction(pca, test, hidden), test)
        # Infinite where PCA is exact up to float32 rounding.
        ratio = mse / pca_mse if pca_mse > 1e-10 else float("inf")
        return {"test_mse": mse, "pca_test_mse": pca_mse, "ratio_to_pca": ratio}

    hidden = found.best.row["hidden_units"]
    return {
        "hidden_units": hidden,
        "iterations": found.best.row["iterations"],
        **compared(found.best.params, hidden),
        "examples": len(test),
        "images": images_of(digits),
        "search": found.rows,
        "by_hidden_units": {
            str(size): compared(params, size) for size, params in found.by_size.items()
        },
    }


def _figures(found: Search, digits: Digits, pca: Components) -> dict[str, Any]:
    hidden, first = found.best.row["hidden_units"], found.rows[: len(found.by_size)]
    of_each_digit = [np.flatnonzero(digits.test.y == d)[0] for d in np.unique(digits.test.y)]
    originals = digits.test.x[of_each_digit]
    of_chosen = sorted(
        (row for row in found.rows if row["hidden_units"] == hidden),
        key=lambda row: row["iterations"],
    )
    return {
        "reconstructions": figures.reconstructions(
            {
                "original": originals,
                f"autoencoder, {hidden}": answers(found.best.params, originals),
                f"PCA, {hidden}": pca_reconstruction(pca, originals, hidden),
            },
            digits.side,
        ),
        "error_by_hidden_units": figures.lines(
            [*found.by_size],
            {
                "autoencoder": [row["val_mse"] for row in first],
                "PCA": [row["pca_val_mse"] for row in first],
            },
            xlabel="hidden units (PCA: components)",
            ylabel="squared error per pixel, validation images",
            chosen=(hidden, "chosen"),
            log="xy",
        ),
        "error_by_iterations": figures.lines(
            [row["iterations"] for row in of_chosen],
            {
                "training images": [row["train_mse"] for row in of_chosen],
                "validation images": [row["val_mse"] for row in of_chosen],
            },
            xlabel="iterations (updates of the parameters)",
            ylabel="squared error per pixel",
            title=f"{hidden} hidden units",
            chosen=(found.best.row["iterations"], "chosen"),
            log="x",
        ),
    }


def _summary(numbers: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("chosen", f"{numbers['hidden_units']} hidden units, {numbers['iterations']:,} iterations"),
        (
            "test error",
            f"{numbers['test_mse']:.5f} per pixel, {_beside_pca(numbers)} (PCA "
            f"{numbers['pca_test_mse']:.5f}; {numbers['examples']:,} images)",
        ),
        *(
            (f"{size} hidden units", f"test error {row['test_mse']:.5f}, {_beside_pca(row)}")
            for size, row in numbers["by_hidden_units"].items()
        ),
    ]


def _beside_pca(row: dict[str, Any]) -> str:
    exact = row["ratio_to_pca"] == float("inf")
    return "PCA is exact" if exact else f"{row['ratio_to_pca']:.2f} × PCA's"


def principal_components(x: Float[np.ndarray, "m pixels"]) -> Components:
    """The mean and all principal components of x, largest variance first (Pearson 1901)."""
    mean = x.mean(axis=0)
    # Over m, not m - 1: the components are the same, and of one image there is a covariance.
    _, components = np.linalg.eigh(np.cov(x - mean, rowvar=False, bias=True))
    return mean, components[:, ::-1].T.astype(x.dtype)


def pca_reconstruction(
    pca: Components, x: Float[np.ndarray, "m pixels"], components: int
) -> Float[np.ndarray, "m pixels"]:
    """x from its first principal components, of which no linear code does better on the images
    that they were found in."""
    mean, directions = pca
    directions = directions[:components]
    return (x - mean) @ directions.T @ directions + mean
