"""Reading the bytes of a file: JSON lines, CSV, TSV or parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.own.table import (
    MAX_MEGABYTES,
    check_columns,
    check_distinct,
    check_rows,
    check_size,
    columns_of,
    numbered,
)
from pipeline.schema import LabError, counted, quoted

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
_LONGEST_HEADER = 100_000
"""Characters in which the delimiter is looked for."""
csv.field_size_limit(MAX_MEGABYTES * 1_000_000)  # the module's own limit is 131,072 characters of a field

Read = tuple[Iterable[str], Iterable[Mapping[str, Any]], list[str]]
"""The columns, the rows, and what cannot be read and is left out, as sentences."""


def _read_csv(name: str, data: bytes, delimiter: str = "") -> Read:
    text = _decode(name, data)
    delimiter = delimiter or _delimiter(text)
    # Strict: otherwise a quote that does not end its field silently becomes part of the text.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] = []
    rows: list[list[str]] = []
    too_long: list[int] = []
    line = 1  # of the file, where a row starts
    try:
        for fields in reader:
            if fields and not columns:
                columns = [field.strip() or f"column {at}" for at, field in enumerate(fields, start=1)]
                check_columns(name, columns)
            elif any(fields[len(columns) :]):
                too_long.append(line)
            elif fields:
                rows.append(fields)
            check_rows(name, len(rows) + len(too_long))
            line = reader.line_num + 1
    except csv.Error as error:
        raise LabError(
            f"Line {line:,} of {name} cannot be read: a field that starts with a quote must end with "
            "one, and a quote inside it must be written twice."
        ) from error
    unread = []
    if too_long:
        what = f"with more fields than the {counted(len(columns), 'column')}"
        unread.append(
            f"Left out: {counted(len(too_long), 'line')} {what} ({numbered('line', too_long)} of the file). "
            f"Put text that contains a {_DELIMITERS[delimiter]} in quotes."
        )
    return columns, [dict(zip(columns, row, strict=False)) for row in rows], unread


def _delimiter(text: str) -> str:
    """The delimiter that gives the header the most fields; those inside quotes do not count."""

    def fields(delimiter: str) -> int:
        reader = csv.reader(io.StringIO(text[:_LONGEST_HEADER], newline=""), delimiter=delimiter)
        return len(next(filter(None, reader), []))

    return max(_DELIMITERS, key=fields)


def _read_tsv(name: str, data: bytes) -> Read:
    return _read_csv(name, data, "\t")


def _read_json(name: str, data: bytes) -> Read:
    """Read JSON lines, or one list of objects."""
    text = _decode(name, data)
    part, whole = "line", "file"
    values: list[tuple[int, Any]] = []
    if text.lstrip().startswith("["):
        part, whole = "item", "list"
        try:
            values = list(enumerate(_parse(name, text), start=1))
        except (ValueError, RecursionError) as error:
            raise LabError(f"{name} is not valid JSON: {error}.") from error
    else:
        # Not splitlines, which also splits at characters that JSON allows in a text.
        for number, line in enumerate(io.StringIO(text, newline="\n"), start=1):
            if line.strip():
                values.append((number, _parse_line(name, line)))
                check_rows(name, len(values))
    rows = [value for _, value in values if isinstance(value, dict)]
    unread = []
    if bad := [number for number, value in values if not isinstance(value, dict)]:
        unread.append(
            f"Left out: {counted(len(bad), part)} without a JSON object "
            f"({numbered(part, bad)} of the {whole})."
        )
    return columns_of(name, rows), rows, unread


def _parse_line(name: str, line: str) -> Any:
    try:
        return _parse(name, line)
    except (ValueError, RecursionError):
        return None


def _parse(name: str, text: str) -> Any:
    """Parse JSON; raises ``LabError`` if an object has a name twice, of which Python keeps the last."""

    def as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        check_distinct(name, [key for key, _ in pairs])
        return dict(pairs)

    return json.loads(text, object_pairs_hook=as_object)


def _read_parquet(name: str, data: bytes) -> Read:
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        check_size(f"{name}, unpacked,", sum(group.total_byte_size for group in groups))
        check_rows(name, file.metadata.num_rows)
        columns = file.schema_arrow.names
        check_columns(name, columns)
        table = file.read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise LabError(f"{name} cannot be read as parquet: {error}.") from error
    values = [_values(name, column, table[column]) for column in columns]
    return columns, [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)], []


def _values(name: str, column: str, values: pa.ChunkedArray) -> list[Any]:
    try:
        return values.to_pylist()
    except Exception as error:  # of each type's conversion: text, dates, time zones, decimals
        raise LabError(
            f"The column {quoted(column)} of {name} cannot be read: {error}. Mend it, or leave it "
            "out of the file."
        ) from error


READERS: dict[str, Callable[[str, bytes], Read]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
ENDINGS = tuple(READERS)
"""Of the names of files that can be read."""


def _decode(name: str, data: bytes) -> str:
    """Decode UTF-8, or UTF-16 with its mark.

    Raises:
        LabError: it is neither; the message names the line.
    """
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise LabError(
            f"Line {line:,} of {name} is not UTF-8 (byte {data[error.start]:#04x}). Save the file as UTF-8."
        ) from error
