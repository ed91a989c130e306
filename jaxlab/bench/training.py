"""Training: the classifier of exercise 2, the autoencoder of exercise 4, the sweep of exercise 5,
full-batch L-BFGS.

Same network, cost, optimiser, batch size and number of epochs, data in memory; a time is that of
EPOCHS epochs, or of a whole L-BFGS, without compilation.
"""

import warnings
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxlab
from jaxlab.backprop import layer_sizes
from jaxlab.bench import pytorch
from jaxlab.bench.timing import Row, take_turns
from jaxlab.cores import at_once
from jaxlab.exercises.ex1 import n_parameters

M, BATCH, EPOCHS = 6000, 100, 3
CLASSIFIERS = {25: 3.0, 100: 2.5, 500: 2.5}
AUTOENCODERS = {64: 2.0, 400: 1.5}
# The classifiers of exercise 5, ten for each seed.
SWEEP, SEEDS = (4, 6, 10, 16, 25, 40, 65, 110, 180, 300), 5


def rows() -> Iterator[Row]:
    """One row for each size of classifier, then of autoencoder, then the sweep, then L-BFGS."""
    digits = jaxlab.load_digits()
    x = digits.train.x[:M]
    targets = jaxlab.one_hot(digits.train.y[:M])
    for hidden, goal in CLASSIFIERS.items():
        yield _epochs((784, hidden, 10), x, targets, goal)
    for hidden, goal in AUTOENCODERS.items():
        yield _epochs((784, hidden, 784), x, None, goal)
    yield _sweep(x, targets)
    yield _lbfgs((784, 25, 10), x, targets)


def _epochs(sizes, x, targets, goal: float) -> Row:
    params = jaxlab.initialize(0, sizes)
    contenders: dict[str, Callable[[], object]] = {"jaxlab": _jaxlab(params, x, targets)}
    notes, goals = [], {}
    makers = {"PyTorch": _torch, "PyTorch, compiled": _torch_compiled}
    if targets is not None:
        makers["scikit-learn"] = _sklearn
    for who, make in makers.items():
        try:
            call = make(params, x, targets)
            call()
        except Exception as error:  # not installed, no C++ compiler, …
            notes.append(f"{who}: {type(error).__name__}: {str(error).splitlines()[0]}")
        else:
            contenders[who] = call
            goals[who] = 3.0 if who == "scikit-learn" else goal
    times = take_turns(contenders, blocks=5)
    name = "classifier" if targets is not None else "autoencoder"
    weights = n_parameters(sizes)
    return Row(
        f"{EPOCHS} epochs of the {name} {'-'.join(map(str, sizes))}, m = {len(x):,}, batch {BATCH}",
        times,
        goals,
        operations=EPOCHS * 2 * len(x) * (3 * weights - sizes[0] * sizes[1]),
        notes=tuple(notes),
    )


def _jaxlab(params, x, targets) -> Callable[[], object]:
    optimizer = optax.adam(0.01)
    x, targets = jnp.asarray(x), None if targets is None else jnp.asarray(targets)

    def call():
        return jax.block_until_ready(
            jaxlab.fit(
                params, x, targets, seed=0, optimizer=optimizer, epochs=EPOCHS, batch_size=BATCH
            )
        )

    return call


def _torch(params, x, targets, wrap=lambda function: function) -> Callable[[], object]:
    import torch

    inputs = pytorch.tensor(x)
    wanted = inputs if targets is None else pytorch.tensor(targets)

    def forward_cost(network, rows, wanted):
        return 0.5 * torch.square(network(rows) - wanted).sum() / len(rows)

    network = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], params[0].W.shape[0]), torch.nn.Sigmoid(),
        torch.nn.Linear(*params[1].W.shape[::-1]), torch.nn.Sigmoid(),
    ).to(inputs.device)  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), 0.01, fused=True)
    cost = wrap(forward_cost)

    def call():
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(inputs), device=inputs.device).split(BATCH):
                optimizer.zero_grad()
                cost(network, inputs[rows], wanted[rows]).backward()
                optimizer.step()
        pytorch.done()

    return call


def _torch_compiled(params, x, targets) -> Callable[[], object]:
    import torch

    return _torch(params, x, targets, wrap=torch.compile)


def _sklearn(params, x, targets) -> Callable[[], object]:
    """MLPClassifier: softmax outputs with log loss, the closest that it has."""
    from sklearn.neural_network import MLPClassifier

    labels = targets.argmax(1)
    network = MLPClassifier(
        (params[0].W.shape[0],), activation="logistic", solver="adam", learning_rate_init=0.01,
        batch_size=BATCH, max_iter=EPOCHS, alpha=0.0, tol=0.0,
    )  # fmt: skip

    def call():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that so few epochs are not enough
            network.fit(x, labels)

    return call


