"""Small faults put into a function, to see whether its tests notice.

Two disjoint sets of operators: ``FILTER`` decides which samples are kept, ``REPORT`` measures the suites that
came of it, so that the measure is not the one that was selected on.
"""

from __future__ import annotations

import ast
import copy
import random
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Operator = Callable[[ast.AST], Iterator[ast.AST]]
"""What may stand in a node's place."""

_MESSAGES = re.compile(r"warn|^(info|debug|error|log|print)$|validat|^_?check|deprecat|^_?assert|_log$")
_NO_VALUE = frozenset({"device", "non_blocking", "validate_args"})
_SAME_VALUE = frozenset({"to", "cpu", "item", "contiguous", "detach", "clone", "tolist", "copy"})
_BOUNDARY: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn,
    ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_INVERSE: dict[type, type] = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}
_SWAPPED: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.MatMult: ast.Mult,
}  # fmt: skip
_OTHER: dict[type, type] = {
    ast.Add: ast.Mult, ast.Sub: ast.Div, ast.Mult: ast.Add, ast.Div: ast.FloorDiv, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.Pow: ast.Add, ast.BitAnd: ast.BitXor, ast.BitOr: ast.BitXor, ast.MatMult: ast.Add,
}  # fmt: skip


def _other_comparison(others: Mapping[type, type], node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in others:
        yield ast.Compare(node.left, [others[type(node.ops[0])](), *node.ops[1:]], node.comparators)


def _other_operator(others: Mapping[type, type], node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in others:
        yield _with(node, op=others[type(node.op)]())


def _next_constant(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str(value)):
            yield ast.Constant(value + "x")


def _connective(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)


def _negated_condition(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))


def _removed_statement(node: ast.AST) -> Iterator[ast.AST]:
    simple = isinstance(node, ast.AugAssign | ast.Delete) or (
        isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
    )
    rebinding = isinstance(node, ast.Assign) and any(
        isinstance(each, ast.Name) and isinstance(target, ast.Name) and each.id == target.id
        for target in node.targets
        for each in ast.walk(node.value)
    )
    if simple or rebinding:
        yield ast.Pass()


def _dropped_keyword(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Call):
        for index, keyword in enumerate(node.keywords):
            if keyword.arg and keyword.arg not in _NO_VALUE:
                yield ast.Call(node.func, node.args, node.keywords[:index] + node.keywords[index + 1 :])


def _dropped_call(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Call(func=ast.Name(), args=[first, *_]) if not isinstance(first, ast.Starred):
            yield first
        case ast.Call(func=ast.Attribute(value=ast.Name(id="self" | "cls" | "super"))):
            pass
        case ast.Call(func=ast.Attribute(attr=name)) if name in _SAME_VALUE:
            pass
        case ast.Call(func=ast.Attribute(value=value)) if not isinstance(value, ast.Name) or not node.args:
            yield value


def _previous_constant(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value - 1)
        case ast.Constant(value=str(value)) if value:
            yield ast.Constant(value[1:])


def _dropped_operand(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BoolOp):
        yield node.values[0]
        yield node.values[-1]


def _fixed_condition(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If | ast.IfExp):
        yield _with(node, test=ast.Constant(True))
        yield _with(node, test=ast.Constant(False))


def _dropped_sign(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.UnaryOp):
        yield node.operand


def _swapped_arguments(node: ast.AST) -> Iterator[ast.AST]:
    if (
        isinstance(node, ast.Call)
        and len(node.args) >= 2
        and not any(isinstance(a, ast.Starred) for a in node.args)
    ):
        yield ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)


def _returned_value(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Return(value=ast.Constant(value=None)) | ast.Return(value=None):
            pass
        case ast.Return(value=ast.Tuple(elts=[first, second, *rest])):
            yield ast.Return(ast.Tuple([second, first, *rest], ast.Load()))
        case ast.Return(value=ast.BinOp(left=left)):
            yield ast.Return(left)
        case ast.Return():
            yield ast.Return(ast.Constant(None))


def _skipped_first(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.For):
        rest = ast.Subscript(
            ast.Call(ast.Name("list", ast.Load()), [node.iter], []),
            ast.Slice(lower=ast.Constant(1)),
            ast.Load(),
        )
        yield _with(node, iter=rest)


FILTER: tuple[Operator, ...] = (
    partial(_other_comparison, _BOUNDARY), partial(_other_operator, _SWAPPED), _next_constant, _connective,
    _negated_condition, _removed_statement, _dropped_keyword, _dropped_call,
)  # fmt: skip
REPORT: tuple[Operator, ...] = (
    partial(_other_comparison, _INVERSE), partial(_other_operator, _OTHER), _previous_constant,
    _dropped_operand, _fixed_condition, _dropped_sign, _swapped_arguments, _returned_value, _skipped_first,
)  # fmt: skip


def mutants(source: str, operators: tuple[Operator, ...], most: int, seed: int = 0) -> list[str]:
    """Sources with one fault each, at most ``most``, drawn evenly from all that the operators make.

    Messages of exceptions, warnings and logs, annotations, and decorators are left as they are: no value
    depends on them.
    """
    tree = ast.parse(source)
    made: dict[str, None] = {}
    plain = ast.unparse(tree)
    for path, node in list(_sites(tree, ())):
        for operator in operators:
            for other in operator(node):
                changed = _replaced(tree, path, other)
                if changed is not None and changed != plain:
                    made.setdefault(changed)
    every = list(made)
    if len(every) <= most:
        return every
    chosen = sorted(random.Random(seed).sample(range(len(every)), most))
    return [every[index] for index in chosen]


def stubs(source: str) -> list[str]:
    """Return definitions that ignore their task: each returns None, its first argument, or a constant."""
    tree = ast.parse(source)
    (definition,) = (each for each in tree.body if isinstance(each, _Definition))
    bodies = ["pass", "return 0", "return True", "return False", "return []", "return ''", "return {}"]
    if isinstance(definition, ast.ClassDef):
        return [_class_stub(definition, body) for body in ("pass", "return args[0] if args else None")]
    arguments = [*definition.args.posonlyargs, *definition.args.args]
    names = [each.arg for each in arguments if each.arg not in ("self", "cls")]
    bodies += [f"return {name}" for name in names[:2]]
    made = []
    for body in bodies:
        stub = copy.deepcopy(definition)
        stub.body = ast.parse(f"def f():\n    {body}").body[0].body  # type: ignore[attr-defined]
        made.append(ast.unparse(ast.Module([stub], [])))
    return made


def _class_stub(definition: ast.ClassDef, body: str) -> str:
    """The class with its fields, and with methods that do nothing behind their initialization of the base."""
    stub = copy.deepcopy(definition)
    for index, each in enumerate(stub.body):
        if isinstance(each, ast.FunctionDef):
            new = ast.parse(f"def {each.name}(self, *args, **kwargs):\n    {body}").body[0]
            if each.name == "__init__" and definition.bases:
                new = ast.parse("def __init__(self, *args, **kwargs):\n    super().__init__()").body[0]
            stub.body[index] = new
    return ast.unparse(ast.Module([stub], []))


_Path = tuple[tuple[str, int | None], ...]


def _sites(node: ast.AST, path: _Path) -> Iterator[tuple[_Path, ast.AST]]:
    """Every node that a fault may be put into, with the way to it."""
    skipped = _unobserved_defaults(node) if isinstance(node, ast.arguments) else ()
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "bases"):
            continue
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if not isinstance(child, ast.AST) or child in skipped or _only_speaks(child):
                continue
            here = (*path, (name, index if isinstance(value, list) else None))
            if not isinstance(
                child, ast.expr_context | ast.operator | ast.cmpop | ast.boolop | ast.JoinedStr
            ):
                yield here, child
            yield from _sites(child, here)


def _unobserved_defaults(arguments: ast.arguments) -> list[ast.AST]:
    """Defaults of parameters on which no value depends."""
    positional = [*arguments.posonlyargs, *arguments.args]
    pairs = [
        *zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    return [default for argument, default in pairs if default is not None and argument.arg in _NO_VALUE]


def _only_speaks(node: ast.AST) -> bool:
    """Whether no value depends on the node: an exception, a check, a warning, a log, a docstring."""
    match node:
        case ast.If(body=body, orelse=[]):
            return all(isinstance(each, ast.stmt) and _only_speaks(each) for each in body)
        case ast.keyword(arg=name):
            return name in _NO_VALUE
        case ast.Raise() | ast.Assert() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name))):
            return _MESSAGES.search(name) is not None
    return False


def _replaced(tree: ast.Module, path: _Path, other: ast.AST) -> str | None:
    changed = copy.deepcopy(tree)
    node: ast.AST = changed
    for name, index in path[:-1]:
        value = getattr(node, name)
        node = value if index is None else value[index]
    name, index = path[-1]
    if index is None:
        setattr(node, name, other)
    else:
        getattr(node, name)[index] = other
    try:
        return ast.unparse(ast.fix_missing_locations(changed))
    except (ValueError, TypeError, RecursionError):
        return None


def _with(node: ast.AST, **fields: ast.AST) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed
