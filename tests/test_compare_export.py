"""Comparisons as files: all that the panes hold, in forms that nothing in the texts can break."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.schema import Attempt, Checkpoint, Column, Completion, SamplingParams, Score, Task
from ui.compare.answers_file import as_html, as_json, as_markdown
from ui.compare.comparison import Comparison
from ui.downloads import Downloads
from ui.views import View

COLUMN = Column(Checkpoint("smollm2-135m", "200-regular", 200, "regular", fingerprint="abc123"), "regular")
SAMPLING = SamplingParams()
FENCED = "Sure:\n```python\ndef f(a):\n    return a\n```"


def comparison(text: str = FENCED) -> Comparison:
    scores = {"chrF": Score("chrF", 20.0), "parses": Score("parses", None, "a | reason")}
    done = Completion("abc123", text, 3, "stop", 1.5)
    attempt = Attempt(Task("Write f.", reference="def f(): pass"), COLUMN, completion=done, scores=scores)
    return Comparison(View("compare", "smollm2-135m"), attempts=(attempt,), running=False)


def test_the_json_holds_instruction_sampling_fingerprints_texts_and_scores() -> None:
    whole = json.loads(as_json(comparison(), SAMPLING))
    (answer,) = whole["answers"]
    assert (whole["instruction"], whole["reference"]) == ("Write f.", "def f(): pass")
    assert whole["sampling"]["temperature"] == SAMPLING.temperature
    assert (answer["column"], answer["fingerprint"], answer["text"]) == (
        "200/regular",
        "abc123",
        FENCED,
    )
    assert answer["scores"] == [
        {"metric": "chrF", "value": 20.0, "reason": None},
        {"metric": "parses", "value": None, "reason": "a | reason"},
    ]


def test_the_markdown_s_fences_and_cells_hold_whatever_a_model_writes() -> None:
    text = as_markdown(comparison(), SAMPLING)
    assert f"````text\n{FENCED}\n````" in text
    assert "| chrF ↑ | 20.0 |" in text
    assert "| parses ↑ | not scored: a \\| reason |" in text
    assert "adapter abc123" in text


def test_the_html_page_needs_nothing_else_and_no_text_becomes_markup() -> None:
    html = as_html(comparison("<script>alert(1)</script>"), SAMPLING)
    assert "<script" not in html
    assert "http" not in html.replace("<!doctype html>", "")
    assert "200 samples" in html
    assert "adapter abc123" in html


def test_half_of_a_character_does_not_keep_an_export_from_being_written() -> None:
    downloads = Downloads()
    file = Path(downloads.write("answers", "md", as_markdown(comparison("half \ud83d"), SAMPLING)))
    assert "half \N{REPLACEMENT CHARACTER}" in file.read_text(encoding="utf-8")
