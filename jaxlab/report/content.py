"""What the report says of each exercise, from its saved numbers alone.

Each function takes the `numbers` and the `config` of a result.json and returns

    answer   one line for the first page
    tables   name → rows, the first of them the heading
    text     name → sentences
    values   single numbers that the pages name

The pages themselves, typst/ex1.typ to ex7.typ, hold what is true of every run.
"""

import dataclasses
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from jaxlab.statistics import half_width
from jaxlab.wording import counted, fixed, interval, listed, percent, scientific

Numbers = dict[str, Any]
Content = dict[str, Any]

# Below this, a relative difference in float64 is rounding.
ROUNDING = 1e-13
# What the gradient checks of well-known courses ask for (Coursera's ex4 and UFLDL).
USUAL_THRESHOLD = 1e-9
PARTS = {"train": "training", "val": "validation", "test": "test"}


def ex1(numbers: Numbers, config: Numbers) -> Content:
    sizes = (config["inputs"], config["hidden"], config["outputs"])
    return {
        "answer": _diff(numbers),
        "tables": {"blocks": _blocks(numbers)},
        "text": {"discussion": _gradient_discussion(numbers)},
        "values": {
            "network": "-".join(map(str, sizes)),
            "examples": f"{config['examples']:,}",
            "where": _where(numbers),
            "diff": scientific(numbers["diff_finite_difference"]),
        },
    }


def ex2(numbers: Numbers, config: Numbers) -> Content:
    entries = {part: numbers[f"{part}_accuracy"] for part in PARTS}
    test, train = entries["test"], entries["train"]
    gap = 100 * (train["mean"] - test["mean"])
    wrong = round((1 - test["mean"]) * test["examples"])
    several = config["networks"] > 1
    text = [
        f"{'On average ' if several else ''}{wrong:,} of {test['examples']:,} test images are "
        f"misclassified. The training images do {abs(gap):.2f} points "
        f"{'better' if gap > 0 else 'worse'} than the test images"
        + (
            ", which the network has not seen: that much is overfitting."
            if gap > 0.5
            else ": there is hardly any overfitting."
        ),
        *_most_confused(numbers["confusion"], several),
    ]
    if len(test["per_seed"]) > 1:
        low, high = min(test["per_seed"]), max(test["per_seed"])
        text.append(
            f"The {len(test['per_seed'])} networks differ in their seeds alone, and so in all that "
            f"is random in training; their test accuracies lie between {100 * low:.2f} and "
            f"{100 * high:.2f} %."
        )
    text.append(_how_trained(config))
    return {
        "answer": ", ".join(f"{name} {percent(entries[part])}" for part, name in PARTS.items()),
        "tables": {"accuracies": _accuracies(entries)},
        "text": {"discussion": text},
        "values": {
            "hidden": counted(config["hidden"], "hidden unit"),
            "networks": counted(config["networks"], "network"),
            "starts": "different random starts" if several else "a random start",
            "bands": "; bands span the networks" if several else "",
            "shown": numbers["shown_network"],
            "train": percent(entries["train"]),
            "val": percent(entries["val"]),
            "test": percent(test),
            "test_interval": interval(test),
        },
    }


def ex3(numbers: Numbers, config: Numbers) -> Content:
    digits = numbers["digits"]
    sizes = (config["inputs"], config["hidden"], config["inputs"])
    return {
        "answer": _diff(numbers),
        "tables": {"small": _blocks(numbers), "digits": _blocks(digits)},
        "text": {
            "small": _gradient_discussion(numbers),
            "digits": _gradient_discussion(digits),
        },
        "values": {
            "network": "-".join(map(str, sizes)),
            "where": _where(numbers),
            "digits": "-".join(map(str, digits["sizes"])),
            "examples": f"{config['examples']:,}",
            "checked": f"{sum(b['checked'] for b in digits['blocks'].values()):,}",
            "parameters": f"{_parameters(digits):,}",
            "diff": scientific(numbers["diff_finite_difference"]),
        },
    }


