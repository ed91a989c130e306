"""The rules of backpropagation that people break, each with the lab sheet's formula.

Adding a mistake is one entry in a table. An entry is (id, the wrong value as a function of the
pass p, the layer l and the right value, explanation); in an explanation {l} and {n} are l and
l + 1, {prime} is the derivative of layer l's activation. The mistakes are those of issue threads
and forum pages, and their relatives. Factors, zeros, transposed blocks and weight decay need no
entry: `block_fixes.py` sees them block by block.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jaxlab.gradcheck.networks import ACTIVATIONS, Pass, Rule, sigmoid, softmax

Entry = tuple[str, Callable[..., np.ndarray], str]
Change = Callable[[Pass, int, np.ndarray], np.ndarray]

ERROR = "δ({l}) = (a({l}) - y) × {prime}"
HIDDEN = "δ({l}) = W({l})ᵀ δ({n}) × {prime}"
# σ′(z) of the activations that a layer may have.
DERIVATIVES = {
    "sigmoid": "a({l})(1 - a({l}))",
    "softmax": "a({l})(1 - a({l}))",
    "tanh": "(1 - a({l})²)",
    "relu": "(z({l}) > 0)",
    "linear": "1",
}
GRADIENTS = "∂J/∂W({l}) = 1/m Σ δ({n}) a({l})ᵀ, ∂J/∂b({l}) = 1/m Σ δ({n})"


OUTPUT: tuple[tuple[str, Entry], ...] = (
    ("target", (
        "target shifted", lambda p, l, y: np.roll(y, 1, axis=1),
        "y is one class too high in δ({l}): labels start at 0 or at 1, use the same in the "
        "gradient as in J")),
    ("target", (
        "target shifted", lambda p, l, y: np.roll(y, -1, axis=1),
        "y is one class too low in δ({l}): labels start at 0 or at 1, use the same in the "
        "gradient as in J")),
    ("target", (
        "wrong target", lambda p, l, y: np.roll(y, 1, axis=0),
        "δ({l}) compares each example with the target of the one before it")),
    ("target", (
        "wrong target", lambda p, l, y: np.roll(y, -1, axis=0),
        "δ({l}) compares each example with the target of the one after it")),
    ("target", (
        "target missing", lambda p, l, y: np.zeros_like(y),
        "y is never subtracted: write a({l}) - y, not a({l}), in δ({l})")),
    ("output", (
        "softmax over the wrong axis", lambda p, l, a: softmax(p.z[l].T).T,
        "softmax is taken over the examples: each example's outputs must sum to 1, so divide by "
        "the sum over the units")),
    ("output", (
        "softmax over everything", lambda p, l, a: softmax_over_everything(p.z[l]),
        "softmax divides by the sum over the whole batch: divide by each example's own sum")),
    ("output", (
        "sigmoid in place of softmax", lambda p, l, a: sigmoid(p.z[l]) if p.loss.output != "sigmoid"
        else softmax(p.z[l]),
        "δ({l}) uses another activation than J does: a({l}) must be the output that J is computed "
        "from")),
    ("output", (
        "z in place of a at the output", lambda p, l, a: p.z[l],
        "δ({l}) has z({l}) - y: write a({l}) - y, the activation")),
    ("error", (
        "error squared", lambda p, l, e: 0.5 * e**2,
        "δ({l}) has the cost ½(a - y)² in place of its derivative a - y")),
    ("error", (
        "error squared", lambda p, l, e: e**2,
        "δ({l}) has (a - y)² in place of the derivative of ½(a - y)², which is a - y")),
    ("error", (
        "absolute error", lambda p, l, e: np.abs(e),
        "δ({l}) has |a - y|: keep the sign, a - y")),
)  # fmt: skip


def softmax_over_everything(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return e / e.sum()


# σ′ of a layer, where it belongs.
PRIME: tuple[Entry, ...] = (
    ("derivative missing", lambda p, l, s: np.ones_like(s),
     "the derivative σ′(z({l})) is missing in δ({l})"),
    ("derivative of a in place of z", lambda p, l, s: sigmoid(p.a[l]) * (1 - sigmoid(p.a[l])),
     "σ is applied twice in δ({l}): σ′(z({l})) is {prime}; a({l}) is σ(z({l})) already"),
    ("a(1+a)", lambda p, l, s: p.a[l] * (1 + p.a[l]),
     "the derivative in δ({l}) has a plus sign: it is {prime}"),
    ("derivative is a", lambda p, l, s: p.a[l],
     "the derivative in δ({l}) is a({l}) alone: it is {prime}"),
    ("derivative is 1-a", lambda p, l, s: 1 - p.a[l],
     "the derivative in δ({l}) is 1 - a({l}) alone: it is {prime}"),
    ("derivative twice", lambda p, l, s: s**2,
     "the derivative {prime} stands twice in δ({l})"),
    ("derivative from z", lambda p, l, s: p.z[l] * (1 - p.z[l]),
     "the derivative in δ({l}) is z({l})(1 - z({l})): it is {prime}"),
    ("derivative of tanh", lambda p, l, s: 1 - p.a[l] ** 2,
     "the derivative in δ({l}) is tanh's, 1 - a²: it is {prime}"),
    ("derivative of sigmoid", lambda p, l, s: p.a[l] * (1 - p.a[l]),
     "the derivative in δ({l}) is the sigmoid's, a(1 - a): it is {prime}"),
    ("σ in place of σ′", lambda p, l, s: sigmoid(p.a[l]),
     "δ({l}) has σ(a({l})) in place of the derivative {prime}"),
    ("1-a²", lambda p, l, s: p.a[l] * (1 - p.a[l] ** 2),
     "the derivative in δ({l}) is a(1 - a²): it is {prime}"),
    ("a²(1-a)", lambda p, l, s: p.a[l] ** 2 * (1 - p.a[l]),
     "the derivative in δ({l}) is a²(1 - a): it is {prime}"),
    ("a(1-a)²", lambda p, l, s: p.a[l] * (1 - p.a[l]) ** 2,
     "the derivative in δ({l}) is a(1 - a)²: it is {prime}"),
)  # fmt: skip

# Where cross-entropy cancels σ′: δ(L) = a(L) - y.
CANCELLED: tuple[tuple[str, Entry], ...] = (
    ("prime", (
        "derivative where cross-entropy cancels it", lambda p, l, s: p.a[l] * (1 - p.a[l]),
        "δ({l}) has the factor a({l})(1 - a({l})), which cross-entropy cancels: "
        "δ({l}) = a({l}) - y")),
    ("prime", (
        "derivative where cross-entropy cancels it",
        lambda p, l, s: sigmoid(p.a[l]) * (1 - sigmoid(p.a[l])),
        "δ({l}) has the factor σ′(a({l})); cross-entropy cancels the derivative: "
        "δ({l}) = a({l}) - y")),
    ("delta", (
        "softmax treated elementwise", lambda p, l, d: -p.y * (1 - p.a[l]),
        "δ({l}) = -(y/a) × a(1 - a), which is a - y at the right class and 0 at all others: the "
        "derivatives of all outputs add up to δ({l}) = a({l}) - y")),
    ("delta", (
        "derivative of the output missing", lambda p, l, d: -p.y / p.a[l],
        "δ({l}) is ∂J/∂a = -y/a: times the derivative of the output it is a({l}) - y")),
    ("delta", (
        "derivative of the output missing",
        lambda p, l, d: (p.a[l] - p.y) / (p.a[l] * (1 - p.a[l])),
        "δ({l}) is ∂J/∂a = (a - y)/(a(1 - a)): times a(1 - a) it is a({l}) - y")),
    ("delta", (
        "target only at the wrong classes", lambda p, l, d: (p.a[l] - p.y) * (1 - p.y),
        "δ({l}) is zero at the right class: there it is a({l}) - 1")),
)  # fmt: skip

# What comes back through W(l) to layer l.
BACK: tuple[Entry, ...] = (
    ("W not transposed", lambda p, l, _: p.delta[l + 1] @ p.W[l].T,
     "δ({l}) uses W({l}) where W({l})ᵀ belongs: " + HIDDEN),
    ("W reshaped", lambda p, l, _: p.delta[l + 1] @ reread(p.W[l].T, p.W[l].shape),
     "δ({l}) uses W({l}) read in the other order (rows for columns)"),
    ("W reshaped", lambda p, l, _: p.delta[l + 1] @ reread(p.W[l], p.W[l].shape[::-1]).T,
     "δ({l}) uses W({l}) read in the other order (columns for rows): transpose it, don't reshape"),
    ("W missing in δ", lambda p, l, s: alike(p.delta[l + 1], s),
     "δ({l}) is δ({n}) without W({l})ᵀ: " + HIDDEN),
    ("W missing in δ", lambda p, l, s: p.delta[l + 1].sum(axis=1, keepdims=True) + 0 * s,
     "δ({l}) sums δ({n}) without the weights W({l}): " + HIDDEN),
    ("gradient of W in place of W", lambda p, l, _: p.delta[l + 1] @ gradient(p, l),
     "δ({l}) uses the gradient of W({l}) in place of W({l}): " + HIDDEN),
    ("gradient of W in place of W", lambda p, l, _: p.delta[l + 1] @ gradient(p, l) / p.m,
     "δ({l}) uses the gradient of W({l}) in place of W({l}): " + HIDDEN),
    ("bias column kept", lambda p, l, _: p.delta[l + 1] @ np.column_stack([p.b[l], p.W[l]])[:, :-1],
     "δ({l}) uses the bias column as if it were a weight: drop it (the first column of Theta) "
     "before W({l})ᵀ δ({n})"),
    ("bias column kept",
     lambda p, l, _: p.delta[l + 1] @ np.column_stack([p.W[l], p.b[l]])[:, 1:],
     "δ({l}) uses the bias column as if it were a weight: drop it (the last column) before "
     "W({l})ᵀ δ({n})"),
    ("δ without derivative", lambda p, l, _: p.back[l + 1] @ p.W[l],
     "δ({l}) is computed from the error of layer {n} before its derivative (at the output the raw "
     "a - y), in place of δ({n}): " + HIDDEN),
    ("bias added in δ", lambda p, l, s: s + p.b[l - 1],
     "b is added on the way back: it has no place in " + HIDDEN),
)  # fmt: skip

# What meets δ(l + 1) in the gradient of W(l).
INTO: tuple[Entry, ...] = (
    ("z in place of a", lambda p, l, a: p.z[l] if l > 1 else does_not_fit(),
     "W{l}'s gradient has z({l}) where a({l}) belongs: " + GRADIENTS),
    ("σ applied twice", lambda p, l, a: sigmoid(a),
     "W{l}'s gradient has σ(a({l})) where a({l}) belongs: " + GRADIENTS),
    ("1-a in place of a", lambda p, l, a: 1 - a,
     "W{l}'s gradient has 1 - a({l}) where a({l}) belongs (a minus sign in σ): " + GRADIENTS),
    ("derivative in place of a", lambda p, l, a: a * (1 - a),
     "W{l}'s gradient has a(1 - a) where a({l}) belongs: " + GRADIENTS),
    ("examples mixed", lambda p, l, a: np.roll(a, 1, axis=0),
     "W{l}'s gradient pairs each δ({n}) with the activations of another example"),
    ("examples mixed", lambda p, l, a: np.roll(a, -1, axis=0),
     "W{l}'s gradient pairs each δ({n}) with the activations of another example"),
    ("mean of a in place of a", lambda p, l, a: a.mean(axis=0, keepdims=True) + 0 * a,
     "W{l}'s gradient multiplies averages: the product δ a of each example belongs inside the "
     "sum, " + GRADIENTS),
    ("W in place of a", lambda p, l, a: alike(p.W[l], a),
     "W{l}'s gradient has W({l}) where a({l}) belongs: " + GRADIENTS),
)  # fmt: skip


# What sparsity adds to W(2)ᵀ δ(3) in layer 2.
SPARSE_TERM = "δ(2) = (W(2)ᵀ δ(3) + β (-ρ/ρ̂ + (1 - ρ)/(1 - ρ̂))) × {prime}"
SPARSE: tuple[tuple[str, Entry], ...] = (
    ("sparse", (
        "sparsity missing", lambda p, l, s: 0 * s,
        "the sparsity of the cost is missing in δ({l}): " + SPARSE_TERM)),
    ("sparse", (
        "sparsity sign", lambda p, l, s: -s,
        "the sparsity in δ({l}) has the wrong sign: " + SPARSE_TERM)),
    ("sparse", (
        "sparsity factor", lambda p, l, s: s / p.m,
        "the sparsity in δ({l}) is divided by m once too often: " + SPARSE_TERM)),
    ("sparse", (
        "sparsity factor", lambda p, l, s: s * p.m,
        "the sparsity in δ({l}) is m times too large: " + SPARSE_TERM)),
    ("sparse", (
        "sparsity without β", lambda p, l, s: s / p.network.beta,
        "the sparsity in δ({l}) lacks its factor β: " + SPARSE_TERM)),
    ("sparse", (
        "half of the sparsity", lambda p, l, s: s * kept_part(p, first=True),
        "the sparsity in δ({l}) has -ρ/ρ̂ alone: " + SPARSE_TERM)),
    ("sparse", (
        "half of the sparsity", lambda p, l, s: s * kept_part(p, first=False),
        "the sparsity in δ({l}) has (1 - ρ)/(1 - ρ̂) alone: " + SPARSE_TERM)),
    ("sparse", (
        "sparsity of each example", lambda p, l, s: s * of_each_example(p),
        "the sparsity in δ({l}) has the activation of each example for their mean ρ̂: "
        + SPARSE_TERM)),
    ("delta", (
        "sparsity outside of the derivative",
        lambda p, l, d: d + p.sparse * (1 - p.derivative(l)),
        "the sparsity is added to δ({l}) after the derivative: " + SPARSE_TERM)),
)  # fmt: skip


def kept_part(p: Pass, *, first: bool) -> np.ndarray:
    """The share of -ρ/ρ̂, or of (1 - ρ)/(1 - ρ̂), in their sum."""
    rho, mean = p.network.rho, p.a[2].mean(axis=0)
    parts = -rho / mean, (1 - rho) / (1 - mean)
    return parts[0 if first else 1] / sum(parts)


def of_each_example(p: Pass) -> np.ndarray:
    """The sparsity of each example's activation as a multiple of that of their mean."""
    rho, mean = p.network.rho, p.a[2].mean(axis=0)
    return ((1 - rho) / (1 - p.a[2]) - rho / p.a[2]) / ((1 - rho) / (1 - mean) - rho / mean)


