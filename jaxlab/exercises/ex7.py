"""Exercise 7: a convolutional network by existing libraries, on full MNIST.

The network is Flax's, the training optax's; `jaxlab.convnet` has both. Where a run was stopped,
`--resume` goes on from its last checkpoint, to the same result.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxlab import figures, statistics, terminal, wording
from jaxlab.convnet.network import layers
from jaxlab.convnet.recipe import Recipe
from jaxlab.convnet.training import State, Trainer, usual_devices
from jaxlab.data.mnist import ImageSets, LabelledImages, load_mnist
from jaxlab.errors import DataError, OptionError
from jaxlab.exercises.ex7_options import QUICK, Config, defaults
from jaxlab.exercises.ex7_training import digest_of, trained_network
from jaxlab.results import Result

__all__ = ["QUICK", "Config", "defaults", "discussion", "run"]


class Trained(NamedTuple):
    """A network after its last step, and how it does."""

    state: State
    guesses: np.ndarray
    """(m,) the digit that each test image is taken for."""
    val_accuracy: float | None
    """On the images held out, if there are any."""
    notes: dict[str, Any]
    """How it came about, as they stand beside its checkpoint."""
    problems: list[str]


def run(config: Config) -> Result:
    """Trains the network, or goes on training it, and evaluates it on every test image."""
    if jax.process_index() > 0:
        terminal.out.quiet = terminal.err.quiet = True
    sets = load_mnist(
        config.source, mnist_dir=config.mnist_dir, tfds_manual_dir=config.tfds_manual_dir
    )
    for note in sets.notes:
        terminal.warn(note)
    train, held_out = _divided(sets, config)
    if not len(sets.test.labels):
        raise DataError(f"{sets.source}: there are no test images")
    devices = _devices(config)

    problems = [*sets.problems, *_missing(train, sets.test)]
    networks = []
    with terminal.progress("training", config.networks * config.steps(len(train.labels))) as bar:
        for n in range(config.networks):
            seed = config.seed + n
            trainer = Trainer(config, train.images, train.labels, seed=seed, devices=devices)
            with terminal.stage(bar, trainer.steps) as reached:
                state, notes = trained_network(
                    trainer, replace(config, seed=seed), digest_of(train), reached, first=n == 0
                )
                one = _evaluated(trainer, state, notes, held_out, sets.test)
            networks.append(one)
            problems += [f"network {n + 1} (seed {seed}): {problem}" for problem in one.problems]

    truth, first = sets.test.labels.astype(np.int32), networks[0]
    accuracies = [float((one.guesses == truth).mean()) for one in networks]
    numbers: dict[str, Any] = {
        "test_accuracy": statistics.over_seeds(accuracies, len(truth)),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(first.state.params)),
        "layers": layers(config.channels, config.resolution),
        "epochs": config.epochs,
        "examples": {"train": len(train.labels), "test": len(truth)},
        "source": sets.source,
        "served_by": sets.served_by,
        "train_seconds": sum(one.notes["train_seconds"] for one in networks) / config.networks,
        "compile_seconds": sum(one.notes["compile_seconds"] for one in networks),
        "steps": trainer.steps,
        "devices": len(devices),
        "confusion": statistics.confusion(truth, first.guesses),
    }
    if held_out_accuracy := [one.val_accuracy for one in networks if one.val_accuracy is not None]:
        numbers["val_accuracy"] = statistics.over_seeds(held_out_accuracy, len(held_out.labels))
    numbers["discussion"] = discussion(
        numbers, config, first.notes["curve"], _data_set(sets) == "full MNIST"
    )
    used = ""
    if len(train.labels) < len(sets.train.labels):
        used = f"; {len(train.labels):,} of {len(sets.train.labels):,} trained on"
    wrong = np.flatnonzero(first.guesses != truth)
    curves = [one.notes["curve"] for one in networks]
    return Result(
        exercise="ex7",
        title=f"A convolutional network on {_data_set(sets)}",
        config=config,
        numbers=numbers,
        figures=_figures(
            numbers, curves, trainer, first.state, sets.test, first.guesses, wrong[:40]
        ),
        summary=[
            ("images", f"{sets.source}{used}"),
            ("network", f"{_shape(config)}, {numbers['parameters']:,} parameters"),
            *(
                (f"{name} accuracy", wording.accuracy(numbers[f"{key}_accuracy"]))
                for name, key in (("validation", "val"), ("test", "test"))
                if f"{key}_accuracy" in numbers
            ),
            (
                "misclassified",
                f"{len(wrong):,} of {len(truth):,} test images"
                + (", by the first network" if config.networks > 1 else ""),
            ),
            ("training", f"{numbers['train_seconds']:.1f} s a network, without compilation"),
            ("compilation", f"{numbers['compile_seconds']:.1f} s"),
            ("discussion", " ".join(numbers["discussion"])),
        ],
        problems=problems,
    )


def _evaluated(
    trainer: Trainer,
    state: State,
    notes: dict[str, Any],
    held_out: LabelledImages,
    test: LabelledImages,
) -> Trained:
    guesses = trainer.predict(state, test.images)
    val_accuracy = None
    if len(held_out.labels):
        right = trainer.predict(state, held_out.images) == held_out.labels
        val_accuracy = float(right.mean())
    problems = _problems(notes["curve"], state, guesses, test.labels)
    return Trained(state, guesses, val_accuracy, notes, problems)


def _divided(sets: ImageSets, config: Config) -> tuple[LabelledImages, LabelledImages]:
    """The images to train on, and those held out from them."""
    count = len(sets.train.labels)
    if count - config.validation < 10:
        raise OptionError(
            f"validation is {config.validation}: of {count:,} images at least 10 must be left"
        )
    kept = count - config.validation
    held_out = LabelledImages(sets.train.images[kept:], sets.train.labels[kept:])
    kept = min(kept, config.limit or kept)
    return LabelledImages(sets.train.images[:kept], sets.train.labels[:kept]), held_out


def _devices(config: Config) -> list[jax.Device]:
    there, wanted = jax.devices(), config.devices
    if jax.process_count() > 1 and wanted in (None, 0, 1):  # several processes share by joining
        return there
    if wanted is None:
        return usual_devices(config.batch_size)
    if wanted > len(there):
        raise OptionError(
            f"devices is {wanted}, but there are {len(there)} ({there[0].platform}); of a CPU "
            f"JAX_NUM_CPU_DEVICES={wanted} makes {wanted}"
        )
    return there[: wanted or None]


def _missing(train: LabelledImages, test: LabelledImages) -> list[str]:
    """What makes results from these images doubtful, a sentence each."""
    found = []
    for part, (images, labels) in (("training", train), ("test", test)):
        if missing := sorted(set(range(10)) - set(labels.tolist())):
            found.append(f"no {part} image of {', '.join(map(str, missing))}")
        if images.min() == images.max():
            found.append(f"all {part} images are the same: constant, {images.min()}")
    return found


def _problems(
    curve: dict[str, list], state: State, guess: np.ndarray, truth: np.ndarray
) -> list[str]:
    """What went wrong in training, each in a sentence."""
    numbers = [*jax.tree.leaves((state.params, state.statistics)), np.asarray(curve["cost"])]
    if not all(np.isfinite(np.asarray(leaf)).all() for leaf in numbers):
        return ["training diverged to NaN; try a smaller --muon-rate and --adam-rate"]
    right, by_chance = (guess == truth).mean(), np.bincount(truth).max() / len(truth)
    if right < 1.5 * by_chance and by_chance < 0.5:
        return [
            f"next to nothing was learned, {100 * right:.1f} % right where one answer to "
            f"every image has {100 * by_chance:.1f} %; train longer, or with other step sizes"
        ]
    never = sorted(set(range(10)) - set(guess.tolist()))
    if never and len(guess) >= 500:
        listed = ", ".join(map(str, never))
        return [f"never answers {listed}; train longer, or with other step sizes"]
    return []


def discussion(
    numbers: dict[str, Any], recipe: Recipe, curve: dict[str, list], full_mnist: bool
) -> list[str]:
    """Section 7.1 of the lab sheet: the choice of network and settings, from this run's numbers.

    full_mnist: whether the images are those that other people's figures are for.
    """
    test, examples = numbers["test_accuracy"], numbers["examples"]
    wrong = round((1 - test["mean"]) * examples["test"])
    sentences = [
        f"{len(recipe.channels)} convolutions ({_shape(recipe)} channels) and one dense layer hold "
        f"{numbers['parameters']:,} parameters.",
        f"Trained for {recipe.epochs:g} epoch{'' if recipe.epochs == 1 else 's'} of "
        f"{examples['train']:,} images in {wording.duration(numbers['train_seconds'])}, it "
        f"misclassifies {wrong:,} of {examples['test']:,} test images"
        f"{' on average' if len(test['per_seed']) > 1 else ''}.",
    ]
    if full_mnist and examples["test"] == 10_000:
        low, high = (100 * end for end in test["ci95"])
        compared: dict[str, list[str]] = {}
        for name, peer in (("Keras' mnist_convnet", 99.22), ("pytorch/examples' network", 99.185)):
            verdict = (
                "is above" if low > peer else
                "is below" if high < peer else
                "is not significantly different from"
            )  # fmt: skip
            compared.setdefault(verdict, []).append(f"{name} ({peer:g} %)")
        sentences += [
            f"Its {wording.percent(test)} {verdict} {wording.listed(peers)}."
            for verdict, peers in compared.items()
        ]
    if recipe.augments and len(curve["accuracy"]) > 1:  # else the end is all of it
        seen = curve["accuracy"][-1]
        gap = 100 * (seen - test["mean"])
        sentences.append(
            "Of the training images as they were seen at the end, changed at random, "
            f"{100 * seen:.2f} % were right, "
            + ("fewer than of the test images: no sign of overfitting." if gap < 0 else
               "about as many as of the test images: little overfitting." if gap < 0.5 else
               f"{gap:.2f} points more than of the test images: overfitting.")
        )  # fmt: skip
    counts = np.array(numbers["confusion"])
    mistakes = counts * (1 - np.eye(10, dtype=counts.dtype))
    if mistakes.any():
        first, *others = np.argwhere(mistakes == mistakes.max())
        digit, taken_for = first
        of_which = " of the first network" if len(test["per_seed"]) > 1 else ""
        sentences.append(
            f"The most frequent mistake{of_which} takes {digit} for {taken_for} "
            f"({mistakes.max()} of {counts[digit].sum():,})"
            + (f"; {len(others)} more are as frequent." if len(others) > 1 else
               "; one more is as frequent." if others else ".")
        )  # fmt: skip
    return sentences


def _figures(numbers, curves, trainer, state, test, guess, wrong):
    shortest = min(len(curve["step"]) for curve in curves)
    epochs = np.array(curves[0]["step"][:shortest]) * (
        trainer.recipe.batch_size / trainer.examples
    )  # fmt: skip
    column = {
        name: np.array([curve[name][:shortest] for curve in curves])
        for name in ("cost", "accuracy")
    }
    first = np.asarray(state.params["first"]["kernel"]).T
    return {
        "learning_curves": figures.learning_curves(
            column["cost"], {"training images, as seen": column["accuracy"]}, epochs, "epoch",
            costs_at=epochs,
        ),
        "confusion": figures.confusion(np.asarray(numbers["confusion"])),
        "misclassified": figures.digits(
            test.images[wrong].reshape(len(wrong), 28 * 28) / 255,
            [f"{test.labels[i]} as {guess[i]}" for i in wrong],
            28,
        ),
        "filters": figures.hidden_units(first, 5, what="first-layer filters"),
    }  # fmt: skip


def _data_set(sets: ImageSets) -> str:
    if sets.served_by == "small":
        return "SMALL MNIST, not the full one"
    # Not what stands anywhere in it: the source has the name of a folder, too.
    is_mnist = sets.source.startswith("MNIST, from ")
    return "full MNIST" if is_mnist else "another data set, not MNIST"


def _shape(recipe: Recipe) -> str:
    return "-".join(map(str, recipe.channels))
