"""How much of a score is the luck of one training seed, told from the luck of the test samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from pipeline.stats import ALPHA, Codes, Floats, standard_error


@dataclass(frozen=True)
class TrainingNoise:
    """How far checkpoints that differ in nothing but their training seed lie apart, over all such sizes.

    Attributes:
        spread: standard deviation of their scores around the mean of their size.
        evaluation: what this would be if all were equally good, because the test samples are few.
        freedom: degrees of freedom, one less than the seeds of each size.
        sizes: how many sizes have several seeds.
        clusters: that the second figure rests on.
    """

    spread: float
    evaluation: float
    freedom: int
    sizes: int
    clusters: int

    @property
    def training(self) -> float:
        """The standard deviation that is left for training itself, 0 where evaluation explains it all."""
        return float(max(self.spread**2 - self.evaluation**2, 0) ** 0.5)

    @property
    def seen(self) -> bool:
        """Whether the spread is more than evaluation explains, by an F test at the 5% level."""
        limit = scipy_stats.f.ppf(1 - ALPHA, self.freedom, max(self.clusters - 1, 1))
        return self.spread**2 > self.evaluation**2 * float(limit)

    def reach(self, *seeds: int) -> float:
        """What the difference of two sizes must pass to be more than other seeds would change, at 5%.

        A spread below that of evaluation is luck of few seeds, so it does not count as less.

        Args:
            seeds: how many seeds each size was trained with, 0 for the baseline, which is not trained.
        """
        t = float(scipy_stats.t.ppf(1 - ALPHA / 2, self.freedom))
        return t * max(self.spread, self.evaluation) * sum(1 / count for count in seeds if count) ** 0.5


def training_noise(scores: Sequence[Floats], codes: Codes) -> TrainingNoise | None:
    """Pool the variance between seeds over every size that has several; None where none has.

    The spread itself serves for ``reach``, since it holds all that another seed would change on these
    samples; the share of evaluation is told from the samples on which the seeds differ, as a paired test
    tells it.

    Args:
        scores: for each size (training seeds, samples), NaN where unscored.
        codes: the cluster of each sample.
    """
    between, within, freedom, clusters = [], [], [], []
    for each in scores:
        there = np.isfinite(each).all(0)
        own = codes[there]
        if len(each) < 2 or len(np.unique(own)) < 2:
            continue
        values = each[:, there]
        apart = values - values.mean(0)
        freedom.append(len(each) - 1)
        between.append((apart.mean(1) ** 2).sum())
        within.append((standard_error(apart, own) ** 2).sum())
        clusters.append(len(np.unique(own)))
    if not freedom:
        return None
    total = sum(freedom)
    spread, evaluation = (float((sum(parts) / total) ** 0.5) for parts in (between, within))
    return TrainingNoise(spread, evaluation, total, len(freedom), min(clusters))
