"""Compiles the code under test; a method is put into a class with its owner's name."""

from __future__ import annotations

import ast
from typing import Any

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def run_definition(source: str, entry: str, space: dict[str, Any], flags: int = 0) -> None:
    """Run the code under test, and bind what it defines to the last part of ``entry``.

    A method is compiled inside of a class of its owner's name, so that ``super()`` and ``__names`` mean what
    they mean there. It is taken from the top level, or from such a class that was written around it.

    Args:
        source: the code.
        entry: name of the definition, dotted for a method.
        space: the namespace that it runs in.
        flags: of the compiler, for ``from __future__ import annotations``.

    Raises:
        SyntaxError: the source is not Python.
        NameError: it does not define the entry.
        Exception: what the code raises.
    """
    *owners, name = entry.split(".")
    tree = ast.parse(source, "<code>")
    if not owners:
        exec(compile(tree, "<code>", "exec", flags, dont_inherit=True), space)
        if name not in space:
            raise NameError(f"it does not define {name}")
        return
    owner = owners[-1]
    real = space.get(owner)
    exec(compile(_inside_owner(tree, owner, name), "<code>", "exec", flags, dont_inherit=True), space)
    space[name] = vars(space[owner])[name]
    space[owner] = real


def _inside_owner(tree: ast.Module, owner: str, name: str) -> ast.Module:
    rest: list[ast.stmt] = []
    definitions: list[ast.stmt] = []
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef) and statement.name == owner:
            definitions += [each for each in statement.body if _defines(each, name)]
        elif _defines(statement, name):
            definitions.append(statement)
        else:
            rest.append(statement)
    if not definitions:
        raise NameError(f"it does not define {name}")
    wrapper = ast.parse(f"class {owner}: pass").body[0]
    assert isinstance(wrapper, ast.ClassDef)
    wrapper.body = definitions[-1:]
    return ast.Module([*rest, wrapper], type_ignores=[])


def _defines(statement: ast.stmt, name: str) -> bool:
    return isinstance(statement, _Definition) and statement.name == name
