"""Reading JSON lines, or one list of objects."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from pipeline.data.own.table import LONGEST_ROW, Collector, named_twice, numbered
from pipeline.data.own.text_lines import Lines, head, open_text, too_long
from pipeline.schema import LabError, counted

_NO_SPACE = re.compile(r"[^ \t\r\n]")
_FORM = "It must hold a list of objects, or one object on each line."


class _Twice(dict[str, Any]):
    """An object that has the name ``twice`` more than once, of which Python keeps the last value."""

    twice: str


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    found, seen = _Twice(made), set[str]()
    for name, _ in pairs:
        if name in seen:
            found.twice = name
            break
        seen.add(name)
    return found


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=str, parse_float=str, parse_constant=lambda _: None
)
"""Keeps numbers as they are written: Python reads no integer of more than 4,300 digits."""


def read_json(rows: Collector, file: BinaryIO) -> None:
    """Read JSON lines, or one list of objects."""
    name = rows.source
    is_list = head(name, file).lstrip().startswith("[")
    text = open_text(name, file, newline="\n")  # other characters that end lines can be in texts
    for number, value in _items(name, text) if is_list else _lines(name, text):
        if isinstance(value, _Twice):
            raise named_twice(name, value.twice)
        if isinstance(value, dict):
            rows.add(value)
        else:
            rows.skip(number)
    if rows.skipped:
        part, whole = ("item", "list") if is_list else ("line", "file")
        rows.unread.append(
            f"Left out: {counted(len(rows.skipped), part)} without a JSON object "
            f"({numbered(part, rows.skipped)} of the {whole})."
        )
        if not rows:
            rows.unread.append(_FORM)


def _lines(name: str, text: io.TextIOWrapper) -> Iterator[tuple[int, Any]]:
    """The number of each line that is not empty, and its value; None for what is not JSON."""
    lines = Lines(name, text, ", or write each row on a line of its own")
    first = True
    for line in lines:
        empty = not line.strip()
        if not empty:
            value = None
            try:
                value = _DECODER.decode(line)
            except RecursionError:
                pass  # nested too deep for any row: no value
            except json.JSONDecodeError as error:
                if first and line.lstrip().startswith("{") and error.pos >= len(line.rstrip()):
                    raise LabError(f"{name} starts with an object of several lines. {_FORM}") from error
            yield lines.row, value
            first = False
        lines.end_row(empty)


def _items(name: str, text: io.TextIOWrapper) -> Iterator[tuple[int, Any]]:
    """The number of each item of a list, and the item. One at a time: all can take 30 times their text."""
    values = _Values(name, text)
    values.skip("[")
    number = 0
    while values.peek() != "]":
        if number:
            values.skip(",")
        number += 1
        yield number, values.take()
    values.skip("]")
    if values.peek():
        raise LabError(f"Line {values.line():,} of {name} goes on after the end of the list. {_FORM}")


class _Values:
    """Takes one value after another from a text."""

    def __init__(self, name: str, text: io.TextIOWrapper) -> None:
        self._name, self._text = name, text
        self._buffer, self._at, self._more = "", 0, True
        self._line = 1  # where the buffer starts

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            if self._more and len(self._buffer) - self._at <= LONGEST_ROW:
                self._line = self.line()
                read = self._text.read(LONGEST_ROW)
                self._buffer, self._at, self._more = self._buffer[self._at :] + read, 0, bool(read)
            found = _NO_SPACE.search(self._buffer, self._at)
            self._at = found.start() if found else len(self._buffer)
            if found or not self._more:
                return self._buffer[self._at : self._at + 1]

    def skip(self, character: str) -> None:
        """Go behind this character, which must be next."""
        if self.peek() != character:
            where = f"Line {self.line():,} of {self._name}"
            raise LabError(f'{where} is not valid JSON: a "{character}" is missing.')
        self._at += 1

    def take(self) -> Any:
        """The next value."""
        self.peek()
        cut = self._more and len(self._buffer) - self._at > LONGEST_ROW
        try:
            value, end = _DECODER.raw_decode(self._buffer, self._at)
        except RecursionError as error:
            raise LabError(f"Line {self.line():,} of {self._name} is nested too deeply.") from error
        except json.JSONDecodeError as error:
            start, self._at = self.line(), error.pos
            longer = f", or the row from line {start:,} on has more than {LONGEST_ROW:,} characters"
            raise LabError(
                f"Line {self.line():,} of {self._name} is not valid JSON{longer if cut else ''}."
            ) from error
        if end - self._at > LONGEST_ROW:
            raise too_long(self._name, self.line())
        self._at = end
        return value

    def line(self) -> int:
        """The number of the line, from 1."""
        return self._line + self._buffer.count("\n", 0, self._at)
