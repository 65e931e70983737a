"""Signs that a candidate may have reached the reference instead of writing the function.

They do not change a verdict: passes are reported with and without the flagged. What the reference itself uses
is never a sign.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator

from pipeline.scoring.execution.spec import TestSpec

_MODULES = frozenset(
    {"builtins", "ctypes", "doctest", "gc", "importlib", "inspect", "linecache", "pkgutil", "runpy"}
)
_NAMES = frozenset(
    {"__builtins__", "__import__", "compile", "eval", "exec", "globals", "open", "reload", "vars"}
)
_ATTRIBUTES = frozenset(
    {
        "__globals__",
        "__subclasses__",
        "__wrapped__",
        "_getframe",
        "f_back",
        "f_globals",
        "modules",
        "read_text",
    }
)


def flags(code: str, spec: TestSpec) -> tuple[str, ...]:
    """Why a pass of this candidate may be no evidence, in words; empty if nothing points to it."""
    signs = set(_signs(code, spec)) - set(_signs(spec.prelude, spec)) - set(_signs(spec.reference, spec))
    return tuple(sorted(signs))


def _signs(source: str, spec: TestSpec) -> Iterator[str]:
    for node in _nodes(source):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _of_import(node, spec)
        elif isinstance(node, ast.Name) and node.id in _NAMES:
            yield f"uses {node.id}"
        elif isinstance(node, ast.Attribute) and node.attr in _ATTRIBUTES:
            yield f"uses .{node.attr}"
        elif isinstance(node, ast.Attribute) and node.attr == spec.name:
            yield f"refers to another {spec.name}"


def _nodes(source: str) -> Iterator[ast.AST]:
    try:
        with warnings.catch_warnings(action="ignore"):
            yield from ast.walk(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return


def _of_import(node: ast.Import | ast.ImportFrom, spec: TestSpec) -> Iterator[str]:
    own = spec.module.partition(".")[0]
    for name in _imported(node, spec.module):
        top = name.partition(".")[0]
        if top in _MODULES:
            yield f"uses {top}"
        elif top == own:
            yield f"imports {name}"


def _imported(node: ast.Import | ast.ImportFrom, module: str) -> list[str]:
    """The dotted names that a statement imports, relative ones seen from ``module``."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = module.split(".")[: -node.level] if node.level else []
    start = ".".join([*base, *([node.module] if node.module else [])])
    return [f"{start}.{alias.name}" for alias in node.names]
