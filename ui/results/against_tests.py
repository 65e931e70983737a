"""The agreement of the other metrics with the tests, and pass@k: sentences and tables as HTML."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from pipeline.analysis import Setup
from pipeline.analysis.agreement import AgainstExecution, MetricAgreement
from pipeline.analysis.passes import PassAtK
from pipeline.decimals import NONE, decimal
from pipeline.evaluation.runs import RunConfig, evaluation_arguments, evaluation_command
from pipeline.schema import counted, listed
from pipeline.scoring import metric_of
from pipeline.stats import Association, Estimate
from ui import numbers
from ui.labels import column_label
from ui.markup import escape
from ui.results import table_html
from ui.results.tables import sample_name

_MOST_CASES = 25
_MEANING = (
    "AUC: of a passing attempt and a failing one, how often the metric scores the passing one higher; ties "
    "count half, and .5 is chance. τ-b: Kendall's rank correlation with passing; 0 is chance. Within "
    "checkpoints, only attempts of the same checkpoint and prompt are compared, so that no metric gains "
    "by telling good checkpoints from bad ones. In brackets: 95% intervals, by a bootstrap over "
)
_JUDGED = (
    "False correct: the share of failing attempts that the judge calls correct. False incorrect: the share "
    "of passing attempts that it calls not correct. κ: agreement beyond chance. Flips: the share of attempts "
    "on which the judge's votes, each with other random numbers, contradict each other; one vote shows none."
)
_AGREES = (
    (0.2, "hardly more than chance"),
    (0.4, "little more than chance"),
    (0.6, "in part"),
    (0.8, "for the most part"),
    (math.inf, "almost always"),
)
"""Words for κ below a limit, by the usual steps of Landis and Koch (1977)."""
_HALVES = (
    "High and low are the upper and the lower half of the attempts by this metric; of a verdict, correct and "
    "not correct. Rank: 0% is the lowest of all attempts. A click opens the sample."
)
_NOT_EXECUTED = """<div class="empty"><h3>The answers of this set-up were not executed</h3>
<p>Its samples have no tests. {remedy}</div>"""
_CHOOSE = "These set-ups have answers that were executed; choose one above:</p><ul>{labels}</ul>"
_EVALUATE = """Evaluate the checkpoints on a test suite: choose one in the <b>Jobs</b> tab under <b>More
settings</b>, or use the command line:</p><pre class="code" tabindex="0">{commands}</pre>
<p>These runs are then a set-up of their own, which you can choose above.</p>"""


def agreement(setup: Setup, against: AgainstExecution | None, executed: Sequence[str] = ()) -> str:
    """Every metric held against execution, the best in a sentence; or which of the set-ups allows that."""
    if against is None or not against.attempts:
        return _nothing_executed(setup, executed)
    headlines = "".join(f'<p class="headline">{escape(sentence)}</p>' for sentence in sentences(against))
    if not any(isinstance(each.overall, Association) for each in against.metrics):
        return headlines
    figures = '<th scope="col">AUC</th><th scope="col">τ-b</th>'
    head = (
        '<tr><th scope="col" rowspan="2">Metric</th><th scope="col" rowspan="2">Attempts</th>'
        '<th scope="colgroup" colspan="2">Within checkpoints</th>'
        f'<th scope="colgroup" colspan="2">Over all attempts</th></tr><tr>{figures}{figures}</tr>'
    )
    rows = "".join(_metric_row(each) for each in against.metrics)
    table = table_html.table(f"Held against {against.execution}", head, rows, "figures agreement")
    units = {"": "samples", "file": "files", "repository": "repositories"}[against.together]
    return f'{headlines}{table}<p class="note">{escape(_MEANING)}{units}.</p>{_judges(against.metrics)}'


def sentences(agreement: AgainstExecution) -> list[str]:
    """How many attempts pass, which metric follows the tests best, and whether the next differs from it."""
    share = f"{agreement.passing / agreement.attempts:.0%}"
    attempts = counted(agreement.attempts, "executed attempt")
    texts = [f"{agreement.passing:,} of {attempts} pass their tests ({share})."]
    if not agreement.metrics:
        return texts
    best = agreement.metrics[0].within
    if not isinstance(best, Association):
        return [*texts, f"Within checkpoints no metric can be held against the tests: {best}."]
    by_chance = best.auc.low <= 0.5 <= best.auc.high
    texts.append(
        f"{agreement.metrics[0].metric.name} follows the tests best: of two attempts of one checkpoint, one "
        f"that passes and one that fails, it scores the passing one higher in {best.auc.value:.0%} of the "
        f"cases (AUC {_limits(best.auc)}{', which chance can explain' if by_chance else ''})."
    )
    if agreement.lead:
        can = "can" if agreement.lead.distinguishable else "cannot"
        texts.append(
            f"It {can} be distinguished from the next, {agreement.lead.next.metric.name} "
            f"(difference of the AUC {_limits(agreement.lead.difference, signed=True)})."
        )
    return texts


def _limits(estimate: Estimate, signed: bool = False) -> str:
    """``.812, 95% interval .744 to .870``."""
    limits = (estimate.value, estimate.low, estimate.high)
    value, low, high = (decimal(each, signed=signed) for each in limits)
    return f"{value}, 95% interval {low} to {high}"


def _metric_row(agreement: MetricAgreement) -> str:
    notes = [] if agreement.metric.higher_is_better else ["lower is better"]
    if agreement.same_order:
        notes.append(f"the same order: {listed(list(agreement.same_order))}")
    small = f"<small>{escape('; '.join(notes))}</small>" if notes else ""
    cells = "".join(_cells(each) for each in (agreement.within, agreement.overall))
    passing = f"{agreement.attempts:,}<small>{agreement.passing:,} pass</small>"
    return f'<tr><th scope="row">{escape(agreement.metric.name)}{small}</th><td>{passing}</td>{cells}</tr>'


def _cells(association: Association | str) -> str:
    if isinstance(association, str):
        return f'<td class="words" colspan="2">{escape(association)}</td>'
    return f"<td>{_figure(association.auc)}</td><td>{_figure(association.tau)}</td>"


def _judges(metrics: Iterable[MetricAgreement]) -> str:
    rows = ""
    for each in metrics:
        if each.verdicts is None:
            continue
        v = each.verdicts
        figures = (v.accuracy, v.false_correct, v.false_incorrect, v.kappa)
        cells = "".join(f"<td>{_figure(figure)}</td>" for figure in figures)
        cells += f"<td>{_figure(each.flips) if each.flips else NONE}</td>"
        rows += f'<tr><th scope="row">{escape(each.metric.name)}</th>{cells}</tr>'
    if not rows:
        return ""
    heads = table_html.heads(("Judge", "Accuracy", "False correct", "False incorrect", "Cohen's κ", "Flips"))
    return (
        table_html.table("Verdicts held against the tests", heads, rows, "figures agreement")
        + f'<p class="note">{_JUDGED}</p>'
    )


def judge_sentence(setup: str, found: MetricAgreement) -> str:
    """What a judge's verdicts are worth by the tests of a set-up; empty where nothing can be said."""
    if found.verdicts is None:
        return ""
    v = found.verdicts
    flips = f"; its votes contradict each other on {_figure(found.flips)}" if found.flips else ""
    return (
        f"Held against {setup}, this judge is right on {_figure(v.accuracy)} of "
        f"{counted(found.attempts, 'attempt')}. It calls {_figure(v.false_correct)} of the failing ones "
        f"correct and {_figure(v.false_incorrect)} of the passing ones incorrect; κ is {_figure(v.kappa)}"
        f"{flips}. In brackets: 95% intervals."
    )


