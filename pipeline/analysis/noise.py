"""How much of a score is noise of the training seed, apart from noise of the test samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from pipeline.stats import ALPHA, Codes, Floats, standard_error


@dataclass(frozen=True)
class TrainingNoise:
    """The spread of checkpoints that differ in their training seed only, over all sizes with several seeds.

    Attributes:
        spread: standard deviation of their scores around the mean of their size.
        evaluation: the part of the spread that the limited number of test samples explains.
        freedom: degrees of freedom: the sum over sizes of seeds less one.
        sizes: number of sizes with several seeds.
        clusters: number of sample clusters behind ``evaluation``.
    """

    spread: float
    evaluation: float
    freedom: int
    sizes: int
    clusters: int

    @property
    def training(self) -> float:
        """The standard deviation of training itself, 0 if evaluation explains the spread."""
        return float(max(self.spread**2 - self.evaluation**2, 0) ** 0.5)

    @property
    def seen(self) -> bool:
        """Whether the spread is larger than evaluation explains, by an F test at the 5% level."""
        limit = scipy_stats.f.ppf(1 - ALPHA, self.freedom, max(self.clusters - 1, 1))
        return self.spread**2 > self.evaluation**2 * float(limit)

    def reach(self, *seeds: int) -> float:
        """Return the smallest difference of two sizes that is larger than training noise, at the 5% level.

        With few seeds the spread can be below the noise of evaluation by chance; then the latter counts.

        Args:
            seeds: number of training seeds of each size, 0 for the baseline.
        """
        t = float(scipy_stats.t.ppf(1 - ALPHA / 2, self.freedom))
        return t * max(self.spread, self.evaluation) * sum(1 / count for count in seeds if count) ** 0.5


def estimate_training_noise(scores: Sequence[Floats], codes: Codes) -> TrainingNoise | None:
    """Pool the variance between seeds over all sizes with several seeds; None if there are none.

    ``reach`` uses the spread itself, which includes all that another seed would change on these samples. The
    noise of evaluation is estimated from the differences between seeds by sample, as in a paired test.

    Args:
        scores: for each size an array of shape (training seeds, samples), NaN if unscored.
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
