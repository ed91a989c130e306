"""The lab's networks in plain NumPy and float64, with a backward pass that can break one rule.

`backward` is the lab sheet's pass (section 1.2) for any depth, taken apart into named steps. A
`Rule` replaces what one step computes; with none, the gradient is right. `rules.py` has the
rules that people break, `network_mistakes.py` finds the one that explains a given gradient.

Blocks are named W1, b1, …; layers are numbered as on the lab sheet: a[1] = x, δ[L] belongs to
the output, W[l] leads from layer l to layer l + 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

Array = np.ndarray
Params = Sequence[tuple[Array, Array]]
Blocks = dict[str, Array]


def sigmoid(z: Array) -> Array:
    """σ(z) = 1 / (1 + e^(-z)), without overflow (lab sheet, section 1.2)."""
    return 0.5 * (1 + np.tanh(0.5 * z))


def softmax(z: Array) -> Array:
    """softmax over the units of one example, one example a row (lab sheet, 6.1)."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# name: (activation, its derivative from z and a)
ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "sigmoid": (sigmoid, lambda z, a: a * (1 - a)),
    "tanh": (np.tanh, lambda z, a: 1 - a**2),
    "relu": (lambda z: np.maximum(z, 0), lambda z, a: (z > 0).astype(float)),
    "linear": (lambda z: z, lambda z, a: np.ones_like(z)),
    "softmax": (softmax, lambda z, a: a * (1 - a)),
}


def _squared(z: Array, a: Array, y: Array) -> float:
    """Σ ½ ‖a - y‖² (lab sheet, equation 1)."""
    return float(0.5 * ((a - y) ** 2).sum())


def _softmax_entropy(z: Array, a: Array, y: Array) -> float:
    """-Σ y log softmax(z) (Bishop 2006, equation 4.108)."""
    shifted = z - z.max(axis=1, keepdims=True)
    return float(-(y * (shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))).sum())


def _log_loss(z: Array, a: Array, y: Array) -> float:
    """-Σ y log σ(z) + (1 - y) log(1 - σ(z)) (Bishop 2006, equation 4.90)."""
    return float((np.logaddexp(0, z) - y * z).sum())


@dataclass(frozen=True)
class Loss:
    """An output activation and a cost summed over the examples.

    cancels: the derivative of the activation cancels against that of the cost: δ(L) = a - y.
    """

    text: str
    output: str
    cost: Callable[[Array, Array, Array], float]
    cancels: bool


LOSSES = {
    "squared error": Loss("squared error, sigmoid outputs", "sigmoid", _squared, False),
    "cross-entropy": Loss("cross-entropy, softmax outputs", "softmax", _softmax_entropy, True),
    "log loss": Loss("cross-entropy (log loss), sigmoid outputs", "sigmoid", _log_loss, True),
    "linear": Loss("squared error, linear outputs", "linear", _squared, False),
}


@dataclass(frozen=True)
class Network:
    """What a cost function computes: factor × Σ loss over the examples + Σ ½ decay ‖block‖²
    + beta Σ KL(rho ‖ ρ̂) over the units of layer 2, whose means over the examples are ρ̂.

    decay: block name → coefficient; blocks that are missing have none. The last term is that of a
    sparse autoencoder (Ng 2011, CS294A lecture notes, section 3); beta is 0 where there is none.
    """

    loss: str = "squared error"
    hidden: str = "sigmoid"
    factor: float = 1.0
    decay: dict[str, float] = field(default_factory=dict)
    rho: float = 0.05
    beta: float = 0.0


