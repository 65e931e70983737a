"""The scores of several attempts at one task as one table: metric by column, the best of each row marked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from pipeline.decimals import NONE
from pipeline.schema import Attempt, Column, Score
from pipeline.scoring import in_order, metric_of
from ui import numbers
from ui.judged import why_unscored
from ui.labels import checkpoint_label
from ui.markup import escape

_AWAITED = "…"
_OPINION = "It is an opinion: Results says how far the judge agrees with the tests."
_BETTER = '<span aria-hidden="true">{arrow}</span><span class="sr">, {way} is better</span>'


def score_table(
    attempts: Sequence[Attempt], awaited: Sequence[str] = (), chosen: Column | None = None
) -> str:
    """A row for each metric, a column for each attempt; empty if there is no score and none is awaited.

    Args:
        attempts: of one task, those of a prompt variant behind each other.
        awaited: metrics that are still to be computed.
        chosen: a column to mark.
    """
    metrics = in_order({*awaited, *(name for attempt in attempts for name in attempt.scores)})
    if not metrics:
        return ""
    head = _head(attempts, chosen)
    best = best_scores(attempts)
    for name in awaited:
        if any(name not in attempt.scores and _is_scored_later(attempt) for attempt in attempts):
            best.pop(name, None)  # a better one can still come
    rows = {name: _row(name, attempts, best.get(name), name in awaited) for name in metrics}
    repeats = {name for name in metrics if metric_of(name).is_repeat}
    leading = _table("Scores", head, [row for name, row in rows.items() if name not in repeats])
    folded = ""
    if repeats:
        title = "Rescaled scores, and scores of the raw text"
        table = _table(title, head, [rows[name] for name in metrics if name in repeats])
        folded = _folded(title, table)
    if reasons := _reasons(attempts):
        folded += _folded("Why some are not scored", reasons)
    # A focus for the keyboard, as it scrolls sideways.
    style = f"--columns: {len(attempts)}"
    return f'<div class="scores" tabindex="0" style="{style}">{leading}{folded}</div>'


def best_scores(attempts: Sequence[Attempt]) -> dict[str, str]:
    """The best value of each score on which the attempts differ, as it is written.

    None of a judge's: the mark would make its opinion look like the result of a test.
    """
    values: dict[str, list[float]] = {}
    for attempt in attempts:
        for score in attempt.scores.values():
            if score.value is not None and not metric_of(score.metric).is_opinion:
                values.setdefault(score.metric, []).append(score.value)
    best = {}
    for name, found in values.items():
        metric = metric_of(name)
        if len({numbers.score(value, metric) for value in found}) > 1:
            best[name] = numbers.score(max(found) if metric.higher_is_better else min(found), metric)
    return best


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>{content}</details>"


def _table(caption: str, head: str, rows: Sequence[str]) -> str:
    return (
        f'<table><caption class="sr">{caption}</caption><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _head(attempts: Sequence[Attempt], chosen: Column | None) -> str:
    variants = [(name, len(list(group))) for name, group in groupby(a.column.variant for a in attempts)]
    corner = '<td class="arrows">↑ higher, ↓ lower is better</td>'
    names = "".join(_column_head(attempt.column, attempt.column == chosen) for attempt in attempts)
    if len(variants) == 1:
        return f"<tr>{corner}{names}</tr>"
    groups = "".join(
        f'<th scope="colgroup" colspan="{count}"><span>{escape(variant.capitalize())} prompt</span></th>'
        for variant, count in variants
    )
    return f"<tr><td></td>{groups}</tr><tr>{corner}{names}</tr>"


def _column_head(column: Column, chosen: bool) -> str:
    current = ' aria-current="true"' if chosen else ""
    return f'<th scope="col"{current}>{escape(checkpoint_label(column.checkpoint))}</th>'


def _row(name: str, attempts: Sequence[Attempt], best: str | None, awaited: bool) -> str:
    metric = metric_of(name)
    opinion = _OPINION if metric.is_opinion else ""
    described = f"{metric.description} {opinion}".strip()
    hint = f' title="{escape(described)}"' if described else ""
    arrow, way = ("↑", "higher") if metric.higher_is_better else ("↓", "lower")
    better = _BETTER.format(arrow=arrow, way=way)
    said = f'<span class="sr">. {opinion}</span>' if opinion else ""
    cells = "".join(_cell(attempt, name, best, awaited) for attempt in attempts)
    return f'<tr><th scope="row"><span{hint}>{escape(name)}</span> {better}{said}</th>{cells}</tr>'


def _cell(attempt: Attempt, name: str, best: str | None, awaited: bool) -> str:
    score = attempt.scores.get(name)
    if score is None:
        return f"<td>{_AWAITED if awaited and _is_scored_later(attempt) else NONE}</td>"
    if score.value is None:
        return f'<td class="unscored" title="{escape(why_unscored(score.reason))}">not scored</td>'
    text = numbers.score(score.value, metric_of(name))
    if text != best:
        return f"<td>{text}</td>"
    return f'<td class="best">{text}<span class="sr">, best</span></td>'


def _is_scored_later(attempt: Attempt) -> bool:
    cancelled = attempt.completion is not None and attempt.completion.finish_reason == "cancelled"
    return not (attempt.error or cancelled)


def _reasons(attempts: Sequence[Attempt]) -> str:
    """Why scores are missing, a sentence for each reason; an attempt's own error stands in its pane."""
    missing: dict[str, list[Score]] = {}
    for attempt in attempts:
        for score in attempt.scores.values():
            if score.value is None and not attempt.error:
                missing.setdefault(why_unscored(score.reason) or "no reason given", []).append(score)
    return "".join(
        f'<p class="note">{escape(_listed(scores))} not scored: {escape(reason)}</p>'
        for reason, scores in missing.items()
    )


def _listed(scores: Sequence[Score]) -> str:
    return ", ".join(in_order({score.metric for score in scores}))
