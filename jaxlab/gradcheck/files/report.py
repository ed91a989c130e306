"""What `jaxlab check` says of one function of somebody's file."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from jaxlab.gradcheck.mistakes import Mistake
from jaxlab.gradcheck.sums import norm
from jaxlab.wording import listed

EPS = np.finfo(np.float64).eps


@dataclass
class Report:
    """Everything that is said of one function. The keys of --json are the fields' names."""

    file: str
    function: str = ""
    verdict: str = "unchecked"
    cost: str = ""
    layout: str = ""
    blocks: dict[str, dict[str, Any]] = field(default_factory=dict)
    mistakes: list[dict[str, str]] = field(default_factory=list)
    reason: str = ""
    note: str = ""

    @property
    def wrong(self) -> list[str]:
        return [name for name, block in self.blocks.items() if not block["ok"]]

    def name_shapes(self, names: list[str], explanation: str) -> None:
        """Puts down that these blocks have not the shape of their parameters."""
        self.mistakes = [asdict(Mistake("shape", ", ".join(names), explanation))]
        rest = [name for name in self.wrong if name not in names]
        self.reason = (
            f"{listed(rest)} will be explained once every block has its shape" if rest else ""
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def shapes_differ(name: str, shape: tuple[int, ...], own: tuple[int, ...]) -> str:
    return f"{name} has shape {shape}, its gradient {own}"


def block_report(mine: list, right: list, tolerance: float, noise: float = 0.0) -> dict[str, Any]:
    """How far a block is from the right one at all points, and whether that is rounding.

    noise: how far off a number of `right` may be by itself.
    """
    g, n = np.stack(mine), np.stack(right)
    with np.errstate(all="ignore"):
        apart, together = norm(g - n), norm(g + n)
    if not np.isfinite(apart + together):
        return {"ok": False, "relative_difference": None}
    # Of exact opposites nothing is left of g + n: as little as rounding leaves stands for it.
    difference = float(apart / max(together, EPS * apart)) if apart else 0.0
    ok = bool(difference <= tolerance or apart <= noise * g.size**0.5)
    return {"ok": ok, "relative_difference": difference}
