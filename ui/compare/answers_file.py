"""A comparison as a file to keep or send: Markdown, JSON, or one HTML page that needs nothing else."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from pipeline.evaluation.answers import as_answer
from pipeline.schema import Attempt, SamplingParams
from pipeline.scoring import in_order, metric_of
from pipeline.sendable import MEASURED_DIGITS, sendable
from pipeline.settings import ASSETS
from ui import markup, numbers, panes
from ui.compare.comparison import Comparison
from ui.downloads import Downloads
from ui.lab import Lab
from ui.labels import column_label, sampling_label, task_label
from ui.markup import escape

_PAGE_CSS = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 90rem; margin: 2rem auto; padding: 0 1rem; }
body { color: #1f2937; background: #f6f7f9; --font-mono: ui-monospace, monospace; }
.copy { display: none; }
.sample { margin-bottom: 1rem; }
"""


def as_json(comparison: Comparison, sampling: SamplingParams) -> str:
    """Everything that the panes show, as data."""
    task = comparison.attempts[0].task
    whole = {
        "instruction": task.instruction,
        "context": asdict(task.context),
        "reference": task.reference,
        "sample_id": task.sample_id,
        "family": comparison.view.family,
        "sampling": asdict(sampling),
        "answers": [_answer(comparison, attempt) for attempt in comparison.attempts],
    }
    return json.dumps(sendable(whole, MEASURED_DIGITS), indent=1, ensure_ascii=False)


def _answer(comparison: Comparison, attempt: Attempt) -> dict[str, Any]:
    origin = comparison.runs.get(attempt.column, "live")
    return {"name": column_label(attempt.column), "origin": origin, **as_answer(attempt)}


def as_markdown(comparison: Comparison, sampling: SamplingParams) -> str:
    """Headings, a table of the scores, and each answer as a block of code."""
    task = comparison.attempts[0].task
    parts = [
        f"# Answers to {_inline(task_label(task))}",
        f"{comparison.view.family}, {sampling_label(sampling)}.",
        _fenced(task.instruction, "text"),
        _score_rows(comparison.attempts),
    ]
    for attempt in comparison.attempts:
        answer = _answer(comparison, attempt)
        adapter = f"adapter {answer['fingerprint']}" if answer["fingerprint"] else "no adapter"
        parts += [f"## {_inline(answer['name'])}", f"{adapter}. {_inline(answer['origin'])}"]
        parts.append(_fenced(answer["text"] or attempt.error or "No answer.", "text"))
    if task.reference is not None:
        parts += ["## Reference", _fenced(task.reference, "python")]
    return "\n\n".join(parts) + "\n"


def _score_rows(attempts: tuple[Attempt, ...]) -> str:
    names = in_order({name for attempt in attempts for name in attempt.scores})
    if not names:
        return "No scores."
    heads = [_inline(column_label(attempt.column)) for attempt in attempts]
    lines = [f"| | {' | '.join(heads)} |", f"|---{'|---' * len(attempts)}|"]
    for name in names:
        arrow = "↑" if metric_of(name).higher_is_better else "↓"
        cells = [_cell(attempt, name) for attempt in attempts]
        lines.append(f"| {_inline(name)} {arrow} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(attempt: Attempt, name: str) -> str:
    score = attempt.scores.get(name)
    if score is None:
        return "–"
    if score.value is None:
        return _inline(f"not scored: {score.reason}")
    return numbers.score(score.value, metric_of(name))


def _inline(text: str) -> str:
    """A text within a line or a cell."""
    return " ".join(escape(text).replace("|", "\\|").split())


def _fenced(text: str, kind: str) -> str:
    """A block of code; its fence is longer than any in the text."""
    ticks = "```"
    while ticks in text:
        ticks += "`"
    return f"{ticks}{kind}\n{text}\n{ticks}"


def as_html(comparison: Comparison, sampling: SamplingParams) -> str:
    """The page's own look of the comparison, with the style sheet inside."""
    task = comparison.attempts[0].task
    title = f"Answers to {task_label(task)}"
    grid = panes.grid(comparison.attempts, True, runs=comparison.runs, stored=bool(comparison.runs))
    css = (ASSETS / "app.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{css}{_PAGE_CSS}</style></head><body><main><h1>{escape(title)}</h1>"
        f"<p>{escape(comparison.view.family)}, {escape(sampling_label(sampling))}</p>"
        f'<section class="sample" aria-label="Instruction">{markup.instruction(task.instruction)}</section>'
        f"<h2>Answers</h2>{grid}</main></body></html>"
    )


_WRITERS = {"md": as_markdown, "json": as_json, "html": as_html}


def write_file(lab: Lab, downloads: Downloads, comparison: Comparison, ending: str) -> str:
    """Write a comparison in one of ``FORMATS`` and return the path."""
    text = _WRITERS[ending](comparison, comparison.sampling(lab))
    return downloads.write(f"answers-{task_label(comparison.attempts[0].task)}", ending, text)