def does_not_fit() -> np.ndarray:
    raise ValueError("there is no such thing at this layer")


def alike(value: np.ndarray, other: np.ndarray) -> np.ndarray:
    return value if value.shape == other.shape else does_not_fit()


def reread(W: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """W's numbers in another shape; of a square W that is no more than its transposition."""
    return W.reshape(shape) if len(set(shape)) > 1 else does_not_fit()


def gradient(p: Pass, l: int) -> np.ndarray:
    """The gradient of W(l) as the pass stands, up to the factor of the cost."""
    return p.network.factor * p.delta[l + 1].T @ p.a[l]


def rules_of(p: Pass) -> list[Rule]:
    """Every rule that can be broken in a network like that of p.

    In one layer, or in all of them, as a loop over layers or one function for σ′ does it.
    """
    L = p.L
    rules = [_rule(p, entry, step, [L]) for step, entry in OUTPUT]
    if p.loss.cancels:
        rules += [_rule(p, entry, step, [L]) for step, entry in CANCELLED]
    hidden, weights = list(range(2, L)), list(range(1, L))
    for layers in _one_or_all(hidden, [] if p.loss.cancels else [*hidden, L]):
        formula = ERROR if layers == [L] else HIDDEN
        sheet = all(p.activation(l) == "sigmoid" for l in layers)
        whose = "Lab sheet" if sheet else "Here"
        rules += [
            _rule(p, (id, change, f"{text}. {whose}: {formula}"), "prime", layers)
            for id, change, text in PRIME
        ]
    for layers in _one_or_all(hidden):
        rules += [_rule(p, entry, "back", layers) for entry in BACK]
        rules += _updated(p, layers)
    for layers in _one_or_all(weights, hidden):
        rules += [_rule(p, entry, "into", layers) for entry in INTO]
    for l in weights:
        rules += list(_elsewhere(p, l))
    if p.network.beta:
        rules += [_rule(p, entry, step, [2]) for step, entry in SPARSE]
    rules += list(_examples(p))
    rules += list(_units(p))
    return rules


def _one_or_all(*several: list[int]) -> list[list[int]]:
    """Each layer alone, then each list of several together."""
    single = dict.fromkeys(l for layers in several for l in layers)
    together = {tuple(layers) for layers in several if len(layers) > 1}
    return [[l] for l in single] + [list(layers) for layers in sorted(together)]


def _rule(p: Pass, entry: Entry, step: str, layers: list[int]) -> Rule:
    id, change, explanation = entry
    text = explanation.format(**_symbols(p, layers))
    if len(layers) > 1:
        text = f"in every layer l of {', '.join(map(str, layers))}: {text}"
    return Rule(id, frozenset((step, layer) for layer in layers), change, text)


def _symbols(p: Pass, layers: list[int]) -> dict[str, Any]:
    """What stands for l, n and the derivative in an explanation."""
    l, n = (layers[0], layers[0] + 1) if len(layers) == 1 else ("l", "l+1")
    activations = {p.activation(layer) for layer in layers if layer > 1}
    same = len(activations) == 1
    prime = DERIVATIVES[activations.pop()].format(l=l) if same else f"σ′(z({l}))"
    return {"l": l, "n": n, "prime": prime}


def _updated(p: Pass, layers: list[int]) -> Iterator[Rule]:
    """W(l) already updated when δ(l) is computed from it; the step is unknown."""
    l = "l" if len(layers) > 1 else layers[0]
    decay = {layer: p.network.decay.get(f"W{layer}", 0.0) for layer in layers}
    by = [(decay, "its gradient")]
    if any(decay.values()):
        by.append((dict.fromkeys(layers, 0.0), "its gradient without weight decay"))
    for c, what in by:
        yield Rule(
            "W already updated",
            frozenset(("back", layer) for layer in layers),
            _through_updated(c),
            f"δ({l}) uses W({l}) after its update (W({l}) - {{t:.3g}} × {what}): compute every δ "
            "first, then update",
            fits=f"W{max(layers) - 1}",
        )


def _through_updated(decay: dict[int, float]) -> Change:
    def change(p: Pass, l: int, right: np.ndarray) -> np.ndarray:
        return right - p.t * p.delta[l + 1] @ (gradient(p, l) + decay[l] * p.W[l])

    return change


def _elsewhere(p: Pass, l: int) -> Iterator[Rule]:
    """A quantity of another layer where layer l's belongs; where its shape fits."""
    n, L = l + 1, p.L
    for j in range(1, L + 1):
        if j != l:
            yield Rule(
                "a of another layer",
                frozenset({("into", l)}),
                _a_of(j),
                f"W{l}'s gradient has {'x' if j == 1 else f'a({j})'} where "
                f"{'x' if l == 1 else f'a({l})'} belongs: " + GRADIENTS.format(l=l, n=n),
            )
        if j > 1 and j != n:
            for part in ("W", "b"):
                yield Rule(
                    "δ of another layer",
                    frozenset({(f"left {part}", l)}),
                    _delta_of(j),
                    f"{part}{l}'s gradient has δ({j}) where δ({n}) belongs: "
                    + GRADIENTS.format(l=l, n=n),
                )
            yield Rule(
                "δ of another layer",
                frozenset({("left W", l), ("left b", l)}),
                _delta_of(j),
                f"the gradients of W{l} and b{l} have δ({j}) where δ({n}) belongs: "
                + GRADIENTS.format(l=l, n=n),
            )
        if l > 1 and j not in (l, 1):
            yield Rule(
                "derivative of another layer",
                frozenset({("prime", l)}),
                _derivative_of(j),
                f"δ({l}) has the derivative of layer {j}: " + HIDDEN.format(**_symbols(p, [l])),
            )
            yield Rule(
                "W of another layer",
                frozenset({("back", l)}),
                _back_through(l + 1, j),
                f"δ({l}) uses W({j}): " + HIDDEN.format(**_symbols(p, [l])),
            )
        if 1 < l < L - 1 and j == L:
            yield Rule(
                "δ of another layer",
                frozenset({("back", l)}),
                _back_through(j, l),
                f"δ({l}) is computed from δ({j}), it must be from δ({n}): "
                + HIDDEN.format(**_symbols(p, [l])),
            )
    # Too little behind δ: the raw error, or W(l)ᵀδ before its derivative.
    what = "the raw error a - y" if n == L else f"W({n})ᵀ δ({n + 1}) without its derivative"
    # In both blocks of the first layer it is the derivative missing in δ(2) itself.
    for parts in (("W",), ("b",), *[("W", "b")] * (n > 2)):
        yield Rule(
            "δ without derivative",
            frozenset((f"left {part}", l) for part in parts),
            lambda p, _, right: p.back[n],
            f"the gradient of {' and '.join(f'{part}{l}' for part in parts)} has {what} where "
            f"δ({n}) belongs: " + (ERROR if n == L else HIDDEN).format(**_symbols(p, [n])),
        )


def _a_of(j: int) -> Change:
    return lambda p, _, right: alike(p.a[j], right)


def _delta_of(j: int) -> Change:
    return lambda p, _, right: alike(p.delta[j], right)


def _derivative_of(j: int) -> Change:
    return lambda p, _, right: alike(p.derivative(j), right)


def _back_through(j: int, l: int) -> Change:
    """δ(j) sent back through W(l); no such layer of weights: it does not fit."""
    return lambda p, _, right: p.delta[j] @ p.W[l] if l in p.W else does_not_fit()


def _examples(p: Pass) -> Iterator[Rule]:
    """Some examples never summed, everywhere or in one block."""
    m, L, is_sum = p.m, p.L, abs(p.network.factor) in (0.5, 1.0, 2.0)
    everywhere = frozenset({("delta", L)})
    for j in range(1, 4 if m > 3 else 1):
        some = "example is" if j == 1 else f"{j} examples are"
        for where, keep in (("first", slice(j, None)), ("last", slice(None, m - j))):
            text = f"the {where} {some} never summed: the sum runs over all m"
            yield Rule(f"{where} examples missed", everywhere, _only(keep), text)
            text += f", and 1/m is {m}⁻¹, not {m - j}⁻¹"
            yield Rule(f"{where} examples missed", everywhere, _only(keep, m / (m - j)), text)
    for where, index in (("first", 0), ("last", m - 1)):
        keep = slice(index, index + 1)
        for factor, how in ((1.0, f"divided by m = {m}"), (float(m), "not divided by m")):
            text = f"only the {where} example counts, {how}: sum over all m examples, then divide"
            if is_sum:
                text = f"only the {where} example counts{', m times' * (factor > 1)}: sum over all"
            yield Rule(f"{where} example only", everywhere, _only(keep, factor), text)
            for l in range(1, L):
                for parts in (("W",), ("b",), *[("W", "b")] * (L > 2)):
                    steps = frozenset((f"left {part}", l) for part in parts)
                    who = " and ".join(f"{part}{l}" for part in parts)
                    yield Rule(
                        f"{where} example only", steps, _only(keep, factor), f"in {who} {text}"
                    )
    for l in range(1, L):
        for parts in (("W",), ("b",), *[("W", "b")] * (L > 2)):
            for where, keep in (("first", slice(1, None)), ("last", slice(None, m - 1))):
                yield Rule(
                    f"{where} examples missed",
                    frozenset((f"left {part}", l) for part in parts),
                    _only(keep),
                    f"{' and '.join(f'{part}{l}' for part in parts)} never sum the {where} example",
                )
    # One hidden error for a loop's variable that was not renewed.
    derivative = ACTIVATIONS[p.network.hidden][1]
    for l in range(2, L):
        yield Rule(
            "derivative of one example",
            frozenset({("prime", l)}),
            lambda p, l, s: derivative(p.z[l][-1:], p.a[l][-1:]) + 0 * s,
            f"δ({l}) has the derivative of the last example for all examples",
        )


def _only(keep: slice, factor: float = 1.0) -> Change:
    def change(p: Pass, l: int, delta: np.ndarray) -> np.ndarray:
        kept = np.zeros_like(delta)
        kept[keep] = factor * delta[keep]
        return kept

    return change


def _units(p: Pass) -> Iterator[Rule]:
    """The first or last unit of a layer left out of its δ, and of all that follows from it."""
    for l in range(2, p.L + 1):
        units = p.a[l].shape[1]
        for where, unit in (("first", 0), ("last", units - 1)):
            if units > 1:
                yield Rule(
                    "unit left out",
                    frozenset({("delta", l)}),
                    _without(unit),
                    f"δ({l}) of the {where} unit of layer {l} is zero: loop over all {units} units",
                )
                yield Rule(
                    "unit left out",
                    frozenset({("back", l - 1)}),
                    _back_without(unit),
                    f"δ({l - 1}) leaves out the {where} unit of layer {l}: sum over all {units}",
                )


def _back_without(unit: int) -> Change:
    return lambda p, l, right: right - p.delta[l + 1][:, unit : unit + 1] * p.W[l][unit]


def _without(unit: int) -> Change:
    def change(p: Pass, l: int, delta: np.ndarray) -> np.ndarray:
        kept = delta.copy()
        kept[:, unit] = 0
        return kept

    return change
