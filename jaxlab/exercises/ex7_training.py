"""Training a network of exercise 7 with checkpoints: stopped, it goes on to the same result."""

import hashlib
import time
from contextlib import closing, nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import jax

from jaxlab import terminal
from jaxlab.convnet.checkpoints import Checkpoints, saved_notes
from jaxlab.convnet.recipe import Recipe
from jaxlab.convnet.training import State, Trainer
from jaxlab.data.mnist import LabelledImages
from jaxlab.errors import OptionError
from jaxlab.exercises.ex7_options import Config, network_folder, plain

# A checkpoint goes on only where these are the same. The machine, the number of devices and the
# versions decide the last bits as well, and may change.
DECISIVE = ("seed", "limit", "validation", *(field.name for field in fields(Recipe)))
# Which images, where whether to go on is asked before they are loaded and have a digest.
IMAGES = ("source", "mnist_dir", "tfds_manual_dir")


class OtherImagesError(OptionError):
    """A checkpoint of a network that was trained on other images."""


def has_checkpoint(config: Config) -> bool:
    """Whether a checkpoint of the very run that is asked for is there to go on from."""
    notes = saved_notes(network_folder(config))
    mine = plain(config)
    return notes is not None and all(
        mine[name] == notes["config"].get(name) for name in (*DECISIVE, *IMAGES)
    )


def trained_network(
    trainer: Trainer, config: Config, images: str, reached, *, first: bool = True
) -> tuple[State, dict[str, Any]]:
    """The state after the last step, and the notes on how it came about.

    images: a digest of the images that it is trained on. first: of the run's networks, whose
    checkpoints take the place of all that an earlier run left.
    """
    keep = config.checkpoints is not None and config.checkpoint_seconds != float("inf")
    folder = network_folder(config)
    others = [path for path in folder.parent.glob("seed-*") if path != folder] if first else []
    saved = Checkpoints(folder, fresh=not (config.resume or config.evaluate), replaces=others)
    writes = keep and not config.evaluate and jax.process_index() == 0
    notes: dict[str, Any] = {
        "config": plain(config),
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
            if config.resume:
                terminal.say(
                    f"the network of seed {config.seed} goes on from step {int(state.step):,} of "
                    f"{trainer.steps:,} ({config.epochs:g} epochs)"
                )
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


def digest_of(images: LabelledImages) -> str:
    """What tells these images from any others."""
    digest = hashlib.sha256(images.images.tobytes())
    digest.update(images.labels.tobytes())
    return digest.hexdigest()
