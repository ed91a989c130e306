"""Is a gradient right, and if not, which mistake is it? By up to three independent witnesses.

`check.py` is the entry, `functions.py` takes whatever function is given, `verdict.py` judges it,
`numerical.py` and `witnesses.py` have the witnesses, `mistakes.py` the names of mistakes,
`result.py` and `table.py` what comes out.
"""

from jaxlab.gradcheck.check import assert_gradients, check_gradients
from jaxlab.gradcheck.mistakes import Mistake
from jaxlab.gradcheck.result import BlockCheck, GradientCheck

__all__ = ["BlockCheck", "GradientCheck", "Mistake", "assert_gradients", "check_gradients"]
