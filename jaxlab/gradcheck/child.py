"""Runs in a process of its own: imports somebody's file and calls its functions when asked.

A plain script that imports nothing of jaxlab. Requests come on standard input, replies go to
standard output, one JSON object a line. Before their code runs both are moved away, so that what
it prints or reads never mixes with them.
"""

import copy
import importlib.util
import inspect
import json
import os
import signal
import sys
import traceback

MOST_CHARACTERS = 300


def main() -> None:
    file, seconds = sys.argv[1], int(float(sys.argv[2])) + 2
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    sys.stdout = sys.stderr = os.fdopen(os.dup(nowhere), "w")
    if hasattr(signal, "alarm"):  # should nobody be left to end this process
        signal.alarm(seconds)

    def reply(answer: dict) -> None:
        replies.write(json.dumps(answer) + "\n")
        replies.flush()

    module, example = None, None
    try:
        module = load(file)
        if hasattr(module, "example"):
            example = module.example()
            if not isinstance(example, tuple | list):
                raise TypeError("example() must return the arguments: (params, x, y, …)")
    except BaseException as error:
        reply({"error": said(error, file)})
        return
    reply(
        {
            "functions": functions(module, file),
            "example": None
            if example is None
            else [encode(value, i) for i, value in enumerate(example)],
        }
    )
    for line in requests:
        request = json.loads(line)
        try:
            reply({"answers": list(answers(module, request, example, file))})
        except BaseException as error:  # what their function returned cannot be read
            reply({"answers": [{"error": said(error, file)}]})


def load(file: str):
    folder, name = os.path.split(file)
    sys.path[0] = folder
    sys.argv = [file]
    stem = os.path.splitext(name)[0]
    spec = importlib.util.spec_from_file_location(stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(stem, module)
    spec.loader.exec_module(module)
    return module


def functions(module, file: str) -> list[dict]:
    """The functions that the file defines: name, parameters, and which must be given."""
    found = []
    for name, value in vars(module).items():
        own = getattr(value, "__module__", None) == module.__name__
        if not (own and callable(value)) or inspect.isclass(value) or name.startswith("_"):
            continue
        try:
            parameters = inspect.signature(value).parameters.values()
        except (TypeError, ValueError):
            continue
        found.append(
            {
                "name": name,
                "parameters": [
                    {
                        "name": parameter.name,
                        "required": parameter.default is parameter.empty,
                        "keyword": parameter.kind == parameter.KEYWORD_ONLY,
                    }
                    for parameter in parameters
                    if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
                ],
            }
        )
    return found


def answers(module, request: dict, example, file: str):
    """For each point J and the gradient, up to the first that fails."""
    for point in request["points"]:
        positional = [decode(value, example) for value in request["args"]]
        named = {name: decode(value, example) for name, value in request["named"].items()}
        try:
            result = getattr(module, request["function"])(
                decode(point, example), *positional, **named
            )
        except BaseException as error:
            yield {"error": said(error, file), "type": type(error).__name__}
            return
        if not isinstance(result, tuple | list) or len(result) != 2:
            what = f"{len(result)} values" if isinstance(result, tuple) else type(result).__name__
            yield {"error": f"it returns {what}, not a pair (J, gradient)", "type": "form"}
            return
        J, grad = result
        try:
            yield {"J": number(J), "grad": encode(grad)}
        except Exception as error:
            yield {"error": f"what it returns cannot be read as numbers: {error}", "type": "form"}
            return


def number(J) -> float:
    import numpy as np

    value = np.asarray(J)
    if value.size != 1:
        raise ValueError(f"J has shape {value.shape}, it must be one number")
    return float(value.reshape(()))


def encode(value, example: int | None = None):
    """JSON of numbers, arrays, and dicts, lists and tuples of them; of all else, of an example,
    its place there."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {"dict": [[key, encode(part, example)] for key, part in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [encode(part, example) for part in value]}
    import numpy as np

    try:
        array = np.asarray(value.detach() if hasattr(value, "detach") else value)
    except Exception:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        if example is None:
            raise TypeError(f"a {type(value).__name__} is no array of real numbers")
        return {"example": example}
    return {"array": array.ravel().tolist(), "shape": array.shape, "dtype": str(array.dtype)}


def decode(value, example):
    if not isinstance(value, dict):
        return value
    if "dict" in value:
        return {key: decode(part, example) for key, part in value["dict"]}
    if "list" in value:
        return [decode(part, example) for part in value["list"]]
    if "tuple" in value:
        return tuple(decode(part, example) for part in value["tuple"])
    if "example" in value:
        return copy.deepcopy(example[value["example"]])
    import numpy as np

    return np.array(value["array"], value["dtype"]).reshape(value["shape"])


def said(error: BaseException, file: str) -> str:
    """One line: what went wrong, and in which line of their file."""
    if isinstance(error, SystemExit):
        text = f"it calls sys.exit({error.code!r})"
    elif isinstance(error, SyntaxError):
        text = f"SyntaxError in line {error.lineno}: {error.msg}"
    else:
        text = f"{type(error).__name__}: {error}".splitlines()[0]
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return text[:MOST_CHARACTERS] + (f" (line {lines[-1]})" if lines else "")


if __name__ == "__main__":
    main()
