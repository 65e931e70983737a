"""Real Python to score: functions and classes out of the standard library, in a seeded order."""

from __future__ import annotations

import argparse as _somewhere_in_the_library
import ast
import random
from functools import cache
from pathlib import Path

_MODULES = (
    "argparse",
    "configparser",
    "csv",
    "dataclasses",
    "difflib",
    "fractions",
    "heapq",
    "statistics",
    "textwrap",
)


@cache
def functions(shortest: int, longest: int) -> tuple[tuple[str, str], ...]:
    """Name and source of every function and class between two lengths in characters, shuffled."""
    library = Path(_somewhere_in_the_library.__file__).parent
    found = []
    for module in _MODULES:
        source = (library / f"{module}.py").read_text(encoding="utf-8")
        lines = source.splitlines(keepends=True)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                text = "".join(lines[node.lineno - 1 : node.end_lineno])[node.col_offset :].rstrip()
                if shortest <= len(text) <= longest:
                    found.append((node.name, text))
    random.Random(42).shuffle(found)
    return tuple(found)
