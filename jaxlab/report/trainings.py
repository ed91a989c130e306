"""What the report says of trained networks: how they were trained, how well they do."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from jaxlab.statistics import half_width, wilson
from jaxlab.wording import counted, interval, kind, listed, percent

Numbers = dict[str, Any]

PARTS = {"train": "training", "val": "validation", "test": "test"}


def images_used(numbers: Numbers, config: Numbers) -> str:
    """Where an exercise's images come from, and how they are split. Of a file the name alone: a
    report that is handed in does not say where its author keeps files."""
    images, file = numbers["images"], config["data"]
    source = images["source"]
    if file is None:
        source += " (LeCun et al. 1998)"
    else:
        source = source.replace(file, Path(file).name)
    return (
        f"Images: {source}. {images['train']:,} of them are the training set, "
        f"{images['validation']:,} the validation set, {images['test']:,} the test set."
    )


def accuracies_table(entries: dict[str, Numbers]) -> list[list[str]]:
    rows = [["images", "number", "accuracy", kind(entries["test"]), "each network, %"]]
    for part, name in PARTS.items():
        entry = entries[part]
        each = ", ".join(f"{100 * a:.2f}" for a in entry["per_seed"])
        rows.append([name, f"{entry['examples']:,}", percent(entry), interval(entry), each])
    return rows


def interval_in_full(entry: Numbers) -> str:
    """'95 % interval over seeds, on these 2,000 images: 96.56 to 97.20'."""
    which = f", on these {entry['examples']:,} images" if len(entry["per_seed"]) > 1 else ""
    return f"{kind(entry)}{which}: {interval(entry)}"


def for_new_images(entry: Numbers) -> str:
    """What an interval over seeds leaves out: that other images would give another accuracy."""
    examples = entry["examples"]
    low, high = wilson(round(entry["mean"] * examples), examples)
    return (
        f"The interval over seeds holds for these images; over other images of the kind the "
        f"accuracy is uncertain by more: Wilson's interval for {examples:,} images is "
        f"{100 * low:.2f} to {100 * high:.2f} %."
    )


def with_interval(entry: Numbers) -> str:
    """'96.90 ± 0.30' in percent; both ends where the mean is not in the middle between them, and
    where they are no interval but a range."""
    low, high = entry["ci95"]
    if len(entry["per_seed"]) == 2 or abs(low + high - 2 * entry["mean"]) > 1e-6:
        return f"{100 * entry['mean']:.2f} ({interval(entry)})"
    return f"{100 * entry['mean']:.2f} ± {50 * (high - low):.2f}"


def end_of_curve(validation: Numbers, highest: float) -> str:
    """Whether training was too long. highest: of the validation accuracies while training."""
    fall = 100 * (highest - validation["mean"])
    if fall < 0.5:
        return (
            f"Validation accuracy does not fall while training (its highest is {100 * highest:.2f} "
            f"%, at the end it is {percent(validation)}): longer training does no harm here."
        )
    return (
        f"Validation accuracy falls from its highest, {100 * highest:.2f} %, by {fall:.2f} points "
        "to the end of training: shorter training would do better."
    )


def most_confused(confusion: list[list[int]], several: bool) -> list[str]:
    """The most frequent mistake, in a sentence; nothing where there is none."""
    mistakes = [
        (count, digit, taken_for)
        for digit, row in enumerate(confusion)
        for taken_for, count in enumerate(row)
        if digit != taken_for and count
    ]
    if not mistakes:
        return []
    most = max(mistakes)[0]
    takes = [f"{digit} for {taken_for}" for count, digit, taken_for in mistakes if count == most]
    if len(takes) > 1:
        what = f"The most frequent mistakes take {listed(takes)} ({counted(most, 'time')} each"
    else:
        total = sum(confusion[max(mistakes)[1]])
        what = f"The most frequent mistake takes {takes[0]} ({most} of {total:,}"
    best = "; the network shown is the one that did best on the validation images" * several
    return [f"{what}{best})."]


def not_told_apart(one: Numbers, other: Numbers) -> bool:
    """Whether accuracies of networks from the same seeds may differ by chance alone."""
    differences = [a - b for a, b in zip(one["per_seed"], other["per_seed"], strict=True)]
    if len(differences) < 3:  # too few for Student's t
        return other["ci95"][1] >= one["ci95"][0]
    return abs(sum(differences) / len(differences)) <= half_width(differences)


def largest_tried(chosen: int, sizes: list[int], what: str, by_size: dict[int, str]) -> list[str]:
    """What must be said of a choice at the end of what was tried. sizes: ascending.

    what: the choice was made by; by_size: its value at each size that has one.
    """
    if chosen != sizes[-1] or len(sizes) < 2:
        return []
    text = f"{chosen} is the largest number that was tried"
    before = [size for size in sizes[:-1] if size in by_size]
    if not before or chosen not in by_size:
        return [f"{text}."]
    last = before[-1]
    return [f"{text}: from {last} to it {what} went from {by_size[last]} to {by_size[chosen]}."]


def bias_and_variance(bias: list[float], variance: list[float], sizes: list[int]) -> str:
    """What the decomposition says. bias (squared), variance: of each size."""
    if len(sizes) == 1:
        return (
            f"With {counted(sizes[0], 'hidden unit')} bias² is {bias[0]:.3f}, variance "
            f"{variance[0]:.3f}."
        )
    text = (
        f"From {sizes[0]} to {sizes[-1]} hidden units bias² goes from {bias[0]:.3f} to "
        f"{bias[-1]:.3f}, variance from {variance[0]:.3f} to {variance[-1]:.3f}. "
    )
    if all(b < a for a, b in pairwise(bias)):
        falls = "Bias² falls with every larger size"
    else:
        falls = f"Bias² is smallest at {sizes[bias.index(min(bias))]} units"
    peak, least = variance.index(max(variance)), variance.index(min(variance))
    if peak == 0:
        moves = (
            "variance is largest at the smallest size and smallest at "
            f"{sizes[least]} units: where a small network ends up depends strongly on its random "
            "start and its training set"
        )
    elif peak == len(variance) - 1:
        moves = "variance is largest at the largest size"
    else:
        moves = f"variance is largest at {sizes[peak]} units"
    text += f"{falls}, and {moves}. "
    share = [b / (b + v) for b, v in zip(bias, variance, strict=True)]
    bias_rules = [size for size, part in zip(sizes, share, strict=True) if part > 0.5]
    if len(bias_rules) == len(sizes):
        text += (
            f"Bias² is the larger part at every size, {100 * min(share):.0f} to "
            f"{100 * max(share):.0f} % of the sum. "
        )
    elif bias_rules:
        text += f"Bias² is the larger part at {listed(bias_rules)} units, variance at the others. "
    else:
        text += "Variance is the larger part at every size. "
    return text + _balance(bias, variance, sizes)


def _balance(bias: list[float], variance: list[float], sizes: list[int]) -> str:
    """Where the sum is smallest, and what more units than that do."""
    total = [b + v for b, v in zip(bias, variance, strict=True)]
    best = total.index(min(total))
    text = f"Their sum is smallest at {sizes[best]} units"
    if best == len(sizes) - 1:
        return f"{text}, the largest size."
    more, rise = bias[-1] - bias[best], variance[-1] - variance[best]
    if rise > 0:
        moved = f"falls by only {-more:.4f}" if more < 0 else f"rises as well, by {more:.4f}"
        return (
            f"{text}, the balance of the two: from there to {sizes[-1]} units variance rises by "
            f"{rise:.4f}, and bias² {moved}."
        )
    return f"{text}: from there to {sizes[-1]} units bias² rises by {more:.4f}."


def how_trained(config: Numbers) -> str:
    if config["method"] == "lbfgs":
        most = counted(config["iterations"], "iteration")
        return f"Trained on all images at once by L-BFGS, at most {most}."
    shift = config.get("shift", 0)
    moved = (
        f" Each training image is moved by up to {counted(shift, 'pixel')} at random "
        "(Simard et al. 2003)."
        if shift
        else ""
    )
    return (
        f"Trained by Adam for {counted(config['epochs'], 'epoch')} in batches of "
        f"{config['batch_size']:,}, with a step size of {config['learning_rate']:g} that falls to "
        f"zero along a cosine.{moved}"
    )


def changes(config: Numbers) -> list[str]:
    """What is done at random to a training image of exercise 7, in the order of its settings."""
    done = {"rotation": "turned", "scale": "stretched", "shear": "slanted", "shift": "moved"}
    return [what for setting, what in done.items() if config[setting]]


def how_changed(config: Numbers) -> str:
    *others, last = changes(config) or [""]
    if not last:
        return "They are used as they are, without random changes."
    what = f"{', '.join(others)} and {last}" if others else last
    return (
        f"Each of them is {what} a little at random each time that it is used (Simard et al. 2003)."
    )
