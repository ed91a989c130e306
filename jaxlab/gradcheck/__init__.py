"""Is a gradient right? Three independent witnesses, block by block.

`numerical.py` has the witnesses, `check.py` their verdict.
"""

from jaxlab.gradcheck.check import BlockCheck, GradientCheck, assert_gradients, check_gradients

__all__ = ["BlockCheck", "GradientCheck", "assert_gradients", "check_gradients"]
