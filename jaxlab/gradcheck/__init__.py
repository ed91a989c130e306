"""Is a gradient right? Three independent witnesses, block by block.

`numerical.py` has the witnesses, `check.py` their verdict. `jaxlab check` (`command.py`) judges
other people's functions: `process.py` runs them, `recognize.py` finds out what they compute,
`naming.py` what mistake they make. Names are imported when they are first used, so that the
command does not wait for JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxlab.gradcheck.check import BlockCheck, GradientCheck, assert_gradients, check_gradients

__all__ = ["BlockCheck", "GradientCheck", "assert_gradients", "check_gradients"]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module 'jaxlab.gradcheck' has no attribute {name!r}")
    return getattr(import_module("jaxlab.gradcheck.check"), name)