def ex4(numbers: Numbers, config: Numbers) -> Content:
    hidden, iterations = numbers["hidden_units"], numbers["iterations"]
    by_size = {int(size): row for size, row in numbers["by_hidden_units"].items()}
    # What is not a number in a run is null in its result.
    diverged = [s for s, row in by_size.items() if row["test_mse"] is None]
    trained = sorted(by_size.keys() - set(diverged))
    beats = [s for s in trained if by_size[s]["test_mse"] < by_size[s]["pca_test_mse"]]
    loses = [s for s in trained if s not in beats]
    none = numbers["test_mse"] is None
    text = ["Training diverged: no network can be chosen."]
    if not none:
        text = [
            f"Among the numbers tried, {hidden} hidden units and {iterations:,} iterations leave "
            "the smallest error on the validation images; the test images were used once, for the "
            "numbers here."
        ]
    if diverged:
        text.append(f"With {listed(sorted(diverged))} hidden units it diverged, and has no error.")
    sizes = sorted(by_size)
    if hidden == sizes[-1] and len(sizes) > 1:
        text.append(f"{hidden} is the largest number that was tried: more might do better still.")
    errors = [by_size[size]["test_mse"] for size in trained]
    if len(trained) > 1:
        if all(b < a for a, b in pairwise(errors)):
            text.append(
                "Each larger autoencoder reconstructs better: the code of "
                f"{trained[-1]} numbers an image leaves {100 * errors[-1] / errors[0]:.0f} % of "
                f"the error of that of {trained[0]}."
            )
        else:
            best = trained[errors.index(min(errors))]
            text.append(f"The error does not fall all the way: it is smallest at {best} units.")
    compared = []
    if beats:
        compared.append(f"With {listed(beats)} hidden units the autoencoder is better than that")
    if loses:
        before = ", with " if beats else "With "
        compared.append(f"{before}{listed(loses)} {'' if beats else 'hidden units '}it is worse")
    text.append(
        "Principal component analysis with as many components is the best that a linear code can "
        "do on the training images." + "".join(f" {part}." for part in ["".join(compared)] if part)
    )
    of_chosen = sorted(
        (row for row in numbers["search"] if row["hidden_units"] == hidden and _is_known(row)),
        key=lambda row: row["iterations"],
    )
    if len(of_chosen) > 1:
        (first, *_, last) = of_chosen
        text.append(
            f"From {first['iterations']:,} to {last['iterations']:,} iterations the validation "
            f"error goes from {fixed(first['val_mse'], 5)} to {fixed(last['val_mse'], 5)} a pixel, "
            f"the training error from {fixed(first['train_mse'], 5)} to "
            f"{fixed(last['train_mse'], 5)}: "
            + (
                "more iterations still help."
                if last["val_mse"] == min(row["val_mse"] for row in of_chosen)
                else "the longest training is not the best on validation images."
            )
        )
    text.append(_how_trained(config))
    rows = [["hidden units", "test error a pixel", "PCA", "ratio"]] + [
        [
            str(size),
            fixed(row["test_mse"], 5),
            fixed(row["pca_test_mse"], 5),
            fixed(row["test_mse"] / row["pca_test_mse"], 2)
            if row["pca_test_mse"] > 1e-10 and size in trained
            else "–",
        ]
        for size, row in sorted(by_size.items())
    ]
    return {
        "answer": "none can be chosen: training diverged"
        if none
        else f"{hidden} hidden units, {iterations:,} iterations; test error "
        f"{fixed(numbers['test_mse'], 5)} a pixel (PCA {fixed(numbers['pca_test_mse'], 5)})",
        "tables": {"sizes": rows},
        "text": {"discussion": text},
        "values": {
            "none": none,
            "hidden": hidden,
            "iterations": f"{iterations:,}",
            "test_mse": fixed(numbers["test_mse"], 5),
            "pca_test_mse": fixed(numbers["pca_test_mse"], 5),
            "examples": f"{numbers['examples']:,}",
            "tried": f"{listed(sizes)} hidden unit{'' if sizes == [1] else 's'}",
            "lengths": len(of_chosen) > 1,
        },
    }


