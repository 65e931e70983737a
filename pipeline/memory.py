"""Give memory back to the system that this process no longer needs."""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_MAPS = Path("/proc/self/smaps")
_DONT_NEED = 4  # MADV_DONTNEED
_AREA = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+ *(.*)")


def release_freed_memory() -> None:
    """Let the allocators return what they keep for later: Arrow's, and glibc's."""
    if pyarrow := sys.modules.get("pyarrow"):
        pyarrow.default_memory_pool().release_unused()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def release_file_pages(suffix: str) -> None:
    """Drop the pages of memory-mapped files with this suffix; an access reads them again from the file.

    Pages that were written to exist only in memory: an area that has one stays as it is.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError):
        for start, end in _unchanged_areas(suffix):
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONT_NEED)


def _unchanged_areas(suffix: str) -> Iterator[tuple[int, int]]:
    """The first address and the end of each mapped area of such a file without a changed page."""
    area = None
    for line in _MAPS.read_text().splitlines():
        if found := _AREA.fullmatch(line):
            area = (int(found[1], 16), int(found[2], 16)) if found[3].endswith(suffix) else None
        elif area and line.startswith("Anonymous:") and line.split()[1] == "0":
            yield area
