"""Exercise 6: a softmax classifier, on raw pixels and on an autoencoder's features.

A softmax classifier is a network without a hidden layer: the same pass as in exercise 1 with
cross-entropy. The features are the hidden activations of an autoencoder trained to reconstruct
the training images. The number of its hidden units, and how long the classifier trains, are
chosen on the validation images; the test images compare the chosen one with raw pixels.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab import figures, statistics, terminal, wording
from jaxlab.backprop import Layer, Params, cost, cost_and_grad, feed_forward
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
    train_autoencoder,
    training_problems,
)
from jaxlab.exercises.ex1 import check_problems, random_batch
from jaxlab.gradcheck.check import check_gradients, random_params
from jaxlab.gradcheck.result import GradientCheck
from jaxlab.losses import cross_entropy
from jaxlab.optimize import minimize
from jaxlab.results import Result

# Of McNemar's test.
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Exercise 6: a softmax classifier on raw pixels and on autoencoder features."""

    hidden: tuple[int, ...] = (25, 50, 100, 200, 400)
    """Numbers of hidden units of the autoencoder to try."""
    softmax_iterations: int = 200
    """The maximum number of L-BFGS iterations of a softmax classifier."""
    learning_rate: float = 0.01
    epochs: int = 30
    batch_size: int = 100


QUICK = Config(
    hidden=(20, 40), epochs=10, batch_size=20, iterations=20, softmax_iterations=30, limit=1000
)


def run(config: Config) -> Result:
    """Checks the softmax gradient, trains every classifier, and compares on the test images."""
    if not config.hidden or min(config.hidden) < 1 or config.softmax_iterations < 1:
        raise OptionError("hidden needs numbers of units of at least 1, softmax-iterations also")
    check = softmax_check(config.seed)
    digits = load(config)
    trained = train_all(config, digits)
    numbers = {"gradient_check": check.numbers(), **evaluate(trained, digits)}
    numbers["discussion"] = discussion(numbers, failed=sum(map(bool, trained.problems)))
    gradient = "right" if check else f"WRONG: {', '.join(check.wrong)}"
    return Result(
        exercise="ex6",
        title="Softmax on raw pixels and on autoencoder features",
        config=config,
        numbers=numbers,
        figures=_figures(numbers),
        summary=[
            ("images", digits.source),
            ("softmax gradient", gradient),
            *_summary(numbers),
        ],
        table=f"softmax classifier 8-10\n\n{check}",
        problems=[
            *check_problems(check, "softmax classifier"),
            *digits.oddities,
            *(problem for found in trained.problems for problem in found),
        ],
    )


class Classifier(NamedTuple):
    """A trained softmax classifier, and how it does."""

    iterations: int
    val_accuracy: float
    answer: np.ndarray
    """(m,) the digit that each test image is taken for."""
    problems: list[str]


class Trained(NamedTuple):
    """The classifiers, by_size: of each number of hidden units; problems: of each training."""

    raw: Classifier
    by_size: dict[int, Classifier]
    problems: list[list[str]]


def train_all(config: Config, digits: Digits) -> Trained:
    """Trains a classifier on raw pixels, and an autoencoder and a classifier for each size."""
    sizes = sorted(set(config.hidden))
    total = len(sizes) * (config.steps + config.softmax_iterations) + config.softmax_iterations
    with terminal.progress("training", total) as advance:

        def one(hidden: int | None, advance) -> tuple[list[str], Classifier]:
            """The classifier on so many features, or on raw pixels; and the encoder's problems."""
            if hidden is None:
                return [], softmax_classifier(config, digits, lambda x: x, "raw pixels", advance)
            encoder, problems = autoencoder(config, digits, hidden, advance)
            features, name = partial(encode, encoder), f"features of {hidden}"
            return problems, softmax_classifier(config, digits, features, name, advance)

        largest_first = [*reversed(sizes), None]
        of_encoders, classifiers = zip(*at_once(one, largest_first, advance)[::-1], strict=True)
    raw, *others = classifiers
    by_size = dict(zip(sizes, others, strict=True))
    return Trained(raw, by_size, [*of_encoders[1:], *(found.problems for found in classifiers)])


