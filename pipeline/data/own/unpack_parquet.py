"""The process that unpacks a parquet file from its standard input, to lines of JSON.

``read_parquet`` starts it. A file of a kilobyte can hold gigabytes, pyarrow makes room for whatever a damaged
one claims, and some files end the process that reads them. No look at a file beforehand finds all of these,
so the system holds the limits: that of processor time on Linux and macOS, that of memory on Linux.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.own.table import LONGEST_NAME, LONGEST_ROW, MAX_COLUMNS
from pipeline.schema import LabError, quoted

_ROWS = 20
"""That are unpacked at a time: of the longest that may be, each takes some 4 MB twice."""
_LONGEST_ERROR = 300
"""Characters: pyarrow's can hold what the file holds."""


def main() -> None:
    """Write the names of the columns, then the values of each row; last, a text if the file is refused."""
    name, megabytes, seconds = sys.argv[1:]
    _limit(int(megabytes), int(seconds))
    try:
        for number, values in enumerate(_rows(name, sys.stdin.buffer)):
            line = json.dumps(values, ensure_ascii=False, default=str)
            if len(line) > LONGEST_ROW:
                row = f"Row {number:,} of {name}"
                raise LabError(f"{row} has more than {LONGEST_ROW:,} characters. Leave it out.")
            _write(line)
    except MemoryError:
        sys.exit(1)
    except LabError as error:
        _write(json.dumps(str(error)))
    except Exception as error:  # pyarrow raises its own errors and Python's
        _write(json.dumps(f"{name} cannot be read as parquet: {_why(error)}."))


def _why(error: Exception) -> str:
    return str(error)[:_LONGEST_ERROR].rstrip(".")


def _write(line: str) -> None:
    sys.stdout.buffer.write(line.encode() + b"\n")


def _limit(megabytes: int, seconds: int) -> None:
    """Limit the memory, on top of what the imported modules take, and the processor time."""
    if sys.platform == "win32":
        return
    import resource

    limits = {resource.RLIMIT_CPU: seconds, resource.RLIMIT_CORE: 0}
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + megabytes * 1_000_000
    for kind, value in limits.items():
        _, most = resource.getrlimit(kind)
        resource.setrlimit(kind, (value if most == resource.RLIM_INFINITY else min(value, most), most))
    pa.set_memory_pool(pa.system_memory_pool())  # the others reserve more than they use


def _rows(name: str, file: BinaryIO) -> Iterator[list[Any]]:
    """The names of the columns and the values of each row; lists, objects and bytes are not unpacked."""
    parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 16)
    fields = list(parquet.schema_arrow)[: MAX_COLUMNS + 1]
    yield [field.name[: LONGEST_NAME + 1] for field in fields]
    read = {at: field.name for at, field in enumerate(fields) if _has_texts(field.type)}
    for batch in parquet.iter_batches(_ROWS, columns=list(read.values()), use_threads=False):
        nothing = [None] * batch.num_rows
        columns = [
            _values(name, read[at], batch[read[at]]) if at in read else nothing for at in range(len(fields))
        ]
        yield from ([column[at] for column in columns] for at in range(batch.num_rows))


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
            f"The column {quoted(column)} of {name} cannot be read: {_why(error)}. Mend it, or leave it "
            "out of the file."
        ) from error


if __name__ == "__main__":
    main()
