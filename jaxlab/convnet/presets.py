"""The recipes of exercise 7 that have names: how long each trains, and how it changes images.

scripts/convnet_recipes.py has the comparison that they were chosen by.
"""

from typing import Any

from jaxlab.convnet.recipe import Recipe

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
