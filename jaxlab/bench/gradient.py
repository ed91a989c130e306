"""Cost and gradient of a network with one hidden layer: by hand, by autograd, by others."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxlab
from jaxlab.bench import pytorch
from jaxlab.bench.timing import Row, take_turns
from jaxlab.exercises.ex1 import n_parameters
from jaxlab.precision import enable_x64

# Layers of units, examples in a batch.
WORK = (
    ((8, 5, 10), 100),
    ((784, 25, 10), 100),
    ((784, 100, 10), 100),
    ((784, 300, 10), 40),
    ((784, 300, 10), 6000),
    ((784, 1000, 10), 20),
    ((784, 1000, 10), 1000),
)
GOALS = {"jax.value_and_grad": 1.0, "NumPy": 1.0, "PyTorch": 1.0, "scikit-learn": 1.0}


def rows() -> Iterator[Row]:
    """One row for each size, batch and dtype."""
    for dtype in ("float32", "float64"):
        for sizes, m in WORK:
            with enable_x64(dtype == "float64"):
                yield _row(sizes, m, dtype)


def _row(sizes: tuple[int, ...], m: int, dtype: str) -> Row:
    rng = np.random.default_rng(0)
    x = rng.random((m, sizes[0])).astype(dtype)
    y = np.eye(sizes[-1], dtype=dtype)[rng.integers(0, sizes[-1], m)]
    params = jaxlab.initialize(0, sizes, dtype=dtype)
    on_device = (jax.tree.map(jnp.asarray, params), jnp.asarray(x), jnp.asarray(y))
    autograd = jax.jit(jax.value_and_grad(jaxlab.cost))
    contenders: dict[str, Callable[[], object]] = {
        "jaxlab": lambda: jax.block_until_ready(jaxlab.cost_and_grad(*on_device)),
        "jax.value_and_grad": lambda: jax.block_until_ready(autograd(*on_device)),
        "NumPy": _numpy(params, x, y),
    }
    notes = [_memory(on_device, autograd)]
    for name, make in (("PyTorch", _torch), ("PyTorch, compiled", _torch_compiled),
                       ("scikit-learn", _sklearn)):  # fmt: skip
        try:
            call = make(params, x, y)
            call()
            contenders[name] = call
        except Exception as error:  # not installed, no C++ compiler, another version's internals
            notes.append(f"{name}: {type(error).__name__}: {str(error).splitlines()[0]}")
    times = take_turns(contenders)
    return Row(
        work=f"{'-'.join(map(str, sizes))}, m = {m:,}, {dtype}",
        times=times,
        goals={who: goal for who, goal in GOALS.items() if who in times},
        # Forward, and twice backward; the first layer's inputs need no gradient.
        operations=2 * m * (3 * n_parameters(sizes) - sizes[0] * sizes[1]),
        dtype=dtype,
        notes=tuple(notes),
    )


def _memory(arguments: Any, autograd: Any) -> str:
    """Temporary memory of both compiled programs, as XLA counts it."""
    analyses = [
        program.lower(*arguments).compile().memory_analysis()
        for program in (jaxlab.cost_and_grad, autograd)
    ]
    ours, theirs = (found.temp_size_in_bytes / 1e6 if found else float("nan") for found in analyses)
    return f"temporary memory: jaxlab {ours:.2f} MB, jax.value_and_grad {theirs:.2f} MB"


def _numpy(params, x, y) -> Callable[[], object]:
    """The same formulas in NumPy."""
    (W1, b1), (W2, b2) = (map(np.asarray, layer) for layer in params)
    m = len(x)

    def call():
        a2 = 1 / (1 + np.exp(-(x @ W1.T + b1)))
        a3 = 1 / (1 + np.exp(-(a2 @ W2.T + b2)))
        error = a3 - y
        J = 0.5 * np.square(error).sum() / m
        delta3 = error * a3 * (1 - a3)
        delta2 = (delta3 @ W2) * a2 * (1 - a2)
        return J, (delta2.T @ x / m, delta2.sum(0) / m, delta3.T @ a2 / m, delta3.sum(0) / m)

    return call


def torch_cost(params, x, y):
    """PyTorch itself, the parameters as its tensors, and the same cost of them."""
    import torch

    leaves = [pytorch.tensor(leaf).requires_grad_() for layer in params for leaf in layer]
    x, y = pytorch.tensor(x), pytorch.tensor(y)

    def cost(W1, b1, W2, b2):
        a2 = torch.sigmoid(torch.nn.functional.linear(x, W1, b1))
        a3 = torch.sigmoid(torch.nn.functional.linear(a2, W2, b2))
        return 0.5 * torch.square(a3 - y).sum() / len(x)

    return torch, leaves, cost


def _torch(params, x, y, wrap=lambda cost: cost) -> Callable[[], object]:
    torch, leaves, cost = torch_cost(params, x, y)
    cost = wrap(cost)

    def call():
        J = cost(*leaves)
        grads = torch.autograd.grad(J, leaves)
        pytorch.done()
        return J, grads

    return call


def _torch_compiled(params, x, y) -> Callable[[], object]:
    import torch

    return _torch(params, x, y, wrap=torch.compile)


def _sklearn(params, x, y) -> Callable[[], object]:
    """MLPClassifier's own pass: sigmoid outputs with log loss, whose δ has one product less."""
    from sklearn.neural_network import MLPClassifier

    hidden = params[0].W.shape[0]
    network = MLPClassifier((hidden,), activation="logistic", max_iter=1, alpha=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one iteration is not enough
        network.fit(x[:20], y[:20].astype(int))
    network.coefs_ = [np.asarray(layer.W).T.copy() for layer in params]
    network.intercepts_ = [np.asarray(layer.b).copy() for layer in params]
    layers = [x, np.empty((len(x), hidden), x.dtype), np.empty(y.shape, x.dtype)]
    deltas = [np.empty_like(layer) for layer in layers[1:]]
    coef_grads = [np.empty_like(W) for W in network.coefs_]
    intercept_grads = [np.empty_like(b) for b in network.intercepts_]

    def call():
        return network._backprop(x, y, None, layers, deltas, coef_grads, intercept_grads)

    return call
