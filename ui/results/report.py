"""Exports of results: every score as CSV, all figures as JSON, or one self-contained HTML page."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from pipeline.analysis import Analysis, Setup, samples
from pipeline.analysis.reported import Reported
from pipeline.analysis.run_cache import RunCache
from pipeline.evaluation.runs import Run
from pipeline.sendable import MEASURED_DIGITS, sendable
from pipeline.settings import ASSETS
from ui.labels import column_label, setup_label
from ui.markup import escape
from ui.results import against_tests, charts, tables
from ui.results.export import agreement_as_json, as_json, long_table, passes_as_json

_PAGE_CSS = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
body { color: #1f2937; background: #fff; }
pre { overflow-x: auto; font-size: .8rem; background: #f6f8fa; padding: .7rem; border-radius: 8px; }
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


def html(
    runs: RunCache,
    published: Sequence[Reported],
    setup: Setup,
    metric: str,
    excluded: Collection[str] = (),
) -> str:
    """Make a self-contained page: each metric with chart, table, tests and samples, and all configs.

    The chosen metric comes first.
    """
    from plotly.offline import get_plotlyjs

    order = sorted(setup.metrics, key=lambda name: name != metric)
    sections = "".join(_section(runs.analysis(setup, name, excluded), published, excluded) for name in order)
    sections += _against_tests(runs, setup, excluded)
    configs = "".join(
        f"<details><summary>{escape(column_label(run.config.as_column))}</summary><pre>"
        f"{escape(json.dumps(_config(run), indent=1))}</pre></details>"
        for run in setup.runs
    )
    css = (ASSETS / "results.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Research Code Lab: results</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_PAGE_CSS}{css}</style><script>{get_plotlyjs()}</script></head><body class='results'><main>"
        f"<h1>Research Code Lab: results</h1><p>{escape(setup_label(setup))}</p>{sections}"
        f"<h2>Runs</h2>{configs}</main></body></html>"
    )


def _section(analysis: Analysis, published: Sequence[Reported], excluded: Collection[str]) -> str:
    metric = analysis.metric.name
    comparable = [each for each in published if metric.startswith(each.like)]
    chart = charts.curve(analysis, comparable).to_html(
        full_html=False, include_plotlyjs=False, config={"displaylogo": False, "responsive": True}
    )
    matrix = samples.sample_matrix(analysis.setup, metric, excluded=excluded)
    rows = tables.sample_matrix(analysis.setup, matrix, metric, list(matrix.scores.index), "all")
    return (
        f"<h2>{escape(metric)}</h2>{tables.answers(analysis)}{chart}{tables.curve(analysis)}"
        f"{tables.explanation(analysis)}"
        f"<h3>Pairs</h3>{tables.pairs(analysis)}<details><summary>Samples</summary>{rows}</details>"
    )


def _against_tests(runs: RunCache, setup: Setup, excluded: Collection[str]) -> str:
    """The other metrics held against execution, and pass@k; empty if nothing was executed."""
    if setup.execution is None:
        return ""
    agreement = runs.agreement(setup, excluded)
    passes = against_tests.passes(runs.passes(setup, excluded))
    return f"<h2>Metrics against tests</h2>{against_tests.agreement(setup, agreement)}{passes}"


def _config(run: Run) -> Any:
    return sendable(asdict(run.config))
