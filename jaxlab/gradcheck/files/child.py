"""Runs in a process of its own: imports somebody's file and calls its functions when asked.

A plain script that imports nothing of jaxlab. Requests come on standard input, replies go to
standard output, one JSON object a line. Before their code runs both are moved away, so that what
it prints or reads never mixes with them.
"""

import ast
import contextlib
import copy
import inspect
import json
import math
import os
import re
import signal
import sys
import textwrap
import traceback
import types

MOST_CHARACTERS = 300
LONGEST_WORD = 40
# Of a notebook: %magic, !command, ?help, x = !command, help?, and commands without their %.
IPYTHON = re.compile(
    r"\s*([%!?]|[\w\s,.]+=\s*[%!]|[\w.]+\?+\s*$|(pip|conda|cd|ls|cat|pwd)(\s+[\w./~-]+)+\s*$)"
)
# Cells that begin with these hold Python.
MAGICS_OF_PYTHON = ("%%time", "%%timeit", "%%capture", "%%prun")
# The share of the time limit after which running the file itself is stopped.
SHARE = 2 / 3
# How far a call came, where that is no line: to the function's end, or to what fails whatever the
# arguments are.
TO_ITS_END, HOPELESS = 10**9, 10**9 + 1


def main() -> None:
    file, seconds = sys.argv[1], float(sys.argv[2])
    end_with(int(sys.argv[3]))
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    sys.stdout = sys.stderr = os.fdopen(os.dup(nowhere), "w")
    keep_to_half_the_memory()

    def reply(answer: dict) -> None:
        replies.write(json.dumps(answer) + "\n")
        replies.flush()

    example = None
    try:
        module, stopped = load(file, seconds)
        if hasattr(module, "example"):
            example = module.example()
            if not isinstance(example, tuple | list):
                raise TypeError("example() must return the arguments of the function")
            example = [decode(encode(v, (i,)), example) for i, v in enumerate(example)]
    except BaseException as error:
        reply({"error": said(error, file)})
        return
    reply(
        {
            "functions": functions(module),
            "classes": classes(module),
            "stopped": stopped,
            "example": None
            if example is None
            else [encode(value, (i,)) for i, value in enumerate(example)],
        }
    )  # fmt: skip
    for line in requests:
        request = json.loads(line)
        if "source" in request:
            reply(evaluated(module, request, file))
            continue
        try:
            reply({"answers": list(answers(module, request, example, file))})
        except BaseException as error:  # what their function returned cannot be read
            reply({"answers": [{"error": said(error, file), "reached": 0}]})


def end_with(parent: int) -> None:
    """Linux ends this process when its parent ends, even where that is killed as it starts this."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.name == "posix" and os.getppid() != parent:
        os._exit(1)


def keep_to_half_the_memory() -> None:
    """A file that takes more gets a MemoryError, before the whole machine stands still."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        resource.setrlimit(resource.RLIMIT_DATA, (half, half))


def load(file: str, seconds: float):
    """The module, and why it did not run to its end ("" where it did).

    Behind the functions many files read data that is not here, train for hours or ask something.
    Where that fails or takes too long, what is only defined further down still is.
    """
    # Last, and the module under a name of ours: in a folder of hand-ins there is a random.py.
    sys.path = [*sys.path[1:], os.path.dirname(file)]
    sys.argv = [file]
    module = types.ModuleType("jaxlab_check_theirs")
    module.__file__ = file
    sys.modules[module.__name__] = module
    source, left_out = source_of(file)
    tree = ast.parse(source, file)
    code = compile(tree, file, "exec")
    stopped, reached = "", 0
    stop_after(SHARE * seconds, seconds + 2)
    try:
        exec(code, vars(module))
    except BaseException as error:
        stopped, reached = said(error, file), first_line(error, file)
    finally:
        stop_after(0, seconds + 2)
    for statement in tree.body if stopped else ():
        if statement.lineno > reached and only_defines(statement):
            with contextlib.suppress(BaseException):
                exec(compile(ast.Module([statement], []), file, "exec"), vars(module))
    return module, "; ".join(part for part in (stopped, left_out) if part)


