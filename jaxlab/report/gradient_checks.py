"""What the report says of a gradient check: a line, a table by block, a discussion."""

import math
from typing import Any

from jaxlab.wording import counted, fixed, listed, scientific

Numbers = dict[str, Any]

# Below this, a relative difference in float64 is rounding.
ROUNDING = 1e-13
# What the gradient checks of well-known courses ask for (Ng 2011, exercise 4 on Coursera; UFLDL).
USUAL_THRESHOLD = 1e-9


def differences(check: Numbers) -> str:
    wrong = [name for name, block in check["blocks"].items() if not block["ok"]]
    diffs = (
        f"diff {scientific(check['diff_finite_difference'])} to central differences, "
        f"{scientific(check['diff_complex_step'])} to a complex step, "
        f"{scientific(check['diff_autograd'])} to jax.grad"
    )
    return diffs + (f"; WRONG: {listed(wrong)}" if wrong else "")


def blocks_table(check: Numbers) -> list[list[str]]:
    """The verdict by block as a table."""
    heading = ["block", "shape", "checked", "central diff.", "complex step", "jax.grad", "order",
               "verdict"]  # fmt: skip
    rows = [heading]
    for name, block in check["blocks"].items():
        rows.append(
            [
                name,
                " × ".join(map(str, block["shape"])),
                _checked(block),
                *(
                    scientific(block.get(f"diff_{who}"))
                    for who in ("finite_difference", "complex_step", "autograd")
                ),
                fixed(block["taylor_order"], 4),
                "correct" if block["ok"] else "WRONG",
            ]
        )
    return rows


def _checked(block: Numbers) -> str:
    """In how many places; where central differences were taken along directions, along how many."""
    if "directions" in block:
        return counted(block["directions"], "direction")
    size = _size(block)
    return "all" if block["checked"] == size else f"{block['checked']:,} of {size:,}"


def where_it_looked(check: Numbers) -> str:
    """Where the witnesses looked: everywhere, but in large networks."""
    total = f"all {parameters(check):,} parameters"
    along = max((block.get("directions", 0) for block in check["blocks"].values()), default=0)
    if not along:
        return f"over {total}"
    return (
        f"along {counted(along, 'random direction')} of each block (jax.grad was compared at "
        f"{total})"
    )


def discussion(check: Numbers) -> list[str]:
    """The differences and what they mean, where the report first speaks of a check."""
    central, step, grad = _differences(check)
    # A gradient with NaN is infinitely far from any other, which JSON has no number for.
    far = [float("inf") if diff is None else diff for diff in (central, step, grad)]
    relation = "below" if far[0] < USUAL_THRESHOLD else "not below"
    text = [
        f"Central differences of fourth order give diff = {scientific(central)}, {relation} the "
        f"{scientific(USUAL_THRESHOLD)} that well-known courses ask for (Ng 2011; UFLDL). "
        "What is left is their own error: a step has to be long enough for rounding and short "
        "enough for the curvature."
    ]
    if max(far[1:]) < ROUNDING:
        text.append(
            f"The two other references have no such error, and agree to rounding: "
            f"{scientific(step)} to the complex step and {scientific(grad)} to jax.grad, where "
            "double precision resolves 2.2 × 10⁻¹⁶ of a number."
        )
    else:
        text.append(
            f"The complex step is {scientific(step)} away, jax.grad {scientific(grad)}: more than "
            "rounding."
        )
    if check["taylor_order"] is not None:
        text.append(
            f"The remainder of Taylor's theorem shrinks with order {check['taylor_order']:.4f} in "
            "the step"
            + (
                ", as it does for a correct gradient, whose order is 2."
                if abs(check["taylor_order"] - 2) < 0.05
                else "; for a correct gradient the order is 2."
            )
        )
    return [*text, _verdict(check)]


def in_short(check: Numbers) -> list[str]:
    """The same of a later check, in a sentence."""
    central, step, grad = map(scientific, _differences(check))
    order = check["taylor_order"]
    of_order = "" if order is None else f", and the Taylor remainder is of order {order:.4f}"
    return [
        f"Here diff is {central} to central differences, {step} to the complex step "
        f"and {grad} to jax.grad{of_order}.",
        _verdict(check),
    ]


def _differences(check: Numbers) -> tuple[float | None, float | None, float | None]:
    return (
        check["diff_finite_difference"], check["diff_complex_step"], check["diff_autograd"]
    )  # fmt: skip


def _verdict(check: Numbers) -> str:
    wrong = [name for name, block in check["blocks"].items() if not block["ok"]]
    if wrong:
        return f"So the gradient of {listed(wrong)} is WRONG."
    everywhere = all(_checked(block) == "all" for block in check["blocks"].values())
    where = "" if everywhere else " at the coordinates checked"
    return f"So the gradient written by hand is correct{where}, in every block."


def parameters(check: Numbers) -> int:
    return sum(_size(block) for block in check["blocks"].values())


def _size(block: Numbers) -> int:
    return math.prod(block["shape"])
