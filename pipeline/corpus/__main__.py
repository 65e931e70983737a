"""``python -m pipeline.corpus``: build the embedded dataset, and print its size and fingerprint."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from typing import Any

from pipeline.command_line.progress import ProgressBar
from pipeline.command_line.verbs import run_verb
from pipeline.data.packages.corpus import cache_path, load_corpus
from pipeline.settings import Settings


def corpus() -> dict[str, Any]:
    """Build the embedded dataset, or open it if it is built already.

    Returns:
        The number of its rows, its fingerprint, its file, and the seconds that this took.

    Raises:
        LabError: a package is missing, or the file cannot be written.
    """
    started = time.monotonic()
    settings = Settings.from_env()
    with closing(ProgressBar()) as progress:
        dataset = load_corpus(settings, progress)
    return {
        "rows": len(dataset),
        "fingerprint": dataset.fingerprint,
        "path": str(settings.corpus_path or cache_path(settings)),
        "seconds": round(time.monotonic() - started, 1),
    }


if __name__ == "__main__":
    sys.exit(run_verb(corpus))