def evaluate(trained: Trained, digits: Digits) -> dict[str, Any]:
    """Accuracies of both methods, the size that validation chooses, and how that compares."""
    raw, by_size = trained.raw, trained.by_size
    chosen = max(by_size, key=lambda hidden: by_size[hidden].val_accuracy)
    truth, validation = digits.test.y, len(digits.validation.y)
    names = ("only_features_right", "only_raw_right", "p_value")
    mcnemar = {
        str(hidden): dict(
            zip(names, statistics.mcnemar(one.answer == truth, raw.answer == truth), strict=True)
        )
        for hidden, one in by_size.items()
    }
    return {
        "images": images_of(digits),
        "raw_accuracy": _accuracy(raw.answer, truth),
        "autoencoder_accuracy": {
            str(hidden): _accuracy(one.answer, truth) for hidden, one in by_size.items()
        },
        "raw_val_accuracy": statistics.over_seeds([raw.val_accuracy], validation),
        "autoencoder_val_accuracy": {
            str(hidden): statistics.over_seeds([one.val_accuracy], validation)
            for hidden, one in by_size.items()
        },
        "raw_iterations": raw.iterations,
        "pixels": digits.side**2,
        "chosen": chosen,
        "mcnemar": mcnemar,
        **mcnemar[str(chosen)],
    }


def _figures(numbers: dict[str, Any]) -> dict[str, Any]:
    (tests, intervals), (validations, _) = (
        statistics.in_percent(
            {
                "raw pixels": [numbers[f"raw_{part}"]] * len(numbers[f"autoencoder_{part}"]),
                "autoencoder features": [*numbers[f"autoencoder_{part}"].values()],
            }
        )
        for part in ("accuracy", "val_accuracy")
    )
    drawn = partial(
        figures.lines,
        [int(hidden) for hidden in numbers["autoencoder_accuracy"]],
        xlabel="hidden units of the autoencoder",
        chosen=(numbers["chosen"], "chosen"),
        level="raw pixels",
        log="x",
    )
    return {
        "accuracies": drawn(
            tests,
            intervals=intervals,
            ylabel="test accuracy, %",
            title="Test images, with Wilson's 95 % interval over them",
        ),
        "validation": drawn(
            validations, ylabel="validation accuracy, %", title="Validation accuracy"
        ),
    }


def _summary(numbers: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("raw pixels", wording.accuracy(numbers["raw_accuracy"])),
        *(
            (
                f"{hidden} features{', chosen' * (int(hidden) == numbers['chosen'])}",
                wording.accuracy(entry),
            )
            for hidden, entry in numbers["autoencoder_accuracy"].items()
        ),
        ("McNemar's p-value, chosen against raw", wording.scientific(numbers["p_value"])),
        ("discussion", " ".join(numbers["discussion"])),
    ]


softmax_cost = partial(cost, loss=cross_entropy)
softmax_cost_and_grad = partial(cost_and_grad, loss=cross_entropy)


def softmax_check(seed: int) -> GradientCheck:
    """The gradient check of a softmax classifier with 8 inputs and 10 classes."""
    x, y = random_batch(seed, 100, 8, 10)
    params = random_params(seed, (8, 10))
    return check_gradients(
        softmax_cost_and_grad, params, x, y, cost=softmax_cost, seed=seed, full=True
    )


def autoencoder(config, digits: Digits, hidden: int, advance) -> tuple[Params, list[str]]:
    """An autoencoder trained to reconstruct the training images, and what went wrong in that."""
    x, name = digits.train.x, f"autoencoder of {hidden}"
    params, _ = train_autoencoder(config, x, hidden, name, advance)
    return params, training_problems(name, params, x, x, answers(params, x), classifier=False)


def encode(params: Params, x: np.ndarray) -> np.ndarray:
    """The hidden activations a2 of an autoencoder: features of x, (m, hidden units)."""
    return np.asarray(feed_forward(params, jnp.asarray(x))[1][2])


