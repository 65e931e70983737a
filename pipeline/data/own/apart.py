"""Rows that a process of its own reads, and sends as lines of JSON: both ends of the pipe.

What is small as a file can be large in memory, libraries make room for whatever a damaged file claims, and
some files end the process that reads them. No look at a file beforehand finds all of these, so the system
holds the limits: that of processor time on Linux and macOS, that of memory on Linux.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from pipeline.data.own.table import LONGEST_ROW, Collector, numbered
from pipeline.schema import LabError, counted
from pipeline.settings import ROOT

_LONGEST_ERROR = 300
"""Characters: a library's can hold what the file holds."""


@dataclass(frozen=True)
class ProcessLimits:
    """What the process may use.

    Attributes:
        megabytes: of memory, on top of what it takes at the start.
        seconds: of processor time.
    """

    megabytes: int
    seconds: int


def take_rows(
    rows: Collector,
    module: str,
    limits: ProcessLimits,
    words: Sequence[str] = (),
    file: BinaryIO | None = None,
) -> None:
    """Take the rows that a module gives, which is run with the name of the source and these words."""
    command = [sys.executable, "-m", module, str(limits.megabytes), str(limits.seconds), rows.source, *words]
    given = subprocess.DEVNULL if file is None else file
    with subprocess.Popen(
        command, cwd=ROOT, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            complete = _take(rows, process.stdout or ())
        finally:
            process.kill()
    if not complete:
        most = f"{limits.megabytes:,} MB of memory or {limits.seconds} seconds"
        raise LabError(
            f"{rows.source} cannot be read: it is damaged, or takes more than {most}. Take a part of its "
            "rows, or write them as JSON lines."
        )
    if rows.skipped:
        rows.unread.append(
            f"Left out: {counted(len(rows.skipped), 'row')} with more than {LONGEST_ROW:,} characters "
            f"({numbered('row', rows.skipped)})."
        )


def _take(rows: Collector, lines: Iterable[bytes]) -> bool:
    """Whether all lines came: a process that ends early may leave half of one."""
    for line in lines:
        if not line.endswith(b"\n"):
            break
        ((what, value),) = json.loads(line).items()
        if what == "row":
            rows.add(value)
        elif what == "columns":
            rows.add_columns(value)
        elif what == "too long":
            rows.skip(value)
        elif what == "problem":
            raise LabError(value)
        else:
            return True
    return False


def give_rows(read: Callable[..., Iterator[tuple[str, Any]]]) -> NoReturn:
    """Send what ``read`` finds within the limits, and end the process.

    Args:
        read: gives pairs, ``columns`` with their names, where they come first, and ``row`` with the values by
            column, from the name of the source and the other words; raises ``LabError`` for what it cannot
            read.
    """
    megabytes, seconds, *words = sys.argv[1:]
    out, sys.stdout = sys.stdout.buffer, sys.stderr  # a library may print
    _limit(int(megabytes), int(seconds))

    def send(what: str, value: Any) -> None:
        line = json.dumps({what: value}, ensure_ascii=False, default=str)
        if len(line) > LONGEST_ROW:
            line = json.dumps({"too long": number})
        out.write(line.encode(errors="surrogatepass") + b"\n")

    number = 0
    try:
        for what, value in read(*words):
            number += what == "row"
            send(what, value)
        send("end", None)
    except LabError as error:
        send("problem", str(error))
    except MemoryError:
        pass
    out.flush()
    os._exit(0)  # threads of a library may hinder another end


def why(error: Exception) -> str:
    """What an error says, for a sentence."""
    return str(error)[:_LONGEST_ERROR].rstrip(".")


def _limit(megabytes: int, seconds: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    limits = {resource.RLIMIT_CPU: seconds, resource.RLIMIT_CORE: 0}
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[5])  # that it can write: no libraries
        limits[resource.RLIMIT_DATA] = pages * resource.getpagesize() + megabytes * 1_000_000
    for kind, value in limits.items():
        _, most = resource.getrlimit(kind)
        resource.setrlimit(kind, (value if most == resource.RLIM_INFINITY else min(value, most), most))
