"""``python -m pipeline.corpus``: builds the embedded dataset and prints its size and fingerprint."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

from pipeline.data.packages.corpus import cache_path, load_corpus
from pipeline.schema import LabError
from pipeline.settings import Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Build the dataset, or open it; one JSON line on stdout, progress on stderr; 0, or 1 for a failure."""
    argparse.ArgumentParser(prog="python -m pipeline.corpus", description=__doc__).parse_args(argv)
    started = time.monotonic()
    try:
        settings = Settings.from_env()
        corpus = load_corpus(settings, _show)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    path = settings.corpus_path or cache_path(settings)
    result = {
        "rows": len(corpus),
        "fingerprint": corpus.fingerprint,
        "path": str(path),
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(result), flush=True)
    return 0


def _show(share: float, words: str) -> None:
    print(f"{share:4.0%} {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
