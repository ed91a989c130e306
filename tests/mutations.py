"""The mutants of a source file: each is the file with one small change that matters.

Every arithmetic operator, comparison, sign, number, index, axis, transpose and branch of the code
is changed in turn; words (messages, docstrings, names in strings) and types are left alone. A
mutant is a piece of the text replaced, so that line numbers stay, and is known by its file, the
text of its line and what was changed in it.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "jaxlab"

OPERATORS = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*",
    ast.Pow: "*", ast.LShift: ">>", ast.BitAnd: "|", ast.BitOr: "&",
}  # fmt: skip
WRITTEN = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%",
    ast.Pow: "**", ast.LShift: "<<", ast.BitAnd: "&", ast.BitOr: "|", ast.MatMult: "@",
}  # fmt: skip
COMPARISONS = {
    ast.Lt: ("<", ">="), ast.LtE: ("<=", ">"), ast.Gt: (">", "<="), ast.GtE: (">=", "<"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"), ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"),
}  # fmt: skip
# Whether the end belongs to it: seen only where whole numbers are compared.
ENDS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
TWINS = [("mean", "sum"), ("minimum", "maximum"), ("min", "max"), ("any", "all"),
         ("zeros", "ones"), ("zeros_like", "ones_like"), ("exp", "log"),
         ("real", "imag")]  # fmt: skip
TWIN_OF = dict(TWINS) | {right: left for left, right in TWINS}
# Functions of one array that are left out, f(x) → x.
LEFT_OUT = {"abs", "sqrt", "square", "nan_to_num", "stop_gradient", "isfinite"}
LAYERS = {"l", "L", "i", "k"}
# What only guards against mistakes elsewhere, or is for the eye.
GUARDS = {"strict", "frozen", "repr", "compare"}
# Below that a number is a step or a tolerance: a mutant has it a thousand times larger or smaller.
SMALL = 2e-2


@dataclass(frozen=True)
class Mutant:
    file: str  # inside the package
    line: str
    change: str
    number: int
    source: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.file, self.line, self.change

    def __str__(self) -> str:
        return f"{self.file}:{self.number}: {self.line}    {self.change}"


def mutants(file: str) -> list[Mutant]:
    """All mutants of a file of the package, in the order of its lines."""
    text = (PACKAGE / file).read_bytes()
    tree = ast.parse(text)
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found, seen, sources = [], Counter(), {text.decode()}
    changes = [
        (starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1]
         + node.end_col_offset, node.lineno, name, new)
        for node, parents in _code(tree, ())
        for name, new in _changes(node, parents)
    ]  # fmt: skip
    for start, end, number, name, new in sorted(changes, key=lambda c: (c[2], c[0], c[1])):
        source = (text[:start] + new.encode() + text[end:]).decode()
        if source in sources:
            continue
        sources.add(source)
        line = text.splitlines()[number - 1].decode().strip()
        seen[line, name] += 1
        nth = f" ({seen[line, name]})" if seen[line, name] > 1 else ""
        found.append(Mutant(file, line, name + nth, number, source))
    return found


def _code(node: ast.AST, parents: tuple[ast.AST, ...]) -> Iterator[tuple[ast.AST, tuple]]:
    """Every node of the code with its parents, nearest last; no types, no words."""
    if isinstance(node, ast.JoinedStr | ast.Raise | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.keyword) and node.arg in GUARDS:
        return
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    yield node, parents
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        at_top = isinstance(node, ast.Assign) and isinstance(parents[-1], ast.Module)
        if at_top and isinstance(value, ast.Subscript | ast.BinOp) and "np." in ast.unparse(value):
            continue  # Theta = Inexact[np.ndarray, …] | …
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _code(child, (*parents, node))


def _changes(node: ast.AST, parents: tuple) -> Iterator[tuple[str, str]]:
    """What the node may be changed to: (the change in short, its new text)."""
    parent = parents[-1] if parents else None
    text = ast.unparse(node) if isinstance(node, ast.expr) else ""
    match node:
        case ast.BinOp(left, ast.MatMult(), right):
            yield "operands of @ swapped", f"(({ast.unparse(right)}) @ ({ast.unparse(left)}))"
        case ast.BinOp(left, op, right) if type(op) in OPERATORS:
            new = OPERATORS[type(op)]
            yield f"{WRITTEN[type(op)]} → {new}", _binary(left, new, right)
        case ast.AugAssign(target, op, value):
            new = OPERATORS[type(op)]
            yield (f"{WRITTEN[type(op)]}= → {new}=",
                   f"{ast.unparse(target)} {new}= {ast.unparse(value)}")  # fmt: skip
        case ast.UnaryOp(op, operand):
            what = {ast.USub: "- dropped", ast.Not: "not dropped", ast.Invert: "~ dropped"}
            yield what[type(op)], f"({ast.unparse(operand)})"
        case ast.Compare(left, [op], [right]):
            old, new = COMPARISONS[type(op)]
            yield f"{old} → {new}", _binary(left, new, right)
            if old in ENDS and any(_is_whole(side) for side in (left, right)):
                yield f"{old} → {ENDS[old]}", _binary(left, ENDS[old], right)
        case ast.BoolOp(op, values):
            old, new = ("and", "or") if isinstance(op, ast.And) else ("or", "and")
            yield f"{old} → {new}", f"({f' {new} '.join(f'({ast.unparse(v)})' for v in values)})"
        case ast.IfExp(_, body, orelse):
            yield "if → True", f"({ast.unparse(body)})"
            yield "if → False", f"({ast.unparse(orelse)})"
        case ast.Constant(value) if not isinstance(parent, ast.Expr):
            yield from _other_constants(value, parent)
        case ast.Attribute(value, "T"):
            yield ".T dropped", f"({ast.unparse(value)})"
        case ast.Attribute(value, name) if name in TWIN_OF:
            yield f"{name} → {TWIN_OF[name]}", f"({ast.unparse(value)}).{TWIN_OF[name]}"
        case ast.Name(name) if name in TWIN_OF and isinstance(parent, ast.Call):
            yield f"{name} → {TWIN_OF[name]}", TWIN_OF[name]
        case ast.Call(ast.Attribute(attr=name), [argument, *_]) if name in LEFT_OUT:
            yield f"{name}(…) left out", f"({ast.unparse(argument)})"
        case ast.Name(name) if name in LAYERS and isinstance(parent, ast.Subscript):
            yield f"[{name}] → [{name} + 1]", f"{name} + 1"
            yield f"[{name}] → [{name} - 1]", f"{name} - 1"
        case ast.Name(name) if isinstance(parent, ast.Slice):
            yield f"{name} → {name} + 1", f"{name} + 1"
    if isinstance(parent, ast.If | ast.While) and node is parent.test:
        yield "if → if True", "True"
        yield "if → if False", "False"
    if isinstance(parent, ast.comprehension) and node in parent.ifs:
        yield "if → if True", "True"
    if isinstance(node, ast.Expr | ast.AugAssign | ast.Delete) and not _is_words(node):
        yield "left out", "pass"
    if isinstance(node, ast.BinOp) and _is_product(node) and not _is_product(parent):
        yield "sign turned", f"(-({text}))"


def _binary(left: ast.expr, operator: str, right: ast.expr) -> str:
    return f"(({ast.unparse(left)}) {operator} ({ast.unparse(right)}))"


def _other_constants(value: object, parent: ast.AST | None) -> Iterator[tuple[str, str]]:
    if isinstance(value, bool):
        others: list[object] = [not value]
    elif isinstance(value, int):
        others = [value + 1] + ([value - 1] if value else [])
    elif isinstance(value, float):
        others = [1000 * value, value / 1000] if 0 < value < SMALL else [2 * value or 1.0]
    else:
        return
    for new in others:
        yield f"{value!r} → {new!r}", f"({new!r})"


def _is_product(node: ast.AST | None) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div | ast.MatMult)


def _is_whole(node: ast.expr) -> bool:
    match node:
        case ast.Constant(int()):
            return True
        case ast.Attribute(attr="size" | "ndim") | ast.Call(ast.Name("len" | "min")):
            return True
    return False


def _is_words(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant | ast.Yield)
