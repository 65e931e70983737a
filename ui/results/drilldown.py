"""One sample under every checkpoint: outputs, differences, scores and the judge's words, as HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pipeline.analysis import Setup
from pipeline.analysis.samples import attempts_at
from pipeline.evaluation.runs import Run
from pipeline.schema import Attempt, LabError, Score, counted
from pipeline.scoring import metric_of
from ui import markup, numbers
from ui.executed import executed
from ui.labels import column_label
from ui.markup import escape

Shown = Literal["outputs", "difference to the reference", "difference to the baseline"]
_ENDINGS = {"stop": "ended by itself", "length": "cut off at the token limit", "cancelled": "stopped"}


def sample(setup: Setup, sample_id: str, shown: Shown = "outputs", run_id: str = "") -> str:
    """The sample's instruction and reference, and one card a checkpoint, the one asked for first.

    Raises:
        LabError: no run has it.
    """
    found = attempts_at(setup, sample_id)
    if not found:
        raise LabError(f"No run of this set-up has the sample {sample_id!r}.")
    first = found[0][1]
    ordered = sorted(found, key=lambda pair: pair[0].config.id != run_id)
    cards = [_reference(first)] if shown == "outputs" else []
    cards += [
        _card(run, attempt, _base(found, run, attempt, shown), shown, run.config.id == run_id)
        for run, attempt in ordered
    ]
    return (
        f'<section class="sample" aria-label="Sample"><header><h3><code>{escape(sample_id)}</code></h3>'
        f"<span>{escape(first.task.repo)}</span></header><p>{escape(first.task.instruction)}</p></section>"
        f'<div class="panes">{"".join(cards)}</div>'
    )


def _base(found: list[tuple[Run, Attempt]], run: Run, attempt: Attempt, shown: Shown) -> str | None:
    """The code that this output is held against, None to show it as it is."""
    if shown == "difference to the reference":
        return attempt.task.reference
    if shown == "difference to the baseline":
        same = [
            other for r, other in found if not r.config.subset_size and r.config.variant == run.config.variant
        ]
        return same[0].code if same and same[0] is not attempt else None
    return None


def _reference(attempt: Attempt) -> str:
    code = f'<pre class="code" tabindex="0">{markup.python(attempt.task.reference or "")}</pre>'
    head = "<header><h3>Reference</h3></header>"
    return f'<section class="pane reference" aria-label="Reference">{head}{code}</section>'


def _card(run: Run, attempt: Attempt, base: str | None, shown: Shown, chosen: bool) -> str:
    label, completion = escape(column_label(run.config.as_column)), attempt.completion
    if base is not None:
        against = shown.removeprefix("difference to ")
        body = f'<p class="note">− only in {escape(against)}, + only here</p>'
        body += f'<pre class="diff" tabindex="0">{markup.diff(base, attempt.code)}</pre>'
    elif attempt.error:
        body = f'<p class="problem">{escape(attempt.error)}</p>'
    elif completion and completion.text.strip():
        body = f'<pre class="code" tabindex="0">{markup.answer(completion.text, attempt.code)}</pre>'
    else:
        body = '<p class="note">Nothing: it ended at once.</p>'
    if attempt.trimmed:
        body += f'<p class="note">Prompt: {escape(attempt.trimmed)}.</p>'
    if completion and completion.note:
        body += f'<p class="note">{escape(completion.note)}</p>'
    adapter = f"adapter {run.config.fingerprint}" if run.config.fingerprint else "no adapter"
    told = [adapter]
    if completion:
        ending = _ENDINGS.get(completion.finish_reason or "", "unfinished")
        told = [counted(completion.tokens, "token"), ending, adapter]
    facts = "".join(f"<span>{escape(fact)}</span>" for fact in told)
    current = ' aria-current="true"' if chosen else ""
    return (
        f'<section class="pane" aria-label="{label}"{current}><header><h3>{label}</h3></header>'
        f'<p class="facts">{facts}</p>{body}{_scores(attempt.scores)}</section>'
    )


def _scores(scores: Mapping[str, Score]) -> str:
    rows = ""
    for score in scores.values():
        if score.value is None:
            value = f'<span class="unscored">not scored: {escape(score.reason or "no reason given")}</span>'
        else:
            value = numbers.score(score.value, metric_of(score.metric))
        rows += f'<tr><th scope="row">{escape(score.metric)}</th><td>{value}</td></tr>'
    judged = "".join(_judge(score) for score in scores.values() if score.details.get("votes"))
    told = executed(scores.values()) + judged
    return f'<table class="scores"><caption class="sr">Scores</caption><tbody>{rows}</tbody></table>{told}'


def _judge(score: Score) -> str:
    parts = "".join(
        f"<h4>{escape(title)}</h4><p>{escape(text)}</p>" for title, text in _votes(score.details["votes"])
    )
    if left_out := score.details.get("left_out"):
        parts += f'<p class="note">The judge refuses {escape(", ".join(left_out))}: left out.</p>'
    return f'<details class="judge"><summary>What {escape(score.metric)} said</summary>{parts}</details>'


def _votes(votes: list[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for number, vote in enumerate(votes, start=1):
        value = vote.get("value")
        verdict = f"no verdict: {vote.get('reason')}" if value is None else f"verdict {value:g}"
        yield (
            f"Vote {number} of {len(votes)}: {verdict}",
            "\n\n".join(vote.get("words") or ["(no words kept)"]),
        )
