"""Numbers and lists as a reader wants them."""

import math
from collections.abc import Sequence
from typing import Any

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def scientific(value: float | None) -> str:
    """'2.7 × 10⁻¹²'; plain digits where there are few, and a dash where there is no number."""
    if value is None:
        return "–"
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{value:.3g}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits} × {power_of_ten(int(exponent))}"


def power_of_ten(exponent: int) -> str:
    """'10⁻³'."""
    return f"10{str(exponent).translate(_RAISED)}"


def power_of_two(value: float) -> str:
    """'2⁻¹¹' of 0.00048828125."""
    return f"2{str(round(math.log2(value))).translate(_RAISED)}"


def fixed(value: float | None, digits: int) -> str:
    """With so many digits after the point; a dash where there is no number."""
    return "–" if value is None else f"{value:.{digits}f}"


def percent(entry: dict[str, Any]) -> str:
    """'96.88 %' of an accuracy in the form of result.json."""
    return f"{100 * entry['mean']:.2f} %"


def interval(entry: dict[str, Any]) -> str:
    """'96.56 to 97.20', its 95 % interval in percent."""
    low, high = entry["ci95"]
    return f"{100 * low:.2f} to {100 * high:.2f}"


def kind(entry: dict[str, Any]) -> str:
    """What its interval is: over seeds on the same images, or of one network over images."""
    networks = len(entry["per_seed"])
    if networks == 2:
        return "range of both networks"
    return f"95 % interval over {'seeds' if networks > 1 else 'images'}"


def accuracy(entry: dict[str, Any]) -> str:
    """'96.88 % (95 % interval over seeds 96.56 to 97.20, 5 networks, 2,000 images)'."""
    networks, images = counted(len(entry["per_seed"]), "network"), f"{entry['examples']:,} images"
    return f"{percent(entry)} ({kind(entry)} {interval(entry)}, {networks}, {images})"


def listed(words: Sequence[Any]) -> str:
    """'W1, b1 and W2'."""
    *first, final = map(str, words)
    return f"{', '.join(first)} and {final}" if first else final


def counted(n: int, what: str) -> str:
    """'1 network', '5 networks', '2,000 images'."""
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def duration(seconds: float) -> str:
    """'0.9 s', '48 s', '2 min 25 s'."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
