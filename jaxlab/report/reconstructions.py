"""What the report says of exercise 4: an autoencoder's errors by size and length, beside PCA's."""

from itertools import pairwise
from typing import Any

from jaxlab.wording import fixed, listed

Numbers = dict[str, Any]


def known(numbers: Numbers) -> list[Numbers]:
    """The trainings that left numbers rather than NaN."""
    return [row for row in numbers["search"] if None not in (row["val_mse"], row["train_mse"])]


def to_the_end(numbers: Numbers) -> dict[int, Numbers]:
    """Of each size, the row of its longest training."""
    rows = sorted(known(numbers), key=lambda row: row["iterations"])
    return {row["hidden_units"]: row for row in rows}


def errors_by_size(errors: dict[int, float]) -> list[str]:
    """Whether each larger autoencoder does better. errors: hidden units → error, ascending."""
    if len(errors) < 2:
        return []
    if all(b < a for a, b in pairwise(errors.values())):
        smallest, *_, largest = errors
        share = 100 * errors[largest] / errors[smallest]
        return [
            f"Each larger autoencoder reconstructs better: the code of {largest} numbers an image "
            f"leaves {share:.0f} % of the test error of that of {smallest}."
        ]
    best = min(errors, key=lambda size: errors[size])
    return [f"The test error does not fall all the way: it is smallest at {best} units."]


def beside_pca(by_size: dict[int, Numbers]) -> list[str]:
    """by_size: hidden units → its errors and PCA's, on training and on test images."""
    if not by_size:
        return []
    better = [n for n, row in by_size.items() if row["test_mse"] < row["pca_test_mse"]]
    text = [
        "PCA with as many components is the linear code with the smallest error on the training "
        "images."
    ]
    if better:
        text.append(
            f"On the test images the autoencoder is better than it with {listed(better)} hidden "
            "units."
        )
    for n in (size for size in by_size if size not in better):
        row = by_size[n]
        errors = [fixed(row[key], 5) for key in
                  ("train_mse", "pca_train_mse", "test_mse", "pca_test_mse")]  # fmt: skip
        text.append(
            f"With {n} it is worse on the test images ({errors[2]} against {errors[3]})"
            + (
                f", although it fits the training images better ({errors[0]} against "
                f"{errors[1]}): that is overfitting."
                if row["train_mse"] < row["pca_train_mse"]
                else f", as on the training images ({errors[0]} against {errors[1]}): its training "
                "has not reached what a linear code can do."
            )
        )
    return text


def errors_by_length(rows: list[Numbers]) -> list[str]:
    """What more iterations gave. rows: of one size, by iterations."""
    if len(rows) < 2:
        return []
    first, *_, last = rows
    more = (
        "more iterations still help."
        if last["val_mse"] == min(row["val_mse"] for row in rows)
        else "the longest training is not the best on validation images."
    )
    return [
        f"From {first['iterations']:,} to {last['iterations']:,} iterations the validation error "
        f"goes from {fixed(first['val_mse'], 5)} to {fixed(last['val_mse'], 5)} per pixel, the "
        f"training error from {fixed(first['train_mse'], 5)} to {fixed(last['train_mse'], 5)}: "
        f"{more}"
    ]
