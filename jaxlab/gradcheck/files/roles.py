"""What are the arguments of somebody's function? Told by their names, in whatever spelling."""

import re
from dataclasses import dataclass

from jaxlab.errors import CheckError

# role: the names that people give to it, in lower case and without _
ROLES = {
    "data": "x data inputs input images features xs a1 patches samples trainx",
    "target": "y labels targets target t ys label groundtruth outputs trainy yonehot ytrue",
    "n_in": "ninput ninputs nin nx inputsize inputlayersize inputdim inputsn visiblesize nvisible "
    "numinputs numinput nfeatures numfeatures d din",
    "n_hidden": "nhidden nh hiddensize hiddenlayersize hiddendim numhidden nhid h hidden "
    "hiddenunits nhiddenunits numhiddenunits",
    "n_out": "noutput noutputs nout ny outputsize outputlayersize outputdim numlabels numclasses "
    "nclasses noutputunits numoutputs numoutput k c dout nlabels classes "
    "outputunits",
    "sizes": "sizes layers layersizes layerdims dims architecture layersdims units nunits shape "
    "dimensions topology topologia capas",
    "decay": "lambda lam lambd lamb lmbda lmbd reg reglambda regularization regstrength "
    "weightdecay l2 l2reg l2lambda l2reglambda decay wd regparam regcoef weightcost weightpenalty",
    "rate": "learningrate learnrate lr eta alpha stepsize lernrate tasa tasaaprendizaje pas taux "
    "passo",
    "m": "m nexamples nsamples numexamples batchsize numsamples n",
    "sparsity": "sparsityparam rho sparsity sparsitytarget",
    "beta": "beta sparsitypenalty sparsityweight",
}
ROLE_OF = {name: role for role, names in ROLES.items() for name in names.split()}
# Arguments that hold parameters: all of them in one, or those of one layer, or a list of these.
WHOLE = ("theta", "thetas", "params", "parameters", "nnparams", "model", "net", "network", "p")
# The names of functions, in the languages of those who hand in: of a cost that is minimised, of any
# cost, and of a gradient.
MINIMISED = "cost|loss|objective|^_?j$|kosten|verlust|co[uû]t|perte|perdita|perdida|coste?$|custo$"
COSTS = f"{MINIMISED}|error$|mse|entropy|nll|fehler"
GRADIENTS = "grad|back|^dj|retro|atras|indietro|arriere|rueckw|rückw"
PIECE = re.compile("(w|theta|thetas|weights?|b|bias|biases)([0-9]*)")


@dataclass(frozen=True)
class Arguments:
    """params: the names of those that hold parameters. rest: (name, role, by keyword) of others.

    by_name: parameters are passed by name, because they are several or do not come first.
    """

    params: tuple[str, ...]
    rest: list[tuple[str, str, bool]]
    by_name: bool


def arguments_of(function: dict) -> Arguments:
    """Raises `CheckError` where one that must be given is not recognised."""
    names = [parameter["name"] for parameter in function["parameters"]]
    params = params_among(names)
    others = [p for p in function["parameters"] if p["name"] not in params]
    rest: list[tuple[str, str, bool]] = []
    for parameter in others:
        role = role_of(parameter["name"])
        if role is None and parameter["required"]:
            have = [other for _, other, _ in rest]
            role = next((r for r in ("data", "target") if r not in have), None)
            later = {role_of(p["name"]) for p in others}
            if role is None or role in later or "sizes" in have:
                raise CheckError(
                    f"the argument {parameter['name']!r} of {function['name']} is not recognised: "
                    "add a function example() to the file that returns all arguments of "
                    f"{function['name']}"
                )
        if role is not None:
            rest.append((parameter["name"], role, parameter["keyword"]))
    return Arguments(params, rest, len(params) > 1 or params[0] != names[0])


def params_among(names: list[str]) -> tuple[str, ...]:
    """Those that hold parameters: W1, b1, W2, …; or one by its name; or the first."""
    pieces = {name: piece[0] for name in names if (piece := piece_of(name))}
    if len(pieces) > 1 and "W" in pieces.values():
        return tuple(pieces)
    if role_of(names[0]) in ("data", "target"):
        for name in names:
            if _plain(name) in WHOLE or pieces.get(name) == "W":
                return (name,)
    return (names[0],)


def piece_of(name: str) -> tuple[str, int] | None:
    """("W" or "b", the number in it or 0) of an argument that may hold a part of the parameters."""
    found = PIECE.fullmatch(_plain(name))
    if not found:
        return None
    return "b" if found[1].startswith("b") else "W", int(found[2] or 0)


def role_of(name: str) -> str | None:
    """The role of an argument by its name: data, target, n_in, …; None where it is unknown."""
    plain = _plain(name)
    shorter = (re.sub("^(train|batch|mini)", "", plain), re.sub("(train|batch|set|s)$", "", plain))
    for word in (plain, *shorter):
        if word in ROLE_OF:
            return ROLE_OF[word]
        if word.rstrip("0123456789") in (
            "nhidden",
            "hidden",
            "hiddensize",
            "nh",
            "hiddenlayersize",
        ):
            return "n_hidden"
    return None


def _plain(name: str) -> str:
    return name.lower().replace("_", "")
