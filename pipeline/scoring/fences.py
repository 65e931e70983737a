"""The fences of Markdown's code blocks (CommonMark 0.31, section 4.5)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(
    r"(?P<indent>[ \t]*(?:>[ \t]?|(?:[-*+]|\d{1,9}[.)])[ \t]+)*)"  # quotes and list items may hold a block
    r"(?P<marks>`{3,}|~{3,})[ \t]*(?P<tag>[^\s`]*)[^`]*"
)


@dataclass(frozen=True, slots=True)
class Fence:
    """A line that opens or closes a code block.

    Attributes:
        indent: what stands before it; a list item's marker counts as spaces.
        marks: its backticks or tildes.
        tag: the language, empty where none is named.
    """

    indent: str
    marks: str
    tag: str

    def closes(self, opening: Fence) -> bool:
        """Whether it ends the block that ``opening`` began."""
        return self.marks.startswith(opening.marks) and not self.tag and not self.indent.strip(" \t>")


def parse_fence(line: str) -> Fence | None:
    """The fence in this line, None where it is none."""
    found = _FENCE.fullmatch(line)
    return Fence(found["indent"], found["marks"], found["tag"]) if found else None
