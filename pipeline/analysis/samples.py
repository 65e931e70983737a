"""Results by sample: which ones flip between checkpoints or are never solved, and where metrics disagree."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from pipeline.analysis.setups import Setup, score_table
from pipeline.evaluation.runs import Run
from pipeline.evaluation.texts import with_texts
from pipeline.schema import VARIANTS, Attempt, Task
from pipeline.scoring import metric_of
from pipeline.stats import is_binary

Kind = Literal["all", "never solved", "flips", "always solved", "regressions"]
"""A scored sample is of one of the middle three: solved by none, some or all. Regressions are among these."""


@dataclass(frozen=True)
class SampleMatrix:
    """One metric's scores of all samples and runs.

    Attributes:
        scores: samples by run id, NaN if unscored.
        states: in the same shape, for binary metrics 1 (solved) or 0; for others 1 (better than the baseline
            of the same prompt variant by ``threshold`` or more), −1 (worse) or 0. NaN if unknown.
        kinds: for each sample and ``Kind`` whether the sample is of that kind.
        threshold: None for a binary metric.
    """

    scores: pd.DataFrame
    states: pd.DataFrame
    kinds: pd.DataFrame
    threshold: float | None

    def of_kind(self, kind: Kind) -> list[str]:
        """Return the samples of one kind, in order."""
        return list(self.scores.index if kind == "all" else self.kinds.index[self.kinds[kind]])


def default_threshold(metric: str) -> float:
    """Return a tenth of the metric's range, 0.1 if the range is infinite."""
    low, high = metric_of(metric).range
    return round((high - low) / 10, 3) if math.isfinite(high - low) else 0.1


def sample_matrix(
    setup: Setup, metric: str, threshold: float | None = None, excluded: Collection[str] = ()
) -> SampleMatrix:
    """Build the matrix of a metric; runs without a score of it are left out."""
    scores = score_table(setup.runs, metric).dropna(axis=1, how="all")
    scores = scores[~scores.index.isin(list(excluded))]
    runs = [run for run in setup.runs if run.config.id in scores.columns]
    values = scores.to_numpy()
    if is_binary(values[np.isfinite(values)]):
        return SampleMatrix(scores, scores, _kinds(scores, setup, runs, binary=True), None)
    threshold = default_threshold(metric) if threshold is None else threshold
    states = _against_baseline(scores, runs, threshold, metric_of(metric).higher_is_better)
    return SampleMatrix(scores, states, _kinds(states, setup, runs, binary=False), threshold)


def _against_baseline(scores: pd.DataFrame, runs: list[Run], threshold: float, higher: bool) -> pd.DataFrame:
    states = pd.DataFrame(np.nan, index=scores.index, columns=scores.columns)
    for variant in VARIANTS:
        group = [run.config for run in runs if run.config.variant == variant]
        base = next((config.id for config in group if config.is_baseline), None)
        for config in group if base else ():
            gain = (scores[config.id] - scores[base]) * (1 if higher else -1)
            states[config.id] = np.sign(gain).where((gain.abs() >= threshold) | gain.isna(), 0.0)
    return states


def _kinds(states: pd.DataFrame, setup: Setup, runs: list[Run], binary: bool) -> pd.DataFrame:
    """Find the kinds of each sample; an output without a score counts for none.

    A metric that is not binary is compared with the baseline, so the baseline itself solves nothing.
    Regressions get worse as the training set grows; of several training seeds the first counts.
    """
    drops = pd.Series(False, index=states.index)
    for variant in VARIANTS:
        ladder = [run.config.id for run in setup.ladder(variant).values()]
        ordered = states[[each for each in ladder if each in states]]
        drops |= (ordered.ffill(axis=1).diff(axis=1) < 0).any(axis=1)
    judged = states[[run.config.id for run in runs if binary or not run.config.is_baseline]]
    some = (judged == 1).any(axis=1)
    others = (judged.notna() & (judged != 1)).any(axis=1)
    return pd.DataFrame(
        {
            "never solved": others & ~some,
            "flips": others & some,
            "always solved": some & ~others,
            "regressions": drops,
        }
    )


def disagreement(setup: Setup, first: str, second: str, excluded: Collection[str] = ()) -> pd.DataFrame:
    """List the outputs by how differently two metrics rank them, the widest gap first.

    Each metric ranks the outputs that both have scored from 0 (worst) to 1 (best). The rank of a binary
    metric is its score, because with ranks half of the outputs would be tied. ``gap`` is the first rank minus
    the second. Columns: sample, run, first, second, rank_first, rank_second, gap.
    """
    tables = [score_table(setup.runs, name).stack().rename(name) for name in (first, second)]
    both = pd.concat(tables, axis=1, join="inner").dropna()
    both.columns, both.index.names = pd.Index(["first", "second"]), ["sample", "run"]
    both = both[~both.index.get_level_values("sample").isin(list(excluded))].reset_index()
    for side, name in (("first", first), ("second", second)):
        ranks = both[side].rank(method="average", ascending=metric_of(name).higher_is_better)
        ranks = (ranks - 1) / max(len(both) - 1, 1)
        both[f"rank_{side}"] = both[side] if is_binary(both[side]) else ranks
    both["gap"] = both["rank_first"] - both["rank_second"]
    return both.sort_values("gap", key=abs, ascending=False, kind="stable", ignore_index=True)


def agreement(table: pd.DataFrame) -> float:
    """Return Kendall's tau-b between the two metrics of ``disagreement``; NaN if one of them is constant."""
    if len(table) < 2:
        return float("nan")
    return float(scipy_stats.kendalltau(table["rank_first"], table["rank_second"]).statistic)


def task_at(setup: Setup, sample: str) -> Task | None:
    """Return a sample's task, with instruction and reference if they can be read; None without an attempt."""
    attempts = ((run, run.attempts[sample].task) for run in setup.runs if sample in run.attempts)
    return next((with_texts(run.config.dataset, task) for run, task in attempts), None)


def attempts_at(setup: Setup, sample: str) -> list[tuple[Run, Attempt]]:
    """Return a sample's attempts with their runs; instruction and reference are read if they can be."""
    attempts = [(run, run.attempts[sample]) for run in setup.runs if sample in run.attempts]
    return [
        (run, replace(attempt, task=with_texts(run.config.dataset, attempt.task)))
        for run, attempt in attempts
    ]
