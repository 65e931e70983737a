"""Attempts at one task side by side, as HTML: in Compare, and for a sample of stored runs in Results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pipeline.schema import Attempt, Completion, Score, Task, counted
from pipeline.scoring import METRICS, extract_code, metric_of
from pipeline.scoring.encoder import KINDS
from ui import markup, numbers, pieces
from ui.executed import executed
from ui.labels import column_label
from ui.markup import escape

Against = Literal["nothing", "the reference", "the baseline"]
_LEFT_OUT = frozenset(name for kind in KINDS for name in kind.metrics[2:])
"""Scores of the raw text, which runs and the API keep for comparison with published figures."""
EMPTY = (
    '<p class="empty">Press <b>Generate</b>: every checkpoint that you ticked gets the same task, and their '
    "answers appear here side by side, each with its scores.</p>"
)
_ONE_SAMPLE = (
    '<p class="note">The best of each score is in bold. One sample says little about a checkpoint: Results '
    "compares them over many samples, with intervals and tests. About says what each score means.</p>"
)


def grid(attempts: Sequence[Attempt], show_reference: bool = False, against: Against = "nothing") -> str:
    """All attempts at a task side by side, the reference first where it is asked for, or as differences."""
    task = attempts[0].task
    cards = [_reference(task)] if show_reference and task.reference is not None else []
    best = _best(attempts)
    for attempt in attempts:
        base = _base(attempt, attempts, task, against)
        cards.append(_card(attempt, base, against, best))
    note = _ONE_SAMPLE if best else ""
    return f'<div class="panes aligned">{"".join(cards)}</div>{note}'


def ways(attempts: Sequence[Attempt]) -> list[tuple[str, Against]]:
    """The ways in which attempts at a task can be shown."""
    found: list[tuple[str, Against]] = [("Answers as written", "nothing")]
    if any(attempt.task.reference is not None for attempt in attempts):
        found.append(("Difference from the reference", "the reference"))
    if len(attempts) > 1 and any(attempt.column.checkpoint.is_baseline for attempt in attempts):
        found.append(("Difference from the baseline", "the baseline"))
    return found


def _best(attempts: Sequence[Attempt]) -> dict[str, float]:
    """The best value of every score on which the panes differ."""
    values: dict[str, list[float]] = {}
    for attempt in attempts:
        for score in attempt.scores.values():
            if score.value is not None and score.metric in METRICS:
                values.setdefault(score.metric, []).append(score.value)
    return {
        metric: max(found) if METRICS[metric].higher_is_better else min(found)
        for metric, found in values.items()
        if len(set(found)) > 1
    }


def _base(attempt: Attempt, attempts: Sequence[Attempt], task: Task, against: Against) -> str | None:
    """The code that the attempt's is to be compared with, None where there is none (yet)."""
    if against == "the reference":
        return task.reference
    if against == "the baseline":
        for other in attempts:
            same_prompt = other.column.variant == attempt.column.variant
            if other.column.checkpoint.is_baseline and same_prompt and other is not attempt:
                return other.code if other.completion else None
    return None


def _card(attempt: Attempt, base: str | None, against: Against, best: Mapping[str, float]) -> str:
    name = escape(column_label(attempt.column))
    title, _, variant = name.partition(" · ")
    whole = attempt.completion is not None and attempt.completion.finish_reason in ("stop", "length")
    copy = _copy(attempt.code) if attempt.code else ""
    notes = f'<p class="note">Prompt: {escape(attempt.trimmed)}.</p>' if attempt.trimmed else ""
    if attempt.completion and attempt.completion.note:
        notes += f'<p class="note">{escape(attempt.completion.note)}</p>'
    scores = _scores(list(attempt.scores.values()), best) if whole else ""
    # Four parts each, also where one is empty: the style sheet lines them up across the panes of a row.
    return (
        f'<section class="pane" aria-label="{name}" data-state="{_state(attempt)}">'
        f'<header><h3>{title} <small title="Prompt variant">· {variant}</small></h3>{copy}</header>'
        f"{_facts(attempt)}"
        f'<div class="body">{_body(attempt, base, against)}</div>'
        f'<div class="foot">{notes}{scores}</div></section>'
    )