def source_of(file: str) -> tuple[bytes, str]:
    """The text of the file, and what is left out of it, "" for nothing.

    Of a notebook the text is that of its code, without what is for IPython alone; a cell that is
    no Python is left out.
    """
    with open(file, "rb") as opened:
        text = opened.read()
    if not file.endswith(".ipynb"):
        return text, ""
    try:
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        sources = ["".join(cell["source"]).splitlines() for cell in cells]
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError("it is no notebook of Jupyter's format 4") from error
    lines: list[str] = []
    left_out = ""
    for number, code in enumerate(sources, start=1):
        if "".join(code[:1]).startswith("%%"):
            if code[0].split()[0] not in MAGICS_OF_PYTHON:
                continue
            code = ["pass", *code[1:]]
        kept = without_ipython(code)
        try:
            compile("\n".join([*kept, ""]), file, "exec")
        except (SyntaxError, ValueError) as error:
            left_out = left_out or f"code cell {number} is no Python: {said(error, file)}"
            continue
        lines += kept
    return "\n".join([*lines, ""]).encode(), left_out


def without_ipython(code: list[str]) -> list[str]:
    """The lines of a cell, those that only IPython understands as `pass`."""
    kept: list[str] = []
    nothings = [line[: len(line) - len(line.lstrip())] + "pass" for line in code]
    replaced = [
        nothing if IPYTHON.match(line) else line
        for line, nothing in zip(code, nothings, strict=True)
    ]
    if not is_python(code) and is_python(replaced):
        return replaced
    for line, nothing in zip(code, nothings, strict=True):
        if IPYTHON.match(line):
            # Not in the middle of an expression, where a line may begin with % as well.
            with contextlib.suppress(SyntaxError):
                ast.parse("\n".join([*kept, nothing]))
                line = nothing
        kept.append(line)
    return kept


def is_python(lines: list[str]) -> bool:
    try:
        ast.parse("\n".join(lines))
    except (SyntaxError, ValueError):
        return False
    return True


