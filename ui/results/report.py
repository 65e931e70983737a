"""Exports of results: scores as CSV, answers as JSONL, all figures as JSON, or one small HTML page."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from pipeline.analysis import Analysis, Setup, samples
from pipeline.analysis.run_cache import RunCache
from pipeline.evaluation.answers import as_answer
from pipeline.evaluation.runs import Run
from pipeline.evaluation.texts import digest_of
from pipeline.models.families import load_families
from pipeline.scoring import metric_of
from pipeline.sendable import MEASURED_DIGITS, sendable
from pipeline.settings import ASSETS
from ui.labels import column_label, setup_label, setup_title
from ui.markup import escape
from ui.results import against_tests, static_chart, tables, worth
from ui.results.export import agreement_as_json, as_json, long_table, passes_as_json

_PAGE_CSS = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
body { color: #1f2937; background: #fff; }
pre { overflow-x: auto; font-size: .8rem; background: #f6f8fa; padding: .7rem; border-radius: 8px; }
a { color: #0f766e; }
svg { display: block; margin: .6rem 0; }
h2 { margin-top: 2.5rem; border-top: 1px solid #dfe4ea; padding-top: 1rem; }
"""


def csv(setup: Setup, excluded: Collection[str] = ()) -> str:
    """Return every score of every run, one a line."""
    table = long_table([setup])
    kept = table[~table["sample"].isin(list(excluded))]
    return str(kept.to_csv(index=False, float_format=f"%.{MEASURED_DIGITS}g"))


def json_export(runs: RunCache, setup: Setup, excluded: Collection[str] = ()) -> str:
    """Return every metric's analysis and every run's config."""
    analyses = [as_json(runs.analysis(setup, metric, excluded)) for metric in setup.metrics]
    whole = {
        "setup": setup_label(setup),
        "left_out": sorted(excluded),
        "analyses": analyses,
        "pass_at_k": passes_as_json(runs.passes(setup, excluded)),
        "against_tests": agreement_as_json(runs.agreement(setup, excluded)),
        "runs": [_config(run) for run in setup.runs],
    }
    return json.dumps(sendable(whole), indent=1, ensure_ascii=False)


def answers_jsonl(setup: Setup, excluded: Collection[str] = ()) -> str:
    """Return every answer of every run with its scores, one a line."""
    lines = [
        {
            "run": run.config.id,
            "family": run.config.family,
            "sample": attempt.task.sample_id,
            "repo": attempt.task.repo,
            "task": digest_of(attempt.task),
            **as_answer(replace(attempt, column=run.config.as_column)),
        }
        for run in setup.runs
        for attempt in run.attempts.values()
        if attempt.task.sample_id not in excluded
    ]
    return "".join(json.dumps(sendable(line, MEASURED_DIGITS), ensure_ascii=False) + "\n" for line in lines)


def html(runs: RunCache, setup: Setup, metric: str, excluded: Collection[str] = ()) -> str:
    """Make a small self-contained page: contents, then each metric with chart, table and tests, and configs.

    The chosen metric comes first, with its score of each sample; metrics that repeat another one are left to
    the other exports.
    """
    metrics = [name for name in setup.metrics if name == metric or not metric_of(name).is_repeat]
    parts = [
        (
            name,
            worth.in_short(runs, setup, name)
            + _section(runs.analysis(setup, name, excluded), excluded, samples_too=name == metric),
        )
        for name in sorted(metrics, key=lambda name: name != metric)
    ]
    if setup.execution is not None:
        parts.append(("Metrics against tests", _against_tests(runs, setup, excluded)))
    parts.append(("Runs", _runs(setup)))
    contents = "".join(
        f'<li><a href="#part-{at}">{escape(name)}</a></li>' for at, (name, _) in _numbered(parts)
    )
    sections = "".join(
        f'<section id="part-{at}"><h2>{escape(name)}</h2>{part}</section>'
        for at, (name, part) in _numbered(parts)
    )
    left_out = f"<p>{len(excluded):,} of {setup.samples:,} samples are left out.</p>" if excluded else ""
    return page(
        "Research Code Lab: results",
        f"<p>{escape(setup_title(setup, load_families(runs.stored.settings)))}</p>{left_out}"
        f'<nav aria-label="Contents"><ol>{contents}</ol></nav>{sections}',
    )


def page(title: str, body: str) -> str:
    """A page that needs nothing else."""
    css = (ASSETS / "results.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<style>{_PAGE_CSS}{css}</style></head><body class="results"><main><h1>{escape(title)}</h1>{body}'
        "</main></body></html>"
    )


def _numbered(parts: Sequence[tuple[str, str]]) -> Iterator[tuple[int, tuple[str, str]]]:
    return enumerate(parts, start=1)


def _section(analysis: Analysis, excluded: Collection[str], samples_too: bool) -> str:
    metric = analysis.metric.name
    rows = ""
    if samples_too:
        matrix = samples.sample_matrix(analysis.setup, metric, excluded=excluded)
        table = tables.sample_matrix(analysis.setup, matrix, metric, list(matrix.scores.index), "all")
        rows = f"<details><summary>Samples</summary>{table}</details>"
    return (
        f"{tables.answers(analysis)}{static_chart.curve(analysis)}{tables.curve(analysis)}"
        f"{tables.explanation(analysis)}<h3>Pairs</h3>{tables.pairs(analysis)}{rows}"
    )


def _against_tests(runs: RunCache, setup: Setup, excluded: Collection[str]) -> str:
    """The other metrics held against execution, and pass@k."""
    agreement = runs.agreement(setup, excluded)
    passes = against_tests.passes(runs.passes(setup, excluded))
    return f"{against_tests.agreement(setup, agreement)}{passes}"


def _runs(setup: Setup) -> str:
    """Every run's config; the list of samples, which is often the same, stands once for each that differs."""
    configs, lists = "", dict[tuple[str, ...], int]()
    for run in setup.runs:
        config = _config(run)
        number = lists.setdefault(run.config.sample_ids, len(lists) + 1)
        config["sample_ids"] = f"list {number} below"
        configs += _folded(column_label(run.config.as_column), json.dumps(config, indent=1))
    for ids, number in lists.items():
        configs += _folded(f"List {number}: {len(ids):,} samples", "\n".join(ids))
    return configs


def _folded(summary: str, text: str) -> str:
    return f'<details><summary>{escape(summary)}</summary><pre tabindex="0">{escape(text)}</pre></details>'


def _config(run: Run) -> Any:
    return sendable(asdict(run.config))
