"""All results as a folder of static files: for any web host, without the app."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.analysis import Setup
from pipeline.analysis.run_cache import RunCache
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.files import given_path, write_atomically
from pipeline.models.families import load_families
from pipeline.schema import LabError, Progress
from pipeline.sendable import sendable_text
from pipeline.settings import Settings
from ui.labels import setup_label, setup_title
from ui.markup import escape
from ui.results import report, static_chart, tables, worth


def bundle(output: str, report_progress: Progress) -> dict[str, Any]:
    """Write all results as static files: pages that need nothing else, figures, and answers with scores.

    Args:
        output: folder to write; files that are there are replaced.
        report_progress: told of each set-up.

    Raises:
        LabError: there are no results, or the folder cannot be written.
    """
    folder = given_path("output", output)
    runs = RunCache(StoredRuns(Settings.from_env()))
    setups = runs.setups()
    if not setups:
        raise LabError("No run is stored yet. Evaluate a checkpoint first.")
    with _in_words(folder):  # before minutes of work
        folder.mkdir(parents=True, exist_ok=True)
    entries, index = "", []
    for done, setup in enumerate(setups):
        report_progress(done / len(setups), f"Writing {setup_label(setup)}")
        files = _files(runs, setup)
        with _in_words(folder):
            for name, text in files.items():
                write_atomically(folder / name, text)
        entries += _entry(runs, setup, list(files))
        index.append({"setup": setup.key, "label": setup_label(setup), "files": list(files)})
    title = "Research Code Lab: results"
    write_atomically(folder / "index.html", report.page(title, entries))
    write_atomically(folder / "index.json", json.dumps(index, indent=1, ensure_ascii=False))
    report_progress(1.0, "Done")
    return {"folder": str(folder), "setups": [each["setup"] for each in index]}


@contextmanager
def _in_words(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LabError(f"{folder} cannot be written: {os.strerror(error.errno or 0)}.") from error


def _files(runs: RunCache, setup: Setup) -> dict[str, str | bytes]:
    """What a set-up's files hold, by name."""
    answers = sendable_text(report.answers_jsonl(setup)).encode()
    return {
        f"{setup.key}.html": sendable_text(report.html(runs, setup, setup.metrics[0])),
        f"{setup.key}.json": report.json_export(runs, setup),
        f"{setup.key}-answers.jsonl.gz": gzip.compress(answers, mtime=0),
    }


def _entry(runs: RunCache, setup: Setup, files: list[str]) -> str:
    """What the first page says of a set-up."""
    page, *data = files
    analysis = runs.analysis(setup, setup.metrics[0])
    links = " · ".join(f'<a href="{escape(name)}">{escape(name)}</a>' for name in data)
    title = setup_title(setup, load_families(runs.stored.settings))
    return (
        f'<section><h2><a href="{escape(page)}">{escape(title)}</a></h2>'
        f"{worth.in_short(runs, setup, setup.metrics[0])}{tables.answers(analysis)}"
        f"{static_chart.curve(analysis)}<p>{links}</p></section>"
    )
