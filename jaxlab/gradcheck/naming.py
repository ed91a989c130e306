"""Which mistake explains a wrong gradient of one of the lab's networks?

Every backward pass that breaks one rule (`rules.py`), or two, is compared with the gradient at
several parameter points. What a pass leaves unexplained in a block may be a change of that block
alone: a factor, a transposition, a weight decay. A mistake is named only where everything is
explained to rounding; of several explanations the shortest count, and equally short ones are all
named.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from jaxlab.gradcheck.mistakes import Mistake, name_from_numbers
from jaxlab.gradcheck.networks import Array, Blocks, Network, Params, Pass, Rule, backward, named
from jaxlab.gradcheck.rules import rules_of

# Candidates agree with float64 gradients to about 1e-13, with float32 ones to about 1e-6.
TOLERANCE = {"float64": 1e-9, "float32": 3e-5}
MOST_MISTAKES = 4
# More parameters than that, and there are too many pairs of rules to try.
LARGE = 5_000


@dataclass(frozen=True)
class Problem:
    """A gradient under test beside everything that it should follow from.

    mine: the gradient at each of the points. params: those points. Blocks that the function does
    not have (biases) are missing in `mine`. x: (m, units in), y: (m, units out).
    """

    mine: Sequence[Blocks]
    params: Sequence[Params]
    x: Array
    y: Array
    network: Network
    tolerance: float = TOLERANCE["float64"]

    @property
    def m(self) -> int:
        return len(self.x)

    def passes(self) -> list[Pass]:
        return [Pass(params, self.x, self.y, self.network) for params in self.params]

    @cached_property
    def floor(self) -> float:
        """Gradients below this are rounding errors of zero."""
        norms = [np.linalg.norm(g) for p in self.passes() for g in backward(p).values()]
        return max(1e-13, 3e-2 * self.tolerance * (self.tolerance > 1e-6)) * float(max(norms))

    def stacked(self, blocks: Sequence[Blocks]) -> Blocks:
        """Block → its values at all points, (points, *shape); rounding errors of zero are 0."""
        values = {name: np.stack([b[name] for b in blocks]) for name in self.mine[0]}
        return {
            name: value if not np.linalg.norm(value) <= self.floor else np.zeros_like(value)
            for name, value in values.items()
        }


# One thing that is wrong with a block alone: (id, detail); the same key in several blocks is one
# mistake.
Key = tuple[str, str]
Fix = tuple[Key, ...]


def name_mistakes(problem: Problem, pairs: bool = True) -> list[Mistake]:
    """The mistakes that explain the gradient to rounding; none where nothing does.

    pairs: try two rules of the network at once as well.

    Rules of the network first, numbers alone (`name_from_numbers`) where no rule explains them.
    """
    with np.errstate(all="ignore"):
        updated = _updated_parameters(problem)
        return updated or _by_rules(problem, pairs) or _by_numbers(problem)


def _updated_parameters(problem: Problem) -> list[Mistake]:
    """θ - η × gradient in place of the gradient: the function has done the step itself."""
    mine, g = problem.stacked(problem.mine), _joined(_right(problem))
    theta = problem.stacked([named(params) for params in problem.params])
    step = _joined(theta) - _joined(mine)
    rate = _ratio(step, g)
    # The difference to θ has lost the digits that a short step leaves to θ.
    if not 1e-4 < abs(rate) < 1e4 or not _close(step, rate * g, 1e3 * problem.tolerance):
        return []
    what = f"θ - {rate:.4g} × the gradient" if rate > 0 else f"θ + {-rate:.4g} × the gradient"
    return [
        Mistake(
            "updated parameters",
            ", ".join(mine),
            f"{what} is returned, the parameters after a step: return the gradient itself",
        )
    ]


def is_one_factor(problem: Problem) -> bool:
    """Whether the whole gradient is off by one factor, which may be that of the cost."""
    mine, right = _joined(problem.stacked(problem.mine)), _joined(_right(problem))
    k = _ratio(mine, right)
    return bool(k) and _close(mine, k * right, 1e-4)


def what_is_known(problem: Problem) -> str:
    """Where nothing fits: which blocks are right, and so which δ must be."""
    right = _right(problem)
    ok = {n: _close(problem.stacked(problem.mine)[n], right[n], problem.tolerance) for n in right}
    L = len(problem.params[0]) + 1
    known = [l for l in range(1, L) if all(ok.get(f"{kind}{l}", True) for kind in "Wb")]
    text = "No single mistake or pair of mistakes that this checker knows explains the numbers."
    top = next((l for l in range(L - 1, 0, -1) if l not in known), 0)
    delta = f"δ{top + 1}"
    if ok.get(f"b{top}") and not ok[f"W{top}"]:
        return (
            f"{text} b{top} is right, so {delta} is; the mistake is in {delta} a{top}ᵀ, W{top}'s "
            "gradient."
        )
    if ok.get(f"W{top}"):
        return (
            f"{text} W{top} is right, so {delta} is; the mistake is in how b{top}'s gradient sums "
            f"{delta}."
        )
    if top < L - 1:
        names = ", ".join(n for l in known if l > top for n in (f"W{l}", f"b{l}") if n in ok)
        return (
            f"{text} {names} are right, so δ{L if top == L - 2 else f'{top + 2} … δ{L}'} and "
            f"a{top + 1} are; the mistake lies between δ{top + 2} and the gradient of W{top}, in "
            f"{delta} first."
        )
    return (
        f"{text} The output layer's blocks are wrong already: look at {delta} first, then at how "
        "the gradient is put together (its order, its weight decay)."
    )


# --- explanations: rules, and what they leave to single blocks ---


def _by_rules(problem: Problem, pairs: bool) -> list[Mistake]:
    mine = problem.stacked(problem.mine)
    passes = problem.passes()
    right = problem.stacked([backward(p) for p in passes])
    found: list[tuple[tuple, dict[str, list[Fix]] | None]] = [((), _fixes(problem, mine, right))]
    rules, candidates = [], []
    for rule in rules_of(passes[0]):
        candidate = _candidate(problem, passes, mine, (rule,))
        # A rule that changes nothing here explains nothing.
        if candidate and not _same(candidate[0], right, 1e-12):
            rules.append(rule)
            candidates.append(candidate)
            found.append(((candidate[1],), _fixes(problem, mine, candidate[0])))
    best = min((_length(ruled, fixes) for ruled, fixes in found), default=MOST_MISTAKES + 1)
    if best > 1 and pairs:
        found += list(_pairs(problem, passes, mine, rules, [c[0] for c in candidates]))
    best = min(_length(ruled, fixes) for ruled, fixes in found)
    if best > MOST_MISTAKES:
        return []
    mistakes: dict[tuple[str, str], Mistake] = {}
    for ruled, fixes in found:
        if fixes is not None and _length(ruled, fixes) == best:
            for mistake in [*_ruled(problem, right, ruled), *_fixed(problem, fixes)]:
                mistakes.setdefault((mistake.id, mistake.block), mistake)
    return list(mistakes.values())


def _pairs(problem, passes, mine, rules, singles) -> Iterator[tuple]:
    """Pairs of rules that explain everything.

    A block that only one rule of the pair reaches must be explained by that rule alone.
    """
    right = problem.stacked([backward(p) for p in passes])
    decay = _decay(problem)
    want = {name: mine[name] - decay[name] for name in mine}
    reach = [{n for n in mine if not _close(s[n], right[n], 1e-12)} for s in singles]
    fits = [{n for n in mine if _close(s[n], want[n], problem.tolerance)} for s in singles]
    wrong = {n for n in mine if not _close(right[n], want[n], problem.tolerance)}
    for i, j in combinations(range(len(rules)), 2):
        alone_i, alone_j = reach[i] - reach[j], reach[j] - reach[i]
        if not (wrong <= reach[i] | reach[j] and alone_i <= fits[i] and alone_j <= fits[j]):
            continue
        for pair in ((rules[i], rules[j]), (rules[j], rules[i])):
            candidate = _candidate(problem, passes, mine, pair)
            if candidate and _same(candidate[0], want, problem.tolerance):
                yield tuple((rule, candidate[1][1]) for rule in pair), {n: [()] for n in mine}
                break


def _candidate(problem, passes, mine, rules: Sequence[Rule]):
    """The data gradient with the rules broken, stacked, and (rule, its unknown)."""
    try:
        for p in passes:
            p.t = 0.0
        blocks = problem.stacked([backward(p, rules) for p in passes])
        free = next((rule for rule in rules if rule.free), None)
        if free:
            start = blocks[free.fits]
            for p in passes:
                p.t = 1.0
            slope = problem.stacked([backward(p, rules) for p in passes])[free.fits] - start
            if not (np.isfinite(slope).all() and np.isfinite(start).all()):
                return None
            # mine = k (start + t slope): the update, and perhaps a factor besides.
            data = (mine[free.fits] - _decay(problem)[free.fits]).ravel()
            columns = np.stack([start.ravel(), slope.ravel()], axis=1)
            k, kt = np.linalg.lstsq(columns, data, rcond=None)[0]
            t = float(kt / k)
            if not np.isfinite(t) or abs(t) < 1e-9:
                return None
            for p in passes:
                p.t = t
            blocks = problem.stacked([backward(p, rules) for p in passes])
    except ValueError:
        return None
    return blocks, (rules[0], passes[0].t if free else 0.0)


def _length(ruled: tuple, fixes: Mapping[str, list[Fix]] | None) -> int:
    if fixes is None:
        return MOST_MISTAKES + 1
    return len(ruled) + len(_chosen(fixes))


def _chosen(fixes: Mapping[str, list[Fix]], all_of_them: bool = False) -> dict[Key, list[str]]:
    """Key → blocks, with the fix for each block that most blocks share.

    all_of_them: where several are shared by as many, each of them and not the first alone.
    """
    counts = Counter(fix for alternatives in fixes.values() for fix in set(alternatives))
    blocks: dict[Key, list[str]] = {}
    for name, alternatives in fixes.items():
        most = max(counts[fix] for fix in alternatives)
        best = [fix for fix in alternatives if counts[fix] == most]
        for key in dict.fromkeys(key for fix in (best if all_of_them else best[:1]) for key in fix):
            blocks.setdefault(key, []).append(name)
    return blocks


def _ruled(problem: Problem, right: Blocks, ruled: tuple) -> Iterator[Mistake]:
    passes = problem.passes()
    for rule, t in ruled:
        for p in passes:
            p.t = t
        blocks = problem.stacked([backward(p, (rule,)) for p in passes])
        reached = [n for n in blocks if not _close(blocks[n], right[n], 1e-12)]
        text = rule.explanation.format(t=t) if rule.free else rule.explanation
        yield Mistake(rule.id, ", ".join(reached), text)


def _fixed(problem: Problem, fixes: Mapping[str, list[Fix]]) -> Iterator[Mistake]:
    for (id, detail), names in _chosen(fixes, all_of_them=True).items():
        block = ", ".join(names)
        yield Mistake(id, block, _plural(detail, len(names)).replace("{block}", block))


def _plural(detail: str, count: int) -> str:
    """A sentence about {block}, for several blocks."""
    if count == 1 or not detail.startswith("{block}"):
        return detail
    for one, several in (
        ("{block} is", "{block} are"),
        ("{block} has", "{block} have"),
        ("what it should be", "what they should be"),
        ("it never gets its gradient", "they never get their gradients"),
        ("its units", "their units"),
        ("its signs", "their signs"),
    ):
        detail = detail.replace(one, several)
    return detail


# --- a block alone ---


def _fixes(problem: Problem, mine: Blocks, candidate: Blocks) -> dict[str, list[Fix]] | None:
    """For every block the fixes that turn the candidate into mine; None where one has none."""
    theta = problem.stacked([named(params) for params in problem.params])
    fixes: dict[str, list[Fix]] = {}
    for name in mine:
        found = list(_block_fixes(problem, name, mine, candidate, theta[name]))
        if not found:
            return None
        shortest = min(map(len, found))
        fixes[name] = [fix for fix in found if len(fix) == shortest]
    return fixes


def _block_fixes(problem, name: str, every: Blocks, candidate: Blocks, theta: Array):
    """Fixes, from the simplest: nothing, a factor, a weight decay, another form of the block."""
    mine = every[name]
    decay = problem.network.decay.get(name, 0.0)
    g, tolerance = candidate[name], problem.tolerance
    data = mine - decay * theta
    if _close(mine, g + decay * theta, tolerance):
        yield ()
        return
    if not np.isfinite(mine).all():
        yield (("not a number", "{block} has entries that are nan or infinite"),)
        return
    if not mine.any():
        yield (("zero", "{block} is zero: it never gets its gradient"),)
    k = _ratio(mine, g + decay * theta)
    if k and _close(mine, k * (g + decay * theta), tolerance):
        yield (_factor(k, problem.m, len(theta[0])),)
        return
    if decay:
        k = _ratio(data, g)
        if k and _close(data, k * g, tolerance):
            yield (_factor(k, problem.m, len(theta[0])),)
            return
    c = _ratio(mine - g, theta)
    if _close(mine, g + c * theta, tolerance):
        yield (_decay_key(c, decay, problem.m, name),)
        return
    for key, form, factors in _forms(name, data, candidate, every, tolerance):
        if _close(data, form, tolerance):
            yield (key,)
            continue
        k = _ratio(data, form)
        if k and _close(data, k * form, tolerance):
            m, units = problem.m, data[0].size
            listed = factors and any(np.isclose(k, f) for f in (1, m, 1 / units, m / units))
            yield (key,) if listed else (key, _factor(k, m, len(theta[0])))
    if mine.size > 4:
        (k, c), *_ = np.linalg.lstsq(
            np.stack([g.ravel(), theta.ravel()], axis=1), mine.ravel(), rcond=None
        )
        if _close(mine, k * g + c * theta, tolerance):
            yield (
                _factor(k, problem.m, len(theta[0])),
                _decay_key(c, decay, problem.m, name),
            )


def _forms(
    name: str, data: Array, candidate: Blocks, mine: Blocks, tolerance: float
) -> Iterator[tuple[Key, Array, bool]]:
    """Other forms of a block: (what it is called, its values, factors belong to it)."""
    g = candidate[name]
    points = len(g)
    empty = [i for i in range(g.shape[1]) if not data[:, i].any() and g[:, i].any()]
    if empty and len(empty) < g.shape[1]:
        form = g.copy()
        form[:, empty] = 0
        units = ", ".join(str(i + 1) for i in empty)
        yield (
            ("unit left out", f"unit {units} of {{block}} is zero: its loop misses it"),
            form,
            False,
        )
    if g.ndim == 3:
        for mirrored, how in (
            (g.transpose(0, 2, 1).reshape(points, *g.shape[1:]), "rows for columns"),
            (
                g.reshape(points, -1).reshape(points, *g.shape[:0:-1]).transpose(0, 2, 1),
                "columns for rows",
            ),
        ):
            square = g.shape[1] == g.shape[2]
            key = ("transposed", "{block} is transposed: the product is δ aᵀ, not a δᵀ")
            if not square:
                key = ("reshaped", f"{{block}} is read in the other order, {how}")
            yield key, mirrored, False
        columns = [i for i in range(g.shape[2]) if not data[:, :, i].any() and g[:, :, i].any()]
        if columns and len(columns) < g.shape[2]:
            form = g.copy()
            form[:, :, columns] = 0
            which = ", ".join(str(i + 1) for i in columns)
            yield (
                ("input left out", f"column {which} of {{block}} is zero: its loop misses it"),
                form,
                False,
            )
        sums = g.sum(axis=1, keepdims=True) + 0 * g
        yield ("summed over units", "{block} is summed over its units"), sums, False
    if g[0].size > 1:
        everything = g.reshape(points, -1).sum(axis=1).reshape(points, *[1] * (g.ndim - 1)) + 0 * g
        # Softmax minus one-hot sums to 0, but for rounding.
        everything[np.abs(everything) < 1e-11 * np.linalg.norm(g)] = 0
        yield (
            ("summed over everything",
             "{block} is summed over all units too: sum over the examples alone (axis of the "
             "examples)"),
            everything, True,
        )  # fmt: skip
        yield ("reversed", "{block} has its units in reverse order"), g[:, ::-1], False
    yield ("absolute value", "{block} has lost its signs"), np.abs(g), False
    for other, theirs in candidate.items():
        if other != name and theirs.shape == g.shape:
            pair = " and ".join(sorted((name, other)))
            if _close(mine[other], g, tolerance):
                yield ("swapped", f"the gradients of {pair} are swapped"), theirs, False
            elif g.ndim == 3:  # of biases it is δ of another layer
                yield (
                    ("gradient of another block", f"{{block}} has the gradient of {other}"),
                    theirs,
                    False,
                )


def _factor(k: float, m: int, units: int) -> Key:
    """The name of a factor: times m, 1/m, 2, -1, …"""
    table = (
        (m, "1/m forgotten", f"{{block}} is m = {m} times what it should be: divide by m"),
        (1 / m, "1/m twice", f"{{block}} is 1/m = 1/{m} of what it should be: 1/m is there twice"),
        (-1, "sign", "{block} has the wrong sign: a - y, not y - a"),
        (-m, "sign and 1/m",
         f"{{block}} is -m = -{m} times what it should be: write a - y, and divide by m"),
        (-1 / m, "sign and 1/m",
         f"{{block}} is -1/m = -1/{m} times what it should be: write a - y, 1/m once"),
        (2, "factor", "{block} is 2 times what it should be: the ½ of the cost cancels the 2"),
        (0.5, "factor", "{block} is ½ of what it should be: the ½ of the cost is in it twice, or "
         "the 2 of the square is missing"),
        (m / max(m - 1, 1), "1/(m-1)",
         f"{{block}} is divided by m - 1 = {m - 1}: divide by m = {m}"),
        (1 / m**2, "1/m twice", f"{{block}} is 1/m² = 1/{m * m} of what it should be"),
        (m / 2, "factor", f"{{block}} is m/2 = {m / 2:g} times what it should be"),
        (2 / m, "factor", f"{{block}} is 2/m = 2/{m} of what it should be"),
    )  # fmt: skip
    for value, id, text in table:
        if np.isclose(k, value, rtol=1e-4):
            return id, text
    if np.isclose(k, 1 / units, rtol=1e-4) and units > 1:
        return "factor", f"{{block}} is 1/{units} of what it should be: averaged over the units too"
    return "factor", f"{{block}} is {k:.6g} times what it should be"


def _decay_key(c: float, decay: float, m: int, name: str) -> Key:
    """The name of a weight decay with coefficient c where the cost has `decay`."""
    if not decay:
        what = "the bias" if name.startswith("b") else "{block}"
        id = "bias decayed" if name.startswith("b") else "decay not in the cost"
        return id, f"{what} is decayed ({c:+.4g} × {{block}}), but the cost has no such term"
    if abs(c) < 1e-7 * abs(decay):
        return (
            "decay missing",
            f"the weight decay of the cost is missing: add {decay:.4g} × {{block}}"
            + ", or leave the biases out of the cost's, as is usual" * name.startswith("b"),
        )
    for factor, id, how in (
        (-1, "decay sign", "has the wrong sign"),
        (1 / m, "decay factor", f"is divided by m = {m} once too often"),
        (m, "decay factor", f"is m = {m} times too large: divide it by m"),
        (2, "decay factor", "is 2 times too large: the ½ of ½λ‖W‖² cancels the 2"),
        (
            0.5,
            "decay factor",
            "is half of what it should be: the derivative of λ‖W‖² is 2λW, that of ½λ‖W‖² is λW",
        ),
    ):
        if np.isclose(c, factor * decay, rtol=1e-4):
            return id, f"the weight decay of {{block}} {how}"
    return (
        "decay factor",
        f"the weight decay of {{block}} is {c / decay:.6g} times what it should be",
    )


# --- small things ---


def _by_numbers(problem: Problem) -> list[Mistake]:
    first = problem.mine[0]
    right = {name: block[0] for name, block in _right(problem).items()}
    theta = named(problem.params[0])
    params = {name: theta[name] for name in first}
    return name_from_numbers(first, right, params, m=problem.m)


def _right(problem: Problem) -> Blocks:
    data = problem.stacked([backward(p) for p in problem.passes()])
    decay = _decay(problem)
    return {name: data[name] + decay[name] for name in data}


def _decay(problem: Problem) -> Blocks:
    theta = problem.stacked([named(params) for params in problem.params])
    return {n: problem.network.decay.get(n, 0.0) * block for n, block in theta.items()}


def _joined(blocks: Blocks) -> Array:
    return np.concatenate([block.ravel() for block in blocks.values()])


def _close(one: Array, other: Array, tolerance: float) -> bool:
    size = max(np.abs(one).max(), np.abs(other).max())
    return bool(np.abs(one - other).max() <= tolerance * size)


def _same(one: Blocks, other: Blocks, tolerance: float) -> bool:
    return all(_close(one[name], other[name], tolerance) for name in one)


def _ratio(one: Array, other: Array) -> float:
    size = float((other * other).sum())
    return float((one * other).sum()) / size if size else float("nan")
