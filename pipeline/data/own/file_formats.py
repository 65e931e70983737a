"""The formats of files that can be imported, by the ends of their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from pipeline.data.own.read_csv import read_csv, read_tsv
from pipeline.data.own.read_json import read_json
from pipeline.data.own.read_parquet import read_parquet
from pipeline.data.own.table import Collector

READERS: dict[str, Callable[[Collector, BinaryIO], None]] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": read_json,
    ".json": read_json,
    ".parquet": read_parquet,
}
ENDINGS = tuple(READERS)
"""Of the names of files that can be read."""
