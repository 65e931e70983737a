"""Reading parquet, a few rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.data.own.parquet_pages import (
    DELTA_BYTE_ARRAY,
    DELTA_LENGTH_BYTE_ARRAY,
    Part,
    read_pages,
    read_parts,
)
from pipeline.data.own.table import Collector, check_rows, check_size
from pipeline.schema import LabError, quoted

_ROWS = 1_000
"""That are unpacked at a time."""
_MOST_PAGES = 100_000


def read_parquet(rows: Collector, file: BinaryIO) -> None:
    """Read parquet; columns of lists, objects and bytes are not unpacked."""
    name = rows.source
    try:
        groups = read_parts(file)
        check_rows(name, sum(max((part.rows for part in group), default=0) for group in groups))
        found = pq.ParquetFile(file)
        rows.add_columns(found.schema_arrow.names)
        read = [field.name for field in found.schema_arrow if _has_texts(field.type)]
        encodings = _check_pages(name, file, groups, found.schema, read)
        # A text that many rows share is kept once: a file of 1 kB can hold one that all of them have.
        shared = [
            field.name
            for field in found.schema_arrow
            if _is_text(field.type)
            and not encodings[field.name] & {DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY}
        ]
        # A text that shares a part with the one before can be long in few bytes.
        at_once = 1 if any(DELTA_BYTE_ARRAY in each for each in encodings.values()) else _ROWS
        table = pq.ParquetFile(
            file, metadata=found.metadata, read_dictionary=shared, pre_buffer=False, buffer_size=1 << 16
        )
        for batch in table.iter_batches(at_once, columns=read, use_threads=False):
            values = {column: _values(name, column, batch[column]) for column in read}
            for at in range(batch.num_rows):
                rows.add({column: values[column][at] for column in read})
    except (pa.ArrowException, OSError, ValueError) as error:
        raise LabError(f"{name} cannot be read as parquet: {error}.") from error


def _check_pages(
    name: str,
    file: BinaryIO,
    groups: Sequence[Sequence[Part]],
    schema: pq.ParquetSchema,
    columns: Sequence[str],
) -> dict[str, set[int]]:
    """Check what the columns take unpacked; returns the encodings of each."""
    size = 0
    encodings: dict[str, set[int]] = {column: set() for column in columns}
    paths = [schema.column(at).path for at in range(len(schema))]
    read = 0
    for group in groups:
        if len(group) != len(paths):
            raise ValueError("a group of rows has not all columns")
        for path, part in zip(paths, group, strict=True):
            for page in read_pages(file, part) if path in encodings else ():
                read += 1
                size += page.size
                check_size(f"{name}, unpacked,", size)
                if read > _MOST_PAGES:
                    raise ValueError(f"it has more than {_MOST_PAGES:,} pages: write it with larger ones")
                if page.values > part.rows:
                    raise ValueError("a page has more values than there are rows")
                encodings[path].add(page.encoding)
    return encodings


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _has_texts(kind: pa.DataType) -> bool:
    """Whether values of this type can be shown as a text."""
    kind = getattr(kind, "storage_type", kind)  # of an extension's type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return _is_text(kind) or pa.types.is_primitive(kind) or pa.types.is_decimal(kind)


def _values(name: str, column: str, values: pa.Array) -> list[Any]:
    try:
        if not pa.types.is_dictionary(values.type):
            return values.to_pylist()
        used = pc.unique(values.indices).drop_null()
        texts = dict(zip(used.to_pylist(), values.dictionary.take(used).to_pylist(), strict=True))
        return [texts.get(at) for at in values.indices.to_pylist()]
    except Exception as error:  # of each type's conversion: text, dates, time zones, decimals
        raise LabError(
            f"The column {quoted(column)} of {name} cannot be read: {error}. Mend it, or leave it "
            "out of the file."
        ) from error
