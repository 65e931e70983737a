"""Readers in a process of their own that misbehave: ``python -m tests.odd_readers``, one for each source."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from pipeline.data.own.apart import give_rows


def _read(source: str) -> Iterator[tuple[str, Any]]:
    yield "row", {"source": source}
    if source == "waits":
        time.sleep(600)
    if source == "prints":
        os.write(1, b"what a library in C has to say\n")
    if source == "looks around":
        yield "row", {"folder": ", ".join(os.listdir()), **os.environ}


if __name__ == "__main__":
    give_rows(_read)
