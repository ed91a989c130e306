"""What a reader must know of the witnesses, in sentences."""

import numpy as np

from jaxlab.gradcheck import numerical
from jaxlab.gradcheck.sums import norm


def notes_of(problem, plan, answers, blocks, unfit, m) -> list[str]:
    """Who was left out and why, what could not be seen, which kinks were met."""
    notes, precision = [], plan.precision
    if not problem.traced:
        notes.append(
            "JAX cannot trace the cost, which was called point by point: central differences are "
            "the only witness."
        )
    elif problem.float32_cost:
        pass
    elif plan.two_point:
        shares = [norm(a.error) / max(float(norm(a.mine)), 1e-300) for a in answers]
        notes.append(
            f"Central differences of two points, step {numerical.TWO_POINT_STEP:.1e}, good for "
            f"about {max(shares):.0e} of a block; without the complex step."
        )
    elif not plan.complex_step or "complex_step" in unfit:
        notes.append(
            "The complex step was left out: the cost is not analytic (abs, norm, max, conj) or "
            "takes no complex numbers"
            + (
                "."
                if plan.complex_step
                else ", as jax.value_and_grad does not: pass cost= beside it."
            )
        )
    if problem.refusal:
        notes.append(
            f"jax.grad was left out, which cannot differentiate the cost: {problem.refusal}"
        )
    elif problem.traced and "autograd" not in blocks[0].diff:
        notes.append(
            "jax.grad was left out: it would follow a derivative rule written by hand inside the "
            "cost (custom_vjp or custom_jvp, as some functions of JAX have)."
            if problem.rules
            else "jax.grad was left out: it alone objects, so a part of J is hidden from it "
            "(stop_gradient)."
        )
    wrong = [b for b in blocks if not b.ok and b.checked == b.size]
    other = [b.name for b in wrong if "autograd" in b.diff.keys() - {*b.objections}]
    if other:
        notes.append(
            f"In {', '.join(other)} jax.grad agrees with the gradient, and J itself does not: part "
            "of it is computed in fewer digits, ends by a tolerance (a solver), or is hidden from "
            "jax.grad (stop_gradient)."
        )
    if problem.iterates and not all(block.ok for block in blocks):
        notes.append(
            "J has a loop that ends by a condition: where that is a tolerance, as of a solver, J "
            "and its right gradient agree to no more digits than that."
        )
    if directions := max((b.directions for b in blocks if b.checked), default=0):
        along = "a random direction" if directions == 1 else f"{directions} random directions"
        notes.append(
            "jax.grad was compared in every place, the other witnesses along "
            f"{along} of each block."
        )
    if precision.name == "float32":
        notes.append(_of_float32(answers, blocks, precision))
    hidden = [
        block.name
        for block, answer in zip(blocks, answers, strict=True)
        if answer.mine.any() and _is_hidden(block, answer, unfit, precision)
    ]
    if hidden:
        notes.append(
            f"The gradient of {', '.join(hidden)} is so small beside J that rounding may "
            "hide a mistake in it: check at other parameters, where no unit is saturated."
        )
    mine = problem.blocks(problem.g)
    for block, answer in zip(blocks, answers, strict=True):
        g = mine[block.name] if block.directions else answer.mine[answer.judged]
        if block.ok and block.checked and precision.name == "float64":
            notes += _of_small_numbers(block, g, precision)
    zero = [name for name, g in mine.items() if g.size and not g.any()]
    if ok := [block.name for block in blocks if block.ok and block.name in zero]:
        notes.append(
            f"The gradient of {', '.join(ok)} is zero in every place (saturated or dead units, or "
            "inputs of zero), where a wrong factor cannot be seen: check at other parameters."
        )
    if m == 1:
        notes.append(
            "With a single example, m = 1, a forgotten 1/m cannot be seen: check with several."
        )
    kinks, undefined = sum(a.kinks for a in answers), sum(int((~a.judged).sum()) for a in answers)
    if kinks:
        notes.append(
            f"{kinks} steps of central differences crossed a kink (as of ReLU, abs or max) and "
            "were taken again, smaller: that is no mistake."
        )
    if undefined:
        notes.append(
            f"At {undefined} places the parameters lie on a kink, where the derivatives on both "
            "sides differ: the gradient lies between them, and passes for right."
        )
    return notes


def _is_hidden(block, answer, unfit, precision) -> bool:
    """Whether rounding may be so large that a mistake passes for it."""
    if exact := {"autograd", "complex_step"} & block.diff.keys() - unfit:
        return block.ok and min(block.diff[who] for who in exact) > precision.difference
    size = norm(answer.mine)
    return bool(np.isfinite(size) and 10 * norm(answer.error) > size)


# Of the numbers of a block, from which share on being small is no chance.
MANY = 0.01


def _of_small_numbers(block, g, precision) -> list[str]:
    """Beside large numbers small ones do not count in ‖g - n‖ / ‖g + n‖."""
    exact = {"autograd", "complex_step"} & block.diff.keys()
    tolerance = precision.exact if exact else precision.difference
    size = np.abs(g)
    small = int(((size > 0) & (size < tolerance * norm(size))).sum())
    if small <= MANY * np.count_nonzero(size):
        return []
    return [
        f"{small:,} of {size.size:,} numbers of {block.name} are below {tolerance:.0e} of all of "
        "it: a mistake in these alone would not be seen. Check them as a block of their own, or "
        "scale what makes the others large."
    ]


def _of_float32(answers, blocks, precision) -> str:
    seen = []
    for answer, block in zip(answers, blocks, strict=True):
        size = max(float(norm(np.nan_to_num(answer.mine))), 1e-300)
        by_difference = max(float(norm(answer.error)) / size, precision.difference)
        exact = "autograd" in block.diff or "complex_step" in block.diff
        seen.append(precision.exact if exact else by_difference)
    return (
        "Computed in float32, which has seven digits: a mistake below "
        f"{max(seen):.0e} of a block cannot be told from rounding here. float64 sees more."
    )
