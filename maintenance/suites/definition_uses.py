"""Hints about a definition's arguments: annotations, defaults, constants, and how names are used."""

from __future__ import annotations

import ast
import collections.abc
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter of a definition.

    Attributes:
        name: its name.
        annotation: an evaluated annotation, or None.
        default: source of its default, empty if it is required.
        kind: as ``inspect.Parameter.kind`` names it.
    """

    name: str
    annotation: Any
    default: str
    kind: str


@dataclass
class Uses:
    """Hints about names from a definition's source: constants, and attributes of each name."""

    numbers: list[str] = field(default_factory=list)
    strings: list[str] = field(default_factory=list)
    attributes: dict[str, set[str]] = field(default_factory=dict)
    called: dict[str, set[str]] = field(default_factory=dict)
    compared: dict[str, list[str]] = field(default_factory=dict)
    roles: dict[str, set[str]] = field(default_factory=dict)
    classes: dict[str, list[str]] = field(default_factory=dict)


def uses(source: str) -> Uses:
    """Collect the hints about names from a definition's source."""
    collected = Uses()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=bool()):
                pass
            case ast.Constant(value=int() | float() as number):
                collected.numbers.append(repr(number))
                if isinstance(number, int):
                    collected.numbers += [repr(number + 1), repr(max(0, number - 1))]
            case ast.Constant(value=str(text)) if len(text) < 60:
                collected.strings.append(repr(text))
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attribute)):
                collected.called.setdefault(name, set()).add(attribute)
            case ast.Call(func=ast.Name(id="isinstance"), args=[ast.Name(id=name), kinds]):
                every = kinds.elts if isinstance(kinds, ast.Tuple) else [kinds]
                collected.classes.setdefault(name, []).extend(ast.unparse(each) for each in every)
            case ast.Call(func=ast.Name(id="range" | "int" | "float" as called), args=arguments):
                for argument in arguments:
                    if isinstance(argument, ast.Name):
                        collected.roles.setdefault(argument.id, set()).add(
                            "float" if called == "float" else "int"
                        )
            case ast.Call(
                func=ast.Name(id="len" | "enumerate" | "sorted" | "set" | "list" | "tuple" | "zip"),
                args=arguments,
            ):
                for argument in arguments:
                    if isinstance(argument, ast.Name):
                        collected.roles.setdefault(argument.id, set()).add("list")
            case ast.Call(func=ast.Name(id=name)):
                collected.roles.setdefault(name, set()).add("function")
            case ast.For(iter=ast.Name(id=name)) | ast.comprehension(iter=ast.Name(id=name)):
                collected.roles.setdefault(name, set()).add("list")
            case ast.Compare(left=ast.Name(id=name), comparators=[right]):
                for each in ast.walk(right):
                    if isinstance(each, ast.Constant) and each.value is not None:
                        collected.compared.setdefault(name, []).append(repr(each.value))
                if isinstance(right, ast.Name):
                    collected.roles.setdefault(name, set()).add("number")
            case ast.BinOp(left=left, op=op, right=right) if not isinstance(op, ast.Mod):
                for side in (left, right):
                    if isinstance(side, ast.Name):
                        collected.roles.setdefault(side.id, set()).add("number")
            case _:
                pass
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            collected.attributes.setdefault(node.value.id, set()).add(node.attr)
    return collected


def parameters(function: Callable[..., Any], namespace: Mapping[str, Any]) -> list[ParameterSpec]:
    """A callable's parameters, ``self`` passed by the caller; ``*args`` and ``**kwargs`` are left out.

    Raises:
        ValueError: it has no signature.
    """
    specs = []
    for parameter in inspect.signature(function).parameters.values():
        kind = parameter.kind.name
        if kind == "VAR_KEYWORD":
            continue
        default = "" if parameter.default is inspect.Parameter.empty else _literal(parameter.default)
        annotation = parameter.annotation
        if annotation is inspect.Parameter.empty:
            annotation = None
        elif isinstance(annotation, str):
            annotation = evaluated(annotation, namespace)
        specs.append(ParameterSpec(parameter.name, annotation, default, kind))
    return specs


def _literal(value: Any) -> str:
    """Source of a default; ``...`` where there is none short enough: such a parameter is never passed."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return repr(value)
    if isinstance(value, list | tuple | dict | set) and len(repr(value)) < 80:
        return repr(value)
    return "..."


def evaluated(annotation: str, namespace: Mapping[str, Any]) -> Any:
    """Evaluate an annotation that is a string; None if that fails."""
    known: dict[str, Any] = {
        **vars(collections.abc),
        **vars(typing),
        "torch": torch,
        "Tensor": torch.Tensor,
        "nn": torch.nn,
    }
    try:
        return eval(annotation, {**known, **namespace})
    except Exception:
        tail = re.sub(r"\s*\|\s*None$|^Optional\[(.*)\]$", r"\1", annotation)
        try:
            return eval(tail, {**known, **namespace})
        except Exception:
            return None


def uses_of_constructor(kind: type) -> Uses:
    """The hints from the source of a class's own ``__init__``; none if it defines none."""
    try:
        return uses(textwrap.dedent(inspect.getsource(kind.__init__)))  # type: ignore[misc]
    except (OSError, TypeError, SyntaxError, IndentationError):
        return Uses()
