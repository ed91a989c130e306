"""Which mistake is it? Names read from the numbers alone, of any function.

A hypothesis makes a block out of the right gradient ("its transpose", "twice that"); it is named
when it equals the gradient under test to rounding, and only then. Where several fit equally well,
all of them are named and each says so; where none fits, nothing is.

`name_from_numbers` is the entry. `_readings_of_a_block` lists the hypotheses about one block: to
add one, write a function that yields `Reading`s and put it there.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from jaxlab.gradcheck.factors import Factor, read_factor, snap
from jaxlab.gradcheck.sums import inner, norm
from jaxlab.wording import listed

# What is left unexplained may be this share of what is wrong, and not more: a name that leaves a
# part of the error open is no explanation.
UNEXPLAINED = 1e-3
TOLERANCE = 1e-7
# Numbers that are this share of the right ones are zero, but for rounding.
NOTHING = 1e-14


@dataclass(frozen=True)
class Mistake:
    """A mistake by name: id is for machines, explanation for people.

    block: the block it is in, "W2", or "W1, W2" where several share it. Several mistakes with the
    same block are alternatives where their explanations say so, otherwise both were made.
    """

    id: str
    block: str
    explanation: str


def blocks_named(mistakes: Iterable[Mistake]) -> set[str]:
    """Every block that one of the mistakes is in."""
    return {block for mistake in mistakes for block in mistake.block.split(", ")}


@dataclass
class Reading:
    """One hypothesis that fits one block. {is}, {it}, {its}, {has} stand for the blocks' grammar.

    key: blocks whose readings share id and key are told together. weak: named only where another
    block has the same reading. both: one of two mistakes that were made together, and so no
    alternative to the other.
    """

    id: str
    key: object
    words: str
    weak: bool = False
    both: bool = False
    blocks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Block:
    name: str
    mine: np.ndarray
    right: np.ndarray
    params: np.ndarray
    scale: float
    examples: np.ndarray | None
    others: Mapping[str, np.ndarray]
    others_mine: Mapping[str, np.ndarray]
    sizes: frozenset[int]
    m: int | None
    tolerance: float

    @cached_property
    def error(self) -> float:
        return float(norm(self.mine - self.right))

    def equals(self, candidate: np.ndarray) -> bool:
        """Whether the candidate explains the block to rounding."""
        left = norm(self.mine - candidate)
        size = max(norm(self.mine), norm(candidate))
        fits = left <= self.tolerance * size and left <= UNEXPLAINED * self.error
        return bool(fits or left <= NOTHING * norm(self.right))

    def multiple_of(self, candidate: np.ndarray) -> float | None:
        """c where the block is c times the candidate, else None."""
        square = inner(candidate, candidate)
        if not square:
            return None
        c = float(inner(candidate, self.mine) / square)
        return c if c and self.equals(c * candidate) else None

    def factor(self, c: float) -> list[Factor]:
        return read_factor(c, self.m, self.sizes)


def name_from_numbers(
    mine: Mapping[str, np.ndarray],
    right: Mapping[str, np.ndarray],
    params: Mapping[str, np.ndarray],
    *,
    m: int | None = None,
    per_example: Mapping[str, np.ndarray] | None = None,
    tolerance: float = TOLERANCE,
) -> list[Mistake]:
    """The mistakes that explain, to rounding, how a gradient differs from the right one.

    mine, right, params: block → array of the same shape, float64. m: the number of examples that
    the cost is a mean of. per_example: block → (m, *shape), the gradient of each example, for
    "the last example is missed". tolerance: relative size of rounding in `right`; a block closer
    to the right one than that is right, and yields nothing.
    """
    sizes = frozenset(n for p in params.values() for n in np.shape(p) if n > 1)
    readings: list[Reading] = []
    with np.errstate(all="ignore"):
        for name in right:
            block = _block(name, mine, right, params, per_example, sizes, m, tolerance)
            if block is not None:
                for reading in _readings_of_a_block(block):
                    _join(readings, name, reading)
    strong = [r for r in readings if not r.weak]
    return [_mistake(reading, strong) for reading in strong]


def _block(name, mine, right, params, per_example, sizes, m, tolerance) -> _Block | None:
    """One block with its gradients scaled to about 1; None where it is right."""
    g, n = np.asarray(mine[name], np.float64), np.asarray(right[name], np.float64)
    finite = g[np.isfinite(g)]
    scale = max(np.abs(n).max(initial=0), np.abs(finite).max(initial=0)) or 1.0
    same = norm(g / scale - n / scale) <= tolerance * max(norm(g / scale), norm(n / scale))
    if same and finite.size == g.size:
        return None

    def scaled(array) -> np.ndarray:
        return np.atleast_1d(np.asarray(array, np.float64) / scale)

    return _Block(
        name,
        scaled(g),
        scaled(n),
        np.atleast_1d(np.asarray(params[name], np.float64)),
        float(scale),
        None if per_example is None or name not in per_example else scaled(per_example[name]),
        {other: scaled(right[other]) for other in right if other != name},
        {other: scaled(mine[other]) for other in right if other != name},
        sizes,
        m,
        tolerance,
    )


def _join(readings: list[Reading], name: str, new: Reading) -> None:
    for old in readings:
        if old.id == new.id and old.both == new.both and _same_key(old.key, new.key):
            old.blocks += [name] if name not in old.blocks else []
            old.weak = old.weak and new.weak
            return
    readings.append(replace(new, blocks=[name]))


def _same_key(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return bool(np.isclose(one, other, rtol=1e-5, atol=0))
    return one == other


def _mistake(reading: Reading, everything: list[Reading]) -> Mistake:
    instead = [
        other
        for other in everything
        if other is not reading
        and not (other.both and reading.both)
        and set(other.blocks) & set(reading.blocks)
    ]
    words = f"{listed(reading.blocks)} {_grammar(reading)}"
    if instead:
        also = ", or ".join(f"{listed(other.blocks)} {_grammar(other)}" for other in instead)
        words += f"; the same numbers come about where {also}"
    return Mistake(reading.id, ", ".join(reading.blocks), words)


def _grammar(reading: Reading) -> str:
    one = len(reading.blocks) == 1
    forms = {"is": "is", "it": "it", "its": "its", "has": "has", "s": "s"} if one else {
        "is": "are", "it": "they", "its": "their", "has": "have", "s": ""
    }  # fmt: skip
    return reading.words.format(**forms)


# --- the hypotheses ---


def _readings_of_a_block(block: _Block) -> list[Reading]:
    """Every single mistake that fits; only where none does, two at once."""
    if not np.isfinite(block.mine).all():
        return [_not_finite(block)]
    # A single number may have come out as zero.
    never = "{is} left at zero: no gradient is ever written there"
    zero = Reading("zero", None, never if block.mine.size > 1 else "{is} zero, and should not be")
    if not block.mine.any():
        return [zero]
    single = [
        *([zero] if block.equals(np.zeros_like(block.mine)) else _multiple(block)),
        *(r for r, candidate in _rearranged(block) if block.equals(candidate)),
        *_examples(block),
        *_decay(block),
    ]
    return [r for i, r in enumerate(single) if r not in single[:i]] or _two_at_once(block)


def _not_finite(block: _Block) -> Reading:
    where = np.argwhere(~np.isfinite(block.mine))
    n, total = len(where), block.mine.size
    place = (
        "everywhere" if n == total else f"in {n} of {total} entries, first at {_index(where[0])}"
    )
    return Reading("not a number", place, f"{{is}} not a number {place}")


def _multiple(block: _Block) -> Iterator[Reading]:
    c = block.multiple_of(block.right)
    if c is None:
        return
    for factor in block.factor(c):
        yield Reading(factor.id, factor.value, factor.words)
    if not block.factor(c) and block.mine.size > 1:
        # Any number at all: believed where nothing else makes a block proportional. A single
        # example or a single output unit does, by a wrong δ; then W is an outer product.
        matrix = block.right.ndim == 2 and np.linalg.matrix_rank(block.right, rtol=1e-6) > 1
        alone = not block.others and block.mine.size >= 10
        words = f"{{is}} {c:.6g} times what {{it}} should be"
        yield Reading("factor", c, words, weak=not (matrix or alone))


def _rearranged(block: _Block) -> Iterator[tuple[Reading, np.ndarray]]:
    """The right numbers in wrong places, or some of them left out: readings with what they mean."""
    n, shape = block.right, block.right.shape
    if n.ndim == 2 and min(shape) > 1:
        columns_read = n.ravel(order="F").reshape(shape)
        columns_written = n.ravel().reshape(shape, order="F")
        square = shape[0] == shape[1]
        transposed = "{is} transposed" + ("" if square else " (and reshaped to fit)")
        for candidate, order in (
            (columns_read, "flattened column by column, where row by row belongs"),
            (columns_written, "filled column by column, where row by row belongs"),
        ):
            yield Reading("transposed", None, transposed), candidate
            if not square:
                yield Reading("reshaped", order, f"{{is}} {order}"), candidate
        if square:
            order = "flattened in one order (rows, columns) and reshaped in the other"
            yield Reading("reshaped", order, f"{{is}} {order}"), columns_read
    for other, theirs in block.others.items():
        if theirs.size == n.size and theirs.any():
            yield _swapped(block, other), theirs.reshape(shape)
    yield from _left_out(block)
    yield from _summed_over_units(block)
    yield from _shifted(block)


def _swapped(block: _Block, other: str) -> Reading:
    back, here = block.others_mine[other], block.right
    mutual = np.allclose(back.ravel(), here.ravel(), rtol=1e-5, atol=1e-7 * np.abs(here).max())
    if mutual:
        return Reading("swapped", frozenset((block.name, other)), "{is} swapped")
    return Reading("swapped", (block.name, other), f"{{has}} the gradient of {other}")


def _left_out(block: _Block) -> Iterator[tuple[Reading, np.ndarray]]:
    """Whole rows, whole columns, or single entries at zero."""
    g, n = block.mine, block.right
    small = block.tolerance * np.abs(n).max()
    for axis, what in enumerate(("row", "column")[: min(n.ndim, 2)]):
        rest = tuple(i for i in range(n.ndim) if i != axis)
        gone = ~g.any(axis=rest) & (np.abs(n).max(axis=rest, initial=0) > small)
        units = tuple(map(int, np.flatnonzero(gone)))
        if units:
            kept = np.ones(n.shape[axis])
            kept[list(units)] = 0
            candidate = n * kept.reshape([-1 if i == axis else 1 for i in range(n.ndim)])
            places = _places(units, n.shape[axis])
            words = f"{{is}} left at zero in {what} {places}: a unit is left out"
            if n.ndim == 1:
                words = f"{{is}} left at zero in entry {places}: a unit is left out"
            yield Reading("unit left out", (what, units, n.shape[axis]), words), candidate
    gone = (g == 0) & (np.abs(n) > small)
    lines = any(not g.any(axis=axis).all() for axis in range(n.ndim)) if n.ndim > 1 else True
    if gone.any() and not lines:
        count, first = int(gone.sum()), _index(np.argwhere(gone)[0])
        words = f"{{is}} left at zero in {count} of {n.size} entries, first at {first}"
        yield Reading("entries left out", (block.name, count), words), np.where(gone, 0, n)


def _summed_over_units(block: _Block) -> Iterator[tuple[Reading, np.ndarray]]:
    n = block.right
    if n.size == 1:
        return
    axes: list[tuple[int | None, str]] = [(None, "over everything")]
    if n.ndim == 2:
        axes += [(0, "over the rows"), (1, "over the columns")]
    for axis, what in axes:
        for how, total in (("summed", n.sum), ("averaged", n.mean)):
            words = f"{{is}} {how} {what}: every unit is given the same number"
            candidate = np.broadcast_to(total(axis=axis, keepdims=True), n.shape)
            if n.ndim < 2 or n.shape[0 if axis is None else axis] > 1:
                yield Reading("summed over units", (how, what), words), candidate


def _shifted(block: _Block) -> Iterator[tuple[Reading, np.ndarray]]:
    n = block.right
    for axis, what in enumerate(("row", "column")[: min(n.ndim, 2)]):
        what = "entry" if n.ndim == 1 else what
        if n.shape[axis] < 2:
            continue
        for by, way in ((1, "on"), (-1, "back")):
            rolled = np.roll(n, by, axis=axis)
            dropped = np.moveaxis(rolled.copy(), axis, 0)
            dropped[0 if by == 1 else -1] = 0
            words = f"{{is}} moved {way} by one {what}"
            reading = Reading("shifted", (what, by), words)
            yield reading, rolled
            yield reading, np.moveaxis(dropped, 0, axis)
        words = f"{{has}} {{its}} {'entries' if n.ndim == 1 else what + 's'} in reverse order"
        if n.shape[axis] > 2:
            yield Reading("reversed", what, words), np.flip(n, axis)


def _examples(block: _Block) -> Iterator[Reading]:
    """Only some of the m examples counted. A decay, which is no example's, stays as it is."""
    e = block.examples
    if e is None or len(e) < 2:
        return
    m, n = len(e), block.right
    e = e.reshape(m, -1)
    mean, total = e.mean(axis=0), e.sum(axis=0)
    right = n.ravel()
    weight = 1 / m if norm(right - mean) <= norm(right - total) else 1.0
    rest = right - weight * total
    firsts = np.vstack([np.zeros_like(total), np.cumsum(e, axis=0)])

    def fits(part: np.ndarray, count: int) -> bool:
        weights = {weight, 1 / count, 1 / m, 1.0}
        return any(block.equals((w * part + rest).reshape(n.shape)) for w in weights)

    for i in range(m):
        if fits(e[i], 1):
            words = f"{{is}} the gradient of one example alone, number {i + 1} of {m}"
            yield Reading("one example", i, words)
            return
    for k in range(1, m):
        count = f"the last {k} of {m} examples" if k > 1 else f"the last of {m} examples"
        if fits(firsts[m - k], m - k):
            yield Reading("examples left out", ("last", k), f"{{is}} computed without {count}")
            return
    for k in range(1, m):
        count = f"the first {k} of {m} examples" if k > 1 else f"the first of {m} examples"
        if fits(total - firsts[k], m - k):
            yield Reading("examples left out", ("first", k), f"{{is}} computed without {count}")
            return
    for i in range(m):
        if fits(total - e[i], m - 1):
            words = f"{{is}} computed without example {i + 1} of {m}"
            yield Reading("examples left out", i, words)
            return


