"""Rows that a process of its own reads, and sends as lines of JSON: both ends of the pipe.

What is small as a file can be large in memory, libraries make room for whatever a damaged file claims, and
some files end the process that reads them. No look at a file beforehand finds all of these, so the system
holds the limits: that of processor time on Linux and macOS, that of memory on Linux.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from pipeline.data.own.table import LONGEST_ROW, Collector, numbered
from pipeline.schema import LabError, counted
from pipeline.settings import ROOT

_LONGEST_ERROR = 300
"""Characters: a library's can hold what the file holds."""
SILENCE = 300.0
"""Seconds: a reader that gives nothing for so long is ended, as one that waits takes no processor time."""
_SECRET = re.compile(r"RCL_.*|.*_KEY|.*_TOKEN")
"""Variables of the environment that the reader of a stranger's file is not given."""


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
    secrets: Sequence[str] = (),
) -> None:
    """Take the rows that a module gives, which is run with the name of the source and these words.

    Args:
        rows: where they go.
        module: its name; it ends in ``give_rows``.
        limits: of its process.
        words: for its ``read``, behind the name of the source.
        file: its standard input.
        secrets: names of the environment's secrets that it needs.
    """
    call = [module, str(limits.megabytes), str(limits.seconds), rows.source, *words]
    # In an empty folder: the id of a hub dataset must not name a folder that is here.
    with tempfile.TemporaryDirectory() as folder, _start(call, folder, secrets, file) as process:
        try:
            complete = _take(rows, process)
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


def _start(
    call: Sequence[str], folder: str, secrets: Sequence[str], file: BinaryIO | None
) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    given = {
        name: value for name, value in os.environ.items() if name in secrets or not _SECRET.fullmatch(name)
    }
    try:
        return subprocess.Popen(
            [sys.executable, "-m", *call],
            cwd=folder,
            env={**given, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL if file is None else file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        raise LabError(f"Nothing can be read, because no process can be started for it: {error}.") from error


def _take(rows: Collector, process: subprocess.Popen[bytes]) -> bool:
    """Whether all lines came: a process that ends early may leave half of one, or what no reader writes."""
    for line in _lines(process):
        try:
            ((what, value),) = json.loads(line).items()
        except (ValueError, AttributeError):
            break
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


def _lines(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """The lines that the process writes, until none comes for too long."""
    last = time.monotonic()

    def watch() -> None:
        while process.poll() is None:
            if time.monotonic() - last > SILENCE:
                process.kill()
            time.sleep(0.2)

    threading.Thread(target=watch, daemon=True).start()
    for line in process.stdout or ():
        last = time.monotonic()
        yield line


def give_rows(read: Callable[..., Iterator[tuple[str, Any]]]) -> NoReturn:
    """Send what ``read`` finds within the limits, and end the process.

    Args:
        read: gives pairs, ``columns`` with their names, where they come first, and ``row`` with the values by
            column, from the name of the source and the other words; raises ``LabError`` for what it cannot
            read.
    """
    megabytes, seconds, *words = sys.argv[1:]
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library may print
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
        pass  # without an end it counts as incomplete
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