def ex5(numbers: Numbers, config: Numbers) -> Content:
    sizes, chosen = numbers["hidden_units"], numbers["chosen"]
    accuracies = {part: numbers[f"{part}_accuracy"] for part in PARTS}
    i = sizes.index(chosen)
    bias, variance = numbers["bias_squared"], numbers["variance"]
    diverged = [s for s, b, v in zip(sizes, bias, variance, strict=True) if None in (b, v)]
    as_good = [
        size
        for size, entry in zip(sizes, accuracies["val"], strict=True)
        if size != chosen and _not_told_apart(accuracies["val"][i], entry)
    ]
    none = len(diverged) == len(sizes)
    how = "judged by their 95 % intervals"
    if config["networks"] > 1:
        how = "judged by Student's t of the differences seed by seed, at the 5 % level"
    text = [
        "Training diverged with every size: none can be chosen."
        if none
        else f"Of {counted(len(sizes), 'size')}, {chosen} hidden units have the highest mean "
        "accuracy on the validation images. "
        + (
            f"The accuracies with {listed(as_good)} hidden units are not to be told from its own, "
            f"{how}."
            if as_good
            else f"All others are below it by more than chance, {how}."
        )
        + (
            f" {chosen} is the largest number that was tried: more might do better still."
            if chosen == sizes[-1] and len(sizes) > 1
            else ""
        ),
        f"Networks with {listed(diverged)} hidden units diverged: bias² and variance are unknown."
        if diverged
        else f"From {sizes[0]} to {sizes[-1]} hidden units bias² goes from {bias[0]:.3f} to "
        f"{bias[-1]:.3f}, variance from {variance[0]:.3f} to {variance[-1]:.3f}. "
        + _trade_off(bias, variance, sizes),
    ]
    gap = [
        100 * (a["mean"] - b["mean"]) for a, b in zip(*list(accuracies.values())[:2], strict=True)
    ]
    text.append(
        f"Training accuracy is {abs(gap[0]):.2f} points {'above' if gap[0] > 0 else 'below'} "
        f"validation at {sizes[0]} units, {abs(gap[-1]):.2f} points "
        f"{'above' if gap[-1] > 0 else 'below'} at {sizes[-1]}."
    )
    text.append(_how_trained(config))
    heading = ["hidden units", "training, %", "validation, %", "test, %", "bias²", "variance"]
    rows = [heading] + [
        [
            f"{size}{' (chosen)' if size == chosen and not none else ''}",
            *(_with_interval(accuracies[part][n]) for part in PARTS),
            fixed(bias[n], 4),
            fixed(variance[n], 4),
        ]
        for n, size in enumerate(sizes)
    ]
    test = accuracies["test"][i]
    return {
        "answer": "none can be chosen: training diverged"
        if none
        else f"{chosen} hidden units; validation {percent(accuracies['val'][i])}, test "
        f"{percent(test)} ({interval(test)})",
        "tables": {"sizes": rows},
        "text": {"discussion": text},
        "values": {
            "none": none,
            "sizes": listed(sizes),
            "chosen": chosen,
            "networks": counted(config["networks"], "network")
            + (" was" if config["networks"] == 1 else " were"),
            "resamples": config["resamples"],
            "test": percent(test),
        },
    }


