"""Read functions, methods and classes with docstrings from Python files, with the standard library only.

The result does not depend on the Python version, the platform, the order of files or line ends.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.data.packages.instructions import Definition, instruction, needs_class

SHORTEST, LONGEST = 80, 1000
"""Characters of a function without its docstring."""
# Parts of a path with copies of other packages' code, tests, or generated code.
_SKIP = re.compile(
    r"(^|/)(_?vendor|_?testing|tests?|test_utils|_?generated|serialized_patterns)/"
    r"|(^|/)(_?version|_appdirs|conftest|testing_utils|test_[^/]*|[^/]*_test|[^/]*_pb2)\.py$"
)
_GENERATED = re.compile(r"automatically generated from|@generated\b|DO NOT EDIT", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """One definition of a file.

    Attributes:
        name: qualified, such as ``LlamaRMSNorm.forward``.
        function: its source, dedented and without docstrings.
        start: position of its first character in the file's code; ``end``: the position after its last one.
        indent: number of spaces before it in the file.
        needs_class: whether it uses its class, so that the instruction alone is not enough.
    """

    name: str
    instruction: str
    function: str
    start: int
    end: int
    indent: int
    needs_class: bool


def is_own_source(path: str) -> bool:
    """Whether a file of a package (a path with ``/``) is Python code of the package's authors."""
    return path.endswith(".py") and not _SKIP.search(path)


def plain_text(data: bytes) -> str:
    """Return a source file's text without byte order mark and without the line ends of Windows wheels."""
    return re.sub(r"\r\n?", "\n", data.decode("utf-8-sig"))


def is_generated(code: str) -> bool:
    """Whether the first lines say that the file was generated."""
    return _GENERATED.search(code[:2000]) is not None


def definitions(code: str, only: str | None = None) -> list[Found]:
    """Return all definitions that can be samples, in file order; none if the code is not valid Python.

    Args:
        code: of one file.
        only: the qualified name of one definition, to return no other.
    """
    tree = _parse(code)
    if tree is None:
        return []
    lines = code.split("\n")
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line) + 1)
    nodes = [(node, owners, _docstring_lines(node, lines)) for node, owners in _walk(tree, ())]
    dropped = {number for node, _, span in nodes for number in (*span, *_documentation_decorator(node))}
    found: dict[str, Found] = {}
    for node, owners, span in nodes:
        name = ".".join(each.name for each in (*owners, node))
        if not span or only not in (None, name) or name in found:
            continue  # the first of a name is kept: a second one is another branch, or a property's setter
        if row := _row(name, node, owners, lines, offsets, dropped):
            found[name] = row
    return list(found.values())


def _walk(
    node: ast.AST, owners: tuple[Definition, ...]
) -> Iterator[tuple[Definition, tuple[Definition, ...]]]:
    """Yield each definition with the definitions around it; only statements can contain definitions."""
    for block in ("body", "handlers", "orelse", "finalbody", "cases"):
        for child in getattr(node, block, ()):
            if isinstance(child, Definition):
                yield child, owners
                yield from _walk(child, (*owners, child))
            else:
                yield from _walk(child, owners)


def _row(
    name: str,
    node: Definition,
    owners: tuple[Definition, ...],
    lines: list[str],
    offsets: list[int],
    dropped: set[int],
) -> Found | None:
    docstring = _docstring(node)
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    last = node.end_lineno or first
    function = _source(node.col_offset, first, last, lines, dropped)
    if docstring is None or function is None or not _has_body(node):
        return None
    owner = owners[-1].name if owners and isinstance(owners[-1], ast.ClassDef) else None
    text = instruction(node, None if isinstance(node, ast.ClassDef) else owner, docstring)
    if text is None:
        return None
    start, end = offsets[first - 1], offsets[last] - 1
    return Found(name, text, function, start, end, node.col_offset, needs_class(node, owner))


def _documentation_decorator(node: Definition) -> range:
    """Numbers of the lines of transformers' ``@auto_docstring``, which is documentation as a docstring is."""
    for decorator in node.decorator_list:
        if ast.unparse(decorator).partition("(")[0] == "auto_docstring":
            return range(decorator.lineno, (decorator.end_lineno or decorator.lineno) + 1)
    return range(0)


def _docstring(node: Definition) -> str | None:
    match node.body[0]:
        case ast.Expr(ast.Constant(str(text))):
            return text
    return None


def _docstring_lines(node: Definition, lines: list[str]) -> range:
    """Return the numbers of the docstring's lines and of the blank lines after it.

    Empty if there is no docstring, if it is the whole body, or if its lines contain other code.
    """
    if _docstring(node) is None or len(node.body) == 1:
        return range(0)
    text, following = node.body[:2]
    end = text.end_lineno or text.lineno
    behind = lines[end - 1].encode()[text.end_col_offset :].decode().strip()
    if lines[text.lineno - 1][: text.col_offset].strip() or (behind and not behind.startswith("#")):
        return range(0)
    stop = end + 1
    while stop < following.lineno and not lines[stop - 1].strip():
        stop += 1
    return range(text.lineno, stop)


def _has_body(node: Definition) -> bool:
    """Whether the body is more than ``pass``, ``...`` or ``raise NotImplementedError``."""
    for statement in node.body[1:]:
        match statement:
            case ast.Pass() | ast.Expr(ast.Constant()):
                continue
            case ast.Raise(
                exc=ast.Name("NotImplementedError") | ast.Call(func=ast.Name("NotImplementedError"))
            ):
                continue
        return True
    return False


def _source(indent: int, first: int, last: int, lines: list[str], dropped: set[int]) -> str | None:
    """Return the dedented lines without docstrings; None if too short, too long, or impossible to dedent."""
    kept: list[str] = []
    room = LONGEST + 1
    for number in range(first, last + 1):
        line = lines[number - 1]
        if number in dropped:
            continue
        if line[:indent].strip():
            return None  # part of a string left of the function: dedenting would change it
        kept.append(line[indent:] if line.strip() else "")
        room -= len(kept[-1]) + 1
        if room < 0:
            return None
    function = "\n".join(kept)
    return function if len(function) >= SHORTEST and _parse(function) else None


def _parse(code: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in the packages' strings
            return ast.parse(code)
    except SyntaxError:
        return None


def in_place(function: str, indent: int) -> str:
    """Return the function with the indentation that it has in its file."""
    return textwrap.indent(function, " " * indent)
