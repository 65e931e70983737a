"""Strengths from votes whose true strengths are known."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.stats import bradley_terry, strength_intervals

TRUE = np.array([-1.2, -0.4, 0.1, 0.5, 1.0])


def simulated(votes: int, seed: int, strengths: np.ndarray = TRUE) -> np.ndarray:
    """Whole rankings by noisy tastes, as pairwise wins (votes, items, items)."""
    items = len(strengths)
    noise = np.random.default_rng(seed).gumbel(size=(votes, items))
    liked = strengths + noise  # the ranking of Plackett and Luce, whose pairs follow Bradley and Terry
    return (liked[:, :, None] > liked[:, None, :]).astype(float)


def test_200_votes_recover_the_ranking_and_the_intervals_hold_the_strengths() -> None:
    held = []
    for seed in range(20):
        wins = simulated(200, seed)
        found = bradley_terry(wins.sum(0))
        assert np.corrcoef(found, TRUE)[0, 1] > 0.97
        intervals = strength_intervals(wins, np.arange(200), resamples=499)
        held += [each.low <= true <= each.high for each, true in zip(intervals, TRUE, strict=True)]
    assert list(np.argsort(bradley_terry(simulated(200, 0).sum(0)))) == [0, 1, 2, 3, 4]
    assert 0.88 < np.mean(held) <= 1


def test_the_strengths_do_not_depend_on_the_order_of_the_votes() -> None:
    wins = simulated(200, 1)
    shuffled = np.random.default_rng(0).permutation(wins)
    assert bradley_terry(shuffled.sum(0)) == pytest.approx(bradley_terry(wins.sum(0)), abs=1e-12)


def test_two_items_have_the_log_odds_of_their_wins() -> None:
    worse, better = bradley_terry([[0, 1_000], [3_000, 0]])
    assert better - worse == pytest.approx(np.log(3), abs=1e-3)


def test_ties_alone_give_equal_strengths() -> None:
    assert bradley_terry(np.full((3, 3), 0.5) - 0.5 * np.eye(3)) == pytest.approx(np.zeros(3))


def test_an_item_that_won_every_pair_has_a_finite_strength_and_interval() -> None:
    wins = np.zeros((12, 2, 2))
    wins[:, 0, 1] = 1
    first, second = strength_intervals(wins, np.arange(12), resamples=199)
    assert np.isfinite([*first, *second]).all()
    assert first.low > second.high