def ex6(numbers: Numbers, config: Numbers) -> Content:
    raw, chosen = numbers["raw_accuracy"], numbers["chosen"]
    features = {int(h): entry for h, entry in numbers["autoencoder_accuracy"].items()}
    validation = {int(h): v["mean"] for h, v in numbers["autoencoder_val_accuracy"].items()}
    rows = [["input of the softmax classifier", "validation, %", "test, %", "95 % interval"]]
    rows.append(
        ["raw pixels", f"{100 * numbers['raw_val_accuracy']['mean']:.2f}",
         f"{100 * raw['mean']:.2f}", interval(raw)]
    )  # fmt: skip
    rows += [
        [f"{h} features{' (chosen)' if h == chosen else ''}", f"{100 * validation[h]:.2f}",
         f"{100 * features[h]['mean']:.2f}", interval(features[h])]
        for h in sorted(features)
    ]  # fmt: skip
    check = numbers["gradient_check"]
    how = _how_trained(config)
    return {
        "answer": f"raw pixels {percent(raw)}, {chosen} autoencoder features "
        f"{percent(features[chosen])} (McNemar's\u00a0p\u00a0=\u00a0"
        f"{scientific(numbers['p_value'])})",
        "tables": {"accuracies": rows, "blocks": _blocks(check)},
        "text": {"discussion": numbers["discussion"], "check": _gradient_discussion(check)},
        "values": {
            "sizes": listed(sorted(features)),
            "chosen": chosen,
            "raw": percent(raw),
            "features": percent(features[chosen]),
            "examples": f"{raw['examples']:,}",
            "iterations": numbers["raw_iterations"],
            "how": how[0].lower() + how[1:],
        },
    }


def ex7(numbers: Numbers, config: Numbers) -> Content:
    test = numbers["test_accuracy"]
    channels = "-".join(map(str, config["channels"]))
    small = numbers["source"].startswith("small MNIST")
    if "served_by" in numbers:  # not in results of earlier versions
        small = numbers["served_by"] == "small"
    brief = numbers["train_seconds"] < 10
    settings = [["setting", "value"]] + [
        [name.replace("_", " "), _setting(config[name])]
        for name in (
            "channels", "epochs", "batch_size", "muon_rate", "adam_rate", "weight_decay", "warm_up",
            "label_smoothing", "batch_norm_momentum", "rotation", "scale", "shear", "shift",
        )
        if name in config  # earlier versions had fewer
    ]  # fmt: skip
    return {
        "answer": f"{percent(test)} of {test['examples']:,} test images ({interval(test)})"
        + (", on small MNIST" if small else ""),
        "tables": {"settings": settings},
        "text": {"discussion": numbers["discussion"]},
        "values": {
            "channels": channels,
            "parameters": f"{numbers['parameters']:,}",
            "epochs": f"{numbers['epochs']:g} epoch{'' if numbers['epochs'] == 1 else 's'}",
            "rises": config.get("warm_up", 1) > 0,
            "train": f"{numbers['examples']['train']:,}",
            "test": f"{numbers['examples']['test']:,}",
            "source": _without_folder(numbers["source"]),
            "smoothed": config["label_smoothing"] > 0,
            "full": config.get("resolution") == "full",
            "chosen_by": _chosen_by(config),
            "small": small,
            "accuracy": percent(test),
            "interval": interval(test),
            "networks": counted(len(test["per_seed"]), "network"),
            "changes": _how_changed(config),
            "seen": ", changed at random" if _changes(config) else "",
            "train_seconds": f"{numbers['train_seconds']:.{'1f' if brief else '0f'}} s",
            "compile_seconds": f"{numbers['compile_seconds']:.1f} s",
            "wrong": f"{round((1 - test['mean']) * test['examples']):,}",
        },
    }


def _chosen_by(config: Numbers) -> str:
    """How the settings of exercise 7 were come by: those of a preset were compared."""
    from jaxlab.convnet.presets import PRESETS

    for name, recipe in PRESETS.items():
        own = dataclasses.asdict(recipe)
        if all(_setting(config.get(setting)) == _setting(own[setting]) for setting in own):
            return (
                f"They are those of the preset {name}, which was chosen by the accuracy on 10,000 "
                "training images that were held out for it (scripts/convnet_recipes.py)."
            )
    return "They are no preset's: nothing here says how well others would do."


