"""How well a score follows a yes-or-no outcome, over attempts that come in clusters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.stats.estimate import Estimate
from pipeline.stats.intervals import (
    Codes,
    Floats,
    cluster_interval,
    effective_clusters,
    rate_interval,
    wilson,
)

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class PairCounts:
    """Pairs of attempts, counted by the clusters that the two are from: matrices (clusters, clusters).

    Attributes:
        wins: pairs of a passing attempt (its cluster first) and a failing one of which the passing one scores
            higher; equal scores count half.
        pairs: all pairs of a passing attempt and a failing one.
        untied: ordered pairs of any two attempts whose scores differ.
        rarer: how many equal-sized clusters the attempts of the rarer outcome are worth.
    """

    wins: Floats
    pairs: Floats
    untied: Floats
    rarer: float


@dataclass(frozen=True)
class Association:
    """How well a score separates passing attempts from failing ones.

    Attributes:
        auc: chance that a passing attempt scores higher than a failing one, ties half; .5 is chance.
        tau: Kendall's tau-b with the outcome; 0 is chance.
    """

    auc: Estimate
    tau: Estimate


@dataclass(frozen=True)
class Verdicts:
    """A judge's verdicts against the outcome.

    Attributes:
        accuracy: share of the attempts on which both agree.
        false_correct: share of the failing attempts that the judge holds to be correct.
        false_incorrect: share of the passing attempts that the judge holds to be incorrect.
        kappa: Cohen's kappa, agreement beyond chance.
    """

    accuracy: Estimate
    false_correct: Estimate
    false_incorrect: Estimate
    kappa: Estimate


def count_pairs(scores: Floats, passed: Bools, codes: Codes, strata: Codes) -> PairCounts:
    """Compare every attempt with every other of its stratum.

    Args:
        scores: higher is better, (attempts,).
        passed: whether each attempt passes; some do and some do not.
        codes: the cluster of each attempt.
        strata: only attempts of one stratum, such as a checkpoint, are compared.
    """
    rarer = min(effective_clusters(codes[each]) for each in (passed, ~passed))
    codes, clusters = _dense(codes)
    wins, pairs, untied = (np.zeros((clusters, clusters)) for _ in range(3))
    for stratum in np.unique(strata):
        here = strata == stratum
        values, at = np.unique(scores[here], return_inverse=True)
        passing, failing = np.zeros((2, clusters, len(values)))
        np.add.at(passing, (codes[here][passed[here]], at[passed[here]]), 1)
        np.add.at(failing, (codes[here][~passed[here]], at[~passed[here]]), 1)
        wins += passing @ (failing.cumsum(1) - failing / 2).T
        pairs += np.outer(passing.sum(1), failing.sum(1))
        every = passing + failing
        untied += np.outer(every.sum(1), every.sum(1)) - every @ every.T
    return PairCounts(wins, pairs, untied, rarer)


def associate(counts: PairCounts) -> Association:
    """AUC and tau-b with the cluster bootstrap's intervals.

    Where every passing attempt scores higher than every failing one, or lower, all draws give the same AUC.
    Its interval is then Wilson's for so many clusters, and tau-b is 2·AUC − 1 but for a factor.
    """
    simulated = Association(
        _estimate(lambda weights: auc(counts, weights), len(counts.pairs), counts.rarer),
        _estimate(lambda weights: kendall_tau_b(counts, weights), len(counts.pairs), counts.rarer),
    )
    value, tau = simulated.auc.value, simulated.tau.value
    if 0 < value < 1:
        return simulated
    limits = wilson(value, counts.rarer)
    low, high = (tau / (2 * value - 1) * (2 * limit - 1) for limit in limits)
    return Association(Estimate.of(value, limits), Estimate(tau, float(low), float(high)))


def auc_difference(first: PairCounts, second: PairCounts) -> Estimate:
    """The AUC of one score less that of another of the same attempts."""
    return _estimate(
        lambda weights: auc(first, weights) - auc(second, weights), len(first.pairs), first.rarer
    )


def auc(counts: PairCounts, weights: Floats) -> Floats:
    """Chance that a passing attempt scores higher than a failing one, ties half (Hanley and McNeil 1982).

    One half where there is no such pair, which happens in hardly any draw of a bootstrap.

    Args:
        counts: the pairs.
        weights: how often each cluster counts, (..., clusters).
    """
    pairs = _total(counts.pairs, weights)
    return _ratio(_total(counts.wins, weights), pairs, empty=0.5)


def kendall_tau_b(counts: PairCounts, weights: Floats) -> Floats:
    """Kendall's tau-b of score and outcome (Kendall 1945); 0 if one of them is constant.

    Within strata it is over the pairs that share one (Quade 1974, in Blalock, Measurement in the Social
    Sciences, on partial correlation by matched pairs). The arguments are those of ``auc``.
    """
    pairs = _total(counts.pairs, weights)
    agree = 2 * _total(counts.wins, weights) - pairs  # concordant less discordant
    return _ratio(agree, np.sqrt(pairs * _total(counts.untied, weights) / 2), empty=0.0)


def hold_verdicts(correct: Bools, passed: Bools, codes: Codes) -> Verdicts:
    """Hold a judge's verdicts against the outcome, both (attempts,)."""
    accuracy = _rate(correct == passed, codes)
    groups = min(effective_clusters(codes[each]) for each in (passed, ~passed))
    kappa = _estimate(cohen_kappa(correct, passed, codes), len(np.unique(codes)), groups)
    if accuracy.value == 1:  # all draws give the same kappa
        chance = float(passed.mean() ** 2 + (1 - passed.mean()) ** 2)
        kappa = Estimate(1.0, (accuracy.low - chance) / (1 - chance), 1.0)
    return Verdicts(
        accuracy=accuracy,
        false_correct=_rate(correct[~passed], codes[~passed]),
        false_incorrect=_rate(~correct[passed], codes[passed]),
        kappa=kappa,
    )


def cohen_kappa(correct: Bools, passed: Bools, codes: Codes) -> Callable[[Floats], Floats]:
    """Cohen's kappa of a judge's verdicts and the outcome (Cohen 1960).

    Returns:
        A function from how often each cluster counts, (..., clusters), to kappa, (...).
    """
    codes, clusters = _dense(codes)

    def share(hits: Bools, weights: Floats) -> Floats:
        total = weights @ np.bincount(codes, minlength=clusters)
        return np.asarray(weights @ np.bincount(codes, hits, minlength=clusters) / total)

    def of_weights(weights: Floats) -> Floats:
        yes, right = share(correct, weights), share(passed, weights)
        chance = yes * right + (1 - yes) * (1 - right)
        return _ratio(share(correct == passed, weights) - chance, 1 - chance, empty=0.0)

    return of_weights


def _estimate(statistic: Callable[[Floats], Floats], clusters: int, groups: float) -> Estimate:
    return Estimate.of(statistic(np.ones(clusters)), cluster_interval(statistic, clusters, groups))


def _rate(hits: Bools, codes: Codes) -> Estimate:
    return Estimate.of(hits.mean(), rate_interval(hits, codes))


def _dense(codes: Codes) -> tuple[Codes, int]:
    """The clusters that there are, numbered from 0, and how many."""
    names, dense = np.unique(codes, return_inverse=True)
    return dense, len(names)


def _total(counts: Floats, weights: Floats) -> Floats:
    """Sum over all pairs of clusters, where each cluster counts as often as its weight."""
    return np.asarray(((weights @ counts) * weights).sum(-1))


def _ratio(above: Floats, below: Floats, empty: float) -> Floats:
    there = below > 0
    return np.where(there, above / np.where(there, below, 1), empty)
