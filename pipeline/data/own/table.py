"""The rows of a source as texts, and what a source may hold."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.schema import LabError, quoted

MAX_MEGABYTES = 200
"""Of a source, as a file and in memory."""
MAX_ROWS = 100_000
MAX_COLUMNS = 500
_LONGEST_NAME = 200
"""Characters of a column's name."""
_MISSING = ("", "nan", "null", "none", "n/a", "na", "<na>")
"""What a cell holds that holds nothing, in lower case."""


@dataclass(frozen=True)
class Table:
    """The rows of a source.

    Attributes:
        source: the name of the file, without its folder, or the id of the hub dataset.
        sha256: of the file; empty for a dataset of the hub.
        columns: names of the columns that hold texts, in order.
        rows: the texts of each row by column; empty where there is none.
        unread: what cannot be read and is left out, as sentences.
    """

    source: str
    sha256: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]
    unread: tuple[str, ...] = ()


def as_table(
    source: str,
    sha256: str,
    columns: Iterable[str],
    rows: Iterable[Mapping[str, Any]],
    unread: list[str],
) -> Table:
    """Make texts of all values; columns without any text are left out.

    Raises:
        LabError: there are no rows, or too many.
    """
    texts = tuple({name.strip(): _text(value) for name, value in row.items()} for row in rows)
    if not texts:
        raise LabError(" ".join([f"{source} has no rows{' that can be read' if unread else ''}.", *unread]))
    check_rows(source, len(texts))
    names = [name.strip() for name in columns]
    used = tuple(name for name in names if name and any(row.get(name) for row in texts))
    if others := [name for name in names if name and name not in used]:
        unread = [*unread, f"Columns without texts are left out: {', '.join(others)}."]
    return Table(source, sha256, used, texts, tuple(unread))


def check_rows(source: str, number: int) -> None:
    """Raise ``LabError`` if a source has too many rows."""
    if number > MAX_ROWS:
        raise LabError(f"{source} has more than {MAX_ROWS:,} rows. Take a part of them.")


def _text(value: Any) -> str:
    """The text of a cell with line ends as in Python; empty if it holds none."""
    if value is None or isinstance(value, list | dict | bytes):
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    text = str(value).removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return "" if text.strip().lower() in _MISSING else text


def check_size(name: str, size: int) -> None:
    """Raise ``LabError`` if a source has too many bytes."""
    if size > MAX_MEGABYTES * 1_000_000:
        raise LabError(
            f"{name} has {size / 1e6:,.0f} MB; at most {MAX_MEGABYTES} MB are read. Take a part of its rows."
        )


def columns_of(source: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The columns that any row has; raises ``LabError`` for names that cannot be used."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    check_columns(source, columns)
    return columns


def check_columns(source: str, names: Sequence[str]) -> None:
    """Raise ``LabError`` if there are too many columns, or several of one name."""
    if len(names) > MAX_COLUMNS:
        raise LabError(
            f"{source} has {len(names):,} columns; at most {MAX_COLUMNS} are read. Leave out those that are "
            "not needed."
        )
    if any(len(name) > _LONGEST_NAME for name in names):
        raise LabError(
            f"{source} has a column whose name has more than {_LONGEST_NAME} characters. Its first line must "
            "hold the names of the columns."
        )
    check_distinct(source, names)


def check_distinct(source: str, names: Iterable[str]) -> None:
    """Raise ``LabError`` if two names are equal, apart from the spaces around them."""
    for name, times in Counter(name.strip() for name in names).items():
        if name and times > 1:
            raise LabError(f"{source} has more than one column named {quoted(name)}. Rename all but one.")


def numbered(noun: str, numbers: Sequence[int]) -> str:
    """The first of some numbers: ``line 3``, ``lines 1, 2, 3, 4, 5 …``."""
    first = ", ".join(f"{number:,}" for number in numbers[:5])
    return f"{noun if len(numbers) == 1 else f'{noun}s'} {first}{' …' if len(numbers) > 5 else ''}"
