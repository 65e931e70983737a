"""Python's grammar, asked about code that a model wrote."""

from __future__ import annotations

import ast
import codeop
import re
import textwrap
import warnings
from dataclasses import dataclass

_STATEMENT = re.compile(
    r"^[ \t]*(?:@\w|(?:async[ \t]+def|def|class|import|from)[ \t]+\w|[\w.]+[ \t]*=)", re.MULTILINE
)
_DEFINITION = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_TOKEN = re.compile(
    r'''\#[^\n]*
    | (?P<quotes>"""|\'\'\')(?:\\.|(?!(?P=quotes)).)*(?P<end>(?P=quotes)|\Z)
    | "(?:\\.|[^"\\\n])*"?
    | '(?:\\.|[^'\\\n])*'?''',
    re.DOTALL | re.VERBOSE,
)


def parse(code: str, flags: int = 0) -> ast.Module:
    """Parse code that may have been cut out of an indented block, with or without its first indentation.

    Raises:
        SyntaxError: it is not Python.
        ValueError: it holds what no source code can, such as NUL or half a surrogate pair.
        RecursionError: it is nested too deeply.
        MemoryError: likewise.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes are the model's business, not the log's
        try:
            return _compile(textwrap.dedent(code), flags)
        except IndentationError:
            first, newline, rest = code.lstrip(" \t").partition("\n")
            return _compile(first + newline + textwrap.dedent(rest), flags)


def _compile(code: str, flags: int) -> ast.Module:
    tree: ast.Module = compile(code, "<unknown>", "exec", ast.PyCF_ONLY_AST | flags)
    return tree


def is_python_so_far(text: str) -> bool:
    """Whether the text is Python, or its beginning: it may end anywhere, inside a string too."""
    try:
        parse(text, codeop.PyCF_ALLOW_INCOMPLETE_INPUT)  # type: ignore[attr-defined]
    except SyntaxError as error:
        # Prose such as 'Put """ around it:' is Python that breaks off, too. No statement stands before it.
        quotes = re.search(r'"""|\'\'\'', text)
        before = text[: quotes.start()] if quotes else text
        return error.msg == "incomplete input" and _STATEMENT.search(before) is not None
    except (ValueError, RecursionError, MemoryError):
        return False
    return True


def defines_something(code: str) -> bool:
    """Whether this is complete Python code that defines a function or class."""
    try:
        return any(isinstance(one, _DEFINITION) for one in parse(code).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


@dataclass(frozen=True, slots=True)
class LongString:
    """A triple-quoted string that goes over several lines, counted from 0.

    Attributes:
        first: the line that it begins in.
        last: the line that it ends in; the code's last one if it is not closed.
        closed: whether it is.
    """

    first: int
    last: int
    closed: bool


def long_strings(code: str) -> list[LongString]:
    """Every triple-quoted string of several lines, in order; the code need not be complete or correct."""
    strings: list[LongString] = []
    line = place = 0
    for token in _TOKEN.finditer(code):
        line += code.count("\n", place, token.start())
        place = token.start()
        if token["quotes"]:
            last = line + code.count("\n", place, token.end())
            if last > line:
                strings.append(LongString(line, last, closed=bool(token["end"])))
    return strings