def _body(attempt: Attempt, base: str | None, against: Against) -> str:
    if attempt.error:
        return pieces.problem(attempt.error)
    if attempt.completion is None:
        return pieces.waiting("Reading the prompt…")
    text = attempt.completion.text
    if attempt.completion.finish_reason is None:
        return _pre(f'{markup.answer(text, extract_code(text))}<span class="caret"></span>')
    if base is not None:
        legend = f'<p class="note">Difference: − only in {escape(against)}, + only here</p>'
        return legend + _pre(markup.diff(base, attempt.code), "diff")
    if text.strip():
        return _pre(markup.answer(text, attempt.code))
    return '<p class="note">Nothing: it ended at once.</p>'


def _reference(task: Task) -> str:
    code = task.reference or ""
    return (
        f'<section class="pane reference" aria-label="Reference"><header><h3>Reference</h3>{_copy(code)}'
        '</header><p class="facts"><span>what the dataset has</span></p>'
        f'<div class="body">{_pre(markup.python(code))}</div><div class="foot"></div></section>'
    )


def _state(attempt: Attempt) -> str:
    if attempt.error:
        return "failed"
    return "done" if attempt.completion and attempt.completion.finish_reason else "writing"


def _pre(inner: str, kind: str = "code") -> str:
    return f'<pre class="{kind}" tabindex="0">{inner}</pre>'


def _copy(code: str) -> str:
    return f'<button type="button" class="copy" data-copy="{escape(code)}">Copy code</button>'


def _facts(attempt: Attempt) -> str:
    if attempt.error:
        return '<p class="facts"></p>'
    completion = attempt.completion
    facts = [_writer(attempt)]
    if completion and completion.tokens and completion.seconds:
        rate = completion.tokens / completion.seconds
        facts.insert(0, _fact(counted(completion.tokens, "token")))
        facts.insert(
            1, _fact(f"{rate:.3g} tokens/s", f"First token after {completion.seconds_to_first:.1f} s")
        )
    if completion and completion.finish_reason:
        facts.append(_fact(_ending(completion)))
    return f'<p class="facts">{"".join(facts)}</p>'


def _writer(attempt: Attempt) -> str:
    """What wrote it, as the engine says; a published checkpoint is known only once it has been fetched."""
    checkpoint = attempt.column.checkpoint
    mark = attempt.completion.fingerprint if attempt.completion else checkpoint.fingerprint
    if mark.startswith("remote:"):
        return _fact(f"served as {mark[7:]}", "A server wrote it; its weights cannot be checked from here")
    if checkpoint.is_baseline:
        return _fact("no adapter", "The bare base model")
    return _fact(f"adapter {mark}", "Hash of the adapter's files, or a merged model's commit") if mark else ""


def _ending(completion: Completion) -> str:
    words = {"stop": "ended by itself", "length": "cut off at the token limit", "cancelled": "stopped by you"}
    return words[completion.finish_reason or "stop"]


def _fact(text: str, title: str = "") -> str:
    hint = f' title="{escape(title)}"' if title else ""
    return f"<span{hint}>{escape(text)}</span>"


def _scores(scores: Sequence[Score], best: Mapping[str, float]) -> str:
    if not scores:
        return '<p class="note">Scores follow.</p>'
    rows = "".join(_row(score, best) for score in scores if score.metric not in _LEFT_OUT)
    table = f'<table class="scores"><caption class="sr">Scores</caption><tbody>{rows}</tbody></table>'
    return table + executed(scores)


def _row(score: Score, best: Mapping[str, float]) -> str:
    known = METRICS.get(score.metric)
    better = "" if known is None else " Higher is better." if known.higher_is_better else " Lower is better."
    hint = f' title="{escape(known.description + better)}"' if known else ""
    if score.value is None:
        value = f'<span class="unscored">not scored: {escape(score.reason or "no reason given")}</span>'
    else:
        value = numbers.score(score.value, metric_of(score.metric))
    mark = ' class="best"' if score.value is not None and score.value == best.get(score.metric) else ""
    return f'<tr><th scope="row"{hint}>{escape(score.metric)}</th><td{mark}>{value}</td></tr>'