def softmax_classifier(config, digits: Digits, features, name: str, advance) -> Classifier:
    """A softmax classifier on features of the images, kept where validation was best.

    Cross-entropy is convex here, so it starts from zero and no seed matters. Training as far as
    that goes fits noise: after every ten iterations of L-BFGS the validation images are looked
    at, and the parameters that did best on them are kept (early stopping).
    """
    images, where = joined(digits)
    x, targets = features(images), one_hot(digits.train.y)
    best: dict[str, Any] = {"val_accuracy": -1.0}

    def keep_the_best(iteration, J, params):
        answer = answers(params, x, cross_entropy)
        val_accuracy = accuracy(answer[where["val"]], digits.validation.y)
        if val_accuracy > best["val_accuracy"]:
            best.update(
                val_accuracy=val_accuracy,
                iterations=iteration,
                params=jax.tree.map(np.array, params),
                answer=answer,
            )
        reached(iteration, f"softmax on {name}  J {J:.3f}")

    classes = targets.shape[1]
    zero = Layer(jnp.zeros((classes, x.shape[1]), x.dtype), jnp.zeros(classes, x.dtype))
    with terminal.stage(advance, config.softmax_iterations) as reached:
        minimize(
            (zero,),
            jnp.asarray(x[where["train"]]),
            jnp.asarray(targets),
            loss=cross_entropy,
            iterations=config.softmax_iterations,
            on_progress=keep_the_best,
        )
    answer = best["answer"]
    problems = training_problems(
        f"softmax on {name}", best["params"], x[where["train"]], targets,
        answer[where["train"]], classifier=True,
    )  # fmt: skip
    return Classifier(
        best["iterations"], best["val_accuracy"], answer[where["test"]].argmax(axis=1), problems
    )


def discussion(numbers: dict, failed: int = 0) -> list[str]:
    """Whether the autoencoder was useful: each sentence follows from the numbers given.

    failed: how many of the trainings went wrong.
    """
    raw, chosen = numbers["raw_accuracy"], numbers["chosen"]
    by_size = {int(h): a for h, a in numbers["autoencoder_accuracy"].items()}
    difference = 100 * (by_size[chosen]["mean"] - raw["mean"])
    if difference:
        compared = f"{abs(difference):.2f} points {'more' if difference > 0 else 'less'}"
    else:
        compared = "as many"
    sentences = [
        f"On the {raw['examples']:,} test images, softmax on raw pixels reaches "
        f"{100 * raw['mean']:.2f} %, and on the {chosen} features that validation chose "
        f"{100 * by_size[chosen]['mean']:.2f} %: {compared}.",
        *_tie(numbers),
        f"Of the images on which the two differ, {numbers['only_features_right']} are right by "
        f"features alone and {numbers['only_raw_right']} by raw pixels alone; two equally good "
        "classifiers would differ by at least this much with probability "
        f"{wording.scientific(numbers['p_value'])} (McNemar).",
    ]
    if failed:
        return [
            *sentences,
            f"But {failed} of these trainings went wrong (see problems), so whether the "
            "autoencoder helps cannot be told.",
        ]
    gains = {h: 100 * (entry["mean"] - raw["mean"]) for h, entry in by_size.items()}
    p_values = {int(h): row["p_value"] for h, row in numbers["mcnemar"].items()}
    certain = [h for h in sorted(by_size) if p_values[h] < SIGNIFICANT]
    unsure = [h for h in sorted(by_size) if h not in certain]
    sentences += [
        f"{h} features {'gain' if gains[h] > 0 else 'lose'} {abs(gains[h]):.2f} points against raw "
        f"pixels (p = {wording.scientific(p_values[h])})."
        for h in certain
    ]
    if unsure:
        sentences.append(
            f"With {wording.listed(unsure)} features no difference can be shown at the "
            f"{100 * SIGNIFICANT:.0f} % level."
        )
    if chosen in unsure:
        sentences.append(
            "So for accuracy the autoencoder is not useful here: the chosen size has no gain that "
            "can be measured, and it has to be trained first."
        )
    else:
        does = "is useful" if gains[chosen] > 0 else "does harm"
        sentences.append(f"So the autoencoder {does} here as a step before the classifier.")
    small = min((h for h in by_size if h in unsure or gains[h] > 0), default=numbers["pixels"])
    if small < numbers["pixels"]:
        sentences.append(
            f"What it offers is compression: {wording.counted(small, 'number')} in place of "
            f"{numbers['pixels']} without a measurable loss."
        )
    return sentences


def _tie(numbers: dict) -> list[str]:
    """Which sizes did as well on the validation images as the chosen one."""
    on_validation = {int(h): a["mean"] for h, a in numbers["autoencoder_val_accuracy"].items()}
    best = on_validation[numbers["chosen"]]
    tied = sorted(hidden for hidden, mean in on_validation.items() if mean == best)
    if len(tied) == 1:
        return []
    return [
        f"{wording.listed(tied)} features tie on the validation images ({100 * best:.2f} %); the "
        f"{'smaller' if len(tied) == 2 else 'smallest'} was taken."
    ]


def _accuracy(answer: np.ndarray, truth: np.ndarray) -> dict:
    return statistics.over_seeds([float((answer == truth).mean())], len(truth))
