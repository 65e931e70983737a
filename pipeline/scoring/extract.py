"""The code in a completion.

One rule for every column, whoever wrote it: the first fenced block whose language tag is empty or Python, up
to its closing fence or the end of the text; without such a block, the whole text. Fences are Markdown's
(CommonMark 0.31, section 4.5). One that stands inside a triple-quoted string belongs to the code, as in a
docstring with an example. Line ends become line feeds; leading blank lines and trailing white space go.
"""

from __future__ import annotations

import re

RULE = (
    "The code in a completion is its first fenced block marked as Python or not marked at all, up to the "
    "closing fence or the end of the text; without such a block it is the whole text."
)
_PYTHON = frozenset({"", "python", "python3", "py", "py3"})
_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<marks>`{3,}|~{3,})[ \t]*(?P<tag>[^\s`]*)[^`]*")
_TRIPLE_QUOTES = re.compile(r'"""|\'\'\'')


def normalize_line_ends(text: str) -> str:
    """The text with line feeds for every kind of line end."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def extract_code(text: str) -> str:
    """The code in a completion, by the module's rule; empty where there is none."""
    text = normalize_line_ends(text)
    block: list[str] | None = None  # the lines of a Python block that is open
    opening: re.Match[str] | None = None
    in_string = False
    for line in text.split("\n"):
        fence = None if in_string else _FENCE.fullmatch(line)
        if opening is None and fence:
            opening, block = fence, [] if fence["tag"].lower() in _PYTHON else None
        elif opening and fence and _closes(fence, opening):
            if block is not None:
                break
            opening = None
        else:
            in_string ^= len(_TRIPLE_QUOTES.findall(line)) % 2 == 1
            if opening and block is not None:
                block.append(line.removeprefix(opening["indent"]))
    return _trim(text if block is None else "\n".join(block))


def _closes(fence: re.Match[str], opening: re.Match[str]) -> bool:
    return fence["marks"].startswith(opening["marks"]) and not fence["tag"]


def _trim(code: str) -> str:
    return re.sub(r"\A(?:[^\S\n]*\n)+", "", code).rstrip()