CONTENT = {"ex1": ex1, "ex2": ex2, "ex3": ex3, "ex4": ex4, "ex5": ex5, "ex6": ex6, "ex7": ex7}


def _diff(check: Numbers) -> str:
    wrong = [name for name, block in check["blocks"].items() if not block["ok"]]
    diffs = (
        f"diff {scientific(check['diff_finite_difference'])} to central differences, "
        f"{scientific(check['diff_complex_step'])} to a complex step, "
        f"{scientific(check['diff_autograd'])} to jax.grad"
    )
    return diffs + (f"; WRONG: {listed(wrong)}" if wrong else "")


def _blocks(check: Numbers) -> list[list[str]]:
    """The verdict by block as a table."""
    heading = ["block", "shape", "checked", "central diff.", "complex step", "jax.grad", "order",
               "verdict"]  # fmt: skip
    rows = [heading]
    for name, block in check["blocks"].items():
        rows.append(
            [
                name,
                " × ".join(map(str, block["shape"])),
                _checked(block),
                *(
                    scientific(block.get(f"diff_{who}"))
                    for who in ("finite_difference", "complex_step", "autograd")
                ),
                fixed(block["taylor_order"], 4),
                "right" if block["ok"] else "WRONG",
            ]
        )
    return rows


def _is_known(row: Numbers) -> bool:
    """Whether training left numbers rather than NaN."""
    return row["val_mse"] is not None and row["train_mse"] is not None


def _checked(block: Numbers) -> str:
    """In how many places; where central differences were taken along directions, along how many."""
    if "directions" in block:
        return counted(block["directions"], "direction")
    size = _size(block)
    return "all" if block["checked"] == size else f"{block['checked']:,} of {size:,}"


def _where(check: Numbers) -> str:
    """Where the witnesses looked: everywhere, but in large networks."""
    total = f"all {_parameters(check):,} parameters"
    along = max((block.get("directions", 0) for block in check["blocks"].values()), default=0)
    if not along:
        return f"over {total}"
    return (
        f"along {counted(along, 'random direction')} of each block (jax.grad was compared at "
        f"{total})"
    )


def _gradient_discussion(check: Numbers) -> list[str]:
    central, step, grad = (
        check[f"diff_{who}"] for who in ("finite_difference", "complex_step", "autograd")
    )
    # A gradient with NaN is infinitely far from any other, which JSON has no number for.
    far = [float("inf") if diff is None else diff for diff in (central, step, grad)]
    wrong = [name for name, block in check["blocks"].items() if not block["ok"]]
    relation = "below" if far[0] < USUAL_THRESHOLD else "not below"
    text = [
        f"Central differences, the lab's own check, give diff = {scientific(central)}, {relation} "
        f"the {scientific(USUAL_THRESHOLD)} that is usually asked for. What is left is their own "
        "error: a step has to be long enough for rounding and short enough for the curvature."
    ]
    if max(far[1:]) < ROUNDING:
        text.append(
            f"Two witnesses that have no such error agree to rounding: {scientific(step)} to the "
            f"complex step and {scientific(grad)} to jax.grad, where double precision resolves "
            "2.2 × 10⁻¹⁶ of a number."
        )
    else:
        text.append(
            f"The complex step is {scientific(step)} away, jax.grad {scientific(grad)}: more than "
            "rounding."
        )
    if check["taylor_order"] is not None:
        text.append(
            f"The remainder of Taylor's theorem shrinks with order {check['taylor_order']:.4f} in "
            "the step, as it does for a right gradient, for which the order is 2."
            if abs(check["taylor_order"] - 2) < 0.05
            else f"The remainder of Taylor's theorem shrinks with order "
            f"{check['taylor_order']:.4f} in the step; for a right gradient the order is 2."
        )
    if wrong:
        text.append(f"So the gradient of {listed(wrong)} is WRONG.")
    else:
        text.append("So the gradient written by hand is right, in every block.")
    return text


