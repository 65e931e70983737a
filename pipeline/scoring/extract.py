"""The code in a completion.

One rule for every column, whoever wrote it: a completion that is Python as far as it goes, or up to its
first fence if it defines something there, is the code as a whole. Otherwise the code is the first block
outside the model's thinking whose language tag is empty or Python, up to its closing fence or the end of the
text; without such a block, all text but the thinking. A fence inside a triple-quoted string of the block
belongs to the code, as in a docstring with an example. Line ends become line feeds; leading blank lines and
trailing white space go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

from pipeline.scoring.fences import Fence, parse_fence, parse_opening
from pipeline.scoring.syntax import LongString, defines_something, is_python_so_far, long_strings
from pipeline.scoring.thinking import without_thinking

RULE = (
    "The code in a completion is its first fenced block marked as Python or not marked at all, up to the "
    "closing fence or the end of the text; without such a block it is the whole text. Thinking is left out."
)
_PYTHON = re.compile(r"\{?\.?(?:i?python|py)[\d.]*(?:[:,;={}].*)?", re.IGNORECASE)
_MARKDOWN = frozenset({"markdown", "md"})


def normalize_line_ends(text: str) -> str:
    """The text with line feeds for every kind of line end."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def extract_code(text: str) -> str:
    """The code in a completion, by the module's rule; empty if there is none."""
    text = normalize_line_ends(text).lstrip("\ufeff")  # a byte order mark would hide a fence
    if is_python_so_far(text):
        return _trim(text)
    answer = without_thinking(text)
    lines = answer.split("\n")
    head = _head(lines)
    if defines_something(head):  # some models close a block that they did not open
        return _trim(head)
    block = _first_python_block(lines)
    return _trim(answer if block is None else "\n".join(block))


def _head(lines: Sequence[str]) -> str:
    """The text before the first fence that, read token by token, stands in no string."""
    fences = [number for number, line in enumerate(lines) if parse_fence(line)]
    inside = {
        n for string in long_strings("\n".join(lines)) for n in range(string.first + 1, string.last + 1)
    }
    first = next((number for number in fences if number not in inside), len(lines))
    return "\n".join(lines[:first])


def _first_python_block(lines: Sequence[str]) -> list[str] | None:
    """The lines of the first block that is Python by its tag, or has none; of an empty one if all are."""
    other: Fence | None = None  # what opened the block in another language, or an empty one
    empty: list[str] | None = None
    for number, line in enumerate(lines):
        fence = parse_fence(line) if other else parse_opening(line)
        if fence is None:
            continue
        if other:
            other = None if fence.closes(other) else other
        elif not fence.tag or _PYTHON.fullmatch(fence.tag):
            if fence.tag and _is_empty(lines, number, fence):
                other, empty = fence, []
                continue
            block = _block(lines[number + 1 :], fence)
            if block is not None:
                return block
        elif fence.tag.lower() not in _MARKDOWN:  # a block that holds others is read as if it were none
            other = fence
    return empty


def _is_empty(lines: Sequence[str], number: int, opening: Fence) -> bool:
    """Whether the block that a line opens is closed before any code."""
    first = next((lines[at] for at in range(number + 1, len(lines)) if lines[at].strip()), "")
    fence = parse_fence(first)
    return fence is not None and fence.closes(opening)


def _block(lines: Sequence[str], opening: Fence) -> list[str] | None:
    """The lines of the block that ``opening`` began, up to what ends it.

    None if it begins no block: another opening fence that is marked as Python ends it, and there is nothing
    in between, or only the second one is marked.
    """
    first = next((line for line in lines if line.strip()), "")
    if _is_marked(parse_fence(first)):
        return None
    code = [opening.strip_indent(line) for line in lines]
    fences = {number: fence for number, line in enumerate(code) if (fence := opening.same_kind(line))}
    strings = long_strings("\n".join(code)) if fences else []
    for number, fence in fences.items():
        string = next((one for one in strings if one.first < number <= one.last), None)
        if string is None or _ends_block(number, fences, string):
            return None if _is_marked(fence) and not opening.tag else code[:number]
    return _without_marks_behind("\n".join(code).rstrip(), opening.marks).split("\n")


def _without_marks_behind(code: str, marks: str) -> str:
    """The code of a block without closing fence; some models write it behind the last line of the code."""
    closes = code.endswith(marks) and not parse_fence(code.rpartition("\n")[2])
    return code.removesuffix(marks) if closes else code


def _is_marked(fence: Fence | None) -> bool:
    """Whether this opens a block that is marked as Python."""
    return fence is not None and bool(fence.tag) and _PYTHON.fullmatch(fence.tag) is not None


def _ends_block(number: int, fences: dict[int, Fence], string: LongString) -> bool:
    """Whether a fence ends the block although, read token by token, it stands in a string.

    It does not in a string with an example. It does if the string was never meant to go on: it is not
    closed, or only by quotes of the text or the blocks behind.
    """
    fence = fences[number]
    if fence.tag or len(fence.indent.expandtabs(4)) > 3:  # CommonMark: a closing fence has up to 3 spaces
        return False
    inside = [fences[line] for line in fences if string.first < line <= string.last]
    if string.closed and _pair_up(inside):
        return False
    before = [fences[line] for line in takewhile(lambda line: line < number, fences) if line > string.first]
    return _pair_up(before)  # else it closes an example in the string


def _pair_up(fences: Sequence[Fence]) -> bool:
    """Whether each fence is opened and closed."""
    is_open = False
    for fence in fences:
        if is_open and fence.tag:
            return False
        is_open = not is_open
    return not is_open


def _trim(code: str) -> str:
    return re.sub(r"\A(?:[^\S\n]*\n)+", "", code).rstrip()
