"""How the score grows with the training set: a saturating power law, and the gain of the next doubling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.stats.intervals import LEVEL, Codes, Floats, cluster_sums

MIN_SIZES = 4
_EXPONENTS = np.geomspace(0.02, 3, 120)


@dataclass(frozen=True)
class ScalingFit:
    """``score(N) = c − a·(N + 1)^(−b)`` with a 95% bootstrap band.

    Attributes:
        sizes: training-set sizes of the curve, up to twice the largest measured one, (points,).
        curve: the fit at ``sizes``, with the band ``low`` to ``high``.
        largest: the largest measured size.
        gain: the expected gain of doubling ``largest``, with the interval ``gain_low`` to ``gain_high``.
        training_noise: whether the band includes the noise of training, which takes a size with several
            training seeds; otherwise it has the noise of evaluation only.
    """

    a: float
    b: float
    c: float
    sizes: Floats
    curve: Floats
    low: Floats
    high: Floats
    largest: int
    gain: float
    gain_low: float
    gain_high: float
    training_noise: bool


def fit_scaling(
    sizes: Sequence[int], scores: Sequence[Floats], codes: Codes, resamples: int = 2_000, seed: int = 0
) -> ScalingFit | None:
    """Fit the law by least squares; None with fewer than four sizes, because it has three parameters.

    The form is that of Zhang et al. 2024 (arXiv 2402.17193, eq. 1) for one model: a power of the number of
    fine-tuning samples plus an irreducible part. The + 1 puts the baseline, N = 0, on the curve. The band
    resamples clusters, the same ones for all sizes because these share their samples, and the training seeds
    of each size. It assumes that the form is right.

    Args:
        sizes: training samples, 0 for the baseline, (k,).
        scores: for each size an array of shape (training seeds, samples), NaN if unscored; a seed without
            any score does not count.
        codes: the cluster of each sample.
        resamples: number of bootstrap resamples.
        seed: seed of the bootstrap.
    """
    if len(set(sizes)) < MIN_SIZES:
        return None
    n = np.asarray(sizes, dtype=float)
    scores = [each[np.isfinite(each).any(axis=1)] for each in scores]
    means = _bootstrap_means(scores, codes, resamples, np.random.default_rng(seed))
    a, b, c = _least_squares(n, means)
    largest = n.max()
    grid = np.concatenate([[0.0], np.geomspace(max(n[n > 0].min() / 2, 1), 2 * largest, 80)])
    curves = c[:, None] - a[:, None] * (grid + 1) ** -b[:, None]
    gains = a * ((largest + 1) ** -b - (2 * largest + 1) ** -b)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(curves[1:], tails, axis=0)
    gain_low, gain_high = np.quantile(gains[1:], tails)
    return ScalingFit(
        a=float(a[0]),
        b=float(b[0]),
        c=float(c[0]),
        sizes=grid,
        curve=curves[0],
        low=low,
        high=high,
        largest=int(largest),
        gain=float(gains[0]),
        gain_low=float(gain_low),
        gain_high=float(gain_high),
        training_noise=any(len(each) > 1 for each in scores),
    )


def _bootstrap_means(
    scores: Sequence[Floats], codes: Codes, resamples: int, rng: np.random.Generator
) -> Floats:
    """Return the mean scores, (1 + resamples, sizes): first the measured ones, then the resampled ones."""
    groups = len(np.unique(codes))
    draws = rng.multinomial(groups, np.full(groups, 1 / groups), resamples)
    weights = np.vstack([np.ones(groups), draws]).astype(float)
    columns = []
    for each in scores:
        sums, _ = cluster_sums(np.nan_to_num(each), codes)
        counts, _ = cluster_sums(np.isfinite(each), codes)
        drawn = weights @ counts.T
        by_seed = (weights @ sums.T) / np.maximum(drawn, 1)
        by_seed = np.where(drawn > 0, by_seed, by_seed[0])  # a resample can miss the few that are scored
        picks = rng.integers(0, len(each), by_seed.shape)
        picks[0] = np.arange(len(each))
        columns.append(np.take_along_axis(by_seed, picks, axis=1).mean(1))
    return np.stack(columns, axis=1)


def _least_squares(sizes: Floats, means: Floats) -> tuple[Floats, Floats, Floats]:
    """Return a, b and c for each row of means. For a given b the law is linear: b is searched on a grid."""
    best = np.full(len(means), np.inf)
    a, b, c = (np.zeros(len(means)) for _ in range(3))
    for exponent in _EXPONENTS:
        x = (sizes + 1) ** -exponent
        centered = x - x.mean()
        slope = means @ centered / (centered @ centered)
        level = means.mean(1) - slope * x.mean()
        error = ((means - level[:, None] - slope[:, None] * x) ** 2).sum(1)
        better = error < best
        best = np.where(better, error, best)
        a, b, c = np.where(better, -slope, a), np.where(better, exponent, b), np.where(better, level, c)
    return a, b, c
