"""What a judge's verdicts are worth by the tests: in short before its figures, in full below them."""

from __future__ import annotations

from pipeline.analysis import Setup
from pipeline.analysis.agreement import MetricAgreement
from pipeline.analysis.run_cache import RunCache
from pipeline.models.families import load_families
from pipeline.scoring import metric_of
from ui.labels import setup_title
from ui.markup import escape
from ui.results import against_tests


def in_short(runs: RunCache, setup: Setup, metric: str) -> str:
    """How far a judge can be trusted: by this set-up's own tests if it has any; empty for other metrics."""
    held = sorted(_held(runs, metric), key=lambda each: each[0].key != setup.key)
    said = (
        against_tests.judge_in_short(one, "" if each.key == setup.key else _title(runs, each))
        for each, one in held
    )
    sentence = next(filter(None, said), "")
    return f'<p class="headline">{escape(sentence)}</p>' if sentence else ""


def in_full(runs: RunCache, metric: str) -> str:
    """What the tests of every set-up say of a judge; empty for other metrics."""
    said = [against_tests.judge_sentence(_title(runs, setup), one) for setup, one in _held(runs, metric)]
    return "".join(f'<p class="note">{escape(sentence)}</p>' for sentence in said if sentence)


def _held(runs: RunCache, metric: str) -> list[tuple[Setup, MetricAgreement]]:
    """A judge held against the tests of every set-up where the answers that it read were executed."""
    if not metric_of(metric).is_opinion:
        return []
    executed = [each for each in runs.setups() if each.execution and metric in each.metrics]
    agreements = ((each, runs.agreement(each, only=metric)) for each in executed)
    return [(each, one) for each, agreement in agreements if agreement for one in agreement.metrics]


def _title(runs: RunCache, setup: Setup) -> str:
    return setup_title(setup, load_families(runs.stored.settings))
