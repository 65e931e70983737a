"""pass@k of checkpoints that answered the same samples several times, with other seeds of the sampling."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline import stats
from pipeline.analysis.setups import Setup, sample_clusters, score_table, test_set
from pipeline.evaluation.runs import Run
from pipeline.schema import Column
from pipeline.scoring.execution.pass_at_k import pass_at_k
from pipeline.stats import Codes, Estimate, Floats

_RESAMPLES = 1_999


@dataclass(frozen=True)
class PassAtK:
    """One checkpoint under one prompt variant.

    Attributes:
        seeds: of the sampling, one for each completion of a sample.
        samples: those of which every completion was executed; only they count.
        estimates: the mean of pass@k over the samples for k = 1, 2, … up to the number of seeds.
    """

    column: Column
    seeds: tuple[int, ...]
    samples: int
    estimates: tuple[Estimate, ...]


def passes_at_k(setup: Setup, setups: Sequence[Setup], excluded: Collection[str] = ()) -> list[PassAtK]:
    """pass@k of every run of a set-up that others repeat with another seed of the sampling.

    Args:
        setup: the runs.
        setups: where the other runs are looked for, ``setup`` itself among them or not.
        excluded: ids of samples to leave out.
    """
    others = [each for each in setups if _differs_in_seed(setup, each)]
    estimates = []
    for run in setup.runs if setup.execution else ():
        drawn = [run, *(other for each in others for other in each.runs if _repeats(run, other))]
        if len(drawn) > 1 and (passes := _passes(drawn, setup.execution or "", excluded)):
            estimates.append(passes)
    return estimates


def _differs_in_seed(one: Setup, other: Setup) -> bool:
    same_dataset = (one.family, one.dataset) == (other.family, other.dataset)
    seeds = (one.decoding.seed, other.decoding.seed)
    return same_dataset and seeds[0] != seeds[1] and replace(other.decoding, seed=seeds[0]) == one.decoding


def _repeats(run: Run, other: Run) -> bool:
    """Whether the same adapter answered the same samples under the same prompt."""
    columns = [(each.config.column, each.config.fingerprint) for each in (run, other)]
    return columns[0] == columns[1] and test_set(run) == test_set(other)


def _passes(drawn: Sequence[Run], execution: str, excluded: Collection[str]) -> PassAtK | None:
    drawn = sorted(drawn, key=lambda run: run.config.decoding.seed)
    table = score_table(drawn, execution).dropna()
    table = table[~table.index.isin(list(excluded))]
    if table.empty:
        return None
    codes = sample_clusters(drawn, list(table.index)).codes
    n, passed = len(drawn), table.sum(axis=1).astype(int)
    chances = [np.array([pass_at_k(n, c, k) for c in passed]) for k in range(1, n + 1)]
    return PassAtK(
        column=drawn[0].config.as_column,
        seeds=tuple(run.config.decoding.seed for run in drawn),
        samples=len(table),
        estimates=tuple(_estimate(each, codes) for each in chances),
    )


def _estimate(chances: Floats, codes: Codes) -> Estimate:
    limits = (
        stats.rate_interval(chances, codes)
        if stats.is_binary(chances)
        else stats.mean_interval(chances, codes, _RESAMPLES)
    )
    return Estimate.of(chances.mean(), limits)