def judge_in_short(found: MetricAgreement, suite: str = "") -> str:
    """How far a judge can be trusted, in one sentence; empty where nothing can be said.

    Args:
        found: the judge held against the tests.
        suite: the set-up whose tests these are, if it is another one than is shown.
    """
    if found.verdicts is None:
        return ""
    kappa = found.verdicts.kappa
    far = next(words for limit, words in _AGREES if kappa.value < limit)
    agrees = "no more than chance" if kappa.low <= 0 else far
    where = f" of {suite}" if suite else ""
    return f"This judge agrees with the tests{where} {agrees}: κ {_figure(kappa)}."


def _figure(estimate: Estimate) -> str:
    """``.812 (.744 to .870)``."""
    value, low, high = map(decimal, (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low} to {high})"


def cases(setup: Setup, table: pd.DataFrame, metric: str) -> str:
    """Where a metric is high and the tests fail, and the reverse, the widest gaps first.

    ``table`` is that of ``pipeline.analysis.samples.disagreement``, the metric first and execution second.
    """
    parts = [f'<p class="note">{_HALVES}</p>']
    for title, found in (
        (f"{metric} is high, the tests fail", table[table["gap"] > 0.5]),
        (f"{metric} is low, the tests pass", table[table["gap"] < -0.5]),
    ):
        first = f", the first {_MOST_CASES} listed" if len(found) > _MOST_CASES else ""
        parts.append(f"<h3>{escape(title)}: {counted(len(found), 'attempt')}{first}</h3>")
        rows = "".join(_case(setup, row, metric) for row in found.head(_MOST_CASES).itertuples())
        if rows:
            heads = table_html.heads(("Sample", "Checkpoint", metric, "Rank", "What the tests say"))
            parts.append(table_html.tall(title, heads, rows, "left"))
    return "".join(parts)


