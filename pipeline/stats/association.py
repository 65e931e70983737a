"""How well a score follows a yes-or-no outcome, over attempts that come in clusters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.stats.intervals import Codes, Floats


@dataclass(frozen=True)
class PairCounts:
    """Pairs of attempts, counted by the clusters that the two are from; each field is (clusters, clusters).

    Attributes:
        wins: pairs of a passing attempt (its cluster first) and a failing one of which the passing one scores
            higher; equal scores count half.
        pairs: all pairs of a passing attempt and a failing one.
        untied: ordered pairs of any two attempts whose scores differ.
    """

    wins: Floats
    pairs: Floats
    untied: Floats

    @property
    def clusters(self) -> int:
        """How many clusters there are."""
        return len(self.pairs)


def count_pairs(scores: Floats, passed: NDArray[np.bool_], codes: Codes, strata: Codes) -> PairCounts:
    """Compare every attempt with every other of its stratum.

    Args:
        scores: higher is better, (attempts,).
        passed: whether each attempt passes.
        codes: the cluster of each attempt.
        strata: what only attempts of equal value are compared within, such as the checkpoint.
    """
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
    return PairCounts(wins, pairs, untied)


def auc(counts: PairCounts, weights: Floats) -> Floats:
    """Chance that a passing attempt scores higher than a failing one, ties half (Hanley and McNeil 1982).

    One half where there is no such pair, which happens in hardly any draw of a bootstrap.
    """
    pairs = _total(counts.pairs, weights)
    return _ratio(_total(counts.wins, weights), pairs, empty=0.5)


def kendall_tau_b(counts: PairCounts, weights: Floats) -> Floats:
    """Kendall's tau-b of score and outcome (Kendall 1945); 0 where one of them is constant.

    Within strata it is over the pairs that share one (Quade 1974, in Blalock, Measurement in the Social
    Sciences, on partial correlation by matched pairs).
    """
    pairs = _total(counts.pairs, weights)
    agree = 2 * _total(counts.wins, weights) - pairs  # concordant less discordant
    return _ratio(agree, np.sqrt(pairs * _total(counts.untied, weights) / 2), empty=0.0)


def kappa(verdicts: NDArray[np.bool_], passed: NDArray[np.bool_], codes: Codes) -> Callable[[Floats], Floats]:
    """Cohen's kappa of a judge's verdicts and the outcome (Cohen 1960).

    Returns:
        A function from how often each cluster counts, (..., clusters), to kappa, (...).
    """
    codes, clusters = _dense(codes)

    def share(hits: NDArray[np.bool_], weights: Floats) -> Floats:
        total = weights @ np.bincount(codes, minlength=clusters)
        return np.asarray(weights @ np.bincount(codes, hits, minlength=clusters) / total)

    def of_weights(weights: Floats) -> Floats:
        yes, right = share(verdicts, weights), share(passed, weights)
        chance = yes * right + (1 - yes) * (1 - right)
        return _ratio(share(verdicts == passed, weights) - chance, 1 - chance, empty=0.0)

    return of_weights


def _dense(codes: Codes) -> tuple[Codes, int]:
    """The clusters that there are, numbered from 0, and how many."""
    names, dense = np.unique(codes, return_inverse=True)
    return dense, len(names)


def _total(counts: Floats, weights: Floats) -> Floats:
    """Sum over all pairs of clusters, where each cluster counts as often as its weight, (..., clusters)."""
    return np.asarray(((weights @ counts) * weights).sum(-1))


def _ratio(above: Floats, below: Floats, empty: float) -> Floats:
    there = below > 0
    return np.where(there, above / np.where(there, below, 1), empty)