class Pass:
    """The pieces of one forward and backward pass, in the lab sheet's symbols.

    params: (W, b) for each layer of weights, W (units out, units in). x: (m, units in), y: (m,
    units out). `backward` adds back (a - y, or Wᵀδ), prime and delta, by layer. sparse: what
    sparsity adds to back of layer 2. t is the unknown of a rule that has one (the step of an
    update).
    """

    def __init__(self, params: Params, x: Array, y: Array, network: Network) -> None:
        self.W = {l: W for l, (W, _) in enumerate(params, start=1)}
        self.b = {l: b for l, (_, b) in enumerate(params, start=1)}
        self.x, self.y, self.m, self.network = x, y, len(x), network
        self.loss, self.L = LOSSES[network.loss], len(params) + 1
        self.z: dict[int, Array] = {}
        self.a: dict[int, Array] = {1: x}
        for l in range(1, self.L):
            self.z[l + 1] = self.a[l] @ self.W[l].T + self.b[l]
            self.a[l + 1] = ACTIVATIONS[self.activation(l + 1)][0](self.z[l + 1])
        self.back: dict[int, Array] = {}
        self.prime: dict[int, Array] = {}
        self.delta: dict[int, Array] = {}
        self.sparse = np.zeros(1)
        self.t = 0.0

    def activation(self, l: int) -> str:
        """The name of layer l's activation."""
        return self.network.hidden if l < self.L else self.loss.output

    def derivative(self, l: int) -> Array:
        """σ′ of layer l, (m, units)."""
        return ACTIVATIONS[self.activation(l)][1](self.z[l], self.a[l])

    def data_cost(self) -> float:
        """Σ over the examples of the loss, without factor and decay."""
        return self.loss.cost(self.z[self.L], self.a[self.L], self.y)

    def divergence(self) -> float:
        """Σ KL(rho ‖ ρ̂) over the units of layer 2."""
        rho, mean = self.network.rho, self.a[2].mean(axis=0)
        return float((rho * np.log(rho / mean) + (1 - rho) * np.log((1 - rho) / (1 - mean))).sum())

    def of_sparsity(self, weight: float) -> Array:
        """weight × ∂KL/∂ρ̂ of each unit of layer 2, (m, units)."""
        rho, mean = self.network.rho, self.a[2].mean(axis=0)
        return weight * ((1 - rho) / (1 - mean) - rho / mean) + 0 * self.a[2]


@dataclass(frozen=True)
class Rule:
    """A rule of the backward pass, broken.

    steps: which (step, layer) it changes, see `backward`. change(p, l, right value) → the wrong
    one; a ValueError where shapes do not fit, and the rule cannot be broken this way. fits:
    the block that depends linearly on the rule's unknown, p.t; empty where there is no unknown.
    """

    id: str
    steps: frozenset[tuple[str, int]]
    change: Callable[[Pass, int, Array], Array]
    explanation: str
    fits: str = ""


def backward(p: Pass, rules: Sequence[Rule] = ()) -> Blocks:
    """∂(factor × Σ loss)/∂W(l) and ∂b(l) (lab sheet, section 1.2), with `rules` broken.

    With sparsity, without weight decay. Raises ValueError where a broken rule makes shapes that
    do not fit.
    """

    changes: dict[tuple[str, int], list[Callable]] = {}
    for rule in rules:
        for key in rule.steps:
            changes.setdefault(key, []).append(rule.change)
    step = partial(_step, p, changes)
    L = p.L
    p.back[L] = step("error", L, step("output", L, p.a[L]) - step("target", L, p.y))
    p.prime[L] = step("prime", L, np.ones_like(p.y) if p.loss.cancels else p.derivative(L))
    p.delta[L] = step("delta", L, p.back[L] * p.prime[L])
    for l in range(L - 1, 1, -1):
        p.back[l] = step("back", l, p.delta[l + 1] @ p.W[l])
        if l == 2 and p.network.beta:
            beta = p.network.beta / (p.network.factor * p.m)  # the gradients take factor once
            p.sparse = step("sparse", l, p.of_sparsity(beta))
            p.back[l] = p.back[l] + p.sparse
        p.prime[l] = step("prime", l, p.derivative(l))
        p.delta[l] = step("delta", l, p.back[l] * p.prime[l])

    factor, grads = p.network.factor, {}
    for l in range(1, L):
        into = step("into", l, p.a[l])
        grads[f"W{l}"] = factor * step("left W", l, p.delta[l + 1]).T @ into
        grads[f"b{l}"] = factor * step("left b", l, p.delta[l + 1]).sum(axis=0)
    return grads


def _step(p, changes, name, l, right):
    """The right value, or what the broken rules make of it."""
    value = right
    for change in changes.get((name, l), ()):
        value = change(p, l, value)
    if value is not right and value.shape != right.shape:
        raise ValueError(f"{name} of layer {l} has shape {value.shape}, not {right.shape}")
    return value


def cost_and_grad(params: Params, x: Array, y: Array, network: Network) -> tuple[float, Blocks]:
    """J and the right gradient, weight decay included; shapes as in `Pass`."""
    p = Pass(params, x, y, network)
    J, grads = network.factor * p.data_cost(), backward(p)
    if network.beta:
        J += network.beta * p.divergence()
    for name, block in named(params).items():
        decay = network.decay.get(name, 0.0)
        J += 0.5 * decay * float((block**2).sum())
        grads[name] = grads[name] + decay * block
    return J, grads


def named(params: Params) -> Blocks:
    """W1, b1, W2, … of the layers."""
    return {
        f"{kind}{l}": block
        for l, layer in enumerate(params, start=1)
        for kind, block in zip("Wb", layer, strict=True)
    }
