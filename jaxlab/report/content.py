"""What the report says of each exercise, from its saved numbers alone.

Each function takes the `numbers` and the `config` of a result.json and returns

    answer   one line for the first page
    tables   name → rows, the first of them the heading
    text     name → sentences
    values   single numbers that the pages name

The pages themselves, typst/ex1.typ to ex7.typ, hold what is true of every run.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

from jaxlab.gradcheck.numerical import STEP
from jaxlab.report import gradient_checks, reconstructions, trainings
from jaxlab.report.trainings import PARTS
from jaxlab.wording import (
    counted,
    duration,
    fixed,
    interval,
    kind,
    listed,
    percent,
    power_of_two,
    scientific,
)

Numbers = dict[str, Any]
Content = dict[str, Any]

# How many numbers of hidden units exercise 5 asks for.
ASKED = 10
# Of the test images that a network gets wrong, in a figure.
MOST_SHOWN = 40


def ex1(numbers: Numbers, config: Numbers) -> Content:
    sizes = (config["inputs"], config["hidden"], config["outputs"])
    return {
        "answer": gradient_checks.differences(numbers),
        "tables": {"blocks": gradient_checks.blocks_table(numbers)},
        "text": {"discussion": gradient_checks.discussion(numbers)},
        "values": {
            "network": "-".join(map(str, sizes)),
            "examples": f"{config['examples']:,}",
            "where": gradient_checks.where_it_looked(numbers),
            "step": power_of_two(STEP),
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
            ": there is hardly any overfitting."
            if gap < 0.5
            else f": a generalisation gap of {gap:.2f} points."
            if train["ci95"][0] > test["ci95"][1]
            else ", by no more than their intervals allow for."
        ),
        trainings.end_of_curve(entries["val"], numbers["highest_val_accuracy"]),
        *trainings.most_confused(numbers["confusion"], several),
    ]
    if len(test["per_seed"]) > 1:
        low, high = min(test["per_seed"]), max(test["per_seed"])
        text.append(
            f"The {len(test['per_seed'])} networks differ in their seeds alone, and so in all that "
            f"is random in training; their test accuracies lie between {100 * low:.2f} and "
            f"{100 * high:.2f} %."
        )
        if config["networks"] > 2:
            text.append(trainings.for_new_images(test))
    text.append(trainings.how_trained(config))
    return {
        "answer": ", ".join(f"{name} {percent(entries[part])}" for part, name in PARTS.items()),
        "tables": {"accuracies": trainings.accuracies_table(entries)},
        "text": {"discussion": text},
        "values": {
            "images": trainings.images_used(numbers, config),
            "hidden": counted(config["hidden"], "hidden unit"),
            "networks": counted(config["networks"], "network"),
            "starts": "different random starts" if several else "a random start",
            "bands": "; bands span the networks" if several else "",
            "shown": numbers["shown_network"],
            "which": _first_of(numbers["confusion"]),
            "curve": _curve(numbers["images"]),
            "train": percent(entries["train"]),
            "val": percent(entries["val"]),
            "test": percent(test),
            "test_interval": trainings.interval_in_full(test),
        },
    }


def _curve(images: Numbers) -> str:
    """How many training images the learning curve is over: `train_one` of exercise 2."""
    shown = min(images["train"], images["validation"])
    if shown == images["train"]:
        return "The training curve uses all training images."
    return f"The training curve uses {shown:,} training images; the table above has all."


def ex3(numbers: Numbers, config: Numbers) -> Content:
    digits = numbers["digits"]
    sizes = (config["inputs"], config["hidden"], config["inputs"])
    return {
        "answer": gradient_checks.differences(numbers),
        "tables": {
            "small": gradient_checks.blocks_table(numbers),
            "digits": gradient_checks.blocks_table(digits),
        },
        "text": {
            "small": gradient_checks.in_short(numbers),
            "digits": gradient_checks.in_short(digits),
        },
        "values": {
            "images": trainings.images_used(numbers, config),
            "network": "-".join(map(str, sizes)),
            "where": gradient_checks.where_it_looked(numbers),
            "digits": "-".join(map(str, digits["sizes"])),
            "examples": f"{config['examples']:,}",
            "checked": f"{sum(b['checked'] for b in digits['blocks'].values()):,}",
            "parameters": f"{gradient_checks.parameters(digits):,}",
            "diff": scientific(numbers["diff_finite_difference"]),
        },
    }


def ex4(numbers: Numbers, config: Numbers) -> Content:
    hidden, iterations = numbers["hidden_units"], numbers["iterations"]
    by_size = {int(size): row for size, row in numbers["by_hidden_units"].items()}
    # What is not a number in a run is null in its result.
    diverged = [s for s, row in by_size.items() if row["test_mse"] is None]
    trained = sorted(by_size.keys() - set(diverged))
    none = numbers["test_mse"] is None
    of_chosen = sorted(
        (row for row in reconstructions.known(numbers) if row["hidden_units"] == hidden),
        key=lambda row: row["iterations"],
    )
    searched = reconstructions.to_the_end(numbers)
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
    text += trainings.largest_tried(
        hidden,
        sizes,
        "the validation error",
        {size: fixed(row["val_mse"], 5) for size, row in searched.items()},
    )
    text += reconstructions.errors_by_size({size: by_size[size]["test_mse"] for size in trained})
    text += reconstructions.beside_pca(
        {size: by_size[size] | searched[size] for size in trained if size in searched}
    )
    text += reconstructions.errors_by_length(of_chosen)
    text.append(trainings.how_trained(config))
    rows = [["hidden units", "validation error", "test error", "PCA, test", "ratio"]] + [
        [
            f"{size}{' (chosen)' if size == hidden and not none else ''}",
            fixed(searched[size]["val_mse"] if size in searched else None, 5),
            fixed(row["test_mse"], 5),
            fixed(row["pca_test_mse"], 5),
            fixed(row["ratio_to_pca"], 2),
        ]
        for size, row in sorted(by_size.items())
    ]
    return {
        "answer": "none can be chosen: training diverged"
        if none
        else f"{hidden} hidden units, {iterations:,} iterations; test error "
        f"{fixed(numbers['test_mse'], 5)} per pixel (PCA {fixed(numbers['pca_test_mse'], 5)})",
        "tables": {"sizes": rows},
        "text": {"discussion": text},
        "values": {
            "images": trainings.images_used(numbers, config),
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
    none = len(diverged) == len(sizes)
    text = ["Training diverged with every size: none can be chosen."]
    if not none:
        text = [_choice_of_size(sizes, chosen, accuracies["val"])]
    if diverged:
        text.append(
            f"Networks with {listed(diverged)} hidden units diverged: bias² and variance are "
            "unknown."
        )
    else:
        text.append(trainings.bias_and_variance(bias, variance, sizes))
    if len(sizes) < ASKED:
        text.append(f"The lab sheet asks for {ASKED} sizes: only {len(sizes)} tried here.")
    text += [
        _overfitting(sizes, accuracies["train"], accuracies["val"]),
        trainings.how_trained(config),
    ]
    heading = ["hidden units", "training, %", "validation, %", "test, %", "bias²", "variance"]
    rows = [heading] + [
        [
            f"{size}{' (chosen)' if size == chosen and not none else ''}",
            *(trainings.with_interval(accuracies[part][n]) for part in PARTS),
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
            "images": trainings.images_used(numbers, config),
            "none": none,
            "sizes": listed(sizes),
            "chosen": chosen,
            "networks": counted(config["networks"], "network")
            + (" was" if config["networks"] == 1 else " were"),
            "resamples": config["resamples"],
            "test": percent(test),
            "interval": trainings.interval_in_full(test),
            "range": config["networks"] == 2,
            "kind": kind(test),
        },
    }


def _choice_of_size(sizes: list[int], chosen: int, accuracies: list[Numbers]) -> str:
    """Why that size, and which others may be as good. accuracies: on validation images, by size."""
    if len(sizes) == 1:
        return f"{chosen} hidden units are the only number that was tried: there was no choice."
    best = accuracies[sizes.index(chosen)]
    as_good = [
        size
        for size, entry in zip(sizes, accuracies, strict=True)
        if size != chosen and trainings.not_told_apart(best, entry)
    ]
    networks = len(best["per_seed"])
    how = "judged by their 95 % intervals"
    if networks > 2:
        how = "judged by Student's t of the differences seed by seed, at the 5 % level"
    text = (
        f"Of {len(sizes)} sizes, {chosen} hidden units have the highest mean accuracy on the "
        "validation images. "
    )
    if networks == 2:
        text += "Two networks of each size are too few to test whether the others are worse."
    elif as_good:
        text += (
            f"The accuracies with {listed(as_good)} hidden units are not significantly different "
            f"from it, {how}."
        )
    else:
        text += f"All others are significantly below it, {how}."
    last = trainings.largest_tried(
        chosen,
        sizes,
        "the validation accuracy",
        {size: percent(entry) for size, entry in zip(sizes, accuracies, strict=True)},
    )
    return " ".join([text, *last])


def _overfitting(sizes: list[int], train: list[Numbers], validation: list[Numbers]) -> str:
    """How far training accuracy is from validation accuracy: at both ends, and where most."""
    gaps = [100 * (a["mean"] - b["mean"]) for a, b in zip(train, validation, strict=True)]

    def at(i: int) -> str:
        above = "above" if gaps[i] > 0 else "below"
        return f"{abs(gaps[i]):.2f} points {above} validation at {counted(sizes[i], 'unit')}"

    text = f"Training accuracy is {at(0)}"
    widest = gaps.index(max(gaps))
    if widest not in (0, len(sizes) - 1):
        text += f", furthest at {sizes[widest]}, by {gaps[widest]:.2f} points"
    return text + (f", and {at(-1)}." if len(sizes) > 1 else ".")


def ex6(numbers: Numbers, config: Numbers) -> Content:
    raw, chosen = numbers["raw_accuracy"], numbers["chosen"]
    features = {int(h): entry for h, entry in numbers["autoencoder_accuracy"].items()}
    validation = {int(h): v["mean"] for h, v in numbers["autoencoder_val_accuracy"].items()}
    mcnemar = {int(h): row for h, row in numbers["mcnemar"].items()}
    rows = [["input", "validation, %", "test, %", kind(raw), "only these : only pixels", "p"]]
    rows.append(
        ["raw pixels", f"{100 * numbers['raw_val_accuracy']['mean']:.2f}",
         f"{100 * raw['mean']:.2f}", interval(raw), "", ""]
    )  # fmt: skip
    rows += [
        [f"{h} features{' (chosen)' if h == chosen else ''}", f"{100 * validation[h]:.2f}",
         f"{100 * features[h]['mean']:.2f}", interval(features[h]),
         f"{mcnemar[h]['only_features_right']} : {mcnemar[h]['only_raw_right']}",
         scientific(mcnemar[h]["p_value"])]
        for h in sorted(features)
    ]  # fmt: skip
    text = [
        *numbers["discussion"],
        *trainings.largest_tried(
            chosen,
            sorted(features),
            "the validation accuracy",
            {h: f"{100 * mean:.2f} %" for h, mean in validation.items()},
        ),
    ]
    check = numbers["gradient_check"]
    how = trainings.how_trained(config)
    return {
        "answer": f"raw pixels {percent(raw)}, {chosen} autoencoder features "
        f"{percent(features[chosen])} (McNemar's\u00a0p\u00a0=\u00a0"
        f"{scientific(numbers['p_value'])})",
        "tables": {"accuracies": rows, "blocks": gradient_checks.blocks_table(check)},
        "text": {"discussion": text, "check": gradient_checks.in_short(check)},
        "values": {
            "images": trainings.images_used(numbers, config),
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
    small = numbers["served_by"] == "small"
    settings = [["setting", "value"]] + [
        [name.replace("_", " "), _setting(config[name])]
        for name in (
            "channels", "epochs", "batch_size", "muon_rate", "adam_rate", "weight_decay", "warm_up",
            "label_smoothing", "batch_norm_momentum", "rotation", "scale", "shear", "shift",
        )
    ]  # fmt: skip
    return {
        "answer": f"{percent(test)} of {test['examples']:,} test images ({interval(test)})"
        + (", on small MNIST" if small else ""),
        "tables": {"settings": settings, "layers": _layers_table(numbers["layers"])},
        "text": {"discussion": numbers["discussion"]},
        "values": {
            "channels": channels,
            "parameters": f"{numbers['parameters']:,}",
            "epochs": f"{numbers['epochs']:g} epoch{'' if numbers['epochs'] == 1 else 's'}",
            "rises": config["warm_up"] > 0,
            "train": f"{numbers['examples']['train']:,}",
            "test": f"{numbers['examples']['test']:,}",
            "source": _without_folder(numbers["source"]),
            "smoothed": config["label_smoothing"] > 0,
            "full": config["resolution"] == "full",
            "chosen_by": _chosen_by(config),
            "small": small,
            "accuracy": percent(test),
            "interval": trainings.interval_in_full(test),
            "networks": counted(len(test["per_seed"]), "network"),
            "changes": trainings.how_changed(config),
            "seen": ", changed at random" if trainings.changes(config) else "",
            "train_seconds": duration(numbers["train_seconds"]),
            "compile_seconds": duration(numbers["compile_seconds"]),
            "wrong": f"{round((1 - test['mean']) * test['examples']):,}",
            "which": _first_of(numbers["confusion"]),
        },
    }


def _layers_table(layers: list[Numbers]) -> list[list[str]]:
    rows = [["layer", "kernel", "stride", "padding", "pooling", "channels × output", "parameters"]]
    for row in layers:
        parameters = f"{row['parameters']:,}"
        if row["kernel"] is None:
            rows.append(["dense", "", "", "", "", str(row["out"][0]), parameters])
            continue
        channels, height, width = row["out"]
        kernel, pooling = f"{row['kernel']} × {row['kernel']}", "2 × 2" if row["pooled"] else "–"
        rows.append(
            ["convolution", kernel, str(row["stride"]), str(row["padding"]), pooling,
             f"{channels} × {height} × {width}", parameters]
        )  # fmt: skip
    return rows


def _first_of(confusion: list[list[int]]) -> str:
    """Which of its mistakes a figure of misclassified images shows."""
    wrong = sum(map(sum, confusion)) - sum(row[digit] for digit, row in enumerate(confusion))
    if wrong <= MOST_SHOWN:
        return f"All {wrong:,} test images" if wrong > 1 else "The test images"
    return f"The first {MOST_SHOWN} of the {wrong:,} test images"


def _chosen_by(config: Numbers) -> str:
    """How the settings of exercise 7 were come by: those of a preset were compared."""
    from jaxlab.convnet.presets import PRESETS

    for name, recipe in PRESETS.items():
        own = dataclasses.asdict(recipe)
        if all(_setting(config[setting]) == _setting(own[setting]) for setting in own):
            return (
                f"They are those of the preset {name}, which was chosen by the accuracy on 10,000 "
                "training images that were held out for it (scripts/convnet_recipes.py)."
            )
    return "They are no preset's: nothing here says how well others would do."


CONTENT = {"ex1": ex1, "ex2": ex2, "ex3": ex3, "ex4": ex4, "ex5": ex5, "ex6": ex6, "ex7": ex7}


def _without_folder(source: str) -> str:
    """A report that is handed in does not say where its author keeps files."""
    source = re.sub(r"the cache .*; sha256", "the cache; sha256", source)

    def named(found: re.Match[str]) -> str:
        path = Path(found[0])
        return f"the folder {path.name}" if path.is_absolute() else found[0]

    return re.sub(r"(?<=from |..in )(.*)(?=; sha256|, NOT MNIST)", named, source)


def _setting(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "-".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