def _sweep(x, targets) -> Row:
    """As exercise 5 trains them: those of a seed together, and as many seeds at once as cores."""
    networks = {
        seed: [jaxlab.initialize(seed, (784, hidden, 10)) for hidden in SWEEP]
        for seed in range(SEEDS)
    }
    every = [network for of_a_seed in networks.values() for network in of_a_seed]
    one_by_one = [_jaxlab(network, x, targets) for network in every]
    optimizer, notes = optax.adam(0.01), []
    on_device = jnp.asarray(x), jnp.asarray(targets)

    def together(seed: int, advance) -> object:
        return jaxlab.fit_together(
            networks[seed], *on_device, seed=seed, optimizer=optimizer, epochs=EPOCHS,
            batch_size=BATCH, on_progress=lambda *_: advance(),
        )  # fmt: skip

    contenders: dict[str, Callable[[], object]] = {
        "jaxlab": lambda: at_once(together, range(SEEDS), lambda: None),
        "jaxlab, one after another": lambda: [call() for call in one_by_one],
    }
    try:
        in_torch = [_torch(network, x, targets) for network in every]
        contenders["PyTorch, one after another"] = lambda: [call() for call in in_torch]
    except ImportError as error:
        notes.append(f"PyTorch: {error}")
    goals = {"jaxlab, one after another": 1.5, "PyTorch, one after another": 4.0}
    return Row(
        f"{EPOCHS} epochs of {len(every)} classifiers: {len(SWEEP)} sizes of {SWEEP[0]} to "
        f"{SWEEP[-1]} hidden units, {SEEDS} seeds",
        take_turns(contenders, blocks=3),
        {who: goal for who, goal in goals.items() if who in contenders},
        notes=tuple(notes),
    )


def _lbfgs(sizes, x, targets) -> Row:
    """Time to the J that jaxlab's 100 iterations reach."""
    params = jaxlab.initialize(0, sizes)
    on_device = jnp.asarray(x), jnp.asarray(targets)

    def ours() -> jaxlab.Trained:
        return jax.block_until_ready(
            jaxlab.minimize(params, *on_device, iterations=100, tolerance=0.0)
        )

    J = float(ours().history[-1])
    contenders: dict[str, Callable[[], object]] = {
        "jaxlab": ours,
        "SciPy L-BFGS-B, NumPy": _scipy_lbfgs(params, x, targets, J),
    }
    notes = []
    try:
        contenders["PyTorch LBFGS"] = _torch_lbfgs(params, x, targets, J)
    except ImportError as error:
        notes.append(f"PyTorch: {error}")
    return Row(
        f"L-BFGS of {'-'.join(map(str, sizes))} on {len(x):,} examples to J = {J:.4f}",
        take_turns(contenders, blocks=3),
        {who: 2.0 for who in contenders if who != "jaxlab"},
        notes=tuple(notes),
    )


class _Reached(Exception):
    """J is as low as asked."""


def _scipy_lbfgs(params, x, targets, J: float) -> Callable[[], object]:
    from scipy.optimize import minimize

    n_in, hidden, n_out = layer_sizes(params)
    theta0 = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])
    theta0 = theta0.astype(np.float64)
    ends = np.cumsum([hidden * n_in, hidden, n_out * hidden, n_out])
    m = len(x)

    def cost_and_grad(theta):
        W1, b1, W2, b2 = np.split(theta.astype(np.float32), ends[:-1])
        W1, W2 = W1.reshape(hidden, n_in), W2.reshape(n_out, hidden)
        with np.errstate(over="ignore"):  # e^(-z) of a line search that went far
            a2 = 1 / (1 + np.exp(-(x @ W1.T + b1)))
            a3 = 1 / (1 + np.exp(-(a2 @ W2.T + b2)))
        error = a3 - targets
        delta3 = error * a3 * (1 - a3)
        delta2 = (delta3 @ W2) * a2 * (1 - a2)
        grads = (delta2.T @ x, delta2.sum(0), delta3.T @ a2, delta3.sum(0))
        found = 0.5 * float(np.square(error).sum()) / m
        if found <= J:
            raise _Reached
        return found, (np.concatenate([np.ravel(g) for g in grads]) / m).astype(np.float64)

    def call():
        options = {"maxiter": 2000, "maxfun": 4000, "ftol": 0.0, "gtol": 0.0}
        try:
            minimize(cost_and_grad, theta0, jac=True, method="L-BFGS-B", options=options)
        except _Reached:
            return

    return call


def _torch_lbfgs(params, x, targets, J: float) -> Callable[[], object]:
    import torch

    inputs, wanted = pytorch.tensor(x), pytorch.tensor(targets)

    def call():
        leaves = [pytorch.tensor(leaf).requires_grad_() for leaf in jax.tree.leaves(params)]
        optimizer = torch.optim.LBFGS(
            leaves, max_iter=2000, history_size=10, line_search_fn="strong_wolfe",
            tolerance_grad=0.0, tolerance_change=0.0,
        )  # fmt: skip

        def closure():
            optimizer.zero_grad()
            W1, b1, W2, b2 = leaves
            a2 = torch.sigmoid(torch.nn.functional.linear(inputs, W1, b1))
            a3 = torch.sigmoid(torch.nn.functional.linear(a2, W2, b2))
            found = 0.5 * torch.square(a3 - wanted).sum() / len(inputs)
            if found.item() <= J:
                raise _Reached
            found.backward()
            return found

        try:
            optimizer.step(closure)
        except _Reached:
            return

    return call