def _decay(block: _Block) -> Iterator[Reading]:
    """A weight decay too much or too little: of the whole block, or of all but one number."""
    p, error = block.params, block.mine - block.right
    largest = np.abs(p).max(initial=0)
    if not largest:
        return
    signs = (np.sign(p), 1.0, "the signs of the parameters")
    places = [np.ones(p.shape, bool)]
    off = np.abs(error) > max(block.tolerance, UNEXPLAINED) * np.abs(error).max()
    if off.sum() == off.size - 1 >= 3:  # of fewer numbers it may be chance
        places.append(off)
    for where in places:
        but = "" if where.all() else f" (all but {_index(np.argwhere(~where)[0])})"
        for direction, length, what in ((p / largest, largest, "the parameters"), signs):
            direction = np.where(where, direction, 0)
            k = inner(direction, error) / inner(direction, direction)
            c = float(k / length * block.scale)
            if c and block.equals(block.right + k * direction):
                yield Reading("decay", c, _decay_words(c, what + but), weak=p.size == 1)
                return


def _decay_words(c: float, what: str) -> str:
    size = f"{snap(abs(c)):.6g}"
    if c > 0:
        return (
            f"{{has}} {size} times {what} too much: a weight decay that the cost does not have, "
            "or a larger one"
        )
    return (
        f"{{has}} {size} times {what} too little: a weight decay of the cost is missing, "
        f"too small, or has the wrong sign (then it is {snap(abs(c) / 2):.6g})"
    )


