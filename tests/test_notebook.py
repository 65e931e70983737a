"""The notebook, executed from end to end at small size."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from pipeline.settings import Settings

NOTEBOOK = Path(__file__).resolve().parent.parent / "training" / "finetune.ipynb"
SMALL = """
FAMILY, PROMPT, SIZE, NAME, SAMPLES, TOKENS = "smollm2-135m", "regular", 1, "notebook", 1, 8
TRIAL = "--max-steps 2"
"""


def test_the_notebook_trains_and_evaluates_and_shows_both(
    fresh_short: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RCL_DATA_DIR", str(fresh_short.data_dir))
    book = nbformat.read(NOTEBOOK, as_version=4)
    parameters = next(cell for cell in book.cells if "parameters" in cell.metadata.get("tags", ()))
    parameters.source = SMALL
    NotebookClient(book, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    shown = str([cell.outputs for cell in book.cells if cell.cell_type == "code"])
    assert "image/png" in shown
    assert "bits per byte" in shown
    assert "--- notebook/regular" in shown
    assert "--- reference" in shown


def test_the_notebook_is_stored_without_outputs() -> None:
    book = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.outputs for cell in book.cells if cell.cell_type == "code")
