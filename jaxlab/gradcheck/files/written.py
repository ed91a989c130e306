"""Python's lines as they are written to call methods and functions: arguments, dicts, steps."""

from collections.abc import Sequence
from typing import Any

from jaxlab.gradcheck.files.roles import role_of

# Arguments that functions of parameters and data have not: what forward returned, and a number.
ROLES = {
    word: role
    for role, words in {
        "output": "output out o yhat ypred ypreds pred preds prediction predictions predicted al "
        "probs proba",
        "cache": "cache caches memory activations",
        "target": "desired expected expectedoutput",
        "iterations": "epochs epoch niter niters iterations numiters numiterations maxiter steps "
        "epocas epoche",
    }.items()
    for word in words.split()
}
SIZES = ("n_in", "n_hidden", "n_out", "sizes", "m")


def arguments_written(
    parameters: Sequence[dict], known: dict[str, str], unknown: Sequence[str] = (),
    of_network: bool = False,
) -> str | None:  # fmt: skip
    """Arguments as they are written in a call; None where one that must be given is not known.

    unknown: the roles of those whose names say nothing. of_network: there must be none or two of
    these, as a single one may be what comes from the layer behind.
    """
    # C = 1.0 is no number of units.
    roles = [
        None if isinstance(p["default"], float) and role in SIZES else role
        for p in parameters
        for role in [role_of_argument(p["name"], known)]
    ]
    nameless = [
        p["required"] and role not in known for p, role in zip(parameters, roles, strict=True)
    ]
    left = [role for role in unknown if role not in roles]
    if sum(nameless) > len(left) or (of_network and sum(nameless) == 1):
        return None
    waiting, hidden = iter(left), iter(known.get("n_hidden", "").split(", "))
    written, by_place = list[str](), True
    for p, role, is_nameless in zip(parameters, roles, nameless, strict=True):
        value = known.get(next(waiting) if is_nameless else role or "", "")
        if role == "n_hidden" and "[" not in value:
            value = next(hidden, "")
        if not value and p["required"]:
            return None
        if value:
            written.append(value if by_place and not p["keyword"] else f"{p['name']}={value}")
        by_place = by_place and bool(value)
    return ", ".join(written)


def role_of_argument(name: str, known: dict[str, str]) -> str | None:
    if f"={name}" in known:
        return f"={name}"
    if name == "d" and "n_in" not in known:  # of a method: what is desired
        return "target"
    return ROLES.get(name.lower().replace("_", "")) or role_of(name)


def dict_written(parts: dict[str, str]) -> str:
    return "{" + ", ".join(f"{name!r}: {part}" for name, part in parts.items()) + "}"


def step_written(name: str, value: Any, rate: str) -> str:
    """(before - after) / rate of an attribute: an array, or a list or dict of them."""
    old, new = f"params[{name!r}]", f"net.{name}"
    if isinstance(value, dict):
        return f"{{k: ({old}[k] - {new}[k]) / {rate} for k in {old}}}"
    if isinstance(value, list | tuple):
        return f"[(a - b) / {rate} for a, b in zip({old}, {new})]"
    return f"({old} - {new}) / {rate}"
