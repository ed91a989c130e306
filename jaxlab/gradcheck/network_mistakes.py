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

from jaxlab.gradcheck.block_fixes import Fix, Key, block_fixes, close, ratio
from jaxlab.gradcheck.factors import FACTORS
from jaxlab.gradcheck.mistakes import Mistake, name_from_numbers
from jaxlab.gradcheck.networks import Array, Blocks, Network, Params, Pass, Rule, backward, named
from jaxlab.gradcheck.rules import rules_of
from jaxlab.gradcheck.sums import norm
from jaxlab.wording import listed

# Candidates agree with float64 gradients to about 1e-13, with float32 ones to about 1e-6.
TOLERANCE = {"float64": 1e-9, "float32": 3e-5}
MOST_MISTAKES = 4
# More parameters than that, and there are too many pairs of rules to try.
LARGE = 5_000


@dataclass(frozen=True)
class WrongGradient:
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
        norms = [norm(g) for p in self.passes() for g in backward(p).values()]
        return max(1e-13, 3e-2 * self.tolerance * (self.tolerance > 1e-6)) * float(max(norms))

    def stacked(self, blocks: Sequence[Blocks]) -> Blocks:
        """Block → its values at all points, (points, *shape); rounding errors of zero are 0."""
        values = {name: np.stack([b[name] for b in blocks]) for name in self.mine[0]}
        return {
            name: value if not norm(value) <= self.floor else np.zeros_like(value)
            for name, value in values.items()
        }


def name_mistakes(problem: WrongGradient, pairs: bool = True) -> list[Mistake]:
    """The mistakes that explain the gradient to rounding; none where nothing does.

    pairs: try two rules of the network at once as well.

    Rules of the network first, numbers alone (`name_from_numbers`) where no rule explains them.
    """
    with np.errstate(all="ignore"):
        updated = _updated_parameters(problem)
        return updated or _by_rules(problem, pairs) or _by_numbers(problem)


def _updated_parameters(problem: WrongGradient) -> list[Mistake]:
    """θ - η × gradient in place of the gradient: the function has done the step itself."""
    mine, g = problem.stacked(problem.mine), _joined(_right(problem))
    theta = problem.stacked([named(params) for params in problem.params])
    step = _joined(theta) - _joined(mine)
    rate = ratio(step, g)
    # Where θ is tiny beside the gradient, a mere factor looks like that as well.
    if close(_joined(mine), ratio(_joined(mine), g) * g, 1e3 * problem.tolerance):
        return []
    # The difference to θ has lost the digits that a short step leaves to θ.
    if not 1e-4 < abs(rate) < 1e4 or not close(step, rate * g, 1e3 * problem.tolerance):
        return []
    what = f"θ - {rate:.4g} × the gradient" if rate > 0 else f"θ + {-rate:.4g} × the gradient"
    return [
        Mistake(
            "updated parameters",
            ", ".join(mine),
            f"{what} is returned, the parameters after a step: return the gradient itself",
        )
    ]


def is_one_factor(problem: WrongGradient) -> bool:
    """Whether the gradient, or all of it but weight decay, is off by one factor: perhaps J is."""
    mine, right = _joined(problem.stacked(problem.mine)), _joined(_right(problem))
    for rest in (0.0, _joined(_decay(problem))):
        k = ratio(mine - rest, right - rest)
        if k and close(mine - rest, k * (right - rest), 1e-4):
            return True
    return False


