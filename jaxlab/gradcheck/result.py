"""The result of a gradient check: a verdict by block and in all, with every number behind it."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Array, Inexact

from jaxlab.gradcheck import table
from jaxlab.gradcheck.mistakes import Mistake
from jaxlab.gradcheck.sums import norm

# |J - J'| / |J + J'| from which on two costs are not the same.
COST_TOLERANCE = {"float64": 1e-9, "float32": 1e-4}


@dataclass(frozen=True)
class BlockCheck:
    """What the witnesses say of one block of parameters.

    diff: witness → ‖g - n‖ / ‖g + n‖ over the coordinates checked, g the gradient under test and
    n the witness's. directions: where not zero, central differences and complex steps were taken
    along that many random directions instead, and diff is of the slopes. taylor_order: of the
    remainder along random directions within the block; None where the remainder is below
    rounding or crosses a kink. ok: the block is right.
    """

    name: str
    shape: tuple[int, ...]
    checked: int
    diff: dict[str, float]
    taylor_order: float | None
    objections: tuple[str, ...]
    directions: int

    @property
    def ok(self) -> bool:
        return not self.objections

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class GradientCheck:
    """A verdict by block and in all; true when every block is right. Prints as a table.

    cost_diff: |J - J'| / |J + J'| of the cost that comes with the gradient and the cost that the
    witnesses differentiate. A gradient is right only as that of its own cost. analytic: false
    where the complex step was left out because the cost is not analytic, or takes no complex
    numbers; None where it was not asked, as with `full` above 2,000 parameters.
    mistakes: what is wrong, by name, where a known mistake explains the numbers to rounding.
    mine: block → the gradient under test. right: block → the gradient by the best witness, None
    where only some coordinates or directions were looked at. precision: "float64" or "float32".
    notes: sentences about witnesses that were left out, kinks, and what could not be seen.
    """

    blocks: tuple[BlockCheck, ...]
    diff: dict[str, float]
    taylor_order: float | None
    cost_diff: float
    analytic: bool | None
    mistakes: tuple[Mistake, ...] = ()
    mine: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    right: dict[str, np.ndarray | None] = field(default_factory=dict, repr=False, compare=False)
    precision: str = "float64"
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.wrong

    @property
    def wrong(self) -> tuple[str, ...]:
        """The names of what is wrong: blocks, and J where the two costs differ."""
        cost = () if self.cost_diff < COST_TOLERANCE[self.precision] else ("J",)
        return cost + tuple(block.name for block in self.blocks if not block.ok)

    def numbers(self) -> dict[str, Any]:
        """Everything as plain numbers, under the names of result.json."""
        return {
            **{f"diff_{witness}": diff for witness, diff in self.diff.items()},
            "taylor_order": self.taylor_order,
            "diff_cost": self.cost_diff,
            "blocks": {
                block.name: {
                    "ok": block.ok,
                    "shape": list(block.shape),
                    "checked": block.checked,
                    **({"directions": block.directions} if block.directions else {}),
                    **{f"diff_{witness}": diff for witness, diff in block.diff.items()},
                    "taylor_order": block.taylor_order,
                }
                for block in self.blocks
            },
            **({"mistakes": [vars(m) for m in self.mistakes]} if self.mistakes else {}),
        }

    def __str__(self) -> str:
        return table.as_text(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))  # as the last line of a notebook's cell


def relative_difference(
    g: Inexact[Array | np.ndarray, "*shape"], n: Inexact[Array | np.ndarray, "*shape"]
) -> float:
    """‖g - n‖ / ‖g + n‖, the lab sheet's measure: 0 where equal, above 1 where they point apart.

    0 where both are zero; infinite where either has a NaN, so that no NaN passes for a small
    number.
    """
    with np.errstate(all="ignore"):
        apart, together = norm(np.asarray(g - n)), norm(np.asarray(g + n))
        ratio = apart / together if together else (np.inf if apart else 0.0)
    return float(ratio) if np.isfinite(apart) else float("inf")
