"""Strengths from pairwise comparisons: the model of Bradley and Terry, with bootstrap intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pipeline.stats.intervals import Codes, Floats, Interval, cluster_interval, effective_clusters

_PRECISION = 0.1
"""Of the normal prior of a strength, with mean 0. It keeps the strength of one that won every pair finite."""
_STEPS, _ENOUGH = 100, 1e-10


def bradley_terry(wins: ArrayLike) -> Floats:
    """Return the log-strengths of items from their wins over one another, with mean 0.

    The first of two items is preferred with probability 1 / (1 + exp(second − first)) (Bradley and Terry
    1952, Biometrika 39:324). A tie counts as half a win for each. The posterior mode under a weak normal
    prior is found by Newton's method; it depends on the counts alone, so never on the order of the
    comparisons.

    Args:
        wins: how often the item of the row was preferred to that of the column, (..., items, items).
    """
    wins = np.asarray(wins, dtype=float)
    items = wins.shape[-1]
    played = wins + wins.swapaxes(-1, -2)
    won = wins.sum(-1)
    theta = np.zeros(wins.shape[:-1])
    identity = np.eye(items)
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(theta[..., None, :] - theta[..., :, None]))  # that the row is preferred
        slope = won - (played * chance).sum(-1) - _PRECISION * theta
        weights = played * chance * (1 - chance)
        curvature = (weights.sum(-1) + _PRECISION)[..., None] * identity - weights
        step = np.linalg.solve(curvature, slope[..., None])[..., 0]
        theta += np.clip(step, -1, 1)  # far from the mode a whole step can miss it
        if np.abs(step).max(initial=0) < _ENOUGH:
            break
    return theta - theta.mean(-1, keepdims=True)


def strength_intervals(wins: ArrayLike, codes: Codes, resamples: int = 1_999) -> list[Interval]:
    """Return the interval of each item's log-strength: the bootstrap over clusters of votes.

    Args:
        wins: each vote's wins, (votes, items, items).
        codes: the cluster of each vote; two at least.
        resamples: number of bootstrap resamples.
    """
    wins = np.asarray(wins, dtype=float)
    _, dense = np.unique(codes, return_inverse=True)
    clusters = int(dense.max()) + 1
    summed = np.zeros((clusters, *wins.shape[1:]))
    np.add.at(summed, dense, wins)
    kept: dict[bytes, Floats] = {}  # all items share the draws

    def strengths(times: Floats) -> Floats:
        key = times.tobytes()
        if key not in kept:
            kept[key] = bradley_terry(np.tensordot(times, summed, axes=(-1, 0)))
        return kept[key]

    groups = effective_clusters(dense)
    return [
        cluster_interval(lambda times, item=item: strengths(times)[..., item], clusters, groups, resamples)  # type: ignore[misc]
        for item in range(wins.shape[-1])
    ]
