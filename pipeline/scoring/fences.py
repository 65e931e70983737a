"""The fences of Markdown's code blocks (CommonMark 0.31, section 4.5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile

_FENCE = re.compile(
    r"(?P<indent>[ \t]*(?:>[ \t]?|(?:[-*+]|\d{1,9}[.)])[ \t]+)*)"  # quotes and list items may hold a block
    r"(?P<marks>`{3,}|~{3,})[ \t]*(?P<tag>[^\s`]*)[^`]*"
)
_BEFORE_TEXT = re.compile(r" {0,3}(?P<marks>`{3,})[ \t]+\S.*")
_AFTER_PROSE = re.compile(r"[^`]*[\s:](?P<marks>`{3,})[ \t]*(?P<tag>[^\s`]*)[ \t]*")


@dataclass(frozen=True, slots=True)
class Fence:
    """A line that opens or closes a code block.

    Attributes:
        indent: what stands before it.
        marks: its backticks or tildes.
        tag: the language, empty if none is named.
    """

    indent: str
    marks: str
    tag: str

    def closes(self, opening: Fence) -> bool:
        """Whether it ends the block that ``opening`` began."""
        return self.marks.startswith(opening.marks) and not self.tag

    def same_kind(self, line: str) -> Fence | None:
        """The fence in a line of this block if it is of the same marks, and as many; else None.

        Some models go on behind the closing fence, with text or another block, where Markdown knows no fence.
        """
        fence = parse_fence(line)
        if fence is None and (found := _BEFORE_TEXT.fullmatch(line)):
            fence = Fence("", found["marks"], "")
        return fence if fence and fence.marks.startswith(self.marks) and not fence.indent.strip() else None

    def strip_indent(self, line: str) -> str:
        """A line of this block without the indent of its container: quote marks and a list item's spaces."""
        shared = takewhile(
            lambda pair: pair[0] == pair[1], zip(re.sub(r"[^\s>]", " ", self.indent), line, strict=False)
        )
        return line[len(list(shared)) :]


def parse_fence(line: str) -> Fence | None:
    """The fence in this line, None if it is none."""
    match = _FENCE.fullmatch(line)
    return Fence(match["indent"], match["marks"], match["tag"]) if match else None


def parse_opening(line: str) -> Fence | None:
    """The fence in this line; also one at the end of a line of prose, where Markdown knows none."""
    if fence := parse_fence(line):
        return fence
    match = _AFTER_PROSE.fullmatch(line)
    return Fence("", match["marks"], match["tag"]) if match else None
