"""A gradient check in words: the table, what is behind it, and the mistakes by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jaxlab.gradcheck.mistakes import blocks_named
from jaxlab.gradcheck.sums import inner, norm

if TYPE_CHECKING:
    from jaxlab.gradcheck.result import BlockCheck, GradientCheck

HEAD = ("block", "shape", "checked", "finite diff.", "complex step", "jax.grad", "order", "")
WITNESSES = ("finite_difference", "complex_step", "autograd")


def as_text(check: GradientCheck) -> str:
    """Plain text that can be pasted into a report."""
    rows: list[tuple[str, ...]] = [HEAD]
    for block in check.blocks:
        shape = " × ".join(map(str, block.shape)) or "scalar"
        verdict = "right" if block.ok else "WRONG"
        rows.append((block.name, shape, _checked([block]), *_columns(block), verdict))
    verdict = "right" if check else "WRONG"
    rows.append(("all", "", _checked(check.blocks), *_columns(check), verdict))
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    rule = "  ".join("-" * w for w in widths)
    lines = [lines[0], rule, *lines[1:-1], rule, lines[-1]]
    lines += [*check.notes, *diagnosis(check)]
    return "\n".join(line.rstrip() for line in lines)


def diagnosis(check: GradientCheck) -> list[str]:
    """A sentence for every mistake that was named, or what is known where none was."""
    lines = []
    if "J" in check.wrong:
        lines.append(f"J is not the cost checked against: they differ by {check.cost_diff:.1e}")
    lines += [f"{mistake.explanation}." for mistake in check.mistakes]
    named = blocks_named(check.mistakes)
    unnamed = [block.name for block in check.blocks if not block.ok and block.name not in named]
    if unnamed:
        right = [block.name for block in check.blocks if block.ok]
        known = f"right: {', '.join(right)}" if right else "no block is right"
        lines.append(
            f"No mistake known here explains the numbers of {', '.join(unnamed)} ({known})."
        )
    return lines


def how_wrong(check: GradientCheck) -> list[str]:
    """For each wrong block, how far it is off and in which direction."""
    return [
        f"{block.name} is off by a relative difference of {_largest(block):.1e}: "
        f"{direction(check.mine[block.name], check.right[block.name])}"
        for block in check.blocks
        if not block.ok
    ]


def _largest(block: BlockCheck) -> float:
    """The largest difference to a witness that objects."""
    return max(block.diff.get(who, 0.0) for who in block.objections) or max(block.diff.values())


def direction(mine: np.ndarray, right: np.ndarray | None) -> str:
    """Larger, smaller, turned round: the block against the right one, in words."""
    if not np.isfinite(mine).all():
        return "it is not finite"
    if right is None or not np.isfinite(right).all():
        return "see the table"
    length, true_length = norm(mine), norm(right)
    if not length:
        return "it is zero"
    if not true_length:
        return "it should be zero"
    ratio, cosine = length / true_length, float(inner(mine, right) / length / true_length)
    size = "as long as" if 0.999 < ratio < 1.001 else f"{ratio:.4g} times as long as"
    if cosine > 0.999999:
        return f"it points the right way and is {size} it should be"
    if cosine < -0.999999:
        return f"it points the opposite way and is {size} it should be"
    way = "the wrong way" if cosine < 0 else "partly the right way"
    return f"it points {way} (cosine {cosine:.4f}) and is {size} it should be"


def _checked(blocks) -> str:
    size = sum(block.size for block in blocks)
    if any(block.directions and not block.checked for block in blocks):
        total = sum(block.directions for block in blocks)
        whole = sum(block.checked for block in blocks if not block.directions)
        directions = f"{total} directions" if total > 1 else "1 direction"
        return directions + (f", {whole:,} of {size:,}" if whole else "")
    return f"{sum(block.checked for block in blocks):,} of {size:,}"


def _columns(row: BlockCheck | GradientCheck) -> list[str]:
    order = "-" if row.taylor_order is None else f"{row.taylor_order:.4f}"
    return [*(f"{row.diff[who]:.1e}" if who in row.diff else "-" for who in WITNESSES), order]
