"""The analysis of one metric over the runs of one set-up."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from pipeline import stats
from pipeline.analysis.noise import TrainingNoise, estimate_training_noise
from pipeline.analysis.pairs import Pair, compare_pairs
from pipeline.analysis.points import Point, estimate_points
from pipeline.analysis.setups import Axis, Condition, Setup, sample_clusters, score_table
from pipeline.schema import TRAINED_VARIANTS, VARIANTS, Column, PromptVariant
from pipeline.scoring import Metric, metric_of
from pipeline.stats import Codes, ScalingFit


@dataclass(frozen=True)
class Analysis:
    """The results of one metric in one set-up.

    Attributes:
        left_out: names of checkpoints that the axis cannot show (``Along``).
        binary: whether scores are 0 or 1, so that means are rates.
        repos: number of repositories of the samples.
        together: what the clusters of samples are in intervals and tests: ``repository``, ``file``, or empty.
        clusters: number of clusters; the number of samples if they are not clustered.
        excluded: number of samples that were left out on request.
        never_scored: what the runs are of that have no score of the metric, not even an unscored one.
        fits: the scaling fits of the prompt variants with enough sizes; of no other axis.
        noise: training noise, over all sizes with several seeds; None if there are none.
    """

    setup: Setup
    axis: Axis
    left_out: tuple[str, ...]
    metric: Metric
    binary: bool
    repos: int
    together: str
    clusters: int
    excluded: int
    never_scored: tuple[Column, ...]
    points: tuple[Point, ...]
    pairs: tuple[Pair, ...]
    fits: Mapping[PromptVariant, ScalingFit]
    noise: TrainingNoise | None = None

    @property
    def variants(self) -> list[PromptVariant]:
        """The prompt variants that have points."""
        return [variant for variant in VARIANTS if self.curve(variant)]

    @property
    def trained_variants(self) -> list[PromptVariant]:
        """Those of them that checkpoints are trained with; all if there are only others."""
        return [each for each in self.variants if each in TRAINED_VARIANTS] or self.variants

    def curve(self, variant: PromptVariant) -> list[Point]:
        """Return the points of one prompt variant along the axis."""
        return [point for point in self.points if point.variant == variant]

    def steps(self, variant: PromptVariant) -> list[Pair]:
        """Return the pairs of each point with the next one, then of the first with the last."""
        places = [point.x for point in self.curve(variant)]
        wanted = list(dict.fromkeys([*pairwise(places), (places[0], places[-1])])) if places else []
        inside = {
            (pair.first.x, pair.second.x): pair
            for pair in self.pairs
            if pair.first.variant == pair.second.variant == variant
        }
        return [inside[step] for step in wanted if step in inside]

    def beyond_seeds(self, pair: Pair) -> bool | None:
        """Whether a difference is larger than training noise; None if the noise is unknown."""
        if self.noise is None:
            return None
        seeds = (len(condition.runs) if condition.x else 0 for condition in (pair.first, pair.second))
        return abs(pair.difference) > self.noise.reach(*seeds)


def analyze(
    setup: Setup, metric: str, excluded: Collection[str] = (), axis: Axis = "subset_size"
) -> Analysis:
    """Analyze one metric of a set-up along one axis; runs that it never scored are left out.

    Args:
        setup: the runs.
        metric: its name.
        excluded: ids of samples to leave out, such as contaminated ones.
        axis: what the curve runs along.
    """
    along = setup.along(axis)
    conditions = [each for condition in along.conditions if (each := condition.scored_by(metric)).runs]
    runs = [run for condition in conditions for run in condition.runs]
    table = score_table(runs, metric)
    kept = table[~table.index.isin(list(excluded))]
    clusters = sample_clusters(runs, list(kept.index))
    values = kept.to_numpy()
    binary = stats.is_binary(values[np.isfinite(values)]) and all(
        len(condition.runs) == 1 for condition in conditions
    )
    scores = np.array([_by_seed(condition, kept).mean(axis=1).to_numpy() for condition in conditions])
    known = metric_of(metric)
    return Analysis(
        setup=setup,
        axis=axis,
        left_out=along.left_out,
        metric=known,
        binary=binary,
        repos=clusters.repos,
        together=clusters.together,
        clusters=len(np.unique(clusters.codes)),
        excluded=len(table) - len(kept),
        never_scored=tuple(
            run.config.as_column
            for condition in along.conditions
            for run in condition.runs
            if not run.scores(metric)
        ),
        points=estimate_points(metric, conditions, scores, kept, clusters.codes, binary),
        pairs=compare_pairs(
            conditions, scores, clusters.codes, clusters.together, binary, known.higher_is_better
        ),
        fits=_fits(conditions, kept, clusters.codes) if axis == "subset_size" else {},
        noise=estimate_training_noise(
            [_by_seed(condition, kept).to_numpy().T for condition in conditions], clusters.codes
        ),
    )


def _by_seed(condition: Condition, table: pd.DataFrame) -> pd.DataFrame:
    return table[[run.config.id for run in condition.runs]]


def _fits(
    conditions: Sequence[Condition], table: pd.DataFrame, codes: Codes
) -> dict[PromptVariant, ScalingFit]:
    fits = {}
    for variant in VARIANTS:
        scored = [
            (int(condition.x), _by_seed(condition, table).to_numpy().T)
            for condition in conditions
            if condition.variant == variant and _by_seed(condition, table).notna().to_numpy().any()
        ]
        fit = stats.fit_scaling([size for size, _ in scored], [scores for _, scores in scored], codes)
        if fit:
            fits[variant] = fit
    return fits
