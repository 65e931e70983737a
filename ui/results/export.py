"""Results as flat tables and plain JSON, for export."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import pandas as pd

from pipeline.analysis.agreement import AgainstExecution
from pipeline.analysis.metric_analysis import Analysis
from pipeline.analysis.passes import PassAtK
from pipeline.analysis.setups import Setup
from pipeline.decimals import NONE
from pipeline.sendable import MEASURED_DIGITS, sendable
from ui.labels import axis_title, condition_label, place_name, setup_label
from ui.numbers import mean_score
from ui.results.findings import effect_of, effect_sentences
from ui.results.sentences import caveats, headlines, noise_sentences, step_sentence


def curve_table(analysis: Analysis) -> pd.DataFrame:
    """One row for each point, as the Results tab shows it."""
    metric = analysis.metric
    rows = [
        {
            "Prompt": point.variant,
            axis_title(point.axis): place_name(point),
            "Score": mean_score(point.value, metric),
            "95% interval": f"{mean_score(point.low, metric)} to {mean_score(point.high, metric)}",
            "Samples scored": point.n,
            "Answers unscored": point.unscored,
            "Cut off": f"{point.truncated:.0%}",
            "Over 512 tokens": NONE if point.windowed is None else f"{point.windowed:.0%}",
            "Training seeds": ", ".join(
                f"{NONE if seed is None else seed}: {mean_score(value, metric)}"
                for seed, value in point.by_seed
            )
            if len(point.by_seed) > 1
            else (point.by_seed[0][0] or NONE),
        }
        for point in analysis.points
    ]
    return pd.DataFrame(rows)


def long_table(setups: Iterable[Setup]) -> pd.DataFrame:
    """One row for each sample, run and metric: what a spreadsheet or a notebook needs."""
    rows = [
        {
            "setup": setup.key,
            "run": run.config.id,
            "family": run.config.family,
            "variant": run.config.variant,
            "checkpoint": run.config.checkpoint,
            "training_samples": run.config.subset_size,
            "training_seed": run.config.training_seed,
            "sample": attempt.task.sample_id,
            "repo": attempt.task.repo,
            "metric": score.metric,
            "value": score.value,
            "unscored_because": score.reason,
            "tokens": attempt.completion.tokens if attempt.completion else None,
            "finish_reason": attempt.completion.finish_reason if attempt.completion else None,
        }
        for setup in setups
        for run in setup.runs
        for attempt in run.attempts.values()
        for score in attempt.scores.values()
    ]
    return pd.DataFrame(rows)


def as_json(analysis: Analysis) -> dict[str, Any]:
    """An analysis as plain JSON; null where there is no figure."""
    pairs = [
        {
            **{key: value for key, value in vars(pair).items() if key not in ("first", "second")},
            "first": condition_label(pair.first),
            "second": condition_label(pair.second),
            "distinguishable": pair.distinguishable,
        }
        for pair in analysis.pairs
    ]
    fits = {variant: {key: getattr(fit, key) for key in _FIT} for variant, fit in analysis.fits.items()}
    steps = [step_sentence(pair, analysis.metric) for v in analysis.variants for pair in analysis.steps(v)]
    return sendable(
        {
            "setup": analysis.setup.key,
            "label": setup_label(analysis.setup),
            "metric": analysis.metric.name,
            "higher_is_better": analysis.metric.higher_is_better,
            "points": [{**asdict(point), "name": place_name(point)} for point in analysis.points],
            "pairs": pairs,
            "fits": fits,
            "answers": {
                variant: " ".join(effect_sentences(analysis, found))
                for variant in analysis.variants
                if (found := effect_of(analysis, variant))
            },
            "training_noise": None if analysis.noise is None else asdict(analysis.noise),
            "noise": noise_sentences(analysis),
            "headline": " ".join(headlines(analysis)),
            "steps": steps,
            "caveats": caveats(analysis),
        },
        MEASURED_DIGITS,
    )


def agreement_as_json(agreement: AgainstExecution | None) -> dict[str, Any] | None:
    """Every metric held against execution as JSON; where there is no figure, why, in words."""
    if agreement is None:
        return None
    lead = agreement.lead and {
        "best": agreement.lead.best.metric.name,
        "next": agreement.lead.next.metric.name,
        "difference": asdict(agreement.lead.difference),
        "distinguishable": agreement.lead.distinguishable,
    }
    metrics = [{**asdict(each), "metric": each.metric.name} for each in agreement.metrics]
    return sendable({**asdict(agreement), "metrics": metrics, "lead": lead}, MEASURED_DIGITS)


def passes_as_json(passes: Iterable[PassAtK]) -> list[dict[str, Any]]:
    """pass@1, pass@2, … of every checkpoint that answered the samples several times, as JSON."""
    return sendable(
        [
            {
                "column": each.column.key,
                "seeds": each.seeds,
                "samples": each.samples,
                "pass_at": {k: asdict(estimate) for k, estimate in enumerate(each.estimates, start=1)},
            }
            for each in passes
        ],
        MEASURED_DIGITS,
    )


_FIT = ("a", "b", "c", "largest", "gain", "gain_low", "gain_high", "training_noise")
