"""Forward pass, cost and backward pass in several methods or functions, put together to one.

`assemble.py` says of what: methods of a class, or functions of a file. What forward returns and
where backward leaves the gradient is seen by calling them once.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jaxlab.gradcheck.files.calls import SETTINGS
from jaxlab.gradcheck.files.child import Opaque
from jaxlab.gradcheck.files.process import Theirs
from jaxlab.gradcheck.files.roles import COSTS, GRADIENTS, MINIMISED, piece_of, role_of
from jaxlab.gradcheck.files.written import arguments_written, dict_written, step_written
from jaxlab.gradcheck.layouts import in_order, key_of_gradient, leaves, raw_leaves, rebuilt

# The names of methods, in the languages of those who hand in.
FORWARD = "forward|feed|predict|propag|output|hypothes|adelante|avan|vorw"
UPDATES = "update|step|train|fit|learn|entren|trein|lern|apprend|entra[iî]n|addestr"
INITIAL = "init|setup|build|reset|create|crear"
# Of what is called to see what it does none may write a file or take long.
NEVER = "plot|save|load|write|print|show|export|dump|file|csv|log$|_log|animat"
NO_GRADIENTS = "num|check|approx|fini"
NO_COSTS = f"{GRADIENTS}|{UPDATES}|{INITIAL}|{NEVER}|deriv|prime|^_?d_|num|hist"
NO_FORWARD = f"{NO_COSTS}|{COSTS}|accura|score$"
# What a step that is no multiple of the gradient is made with.
OPTIMISERS = "clip|moment|veloc|adam|rms|beta|^_?[mv]_?[wbd]|^_?[mv]$|nest|decay_rate|schedul"
# Of attributes.
PARAMETERS = "^[wb]|^theta|param|weight|bias"
KEEPS_GRADIENT = "grad|nabla|delta"
RATE, HALF = "0.5", "0.25"
DECAY = str(SETTINGS["decay"])
STEP = 1e-5
MISSHAPEN = "some arrays have another shape than their parameters"
# What may be taken for J where there is no cost: the gradient decides.
ASSUMED = [
    cost + divided
    for divided in (" / {m}", "")
    for cost in (
        "0.5 * (({out} - Y) ** 2).sum()",
        "(({out} - Y) ** 2).sum()",
        "-(Y * numpy.log({out})).sum()",
        "-(Y * numpy.log({out}) + (1 - Y) * numpy.log(1 - {out})).sum()",
    )
]


@dataclass(frozen=True)
class Assembled:
    """A function (params, X, Y) → (J, gradient) that calls methods or functions of the file.

    name: "Network.backward". lines: its body. example: arguments for it, without Y where that is X;
    X has one example in each of its `examples`, "rows" or "columns". sizes: those of the layers.
    assumed: what was taken for J, "" where that is theirs. is_step: the gradient is that which a
    step of training was made of. misshapen: some of its arrays have not the shape of theirs.
    """

    name: str
    lines: tuple[str, ...]
    example: list[Any]
    examples: str
    sizes: tuple[int, ...]
    assumed: str = ""
    is_step: bool = False
    misshapen: bool = False

    def source(self) -> str:
        head = f"def assembled({', '.join(self._names())}):"
        return "\n    ".join([head, "import copy, numpy", *self.lines])

    def function(self) -> dict:
        parameters = [
            {"name": name, "required": True, "default": None, "plain": False, "keyword": False}
            for name in self._names()
        ]
        return {
            "name": self.name, "parameters": parameters, "variadic": False, "options": "",
            "called": self.text(), "is_step": self.is_step,
        }  # fmt: skip

    def text(self) -> str:
        lines = [line for line in self.lines if not line.startswith("put(")]
        text = f"called as {'; '.join(lines)}"
        assumed = f"there is no cost: J was taken to be {self.assumed}, a factor was not checked"
        return "; ".join([text, assumed][: 1 + bool(self.assumed)])

    def _names(self) -> list[str]:
        return ["params", "X", "Y"][: len(self.example)]


@dataclass(frozen=True)
class Parts:
    """Methods or functions, what to call them with, and what was seen of them.

    title: the class, "" for functions. opening: lines that make `net`. theta: the parameters, by
    attribute or argument. others: attributes that are numbers of Python or whole numbers, and may
    be parameters as well. known: what is written for an argument, by its name or role. why: a list
    to which reasons go, with how far it came.
    """

    theirs: Theirs
    title: str
    functions: list[dict]
    opening: tuple[str, ...]
    theta: dict[str, Any]
    known: dict[str, str]
    sizes: tuple[int, ...]
    data: dict[str, np.ndarray]
    examples: str
    others: dict[str, Any]
    why: list[tuple[int, str]] = field(repr=False)

    @property
    def m(self) -> int:
        return self.data["X"].shape[self.examples == "columns"]

    def put_together(self, name: str) -> Iterator[Assembled]:
        """Every way in which one of them gives the gradient; name: that one, "" for any."""
        ways = [*self._forwards(), ([], self)]
        if self.title:
            ways = [(lines, replace(one, theta=one._parameters(lines))) for lines, one in ways]
        # What computes the outputs depends on all parameters, what decodes hidden units on few.
        forward, parts = max(ways, key=lambda way: len(raw_leaves(way[1].theta)))
        if not parts.theta:
            self.why.append((10, f"{self.title} has no attributes that hold parameters"))
            return
        kinds = (GRADIENTS, COSTS, UPDATES) if self.title else (GRADIENTS,)
        chosen = [
            f for f in self.functions
            if name == f["name"]
            or (not name and not re.search(f"{NO_GRADIENTS}|{NEVER}", f["name"].lower()))
        ]  # fmt: skip
        named = [f for kind in kinds for f in chosen if re.search(kind, f["name"].lower())]
        for function in {f["name"]: f for f in named}.values():
            yield from parts._with_gradient(forward, function)

    def _forwards(self) -> Iterator[tuple[list[str], "Parts"]]:
        """Lines that compute something like outputs, and what is known after them."""
        passes = [f for f in self.functions if not re.search(NO_FORWARD, f["name"].lower())]
        passes.sort(key=lambda f: not re.search(FORWARD, f["name"].lower()))
        for function in passes:
            call = self._call(function, ("data",))
            if call is None or "Y" in call or not (self.title or "params" in call):
                continue
            if "X" not in call and not re.search(FORWARD, function["name"].lower()):
                continue  # what takes nothing may do anything
            result, error = self._run([f"out = {call}"], "{'out': out, 'after': after}")
            if error:
                continue
            out, after = result["out"], result["after"]
            parts = {"out": out}
            if isinstance(out, tuple | list):
                parts = {f"out[{i}]": part for i, part in enumerate(out)}
                names = dict(zip(function["returns"], parts, strict=False))
                names.pop("", None)
            elif isinstance(out, dict):
                parts = {f"out[{key!r}]": part for key, part in out.items()}
                names = {str(key): text for key, text in zip(out, parts, strict=True)}
            else:
                names = {}
            for text, part in reversed(parts.items()):
                if output := self._as_output(part, text):
                    others = [other for other in parts if other != text]
                    is_pair = isinstance(out, tuple) and len(others) == 1
                    known = {f"={name}": where for name, where in names.items()}
                    known |= {"output": output, "cache": others[0] if is_pair else "out"}
                    yield [f"out = {call}"], replace(self, known=self.known | known)
                    break
            else:
                for key, value in reversed(after.items()):
                    is_own = key in self.theta or np.array_equal(value, self.data["Y"])
                    if not is_own and (output := self._as_output(value, f"net.{key}")):
                        yield [call], replace(self, known=self.known | {"output": output})
                        break

    def _parameters(self, forward: list[str]) -> dict[str, Any]:
        """The attributes on which the outputs depend; without outputs, those that are named so."""
        if not forward:
            kept = {
                name: value
                for name, value in (self.theta | self.others).items()
                if re.search(PARAMETERS, name.lower().strip("_"))
                and (name in self.theta or piece_of(name))
            }
            return kept if any(leaf.ndim for leaf in raw_leaves(kept)) else {}
        first, _ = self._run(forward, self.known["output"])
        kept = {}
        for name, value in (self.theta | self.others).items():
            moved = rebuilt(value, (leaf + 0.3 for leaf in raw_leaves(value)))
            there = replace(self, theta=self.theta | {name: moved})
            out, error = there._run(forward, self.known["output"])
            # With a number of layers that is none it fails.
            if (error and name in self.theta) or not (error or np.array_equal(out, first)):
                kept[name] = moved
        return kept if any(leaf.ndim for leaf in raw_leaves(kept)) else {}

    def _with_gradient(self, forward: list[str], function: dict) -> Iterator[Assembled]:
        name = f"{self.title}.{function['name']}" if self.title else f"{function['name']}()"
        far = 0 if re.search(GRADIENTS, function["name"].lower()) else -25
        call = self._call(function, ("data", "target"), of_network=True)
        if call is None:
            self.why.append((20 + far, f"an argument of {name} is not recognised"))
            return
        before = "before = copy.deepcopy(state(net))" if self.title else "before = {}"
        result, error = self._run(
            [*forward, before, f"returned = {call}"],
            "{'returned': returned, 'after': after, 'before': before}",
        )
        if error:
            self.why.append((30 + far, f"{name} fails: {error}"))
            return
        if self._is_pair(result["returned"]):
            yield self._assembled(name, [*forward, f"return {call}"])
            return
        gradient, said = self._gradient(forward, function, call, **result)
        if not gradient:
            self.why.append((40 + far, f"{name} {said}"))
            return
        if _is_number(result["returned"]) and gradient[0] == call:  # beside what it keeps
            yield self._assembled(name, [*forward, f"J = {call}", *gradient[1:]])
            return
        costs, without = self._costs(forward, function, call)
        # A cost that is a method may have changed what forward left.
        again = forward if self.title else []
        assumed = not costs and "output" in self.known
        if assumed and not without and self._as_output(self.data["Y"], "Y") == "Y":
            costs, again = [c.format(out=self.known["output"], m=self.m) for c in ASSUMED], []
        fits = self._fits(name, costs, forward, [*again, *gradient])
        if not fits:
            reason = f"{without[0]} cannot be called" if without else "there is no cost to check it"
            self.why.append((50 + far, f"{name} gives a gradient, but {reason}"))
            return
        best = max(fits, key=lambda cost: fits[cost])
        if assumed and not fits[best]:
            self.why.append((50 + far, f"{name} gives a gradient, but of no cost that is known"))
            return
        way = self._assembled(name, [*forward, f"J = {best}", *again, *gradient])
        yield replace(
            way, assumed=best if assumed else "", is_step=" / " in gradient[-1],
            misshapen=said == MISSHAPEN,
        )  # fmt: skip

    def _fits(
        self, name: str, costs: list[str], forward: list[str], gradient: list[str]
    ) -> dict[str, int]:
        """For each cost, of how many arrays that is its gradient.

        Costs that never change, as a count of mistakes, are left out.
        """
        if not costs:
            return {}
        way = self._assembled(name, [*forward, f"J = {costs[0]}", *gradient])
        run = f"{way.source()}\nresult = assembled({', '.join(way._names())})"
        result, error = self.theirs.evaluate(run, {**self.data, "params": self.theta})
        if error:
            return {}
        own, parts = leaves(in_order(self.theta, result[1])), leaves(self.theta)
        rng, fits = np.random.default_rng(0), dict.fromkeys(costs, 0)
        moving = set[str]()
        for i, part in enumerate(parts):
            move = rng.standard_normal(part.shape)
            J = []
            for step in (STEP * move, -STEP * move):
                moved = [*parts[:i], part + step, *parts[i + 1 :]]
                there = replace(self, theta=rebuilt(self.theta, iter(moved)))
                J.append(there._run(forward, f"[float({'), float('.join(costs)})]")[0])
            if None in J:
                return {}
            alike = own[i].size == part.size
            along = (own[i].reshape(part.shape) * move).sum() if alike else np.nan
            for cost, one, other in zip(costs, *J, strict=True):
                slope = (one - other) / (2 * STEP)
                moving |= {cost} if slope else set()
                fits[cost] += bool(np.isclose(slope, along, rtol=1e-4))
        return {cost: n for cost, n in fits.items() if cost in moving}

    def _gradient(
        self, forward: list[str], function: dict, call: str, returned: Any, after: dict,
        before: dict,
    ) -> tuple[list[str], str]:  # fmt: skip
        """The lines that return J and the gradient, wherever that is; else why there are none.

        Beside lines: `MISSHAPEN` where some of its arrays have another shape than theirs.
        """
        if self._is_alike(returned):
            return [f"return J, {call}"], ""
        if isinstance(returned, tuple | list):
            for i, part in enumerate(returned):
                if self._is_alike(part):
                    return [f"return J, {call}[{i}]"], ""
        others = {key: value for key, value in after.items() if key not in self.theta}
        keys = {name: key_of_gradient(name, others) for name in self.theta}
        kept = {} if None in keys.values() else {name: others[keys[name]] for name in keys}
        of_kept = dict_written({name: f"net.{key}" for name, key in keys.items()})
        if self._is_alike([*kept.values()]):
            return [call, f"return J, {of_kept}"], ""
        for key, value in others.items():
            if re.search(KEEPS_GRADIENT, key.lower()) and self._is_alike(value):
                return [call, f"return J, net.{key}"], ""
        # By the names it is one, as where a bias has one sum over all units.
        if self._is_misshapen(returned):
            return [f"return J, {call}"], MISSHAPEN
        if names := self._names_of(returned, function["returns"]):
            parts = {name: f"grads[{i}]" for i, name in enumerate(names)}
            return [f"grads = {call}", f"return J, {dict_written(parts)}"], MISSHAPEN
        if self._is_misshapen(kept):
            return [call, f"return J, {of_kept}"], MISSHAPEN
        for name in self.theta:
            arrays = [state.get(name) for state in (before, after)]
            old, new = (a.shape if isinstance(a, np.ndarray) else None for a in arrays)
            if old and new and old != new:
                return [], f"takes a step that makes {name} {new}, which was {old}"
        if not self._moved(after, before):
            return [], "neither returns a gradient like the parameters nor keeps one"
        return self._of_steps(forward, function, call, before)

    def _moved(self, after: dict, before: dict) -> list[np.ndarray]:
        """By how much the parameters were moved; [] where they were not."""
        now, then = ([state.get(name) for name in self.theta] for state in (after, before))
        try:
            steps = [b - a for a, b in zip(leaves(now), leaves(then), strict=True)]
        except (TypeError, ValueError):
            return []
        return steps if any(step.any() for step in steps) else []

    def _of_steps(
        self, forward: list[str], function: dict, call: str, before: dict
    ) -> tuple[list[str], str]:
        """Of a method that moves the parameters itself: by -rate × the gradient.

        That is believed where steps are in proportion to the rate, which those of several
        iterations are not.
        """
        words = [*function["uses"], *before, *(p["name"] for p in function["parameters"])]
        if any(re.search(OPTIMISERS, word.lower()) for word in words):
            return [], "takes steps that are no multiple of the gradient"
        rates = [f"net.{key}" for key in before if role_of(key) == "rate"]
        rate = RATE if RATE in call else rates[0] if rates else ""
        if not rate:
            return [], "takes steps of a length that no argument or attribute tells"
        half = [call.replace(RATE, HALF)] if rate == RATE else [f"{rate} *= 0.5", call]
        steps = []
        for lines in ([call], half):
            after, _ = self._run([*forward, *lines], "after")
            steps.append(self._moved(after or {}, self.theta))
        # Of the last layer they are, even where its W is updated before δ of the one before.
        if not any(
            one.ndim == max(part.ndim for part in steps[0])
            and np.allclose(one, 2 * other, rtol=1e-6, atol=1e-12)
            for one, other in zip(*steps, strict=len(steps[0]) == len(steps[1]))
        ):
            return [], "takes steps that are not in proportion to the rate"
        parts = {name: step_written(name, value, rate) for name, value in self.theta.items()}
        return [call, f"return J, {dict_written(parts)}"], ""

    def _costs(self, forward: list[str], gradient: dict, call: str) -> tuple[list[str], list[str]]:
        """Calls that may give J, of methods and of functions; and what could not be called.

        Those that are named as what is minimised, else others that are named as costs, else any
        that return a number.
        """
        known = {role: text for role, text in self.known.items() if role != "decay"}
        if DECAY in " ".join([*self.opening, call]):
            known = self.known
        without = list[str]()
        for kind in (MINIMISED, COSTS, ""):
            found = []
            for owner in dict.fromkeys((self.title, "")):
                for function in self.functions if owner == self.title else self.theirs.functions:
                    name = function["name"].lower()
                    if function is gradient or re.search(NO_COSTS, name):
                        continue
                    if not re.search(kind, name) or (not kind and self._is_pass(function)):
                        continue
                    calls = [
                        replace(self, title=owner, known=known | more)._call(function, roles)
                        for more in ({}, {"decay": "0"},
                                     {"data": "[(X, Y)]"} if self.m == 1 else {})
                        for roles in (("output", "target"), ("target", "output"),
                                      ("data", "target"))
                    ]  # fmt: skip
                    works = [
                        c for c in dict.fromkeys(calls)
                        if c and (kind or "Y" in c) and self._is_cost(c, forward)
                    ]  # fmt: skip
                    found += works
                    without += [function["name"]] if kind and not works else []
            if found:
                return list(dict.fromkeys(found)), []
        return [], without

    def _is_pass(self, function: dict) -> bool:
        """Whether it is one that returns something else than a cost, by its name."""
        return bool(re.search(f"{NO_FORWARD}|{FORWARD}", function["name"].lower()))

    def _is_cost(self, call: str, forward: list[str]) -> bool:
        J, error = self._run([*forward, f"J = {call}"], "J")
        return not error and _is_number(J) and np.asarray(J).dtype.kind == "f"

    # --- writing and running lines ---

    def _call(self, function: dict, unknown: Sequence[str], of_network: bool = False) -> str | None:
        own = of_network and not any(re.search(COSTS, f["name"].lower()) for f in self.functions)
        arguments = arguments_written(
            function["parameters"], self.known, () if own else unknown, of_network
        )
        if arguments is None:
            return None
        if not self.title:
            return f"{function['name']}({arguments})"
        name = "" if function["name"] == "__call__" else f".{function['name']}"
        return f"net{name}({arguments})"

    def _body(self, lines: Sequence[str]) -> list[str]:
        put = [f"put(net, {name!r}, params[{name!r}])" for name in self.theta]
        return [*self.opening, *(put if self.title else []), *lines]

    def _assembled(self, name: str, lines: list[str]) -> Assembled:
        data = self.data.values() if self.data["Y"] is not self.data["X"] else [self.data["X"]]
        return Assembled(
            name, tuple(self._body(lines)), [self.theta, *data], self.examples, self.sizes
        )

    def _run(self, lines: Sequence[str], result: str) -> tuple[Any, str]:
        after = "after = state(net)" if self.title else "after = {}"
        source = ["import copy, numpy", *self._body(lines), after, f"result = {result}"]
        return self.theirs.evaluate("\n".join(source), {**self.data, "params": self.theta})

    # --- what a value is ---

    def _as_output(self, value: Any, text: str) -> str:
        """`text` as an array like Y, "" where it has no number for each example and output."""
        K = self.sizes[-1]
        shape = (self.m, K) if self.examples == "rows" else (K, self.m)
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            return ""
        if value.shape == shape or (K == 1 and value.shape == (self.m,)):
            return text
        return f"{text}.T" if value.shape == shape[::-1] else ""

    def _is_pair(self, returned: Any) -> bool:
        """Whether it is J and a gradient."""
        if not isinstance(returned, tuple | list) or len(returned) < 2:
            return False
        for J, rest in ((returned[0], returned[1:]), (returned[-1], returned[:-1])):
            if _is_number(J) and (self._is_alike(rest) or self._is_alike(rest[0])):
                return True
        return False

    def _is_alike(self, value: Any) -> bool:
        """Whether it has as many arrays as the parameters, of as many numbers."""
        try:
            arrays = raw_leaves(in_order(self.theta, value))
        except (TypeError, ValueError, KeyError):
            return False
        own = raw_leaves(self.theta)
        if not all(a.dtype.kind in "fi" for a in arrays):
            return False
        return sorted(a.size for a in arrays) == sorted(a.size for a in own)

    def _names_of(self, returned: Any, names: list[str]) -> list[str]:
        """Of several arrays that are a misshapen gradient, by what stands behind `return`.

        Where no names stand there, in the order of the parameters, if all matrices fit.
        """
        if not isinstance(returned, tuple | list) or len(returned) != len(names):
            return []
        if self._is_misshapen(dict(zip(names, returned, strict=True))):
            return names
        theta = self._one_by_one()
        if any(names) or len(theta) != len(names):
            return []
        fits = all(
            np.size(p) == np.size(g) for p, g in zip(theta.values(), returned, strict=True)
            if isinstance(p, np.ndarray) and p.ndim > 1 and min(p.shape) > 1
        )  # fmt: skip
        by_place = dict(zip(theta, returned, strict=True))
        return [*by_place] if fits and self._is_misshapen(by_place) else []

    def _one_by_one(self) -> dict[str, Any]:
        """The parameters by name, where they are all in one dict as well."""
        only = next(iter(self.theta.values()))
        return only if len(self.theta) == 1 and isinstance(only, dict) else self.theta

    def _is_misshapen(self, value: Any) -> bool:
        """Whether it has an array for each parameter, by their names, some of other shapes."""
        names = self._one_by_one()
        if not isinstance(value, dict) or None in [key_of_gradient(n, value) for n in names]:
            return False
        arrays, own = raw_leaves(in_order(self.theta, value)), raw_leaves(self.theta)
        if len(arrays) != len(own) or not all(a.dtype.kind in "fi" for a in arrays):
            return False
        return any(a.size == p.size > 1 for a, p in zip(arrays, own, strict=True))


def _is_number(value: Any) -> bool:
    no_number = isinstance(value, dict | list | tuple | str | Opaque | None)
    return not no_number and np.size(value) == 1