def only_defines(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
        if isinstance(statement.value, ast.Lambda):
            return True
        with contextlib.suppress(ValueError):
            ast.literal_eval(statement.value)
            return True
    return isinstance(statement, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)


def stop_after(seconds: float, end: float) -> None:
    """Raises a TimeoutError after `seconds` (0: never), and ends the process after `end`.

    The end is for the case that nobody is left to do that.
    """
    if not hasattr(signal, "setitimer"):
        return

    def stop(*_):
        stop_after(0, end - seconds)
        raise TimeoutError(
            f"not done after {seconds:.3g} seconds (an endless loop, training?); --seconds gives "
            "it more"
        )

    signal.signal(signal.SIGALRM, stop if seconds else signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds or end)


def functions(module) -> list[dict]:
    """The functions that the file defines: name, parameters, and which must be given."""
    found = []
    for name, value in vars(module).items():
        own = getattr(value, "__module__", None) == module.__name__
        if not (own and callable(value)) or inspect.isclass(value) or name.startswith("_"):
            continue
        if (one := described(name, value)) is not None:
            found.append(one)
    return found


def classes(module) -> list[dict]:
    """The classes that the file defines: name, parameters (None where nobody says), and methods."""
    found = []
    for name, value in vars(module).items():
        if not inspect.isclass(value) or value.__module__ != module.__name__:
            continue
        methods = {
            key: method
            for one in reversed(value.__mro__)
            if one.__module__ == module.__name__
            for key, method in vars(one).items()
            if key == "__call__" or not key.startswith("__")
        }
        own = (
            described(key, getattr(value, key), bound=inspect.isfunction(method))
            for key, method in methods.items()
            if callable(getattr(value, key))
        )
        made = described(name, value)
        found.append(
            {
                "name": name,
                "parameters": None if made is None else made["parameters"],
                "methods": [one for one in own if one is not None],
            }
        )
    return found


def described(name: str, function, bound: bool = False) -> dict | None:
    """Name and parameters of a function; bound: without the first of them, self."""
    try:
        parameters = [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):
        return None
    return {
        "name": name,
        "parameters": [
            {
                "name": parameter.name,
                "required": parameter.default is parameter.empty,
                "default": parameter.default if is_plain(parameter.default) else None,
                "plain": parameter.default is None or is_plain(parameter.default),
                "keyword": parameter.kind == parameter.KEYWORD_ONLY,
            }
            for parameter in parameters[bound:]
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ],
        "variadic": any(p.kind == p.VAR_POSITIONAL for p in parameters),
        "options": next((p.name for p in parameters if p.kind == p.VAR_KEYWORD), ""),
        "returns": returned_names(function),
        "uses": [*getattr(getattr(function, "__code__", None), "co_names", ())],
    }


def returned_names(function) -> list[str]:
    """a1, a2 of a function that ends in `return a1, a2`; "" for a part that is no name."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return []
    returned = [node.value for node in ast.walk(tree) if isinstance(node, ast.Return)]
    last = returned[-1] if returned else None
    parts = last.elts if isinstance(last, ast.Tuple) else []
    return [part.id if isinstance(part, ast.Name) else "" for part in parts]


def state(thing) -> dict:
    """The attributes of an object."""
    slots = [name for one in type(thing).__mro__ for name in getattr(one, "__slots__", ())]
    held = {name: getattr(thing, name) for name in slots if hasattr(thing, name)}
    return held | getattr(thing, "__dict__", {})


def put(thing, name: str, value) -> None:
    """Sets an attribute; in place, as other objects may hold the same arrays."""
    import numpy as np

    def filled(old, new):
        if isinstance(old, dict) and isinstance(new, dict):
            old.update({key: filled(old.get(key), part) for key, part in new.items()})
            return old
        if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            old[:] = [filled(a, b) for a, b in zip(old, new, strict=True)]
            return old
        if isinstance(old, np.ndarray) and old.dtype == new.dtype and old.shape == new.shape:
            old[...] = new
            return old
        return copy.deepcopy(new)

    setattr(thing, name, filled(getattr(thing, name), value))


def evaluated(module, request: dict, file: str) -> dict:
    """Runs a few lines beside what the file defines: their `result`, or a function by that name."""
    names = {name: decode(value) for name, value in request["names"].items()}
    space = {**vars(module), "state": state, "put": put, **names}
    try:
        exec(compile(request["source"], "<jaxlab>", "exec"), space)
        if request["define"]:
            setattr(module, request["define"], space["assembled"])
        return {"result": encode(space.get("result"), ("result",))}
    except BaseException as error:
        return {"failed": said(error, file)}


def is_plain(value) -> bool:
    """Whether it is one number of Python's, a truth value or a word."""
    if isinstance(value, str):
        return len(value) <= LONGEST_WORD
    return type(value) in (int, float, bool) and -1e300 < value < 1e300


def answers(module, request: dict, example, file: str):
    """For each point J and the gradient, up to the first that fails."""
    names = request["function"].split(",")
    for point in request["points"]:
        theta = decode(point, example)
        positional = [decode(value, example) for value in request["args"]]
        named = {name: decode(value, example) for name, value in request["named"].items()}
        if request["spread"]:
            named |= theta
        else:
            positional.insert(0, theta)
        try:
            results = [called(getattr(module, name), positional, named) for name in names]
        except BaseException as error:
            hopeless = isinstance(error, NameError | ImportError | SystemExit)
            reached = HOPELESS if hopeless else first_line(error, file)
            yield {"error": said(error, file), "reached": reached}
            return
        try:
            result = results if len(results) > 1 else results[0]
            J, grad = pair(result, theta, last=request["last"])
            yield {"J": number(J), "grad": encode(grad), "two": ends_in_numbers(result)}
        except NoPair as error:
            yield {"error": str(error), "reached": HOPELESS}
            return
        except Exception as error:
            yield {"error": str(error), "reached": TO_ITS_END}
            return


def called(function, positional: list, named: dict):
    """What the function returns: for arrays of NumPy, else of the library that its file uses."""
    libraries = {"torch": "as_tensor", "jax": "numpy.asarray"}
    for library, name in libraries.items():
        if library not in sys.modules:
            continue
        try:
            return function(*copy.deepcopy(positional), **copy.deepcopy(named))
        except (TypeError, AttributeError, ValueError):  # the last: x.view(n, -1)
            make = sys.modules[library]
            for part in name.split("."):
                make = getattr(make, part)
            positional = [in_arrays(make, value) for value in positional]
            named = {name: in_arrays(make, value) for name, value in named.items()}
    # Copies: what one function writes into its arguments must not reach the next.
    return function(*copy.deepcopy(positional), **copy.deepcopy(named))


def in_arrays(make, value):
    """The value with its NumPy arrays made those of another library."""
    if isinstance(value, dict):
        return {key: in_arrays(make, part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(in_arrays(make, part) for part in value)
    return make(value) if type(value).__module__ == "numpy" else value


def ends_in_numbers(result) -> bool:
    """Whether its first and its last value may be J."""
    several = isinstance(result, tuple | list) and len(result) > 2
    return several and is_number(result[0]) and is_number(result[-1])


def pair(result, theta, *, last: bool = False):
    """(J, gradient) of what a function returns.

    J is its first value or its last, of two numbers the first unless `last` is set; a gradient may
    come array by array, one for each of theta. Both may be in a dict, or followed by the accuracy.
    """
    if isinstance(result, dict):
        costs = [key for key in result if str(key).lower() in ("cost", "loss", "j")]
        if len(costs) == 1:
            grads = {key: value for key, value in result.items() if key not in costs}
            return result[costs[0]], next(iter(grads.values())) if len(grads) == 1 else grads
    if isinstance(result, tuple | list) and len(result) > 1:
        places = [i for i in (0, len(result) - 1) if is_number(result[i])]
        # Beside J the gradient of the only output's bias is an array of one.
        places = [i for i in places if not getattr(result[i], "shape", ())] or places
        places = places[::-1] if last else places
        rest = [part for i, part in enumerate(result) if i not in places[:1]]
        if len(result) == 2 and (places or not isinstance(result[0], dict | list | tuple)):
            return result[places[0] if places else 0], rest[0 if places else 1]
        if len(places) == 2 and len(result) == 3 and arrays_in(result[1]) == arrays_in(theta):
            return result[0], result[1]
        if len(places) == 2 and not isinstance(theta, dict):
            raise NoPair("its first and its last value are single numbers: return (J, gradient)")
        if places and arrays_in(rest) == arrays_in(theta):
            return result[places[0]], rest
        if len(places) == 2:
            raise NoPair("its first and its last value are single numbers: return (J, gradient)")
    if result is None:
        raise NoPair("it returns nothing: does it end without `return`?")
    what = f"{len(result)} values" if isinstance(result, tuple) else "one value"
    raise NoPair(f"it returns {what}, not a pair (J, gradient)")


class NoPair(Exception):
    """What a function returns is not J and a gradient, however it is called."""


def is_number(value) -> bool:
    """Whether it is one number, or an array of one."""
    import numpy as np

    none = isinstance(value, dict | list | tuple | str | type(None))
    return not none and math.prod(np.shape(value)) == 1


def arrays_in(value) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return sum(map(arrays_in, value)) if isinstance(value, list | tuple) else 1


def number(J) -> float:
    import numpy as np

    value = np.asarray(J.detach() if hasattr(J, "detach") else J)
    if value.size != 1:
        raise ValueError(f"J has shape {value.shape}, it must be one number")
    return float(value.reshape(()))


class Opaque:
    """Something of example() that their process holds: at `place`, keys from outside in."""

    def __init__(self, place) -> None:
        self.place = place


def encode(value, place: tuple = ()):
    """JSON of numbers, arrays, and dicts, lists and tuples of them, which `decode` reads back.

    Of all else in an example its place: the number of the argument, then keys.
    """
    if isinstance(value, Opaque):
        return {"example": value.place}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        parts = [(key, encode(part, place and (*place, key))) for key, part in value.items()]
        return {"dict": [[encode(key), part] for key, part in parts]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [encode(part, place and (*place, i)) for i, part in enumerate(value)]}
    import numpy as np

    try:
        array = np.asarray(value.detach() if hasattr(value, "detach") else value)
    except Exception:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        if not place:
            raise TypeError(f"a {type(value).__name__} is no array of real numbers")
        return {"example": place}
    return {"array": array.ravel().tolist(), "shape": array.shape, "dtype": str(array.dtype)}


def decode(value, example=None):
    """What `encode` wrote. Numbers and text only: nothing in it is ever run.

    What lies in an example is taken from there, and `Opaque` without one.
    """
    if not isinstance(value, dict):
        return value
    if "dict" in value:
        return {decode(key, example): decode(part, example) for key, part in value["dict"]}
    if "list" in value:
        return [decode(part, example) for part in value["list"]]
    if "tuple" in value:
        return tuple(decode(part, example) for part in value["tuple"])
    if "example" in value and example is None:
        return Opaque(value["example"])
    if "example" in value:
        for key in value["example"]:
            example = example[key]
        return example  # of which `called` takes copies
    import numpy as np

    return np.array(value["array"], value["dtype"]).reshape(value["shape"])


def said(error: BaseException, file: str) -> str:
    """One line: what went wrong, and in which line of their file."""
    if isinstance(error, SystemExit):
        text = f"it calls sys.exit({error.code!r})"
    elif isinstance(error, SyntaxError):
        where = f" in line {error.lineno}" if error.lineno else ""
        text = f"SyntaxError{where}: {error.msg}"
    else:
        text = f"{type(error).__name__}: {error}".splitlines()[0]
    lines = lines_of(error, file)
    # Nothing that a terminal would obey.
    text = "".join(c for c in text[:MOST_CHARACTERS] if c.isprintable())
    return text + (f" (line {lines[-1]})" if lines else "")


def first_line(error: BaseException, file: str) -> int:
    """The line of the file that led to the error: of a function, how far that went."""
    return (lines_of(error, file) or [0])[0]


def lines_of(error: BaseException, file: str) -> list[int]:
    frames = traceback.extract_tb(error.__traceback__)
    return [frame.lineno or 0 for frame in frames if frame.filename == file]


if __name__ == "__main__":
    main()
