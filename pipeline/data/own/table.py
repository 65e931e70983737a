"""The rows of a source as texts, and what a source may hold."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.schema import LabError, counted, quoted
from pipeline.sendable import is_sendable

MAX_MEGABYTES = 200
"""Of a file."""
MAX_HELD_MEGABYTES = 400
"""Of memory for the texts of a source. A text takes some 50 bytes, and 1 to 4 for each character."""
MAX_ROWS = 100_000
MAX_COLUMNS = 500
LONGEST_ROW = 4_000_000
"""Characters of a row, written as text: eight times the longest file around a code that is used."""
LONGEST_NAME = 200
"""Characters of a column's name."""
_NAMED = 20
"""Columns that a message names."""
_MISSING = ("", "nan", "null", "none", "n/a", "na", "<na>")
"""What a cell holds that holds nothing, in lower case."""
_LONGEST_MISSING = max(map(len, _MISSING))


@dataclass(frozen=True)
class Table:
    """The rows of a source.

    Attributes:
        source: the name of the file, without its folder, or the id of the hub dataset.
        sha256: of the file; empty for a dataset of the hub.
        columns: names of the columns that hold texts, in order.
        rows: the texts of each row by column, without those that are empty.
        unread: what cannot be read and is left out, as sentences.
    """

    source: str
    sha256: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]
    unread: tuple[str, ...] = ()


class Collector:
    """Takes the rows of a source as they are read, and keeps their texts.

    Each method raises ``LabError`` as soon as the source holds more than it may: what is small as a file can
    be large in memory.

    Attributes:
        source: what messages call the source.
        skipped: numbers of what holds no row.
        unread: what cannot be read and is left out, as sentences.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.skipped: list[int] = []
        self.unread: list[str] = []
        self._rows: list[dict[str, str]] = []
        self._names: dict[str, str] = {}  # the columns' names as the source writes them, and without spaces
        self._used: set[str] = set()  # the columns with texts
        self._held = 0  # bytes

    def __len__(self) -> int:
        """How many rows it has taken."""
        return len(self._rows)

    def add_columns(self, names: Sequence[str]) -> None:
        """Take the names of the columns, where a source has them before its rows."""
        for name in names:
            self._add_column(name)

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row."""
        texts = {}
        for name, value in row.items():
            if name not in self._names:
                self._add_column(name)
            if (column := self._names[name]) and (text := _text(value)):
                texts[column] = text
                self._held += sys.getsizeof(text)
        self._rows.append(texts)
        self._used.update(texts)
        self._held += sys.getsizeof(texts)
        if self._held > MAX_HELD_MEGABYTES * 1_000_000:
            raise LabError(
                f"{self.source} takes too much memory: {counted(len(self._rows), 'row')} with "
                f"{counted(len(self._used), 'column')} take more than {MAX_HELD_MEGABYTES} MB. Take a part "
                "of its rows, or leave out columns that are not needed."
            )
        self._check_rows()

    def skip(self, number: int) -> None:
        """Note what holds no row."""
        self.skipped.append(number)
        self._check_rows()

    def table(self, sha256: str = "") -> Table:
        """All rows; columns without any text are left out. Raises ``LabError`` if there are no rows."""
        if not self._rows:
            read = f"{self.source} has no rows{' that can be read' if self.unread else ''}."
            raise LabError(" ".join([read, *self.unread]))
        used = tuple(name for name in self._names.values() if name in self._used)
        if others := [name for name in self._names.values() if name and name not in self._used]:
            self.unread.append(f"Columns without texts are left out: {named(others)}.")
        return Table(self.source, sha256, used, tuple(self._rows), tuple(self.unread))

    def _check_rows(self) -> None:
        if len(self._rows) + len(self.skipped) > MAX_ROWS:
            raise LabError(f"{self.source} has more than {MAX_ROWS:,} rows. Take a part of them.")

    def _add_column(self, name: str) -> None:
        if len(self._names) == MAX_COLUMNS:
            raise LabError(
                f"{self.source} has more than {MAX_COLUMNS} columns. Leave out those that are not needed."
            )
        if len(name) > LONGEST_NAME:
            raise LabError(
                f"{self.source} has a column whose name has more than {LONGEST_NAME} characters. Its first "
                "line must hold the names of the columns."
            )
        if "\0" in name or not is_sendable(name):
            raise LabError(
                f"{self.source} has a column named {quoted(name)}, with a NUL character or half of a "
                "character (a lone surrogate). Rename it, and save the file as UTF-8."
            )
        column = name.strip()
        if column and column in self._names.values():
            raise named_twice(self.source, column)
        self._names[name] = column


def named_twice(source: str, name: str) -> LabError:
    """What is wrong where two columns have one name."""
    return LabError(f"{source} has more than one column named {quoted(name)}. Rename all but one.")


def check_size(name: str, size: int) -> None:
    """Raise ``LabError`` if a source has too many bytes."""
    if size > MAX_MEGABYTES * 1_000_000:
        raise LabError(
            f"{name} has {size / 1e6:,.0f} MB; at most {MAX_MEGABYTES} MB are read. Take a part of its rows."
        )


def numbered(noun: str, numbers: Sequence[int]) -> str:
    """The first of some numbers: ``line 3``, ``lines 1, 2, 3, 4, 5 …``."""
    first = ", ".join(f"{number:,}" for number in numbers[:5])
    return f"{noun if len(numbers) == 1 else f'{noun}s'} {first}{' …' if len(numbers) > 5 else ''}"


def named(columns: Sequence[str]) -> str:
    """The names of some columns: of many the first, and how many more there are."""
    more = f" and {len(columns) - _NAMED:,} more" if len(columns) > _NAMED else ""
    return f"{', '.join(columns[:_NAMED])}{more}"


def _text(value: Any) -> str:
    """The text of a cell with line ends as in Python; empty if it holds none."""
    if value is None or isinstance(value, list | dict | bytes):
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    text = str(value).removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    bare = text.strip()
    return "" if len(bare) <= _LONGEST_MISSING and bare.lower() in _MISSING else text
