"""Exercise 4: digits reconstructed by an autoencoder.

The number of hidden units and of iterations are chosen on the validation images: first a network
of each size is trained, then the best size for each length of training. The measure to beat is
principal component analysis with as many components, the best linear code of the training images.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxlab import figures, terminal
from jaxlab.backprop import Params, initialize
from jaxlab.errors import OptionError
from jaxlab.exercises.common import (
    TrainingConfig,
    answers,
    joined,
    load,
    mean_squared_error,
    train,
    training_problems,
)
from jaxlab.results import Result


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
    sizes = sorted(set(config.hidden))
    lengths = sorted({max(1, round(fraction * config.steps)) for fraction in config.fractions})
    # Where there are few steps, a fraction of them can round to all.
    lengths = [length for length in lengths if length < config.steps]
    pca = principal_components(digits.train.x)
    validation, test = digits.validation.x, digits.test.x

    images, where = joined(digits)

    def error_of(answer: np.ndarray, part: str) -> float:
        """The mean squared error over one part of the reconstructions of all images."""
        return mean_squared_error(answer[where[part]], images[where[part]])

    problems: list[str] = [*digits.oddities]
    search: list[dict[str, Any]] = []
    with terminal.progress("training", len(sizes) * config.steps + sum(lengths)) as advance:

        def trained(hidden: int, length: int) -> Params:
            params = initialize(
                config.seed,
                (digits.train.x.shape[1], hidden, digits.train.x.shape[1]),
                mean_output=digits.train.x.mean(axis=0),
            )
            with terminal.stage(advance, length) as reached:
                result = train(
                    replace(config, epochs=length, iterations=length),
                    params,
                    digits.train.x,
                    None,
                    seed=config.seed,
                    on_progress=lambda step, J, _: reached(
                        step, f"{hidden} hidden units  J {J:.3f}"
                    ),
                )
            updates = len(result.history)
            if config.method == "adam":
                updates *= max(len(digits.train.x) // config.batch_size, 1)
            answer = answers(result.params, images)
            search.append(
                {
                    "hidden_units": hidden,
                    "iterations": updates,
                    "train_mse": error_of(answer, "train"),
                    "val_mse": error_of(answer, "val"),
                    "pca_val_mse": mean_squared_error(
                        pca_reconstruction(pca, validation, hidden), validation
                    ),
                }
            )
            name, x = f"{hidden} hidden units, {updates:,} iterations", digits.train.x
            problems.extend(training_problems(name, result.params, x, x, answer[where["train"]]))
            return result.params

        by_size = {hidden: trained(hidden, config.steps) for hidden in sizes}
        # Not the first of all where that one diverged: no number compares with NaN.
        best = min(search, key=lambda row: np.nan_to_num(row["val_mse"], nan=np.inf))
        chosen_params = by_size[best["hidden_units"]]
        for length in lengths:
            params = trained(best["hidden_units"], length)
            if search[-1]["val_mse"] < best["val_mse"]:
                best, chosen_params = search[-1], params

    hidden = best["hidden_units"]
    test_mse = error_of(answers(chosen_params, images), "test")
    by_hidden = {
        str(size): {
            "test_mse": error_of(answers(params, images), "test"),
            "pca_test_mse": mean_squared_error(pca_reconstruction(pca, test, size), test),
        }
        for size, params in by_size.items()
    }
    pca_test_mse = by_hidden[str(hidden)]["pca_test_mse"]
    shown = [int(np.flatnonzero(digits.test.y == d)[0]) for d in np.unique(digits.test.y)]
    originals = test[shown]
    first = search[: len(sizes)]
    of_chosen = sorted(
        (row for row in search if row["hidden_units"] == hidden), key=lambda r: r["iterations"]
    )
    return Result(
        exercise="ex4",
        title="Reconstructing with an autoencoder",
        config=config,
        numbers={
            "hidden_units": hidden,
            "iterations": best["iterations"],
            "test_mse": test_mse,
            "pca_test_mse": pca_test_mse,
            "ratio_to_pca": ratio(test_mse, pca_test_mse),
            "examples": len(test),
            "search": search,
            "by_hidden_units": by_hidden,
        },
        figures={
            "reconstructions": figures.reconstructions(
                {
                    "original": originals,
                    f"autoencoder, {hidden}": answers(chosen_params, originals),
                    f"PCA, {hidden}": pca_reconstruction(pca, originals, hidden),
                },
                digits.side,
            ),
            "error_by_hidden_units": figures.lines(
                sizes,
                {
                    "autoencoder": [row["val_mse"] for row in first],
                    "PCA": [row["pca_val_mse"] for row in first],
                },
                xlabel="hidden units (PCA: components)",
                ylabel="squared error a pixel, validation images",
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
                ylabel="squared error a pixel",
                title=f"{hidden} hidden units",
                chosen=(best["iterations"], "chosen"),
                log="x",
            ),
        },
        summary=[
            ("images", digits.source),
            ("chosen", f"{hidden} hidden units, {best['iterations']:,} iterations"),
            (
                "test error",
                f"{test_mse:.5f} a pixel, {times(test_mse, pca_test_mse)} {pca_test_mse:.5f} "
                f"({len(test):,} images)",
            ),
            *(
                (
                    f"{size} hidden units",
                    f"test error {row['test_mse']:.5f}, "
                    f"{times(row['test_mse'], row['pca_test_mse'])}",
                )
                for size, row in by_hidden.items()
            ),
        ],
        problems=problems,
    )


def ratio(mse: float, pca_mse: float) -> float:
    """The error in units of PCA's; infinite where PCA is exact up to float32 rounding."""
    return mse / pca_mse if pca_mse > 1e-10 else float("inf")


def times(mse: float, pca_mse: float) -> str:
    """The ratio in words."""
    return (
        "PCA is exact:"
        if ratio(mse, pca_mse) == float("inf")
        else (f"{ratio(mse, pca_mse):.2f} × PCA's")
    )


def principal_components(
    x: Float[np.ndarray, "m pixels"],
) -> tuple[Float[np.ndarray, " pixels"], Float[np.ndarray, "components pixels"]]:
    """The mean and all principal components of x, largest variance first (Pearson 1901)."""
    mean = x.mean(axis=0)
    # Over m, not m - 1: the components are the same, and of one image there is a covariance.
    _, components = np.linalg.eigh(np.cov(x - mean, rowvar=False, bias=True))
    return mean, components[:, ::-1].T.astype(x.dtype)


def pca_reconstruction(
    pca: tuple[np.ndarray, np.ndarray], x: Float[np.ndarray, "m pixels"], components: int
) -> Float[np.ndarray, "m pixels"]:
    """x from its first principal components, of which no linear code does better on the images
    that they were found in."""
    mean, directions = pca
    directions = directions[:components]
    return (x - mean) @ directions.T @ directions + mean
