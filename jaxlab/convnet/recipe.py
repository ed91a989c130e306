"""What to train and how: the recipe, and the optimiser that follows from it.

`scripts/convnet_recipes.py` has the comparisons that led here, on a validation part of the training
images; `scripts/convnet_times.py` has what the presets reach on the test images, and how long it
takes.
"""

from dataclasses import dataclass
from typing import Literal

import jax
import optax
import optax.contrib

from jaxlab.errors import OptionError


@dataclass(frozen=True)
class Recipe:
    """The network of exercise 7 and its training."""

    channels: tuple[int, ...] = (24, 48, 96, 96)
    """Channels of each convolution in turn; three or more, at full resolution five or more."""
    resolution: Literal["half", "full"] = "half"
    """half: the first convolution halves the image. full: it keeps all pixels, and takes longer."""
    epochs: float = 12.0
    """How often each training image is used."""
    batch_size: int = 128
    """Images a step."""
    muon_rate: float = 0.06
    """The highest step size of the 3×3 kernels (Muon)."""
    adam_rate: float = 0.01
    """The highest step size of everything else (Adam)."""
    weight_decay: float = 0.01
    """How fast weights decay, as a fraction of the step size; biases and scales do not."""
    warm_up: float = 0.2
    """The part of the steps over which the step size rises; then it falls to zero."""
    label_smoothing: float = 0.1
    """The part of each target that is shared among all digits."""
    batch_norm_momentum: float = 0.98
    """How much of its running statistics batch normalisation keeps a step: 0.98 is 50 steps."""
    rotation: float = 0.12
    """Training images are turned by up to so many radians."""
    scale: float = 0.08
    """Their width and height are multiplied by up to e to the power of plus or minus this."""
    shear: float = 0.08
    """They are slanted by up to so many pixels per pixel."""
    shift: float = 1.5
    """They are moved by up to so many pixels."""

    def __post_init__(self) -> None:
        fewest = {"half": 3, "full": 5}[self.resolution]
        if len(self.channels) < fewest or min(self.channels) < 1:
            raise OptionError(
                f"channels are {self.channels}: at {self.resolution} resolution, {fewest} or more "
                "numbers of at least 1 are needed"
            )
        if self.batch_size < 1:
            raise OptionError(f"batch-size is {self.batch_size}: it must be at least 1")
        for name in ("epochs", "muon_rate", "adam_rate"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                option = name.replace("_", "-")
                raise OptionError(f"{option} is {value}: it must be above 0, finite")
        for name in ("weight_decay", "warm_up", "label_smoothing", "batch_norm_momentum"):
            if not 0 <= getattr(self, name) < 1:
                option = name.replace("_", "-")
                raise OptionError(f"{option} is {getattr(self, name)}: it must be in [0, 1)")
        limits = {"rotation": 3.2, "scale": 1.0, "shear": 1.0, "shift": 14.0}
        for name, limit in limits.items():
            if not 0 <= getattr(self, name) <= limit:
                raise OptionError(f"{name} is {getattr(self, name)}: it must be in [0, {limit:g}]")

    def steps(self, examples: int) -> int:
        """How many steps the training takes; the last batch is filled from one more epoch.

        Raises `OptionError` where these are more than a number of 32 bits counts.
        """
        count = self.epochs * examples / self.batch_size
        if not count < 2**31 - 1:
            raise OptionError(f"epochs is {self.epochs:g}: that makes {count:.2g} steps")
        return max(1, -int(-self.epochs * examples // self.batch_size))

    @property
    def augments(self) -> bool:
        return any((self.rotation, self.scale, self.shear, self.shift))


def optimizer(recipe: Recipe, steps: int) -> optax.GradientTransformation:
    """Muon for 3×3 kernels, but one of a single channel in; Adam for the rest.

    The step size rises, then falls to zero. Muon (Jordan 2024) replaces a kernel's momentum, as a
    matrix (taps × in, out), by the nearest orthogonal matrix, so that all directions are learned
    equally fast.
    """
    rise = round(recipe.warm_up * steps)

    def rate(highest: float) -> optax.Schedule:
        return optax.join_schedules(
            [
                optax.linear_schedule(0.0, highest, rise),
                optax.linear_schedule(highest, 0.0, steps - rise),
            ],
            [rise],
        )

    def matrices(kernels):
        return jax.tree.map(lambda _: optax.contrib.MuonDimensionNumbers((0, 2), (1,)), kernels)

    kernels = optax.chain(
        optax.contrib.scale_by_muon(ns_steps=3, beta=0.9, weight_dimension_numbers=matrices),
        optax.add_decayed_weights(recipe.weight_decay),
        optax.scale_by_learning_rate(rate(recipe.muon_rate)),
    )
    adam_rate = rate(recipe.adam_rate)
    weights = optax.adamw(adam_rate, b2=0.99, weight_decay=recipe.weight_decay)
    vectors = optax.flatten(optax.adam(adam_rate, b2=0.99))  # as one: soonest compiled
    return optax.partition(
        {1: vectors, 2: weights, 3: kernels},
        lambda params: jax.tree.map(lambda leaf: leaf.ndim, params),
    )
