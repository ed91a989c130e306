"""What a factor stands for: the numbers that people forget, or write once too often."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np


@dataclass(frozen=True)
class Factor:
    """A factor read as a mistake. words: as in `mistakes.Reading`."""

    id: str
    value: float
    words: str


# The mistakes that make a block a multiple of the right one.
FACTORS = ("factor", "1/m forgotten", "1/m twice", "1/(m-1)", "sign", "sign and 1/m")
# A factor that is so close to a number that people write is that number.
CLOSE = 1e-6

_SPOKEN = {
    2.0: ": a ½ is forgotten, or a 2 is too many",
    0.5: ": a ½ is too many, or a 2 is forgotten",
    -1.0: ": the sign is turned",
    -2.0: ": the sign is turned, and a ½ is forgotten or a 2 too many",
    -0.5: ": the sign is turned, and a ½ is too many or a 2 forgotten",
}


def read_factor(c: float, m: int | None, sizes: frozenset[int]) -> list[Factor]:
    """What the factor c may stand for, likeliest first; empty where it is no number of anybody's.

    m: the number of examples. sizes: the numbers of units, which a sum over units brings in.
    """
    if _near(c, 1.0):
        return []
    found = [] if m is None or m < 2 else _of_examples(c, m)
    short = _written(c)
    unit = next((n for n in sorted(sizes) if _near(abs(c), n) or _near(abs(c), 1 / n)), None)
    small = any(_near(abs(c), value) for n in (2, 3, 4) for value in (n, 1 / n))
    if small:  # a plain 2 explains more than m/2 with m = 4 does
        found = [f for f in found if _near(abs(c), m or 0) or _near(abs(c), 1 / (m or 1))]
    plain = small or unit is not None if found else unit is not None or short is not None
    if plain:
        value = c if short is None else short
        words = f"{{is}} {_text(c)} times what {{it}} should be{_SPOKEN.get(value, '')}"
        if unit is not None and not _near(abs(c), 1):
            words += f" ({unit} is also a number of units)"
        elif m is None and c > 4 and value == round(value):
            words += f" (if there are {value:.0f} examples, 1/m is forgotten)"
        found.append(Factor("sign" if value == -1 else "factor", value, words))
    return found


def _of_examples(c: float, m: int) -> list[Factor]:
    sign = ", and the sign is turned" if c < 0 else ""
    minus = "−" if c < 0 else ""
    known = [
        (m, "1/m forgotten", "m", "summed over the examples where the mean belongs, 1/m forgotten"),
        (1 / m, "1/m twice", "1/m", "divided by m once too often"),
        (2 * m, "1/m forgotten", "2 m", "1/m and a ½ are forgotten"),
        (m / 2, "1/m forgotten", "m/2", "1/m is forgotten, and a ½ is too many"),
        (2 / m, "1/m twice", "2/m", "divided by m once too often, and a ½ is forgotten"),
        (1 / (2 * m), "1/m twice", "1/(2 m)", "divided by m once too often, and by 2"),
        (m**2, "1/m forgotten", "m²", "multiplied by m instead of divided"),
        (1 / m**2, "1/m twice", "1/m²", "divided by m two times too often"),
        (m / (m - 1), "1/(m-1)", "m/(m - 1)", "divided by m - 1 instead of m"),
        ((m - 1) / m, "1/(m-1)", "(m - 1)/m", "multiplied by m - 1 and divided by m"),
    ]
    return [
        Factor(
            "sign and 1/m" if c < 0 else id,
            float(np.copysign(value, c)),
            f"{{is}} {minus}{name} = {_text(c)} times what {{it}} should be (m = {m} examples): "
            f"{why}{sign}",
        )
        for value, id, name, why in known
        if _near(abs(c), value) and not _near(value, 1)
    ][:1]


def snap(c: float) -> float:
    """c as a number that people write, where it is that close; otherwise c as it is."""
    return c if (number := _written(c, digits=4)) is None else number


def _written(c: float, digits: int = 3) -> float | None:
    """The number of few digits, small fraction or 1/n that c is, else None."""
    if not c or not np.isfinite(c):
        return None
    numbers = [float(f"{c:.{digits - 1}e}"), float(Fraction(c).limit_denominator(12))]
    if abs(c) <= 10_000:
        numbers.append(float(round(c)))
    if 1e-3 <= abs(c) <= 1:
        numbers.append(1 / round(1 / c))
    return next((number for number in numbers if number and _near(c, number)), None)


def _text(c: float) -> str:
    return f"{snap(c):.6g}".replace("-", "−", 1) if c < 0 else f"{snap(c):.6g}"


def _near(c: float | int, value: float | int) -> bool:
    return abs(c - value) <= CLOSE * abs(value)
