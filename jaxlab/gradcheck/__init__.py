"""Is a gradient right, and if not, which mistake is it? By up to three independent witnesses.

From Python: `check.py` is the entry, `functions.py` takes whatever function is given,
`verdict.py` judges it, `numerical.py` and `witnesses.py` have the witnesses, `mistakes.py` the
names of mistakes, `result.py` and `table.py` what comes out. `network_mistakes.py` names mistakes
in one of the lab's networks: it tries backward passes that break a rule (`networks.py`,
`rules.py`). `known_cost.py` tells whether a cost is that of such a network.

`files/` is `jaxlab check`, which judges other people's files. Names are imported when they are
first used, so that the command does not wait for JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxlab.gradcheck.check import assert_gradients, check_gradients
    from jaxlab.gradcheck.mistakes import Mistake
    from jaxlab.gradcheck.result import BlockCheck, GradientCheck

_MODULE_OF = {
    "BlockCheck": "result",
    "GradientCheck": "result",
    "Mistake": "mistakes",
    "assert_gradients": "check",
    "check_gradients": "check",
}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'jaxlab.gradcheck' has no attribute {name!r}")
    return getattr(import_module(f"jaxlab.gradcheck.{_MODULE_OF[name]}"), name)
