"""Paired tests between checkpoints that answered the same samples, and what those tests could have seen."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from pipeline.stats.intervals import Codes, Floats, effective_clusters, effective_size, standard_error

ALPHA, POWER = 0.05, 0.8
_EXACT_UP_TO = 14
_SLACK = 1e-9


def mcnemar(wins: ArrayLike, losses: ArrayLike) -> Floats:
    """Exact McNemar p-value, two-sided, from the discordant pairs (McNemar 1947).

    A win is a sample that only the second solved. For independent samples alone: with shared
    repositories use ``sign_flip``, which is this very test where no cluster holds two of them.
    """
    wins, losses = np.asarray(wins), np.asarray(losses)
    return np.minimum(1.0, 2 * stats.binom.cdf(np.minimum(wins, losses), wins + losses, 0.5))


def sign_flip(sums: ArrayLike, resamples: int = 49_999, seed: int = 0) -> Floats:
    """Paired permutation p-values, two-sided, of differences summed over clusters: (..., clusters) to (...).

    If two checkpoints do equally well, each cluster's difference is as likely to be −d as d. The same as
    ``scipy.stats.permutation_test(permutation_type="samples")``, a hundred times faster because all pairs
    of a table share their flips. Exact for up to 14 clusters that differ at all; otherwise
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
    """p-values after Holm's step-down correction over all of them (Holm 1979); NaN is passed over."""
    p = np.asarray(p, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p)[: np.isfinite(p).sum()]
    steps = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * steps))
    return adjusted


def smallest_detectable(differences: ArrayLike, codes: Codes, binary: bool, tests: int = 1) -> float:
    """The smallest true difference that a paired test finds with 80% power, in the metric's unit.

    At level .05 / ``tests``: what Holm asks of the first difference among so many. NaN where every sample
    is equal under both, or where even the largest possible difference would be missed.

    Means: (t₁ + t₂) times the standard error (Miller 2024, arXiv 2411.00640, section 5). Rates: the exact
    power of McNemar's test (Duffy 1984, Biometrics 40:1005) at the effective size, with the share of
    samples that go against the difference held at what was seen.
    """
    differences = np.asarray(differences, dtype=float)
    level = ALPHA / tests
    if not binary:
        freedom = max(effective_clusters(codes) - 1, 1)
        reach = float(stats.t.ppf(1 - level / 2, freedom) + stats.t.ppf(POWER, freedom))
        found = reach * float(standard_error(differences, codes))
        return found if found > 0 else float("nan")
    n = int(effective_size(differences, codes))
    against = float(min((differences > 0).mean(), (differences < 0).mean()))
    most = 1 - 2 * against

    def missing(delta: float) -> float:
        return _mcnemar_power(n, delta + against, against, level) - POWER

    return float(optimize.brentq(missing, 1e-9, most)) if most > 0 and missing(most) > 0 else float("nan")


def _mcnemar_power(n: int, up: float, down: float, level: float) -> float:
    """Chance that exact McNemar rejects, where samples go up and down with these chances."""
    discordant = np.arange(n + 1)
    fewest = stats.binom.ppf(level / 2, discordant, 0.5)
    fewest -= 2 * stats.binom.cdf(fewest, discordant, 0.5) > level  # most of the smaller side that rejects
    share = up / (up + down)
    rejects = stats.binom.cdf(fewest, discordant, share) + stats.binom.cdf(fewest, discordant, 1 - share)
    return float((stats.binom.pmf(discordant, n, up + down) * rejects).sum())
