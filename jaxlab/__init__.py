"""jaxlab: backpropagation by hand, compiled, and proven right every time.

    import jaxlab
    params = jaxlab.initialize(0, (784, 100, 10))
    J, grads = jaxlab.cost_and_grad(params, x, y)
    print(jaxlab.check_gradients(jaxlab.cost_and_grad, params, x, y, cost=jaxlab.cost))

This page is the public API. Read `backprop.py` first; everything else stands on it. Names are
imported when they are first used, so that `import jaxlab` does not wait for JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxlab.backprop import (
        Layer,
        Params,
        cost,
        cost_and_grad,
        cost_and_grad_flat,
        differentiable_cost,
        feed_forward,
        flatten,
        initialize,
        predict,
        unflatten,
    )
    from jaxlab.data import Digits, Examples, load_digits, one_hot
    from jaxlab.data.mnist import ImageSets, LabelledImages, load_mnist
    from jaxlab.errors import (
        CheckError,
        DataError,
        JaxlabError,
        OptionError,
        OutputError,
        ShapeError,
    )
    from jaxlab.gradcheck.check import assert_gradients, check_gradients
    from jaxlab.gradcheck.result import GradientCheck
    from jaxlab.losses import Loss, cross_entropy, sigmoid, softmax, squared_error
    from jaxlab.optimize import Trained, fit, minimize
    from jaxlab.results import Result
    from jaxlab.sweep import fit_together, predict_together

_MODULE_OF = {
    name: module
    for module, names in {
        "backprop": "Layer Params cost cost_and_grad cost_and_grad_flat differentiable_cost "
        "feed_forward flatten initialize predict unflatten",
        "data": "Digits Examples load_digits one_hot",
        "data.mnist": "ImageSets LabelledImages load_mnist",
        "errors": "CheckError DataError JaxlabError OptionError OutputError ShapeError",
        "gradcheck.check": "assert_gradients check_gradients",
        "gradcheck.result": "GradientCheck",
        "losses": "Loss cross_entropy sigmoid softmax squared_error",
        "optimize": "Trained fit minimize",
        "results": "Result",
        "sweep": "fit_together predict_together",
    }.items()
    for name in names.split()
}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'jaxlab' has no attribute {name!r}")
    # Kept, so that Python asks here once: otherwise each use takes longer than a small product.
    globals()[name] = getattr(import_module(f"jaxlab.{_MODULE_OF[name]}"), name)
    return globals()[name]


def __dir__() -> list[str]:
    return __all__
