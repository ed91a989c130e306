"""The code that the report shows: read from the installed source, never typed again."""

import inspect
import re
from importlib import import_module

# Shown in the text, beside what they compute; the files are listed whole in the appendix.
SHOWN = {
    "feed_forward": "jaxlab.backprop",
    "cost": "jaxlab.backprop",
    "cost_and_grad": "jaxlab.backprop",
    "_transposed": "jaxlab.backprop",
    "cost_and_grad_flat": "jaxlab.backprop",
    "sigmoid": "jaxlab.losses",
    "_half_squared_distance": "jaxlab.losses",
    "_half_squared_distance_error": "jaxlab.losses",
    "softmax": "jaxlab.losses",
    "_cross_entropy": "jaxlab.losses",
    "_cross_entropy_error": "jaxlab.losses",
    "central_differences": "jaxlab.gradcheck.numerical",
    "fit": "jaxlab.optimize",
    "_check": "jaxlab.exercises.ex3",
    "decompose": "jaxlab.exercises.ex5",
    "encode": "jaxlab.exercises.ex6",
    "softmax_classifier": "jaxlab.exercises.ex6",
    "Network": "jaxlab.convnet.network",
    "blocks": "jaxlab.convnet.network",
    "_programs": "jaxlab.convnet.training",
    "First": "jaxlab.convnet.network",
    "Block": "jaxlab.convnet.network",
    "normalise": "jaxlab.convnet.network",
    "optimizer": "jaxlab.convnet.recipe",
}
# What stands beside the lab sheet's formulas: a function, and what to show of a line in it.
LINES = {
    "z": ("feed_forward", r"z\[l \+ 1\] = .*"),
    "a": ("feed_forward", r"a\[l \+ 1\] = .*"),
    "J_one": ("_half_squared_distance", r"return .*"),
    "J": ("cost_and_grad", r"J = .*"),
    "delta_out": ("_half_squared_distance_error", r"return .*"),
    "delta": ("cost_and_grad", r"delta\[l\] = .*"),
    "W": ("cost_and_grad", r"W=[^,]*"),
    "b": ("cost_and_grad", r"b=.*axis=0\)"),
    "softmax": ("softmax", r"return .*"),
    "cross_entropy": ("_cross_entropy", r"return .*"),
    "cross_entropy_error": ("_cross_entropy_error", r"return .*"),
}
FILES = (
    "jaxlab.backprop",
    "jaxlab.losses",
    "jaxlab.optimize",
    "jaxlab.sweep",
    "jaxlab.gradcheck.numerical",
    "jaxlab.gradcheck.witnesses",
    "jaxlab.gradcheck.verdict",
    "jaxlab.statistics",
    "jaxlab.exercises.seed",
    "jaxlab.exercises.common",
    "jaxlab.cores",
    *(f"jaxlab.exercises.ex{n}" for n in range(1, 8)),
    "jaxlab.exercises.ex7_options",
    "jaxlab.exercises.ex7_training",
    "jaxlab.convnet.presets",
    "jaxlab.convnet.network",
    "jaxlab.convnet.convolution",
    "jaxlab.convnet.augmentation",
    "jaxlab.convnet.recipe",
    "jaxlab.convnet.training",
)


def functions() -> dict[str, dict[str, str]]:
    """Function → its source and the file that it stands in."""
    found = {}
    for name, module in SHOWN.items():
        function = inspect.unwrap(getattr(import_module(module), name))
        found[name] = {"code": inspect.getsource(function).rstrip(), "file": _path(module)}
    return found


def lines() -> dict[str, str]:
    """What LINES asks for. Raises LookupError where the source has changed."""
    found = {}
    for key, (function, wanted) in LINES.items():
        source = inspect.getsource(
            inspect.unwrap(getattr(import_module(SHOWN[function]), function))
        )
        matching = re.findall(wanted, source)
        if len(matching) != 1:
            raise LookupError(f"{function} has {len(matching)} lines like {wanted!r}, not one")
        found[key] = matching[0]
    return found


def files() -> list[dict[str, str]]:
    """The files that do the lab's work, whole."""
    return [
        {"file": _path(module), "code": inspect.getsource(import_module(module)).rstrip()}
        for module in FILES
    ]


def _path(module: str) -> str:
    return module.replace(".", "/") + ".py"
