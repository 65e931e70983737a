"""Reading parquet, which a process of its own unpacks."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import BinaryIO

from pipeline.data.own.table import Collector
from pipeline.schema import LabError
from pipeline.settings import ROOT

UNPACK_MEGABYTES = 1_000
"""Of memory."""
UNPACK_SECONDS = 60
"""Of processor time."""


def read_parquet(rows: Collector, file: BinaryIO) -> None:
    """Read parquet; columns of lists, objects and bytes are not unpacked."""
    command = [sys.executable, "-m", "pipeline.data.own.unpack_parquet", rows.source]
    command += [str(UNPACK_MEGABYTES), str(UNPACK_SECONDS)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _take(rows, process)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        most = f"{UNPACK_MEGABYTES:,} MB of memory or {UNPACK_SECONDS} seconds"
        raise LabError(
            f"{rows.source} cannot be read as parquet: it is damaged, or takes more than {most} to unpack. "
            "Write it again, with fewer rows or as JSON lines."
        )


def _take(rows: Collector, process: subprocess.Popen[bytes]) -> None:
    columns: list[str] | None = None
    for line in process.stdout or ():
        if not line.endswith(b"\n"):
            return  # the process ended while it wrote
        values = json.loads(line)
        if isinstance(values, str):
            raise LabError(values)
        if columns is None:
            columns = values
            rows.add_columns(values)
        else:
            rows.add(dict(zip(columns, values, strict=True)))
