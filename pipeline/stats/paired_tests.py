"""Paired tests of checkpoints on the same samples, and the smallest differences that they can detect."""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from pipeline.stats.intervals import Codes, Floats, effective_clusters, effective_size, standard_error

ALPHA, POWER = 0.05, 0.8
_EXACT_UP_TO = 14
_SLACK = 1e-9


def mcnemar(wins: ArrayLike, losses: ArrayLike) -> Floats:
    """Return exact two-sided McNemar p-values from the discordant pairs (McNemar 1947).

    A win is a sample that only the second checkpoint solved. Samples must be independent; for clustered ones
    use ``sign_flip``, which is the same test if no cluster has two discordant pairs.
    """
    wins, losses = np.asarray(wins), np.asarray(losses)
    return np.minimum(1.0, 2 * stats.binom.cdf(np.minimum(wins, losses), wins + losses, 0.5))


def sign_flip(sums: ArrayLike, resamples: int = 49_999, seed: int = 0) -> Floats:
    """Return two-sided paired permutation p-values of cluster sums of differences: (..., clusters) to (...).

    If two checkpoints are equally good, each cluster's difference is as likely to be −d as d. The test equals
    ``scipy.stats.permutation_test(permutation_type="samples")`` and is a hundred times faster, because all
    pairs of a table share their flips. It is exact for up to 14 clusters with a difference; for more, p is
    (hits + 1) / (resamples + 1), which holds its level too (Phipson and Smyth 2010, arXiv 1603.05766).
    """
    sums = np.atleast_2d(np.asarray(sums, dtype=float))
    flat = sums.reshape(-1, sums.shape[-1])
    flat = flat[:, (flat != 0).any(0)]
    bar = np.abs(flat.sum(-1)) - _SLACK * np.abs(flat).sum(-1)
    if flat.shape[-1] <= _EXACT_UP_TO:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=flat.shape[-1])))
        p = (np.abs(signs @ flat.T) >= bar).mean(0)
    else:
        rng = np.random.default_rng(seed)
        hits, left = np.zeros(len(flat)), resamples
        while left:
            batch = min(left, max(1, 20_000_000 // max(flat.shape)))
            signs = 2.0 * rng.integers(0, 2, (batch, flat.shape[-1]), dtype=np.int8) - 1
            hits += (np.abs(signs @ flat.T) >= bar).sum(0)
            left -= batch
        p = (hits + 1) / (resamples + 1)
    return np.asarray(p.reshape(sums.shape[:-1]))


def holm(p: ArrayLike) -> Floats:
    """Return p-values after Holm's step-down correction over all of them (Holm 1979); NaN is ignored."""
    p = np.asarray(p, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p)[: np.isfinite(p).sum()]
    steps = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * steps))
    return adjusted


def smallest_detectable(differences: ArrayLike, codes: Codes, binary: bool, tests: int = 1) -> float:
    """Return the smallest true difference that a paired test detects with 80% power, in the metric's unit.

    The level is .05 / ``tests``, Holm's level for the first of so many differences. The result is NaN if all
    samples are equal for both, or if even the largest possible difference would not be detected.

    For means it is (t₁ + t₂) times the standard error (Miller 2024, arXiv 2411.00640, section 5). For rates
    it comes from the exact power of McNemar's test (Duffy 1984, Biometrics 40:1005) with the effective
    sample size, if the share of samples against the difference is as observed.
    """
    differences = np.asarray(differences, dtype=float)
    level = ALPHA / tests
    if not binary:
        freedom = max(effective_clusters(codes) - 1, 1)
        reach = float(stats.t.ppf(1 - level / 2, freedom) + stats.t.ppf(POWER, freedom))
        smallest = reach * float(standard_error(differences, codes))
        return smallest if smallest > 0 else float("nan")
    n = int(effective_size(differences, codes))
    against = float(min((differences > 0).mean(), (differences < 0).mean()))
    most = 1 - 2 * against

    def missing(delta: float) -> float:
        return _mcnemar_power(n, delta + against, against, level) - POWER

    return float(optimize.brentq(missing, 1e-9, most)) if most > 0 and missing(most) > 0 else float("nan")


def _mcnemar_power(n: int, up: float, down: float, level: float) -> float:
    """Return the power of exact McNemar, if samples go up and down with these probabilities."""
    discordant, fewest = np.arange(n + 1), _rejecting(n, level)
    share = up / (up + down)
    rejects = stats.binom.cdf(fewest, discordant, share) + stats.binom.cdf(fewest, discordant, 1 - share)
    return float((stats.binom.pmf(discordant, n, up + down) * rejects).sum())


@lru_cache(maxsize=64)
def _rejecting(n: int, level: float) -> Floats:
    """Return the largest smaller side that McNemar's test rejects, for 0 to ``n`` discordant pairs."""
    discordant = np.arange(n + 1)
    fewest = stats.binom.ppf(level / 2, discordant, 0.5)
    return np.asarray(fewest - (2 * stats.binom.cdf(fewest, discordant, 0.5) > level))
