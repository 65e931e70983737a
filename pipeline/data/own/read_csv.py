"""Reading CSV and TSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from functools import partial
from typing import BinaryIO

from pipeline.data.own.table import LONGEST_ROW, MAX_COLUMNS, Collector, numbered
from pipeline.data.own.text_lines import Lines, head, open_text
from pipeline.schema import LabError, counted, quoted

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
_LONGEST_HEADER = 100_000
"""Characters in which the delimiter is looked for."""
_NAMED = re.compile(r'"?sep=([^\w\s"]|\t)"?(\r\n?|\n)', re.IGNORECASE)
"""A first line that names the delimiter, as Excel writes and reads it."""
_MEND = ", or end the field that starts with a quote"
csv.field_size_limit(LONGEST_ROW)  # the module's own limit is 131,072 characters of a field


def read_csv(rows: Collector, file: BinaryIO, delimiter: str = "") -> None:
    """Read CSV; the delimiter is that which a first line names, else the given, else the likeliest."""
    start = head(rows.source, file)
    lines = Lines(rows.source, open_text(rows.source, file, newline=""), _MEND)
    if named := _NAMED.match(start):
        delimiter = named[1]
        next(lines)
        lines.end_row()
    delimiter = delimiter or _delimiter(start)
    # Strict: otherwise a quote that does not end its field silently becomes part of the text.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    columns: list[str] = []
    try:
        for fields in reader:
            if fields and not columns:
                columns = _columns(fields)
                rows.add_columns(columns)
            elif any(fields[len(columns) :]):
                rows.skip(lines.row)
            elif fields:
                rows.add(dict(zip(columns, fields, strict=False)))
            lines.end_row(empty=not fields)
    except csv.Error as error:
        raise LabError(
            f"Line {lines.row:,} of {rows.source} cannot be read: a field that starts with a quote must end "
            "with one, and a quote inside it must be written twice."
        ) from error
    if rows.skipped:
        what = f"with more fields than the {counted(len(columns), 'column')}"
        rows.unread.append(
            f"Left out: {counted(len(rows.skipped), 'line')} {what} "
            f"({numbered('line', rows.skipped)} of the file). Put text that contains "
            f"a {_DELIMITERS.get(delimiter, quoted(delimiter))} in quotes."
        )


read_tsv = partial(read_csv, delimiter="\t")


def _columns(fields: Sequence[str]) -> list[str]:
    """The names of the columns; those without one get their number, and a mark where another is named so."""
    names = [field.strip() for field in fields[: MAX_COLUMNS + 1]]
    for at, name in enumerate(names):
        if not name:
            names[at] = f"column {at + 1}"
            while names.count(names[at]) > 1:
                names[at] += " (unnamed)"
    return names


def _delimiter(text: str) -> str:
    """The delimiter that gives the header the most fields; those inside quotes do not count."""

    def fields(delimiter: str) -> int:
        reader = csv.reader(io.StringIO(text[:_LONGEST_HEADER], newline=""), delimiter=delimiter)
        return len(next(filter(None, reader), []))

    return max(_DELIMITERS, key=fields)