def what_is_known(problem: WrongGradient) -> str:
    """Where nothing fits: which blocks are right, and so which δ must be."""
    right = _right(problem)
    ok = {n: close(problem.stacked(problem.mine)[n], right[n], problem.tolerance) for n in right}
    L = len(problem.params[0]) + 1
    known = [l for l in range(1, L) if all(ok.get(f"{kind}{l}", True) for kind in "Wb")]
    text = "No single mistake or pair of mistakes that this checker knows explains the numbers."
    top = next((l for l in range(L - 1, 0, -1) if l not in known), 0)
    if not top:
        return (
            f"{text} At most random parameters the gradient is right, at some it is not: look for "
            "a condition, or for a norm that is clipped."
        )
    delta = f"δ{top + 1}"
    if ok.get(f"b{top}") and not ok[f"W{top}"]:
        return (
            f"{text} b{top} is right, so {delta} is; the mistake is in {delta} a{top}ᵀ, W{top}'s "
            f"gradient{', or in its weight decay' * (f'W{top}' in problem.network.decay)}."
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


def _by_rules(problem: WrongGradient, pairs: bool) -> list[Mistake]:
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
    best = min(_length(ruled, fixes) for ruled, fixes in found)
    if best > 1 and pairs:
        found += list(_pairs(problem, passes, mine, rules, [c[0] for c in candidates]))
    best = min(_length(ruled, fixes) for ruled, fixes in found)
    if best > MOST_MISTAKES:
        return []
    mistakes: dict[tuple[str, str], Mistake] = {}
    for ruled, fixes in found:
        if fixes is not None and _length(ruled, fixes) == best:
            for mistake in [*_ruled(problem, right, ruled), *_fixed(problem, fixes, not ruled)]:
                mistakes.setdefault((mistake.id, mistake.block), mistake)
    return list(mistakes.values())


def _pairs(problem, passes, mine, rules, singles) -> Iterator[tuple]:
    """Pairs of rules that explain everything.

    A block that only one rule of the pair reaches must be explained by that rule alone.
    """
    right = problem.stacked([backward(p) for p in passes])
    decay = _decay(problem)
    want = {name: mine[name] - decay[name] for name in mine}
    reach = [{n for n in mine if not close(s[n], right[n], 1e-12)} for s in singles]
    fits = [{n for n in mine if close(s[n], want[n], problem.tolerance)} for s in singles]
    wrong = {n for n in mine if not close(right[n], want[n], problem.tolerance)}
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
        free = next((rule for rule in rules if rule.fits), None)
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
    """Key → blocks, each by the fix that it has in common with the most other blocks.

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


def _ruled(problem: WrongGradient, right: Blocks, ruled: tuple) -> Iterator[Mistake]:
    passes = problem.passes()
    for rule, t in ruled:
        for p in passes:
            p.t = t
        blocks = problem.stacked([backward(p, (rule,)) for p in passes])
        reached = [n for n in blocks if not close(blocks[n], right[n], 1e-12)]
        text = rule.explanation.format(t=t) if rule.fits else rule.explanation
        yield Mistake(rule.id, ", ".join(reached), text)


def _fixed(
    problem: WrongGradient, fixes: Mapping[str, list[Fix]], alone: bool
) -> Iterator[Mistake]:
    """alone: no rule of the network is broken besides."""
    mine, right = problem.stacked(problem.mine), _right(problem)
    for (id, detail), names in _chosen(fixes, all_of_them=True).items():
        block = ", ".join(names)
        text = _plural(detail, len(names)).replace("{block}", block)
        if alone and id in FACTORS and all(len(fix) == 1 for n in names for fix in fixes[n]):
            apart = [
                name for name in names
                if problem.network.decay.get(name)
                and not close(mine[name], ratio(mine[name], right[name]) * right[name], 1e-4)
            ]  # fmt: skip
            if apart:
                text += f". The weight decay in {listed(apart)} is right: leave that as it is"
        yield Mistake(id, block, text)


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


def _fixes(problem: WrongGradient, mine: Blocks, candidate: Blocks) -> dict[str, list[Fix]] | None:
    """For every block the fixes that turn the candidate into mine; None where one has none."""
    theta = problem.stacked([named(params) for params in problem.params])
    fixes: dict[str, list[Fix]] = {}
    for name in mine:
        decay = problem.network.decay.get(name, 0.0)
        found = list(
            block_fixes(
                name, mine, candidate, theta[name],
                decay=decay, m=problem.m, tolerance=problem.tolerance,
            )
        )  # fmt: skip
        if not found:
            return None
        shortest = min(map(len, found))
        fixes[name] = [fix for fix in found if len(fix) == shortest]
    return fixes


# --- small things ---


def _by_numbers(problem: WrongGradient) -> list[Mistake]:
    first = problem.mine[0]
    right = {name: block[0] for name, block in _right(problem).items()}
    theta = named(problem.params[0])
    params = {name: theta[name] for name in first}
    return name_from_numbers(first, right, params, m=problem.m)


def _right(problem: WrongGradient) -> Blocks:
    data = problem.stacked([backward(p) for p in problem.passes()])
    decay = _decay(problem)
    return {name: data[name] + decay[name] for name in data}


def _decay(problem: WrongGradient) -> Blocks:
    theta = problem.stacked([named(params) for params in problem.params])
    return {n: problem.network.decay.get(n, 0.0) * block for n, block in theta.items()}


def _joined(blocks: Blocks) -> Array:
    return np.concatenate([block.ravel() for block in blocks.values()])


def _same(one: Blocks, other: Blocks, tolerance: float) -> bool:
    return all(close(one[name], other[name], tolerance) for name in one)
