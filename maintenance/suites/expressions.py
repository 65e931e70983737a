"""Source expressions of test calls: how arguments are written, and whether an expression works."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from maintenance.suites.definition_uses import ParameterSpec
from maintenance.suites.trial import deadline, quiet
from pipeline.scoring.execution.suites import recipes

_SECONDS_TO_EVALUATE = 0.5


def arguments_source(wanted: Sequence[ParameterSpec], drawn: Mapping[str, str | None]) -> str:
    """Drawn arguments as the source between a call's brackets."""
    parts: list[str] = []
    by_name = False
    for each in wanted:
        value = drawn.get(each.name)
        if value is None:
            by_name = True
        elif each.kind == "VAR_POSITIONAL":
            parts.append(f"*{value}")
        elif each.kind == "POSITIONAL_ONLY" or (
            each.kind == "POSITIONAL_OR_KEYWORD" and not by_name and not each.default
        ):
            parts.append(value)
        else:
            parts.append(f"{each.name}={value}")
    return ", ".join(parts)


def works(expression: str) -> bool:
    """Whether an expression can be evaluated, in time."""
    worked = False  # also if the deadline ends the block
    with quiet(), deadline(_SECONDS_TO_EVALUATE):
        try:
            eval(expression, {"make": recipes, "torch": torch})
            worked = True
        except Exception:
            return False
    return worked


def namespace_of(kind: type) -> Mapping[str, Any]:
    """The names of the module that defines a class."""
    module = sys.modules.get(kind.__module__)
    return vars(module) if module else {}


def is_importable(kind: type) -> bool:
    """Whether the recipes find a class by its path."""
    try:
        return recipes.named(path_of(kind)) is kind
    except Exception:
        return False


def path_of(kind: Any) -> str:
    """Module and name of a definition, as ``make.named`` takes them."""
    return f"{kind.__module__}:{kind.__qualname__}"


def is_literal(text: str) -> bool:
    """Whether an expression is a literal."""
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return False
    return True
