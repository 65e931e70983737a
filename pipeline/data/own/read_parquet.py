"""Reading parquet, in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.own.apart import ProcessLimits, give_rows, take_rows, why
from pipeline.data.own.table import LONGEST_NAME, MAX_COLUMNS, Collector
from pipeline.schema import LabError, quoted

LIMITS = ProcessLimits(megabytes=1_000, seconds=60)
_ROWS = 20
"""That are unpacked at a time: of the longest that may be, each takes some 4 MB twice."""


def read_parquet(rows: Collector, file: BinaryIO) -> None:
    """Read parquet; columns of lists, objects and bytes are not unpacked."""
    take_rows(rows, "pipeline.data.own.read_parquet", LIMITS, file=file)


def _read(name: str) -> Iterator[tuple[str, Any]]:
    """Give what the file holds that is the standard input."""
    pa.set_memory_pool(pa.system_memory_pool())  # the others reserve more than they use
    try:
        file = pq.ParquetFile(sys.stdin.buffer, pre_buffer=False, buffer_size=1 << 16)
        fields = list(file.schema_arrow)[: MAX_COLUMNS + 1]
        yield "columns", [field.name[: LONGEST_NAME + 1] for field in fields]
        columns = [field.name for field in fields if field.name.strip() and _has_texts(field.type)]
        for batch in file.iter_batches(_ROWS, columns=columns, use_threads=False):
            values = [(column, _values(name, column, batch[column])) for column in columns]
            for at in range(batch.num_rows):
                yield "row", {column: each[at] for column, each in values if each[at] is not None}
    except (LabError, MemoryError):
        raise
    except Exception as error:  # pyarrow raises its own and Python's
        raise LabError(f"{name} cannot be read as parquet: {why(error)}.") from error


def _has_texts(kind: pa.DataType) -> bool:
    """Whether values of this type can be shown as a text."""
    kind = getattr(kind, "storage_type", kind)  # of an extension's type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return is_text or pa.types.is_primitive(kind) or pa.types.is_decimal(kind)


def _values(name: str, column: str, values: pa.Array) -> list[Any]:
    try:
        return values.to_pylist()
    except MemoryError:
        raise
    except Exception as error:  # of each type's conversion: text, dates, time zones, decimals
        raise LabError(
            f"The column {quoted(column)} of {name} cannot be read: {why(error)}. Mend it, or leave it "
            "out of the file."
        ) from error


if __name__ == "__main__":
    give_rows(_read)