def _two_at_once(block: _Block) -> list[Reading]:
    """A wrong place and a factor, or a factor and a decay."""
    found: list[Reading] = []
    for reading, candidate in _rearranged(block):
        c = block.multiple_of(candidate)
        if c is not None and (factors := block.factor(c)) and reading not in found:
            found.append(replace(reading, both=True))
            found += [Reading(f.id, f.value, f.words, both=True) for f in factors]
    if found or block.mine.size < 4:
        return found
    largest = np.abs(block.params).max() or 1.0
    direction = block.params / largest
    basis = np.stack([block.right.ravel(), direction.ravel()], axis=1)
    (a, k), *_ = np.linalg.lstsq(basis, block.mine.ravel(), rcond=None)
    c = float(k / largest * block.scale)
    if c and block.equals(a * block.right + k * direction) and (f := block.factor(float(a))):
        found += [Reading(x.id, x.value, x.words, both=True) for x in f]
        words = (
            f"and {snap(c):.6g} times the parameters added: a weight decay is missing or wrong, "
            "or only the rest of the gradient has the factor"
        )
        found.append(Reading("decay", c, "{is} off by a factor " + words, both=True))
    return found


def _index(where) -> str:
    return f"[{', '.join(str(int(i)) for i in where)}]"


def _places(units: tuple[int, ...], n: int) -> str:
    shown = ", ".join(str(u + 1) for u in units[:5]) + (" …" if len(units) > 5 else "")
    return f"{shown} of {n}"