def _case(setup: Setup, row: Any, metric: str) -> str:
    run = next(run for run in setup.runs if run.config.id == row.run)
    executed = run.attempts[row.sample].scores[setup.execution or ""]
    why = textwrap.shorten(executed.details.get("why") or "", 90, placeholder=" …")
    cells = (
        column_label(run.config.as_column),
        numbers.score(row.first, metric_of(metric)),
        f"{row.rank_first:.0%}",
        why or numbers.score(row.second, metric_of(executed.metric)),
    )
    body = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    place = f'data-id="{escape(row.sample)}" data-run="{escape(row.run)}"'
    return f"<tr {place}>{table_html.opener(row.sample, sample_name(setup, row.sample))}{body}</tr>"


def _nothing_executed(setup: Setup, executed: Sequence[str]) -> str:
    scores = [score for run in setup.runs for score in run.scores(setup.execution or "")]
    reason = next((score.reason for score in scores if score.reason), "")
    if reason:
        return f'<p class="note">No attempt of this set-up could be executed: {escape(reason)}</p>'
    if executed:
        labels = "".join(f"<li>{escape(each)}</li>" for each in executed)
        return _NOT_EXECUTED.format(remedy=_CHOOSE.format(labels=labels))
    ends = dict.fromkeys((_command(setup.runs[0].config), _command(setup.runs[-1].config)))
    return _NOT_EXECUTED.format(remedy=_EVALUATE.format(commands=escape("\n".join(ends))))


def _command(config: RunConfig) -> str:
    return evaluation_command({**evaluation_arguments(config), "dataset": None, "suite": "humaneval"})


def passes(estimates: Sequence[PassAtK]) -> str:
    """pass@k by checkpoint; empty if no sample was answered several times."""
    if not estimates:
        return ""
    most = max(len(each.estimates) for each in estimates)
    rows = ""
    for each in estimates:
        cells = [_figure(estimate) for estimate in each.estimates] + [NONE] * (most - len(each.estimates))
        body = "".join(f"<td>{cell}</td>" for cell in (f"{each.samples:,}", *cells))
        rows += f'<tr><th scope="row">{escape(column_label(each.column))}</th>{body}</tr>'
    heads = table_html.heads(("Checkpoint", "Samples", *(f"pass@{k}" for k in range(1, most + 1))))
    seeds = listed([f"{seed}" for seed in sorted({seed for each in estimates for seed in each.seeds})])
    note = (
        f"From runs that differ only in the seed of the sampling ({seeds}): the chance that at least one of "
        "k answers passes, with 95% intervals."
    )
    table = table_html.table("Several answers to each sample", heads, rows, "figures agreement")
    return f'{table}<p class="note">{escape(note)}</p>'