def _accuracies(entries: dict[str, Numbers]) -> list[list[str]]:
    rows = [["images", "number", "accuracy", "95 % interval", "each network, %"]]
    for part, name in PARTS.items():
        entry = entries[part]
        each = ", ".join(f"{100 * a:.2f}" for a in entry["per_seed"])
        rows.append([name, f"{entry['examples']:,}", percent(entry), interval(entry), each])
    return rows


def _most_confused(confusion: list[list[int]], several: bool) -> list[str]:
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


def _not_told_apart(one: Numbers, other: Numbers) -> bool:
    """Whether accuracies of networks from the same seeds may differ by chance alone."""
    differences = [a - b for a, b in zip(one["per_seed"], other["per_seed"], strict=True)]
    if len(differences) == 1:
        return other["ci95"][1] >= one["ci95"][0]
    return abs(sum(differences) / len(differences)) <= half_width(differences)


def _trade_off(bias: list[float], variance: list[float], sizes: list[int]) -> str:
    """What the decomposition says, in a sentence or two."""
    total = [b + v for b, v in zip(bias, variance, strict=True)]
    best = sizes[total.index(min(total))]
    peak = variance.index(max(variance))
    if all(b < a for a, b in pairwise(bias)):
        falls = "Bias² falls with every larger size"
    else:
        falls = f"Bias² is smallest at {sizes[bias.index(min(bias))]} units"
    if peak == len(variance) - 1:
        moves = "variance is largest at the largest size"
    elif peak == 0:
        moves = (
            "variance is largest at the smallest size and smallest at "
            f"{sizes[variance.index(min(variance))]} units"
        )
    else:
        moves = f"variance is largest at {sizes[peak]} units"
    return f"{falls}, and {moves}. Their sum is smallest at {best} units."


def _changes(config: Numbers) -> list[str]:
    """What is done at random to a training image of exercise 7, in the order of its settings."""
    done = {"rotation": "turned", "scale": "stretched", "shear": "slanted", "shift": "moved"}
    return [what for setting, what in done.items() if config[setting]]


def _how_changed(config: Numbers) -> str:
    *others, last = _changes(config) or [""]
    if not last:
        return "They are used as they are, without random changes."
    what = f"{', '.join(others)} and {last}" if others else last
    return f"Each of them is {what} a little at random each time that it is used."


def _how_trained(config: Numbers) -> str:
    if config["method"] == "lbfgs":
        return (
            f"Trained on all images at once by L-BFGS, at most {config['iterations']:,} iterations."
        )
    shift = config.get("shift", 0)
    moved = (
        f" Each training image is moved by up to {counted(shift, 'pixel')} at random."
        if shift
        else ""
    )
    return (
        f"Trained by Adam for {config['epochs']:,} epochs in batches of {config['batch_size']:,}, "
        f"with a step size of {config['learning_rate']:g} that falls to zero along a cosine.{moved}"
    )


def _with_interval(entry: Numbers) -> str:
    """'96.9 ± 0.3' in percent; both ends where the interval stops at 0 or at 100 %."""
    low, high = entry["ci95"]
    if low == 0 or high == 1:
        return f"{100 * entry['mean']:.2f} ({100 * low:.0f} to {100 * high:.0f})"
    return f"{100 * entry['mean']:.2f} ± {50 * (high - low):.2f}"


def _parameters(check: Numbers) -> int:
    return sum(_size(block) for block in check["blocks"].values())


def _size(block: Numbers) -> int:
    return math.prod(block["shape"])


def _without_folder(source: str) -> str:
    """A report that is handed in does not say where its author keeps files."""
    source = re.sub(r"the cache .*; sha256", "the cache; sha256", source)
    return re.sub(
        r"(?<=from |..in )(.*)(?=; sha256|, NOT MNIST)", lambda path: Path(path[0]).name, source
    )


def _setting(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "-".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
