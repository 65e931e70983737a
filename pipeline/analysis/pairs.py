"""Tests of all pairs of conditions, on the samples that both have scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from pipeline import stats
from pipeline.analysis.points import group_by_mask
from pipeline.analysis.setups import Condition, test_set
from pipeline.stats import Codes, Floats

_RESAMPLES = 1_999


@dataclass(frozen=True)
class Pair:
    """Two conditions on the same samples; ``difference`` is the second minus the first.

    Attributes:
        low: lower limit of the difference's 95% interval, ``high`` the upper one.
        p: two-sided p-value; ``p_holm`` is corrected over all pairs (Holm).
        wins: number of samples on which the second is better; ``losses``: on which it is worse.
        n: number of samples that both have scored.
        detectable: the smallest true difference that is found with 80% power; NaN if there is none.
        test: the name of the test.
    """

    first: Condition
    second: Condition
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    wins: int
    ties: int
    losses: int
    n: int
    detectable: float
    test: str

    @property
    def distinguishable(self) -> bool:
        """Whether the difference is significant at the 5% level after the correction."""
        return self.p_holm <= stats.ALPHA


def compare_pairs(
    conditions: Sequence[Condition],
    scores: Floats,
    codes: Codes,
    together: str,
    binary: bool,
    higher_is_better: bool,
) -> tuple[Pair, ...]:
    """Test the pairs of one prompt variant or one place on the axis that have the same test samples.

    The baseline under its chat template is a control: it is compared with every other condition.

    Args:
        conditions: the conditions.
        scores: of shape (conditions, samples), NaN if unscored.
        codes: the cluster of each sample.
        together: what the clusters are.
        binary: whether scores are 0 or 1.
        higher_is_better: the metric's direction.
    """
    chosen = [
        (i, j)
        for i, j in combinations(range(len(conditions)), 2)
        if (
            conditions[i].variant == conditions[j].variant
            or conditions[i].x == conditions[j].x
            or "chat" in (conditions[i].variant, conditions[j].variant)
        )
        and test_set(conditions[i].runs[0]) == test_set(conditions[j].runs[0])
        and np.isfinite(scores[i] + scores[j]).any()
    ]
    differences = np.array([scores[j] - scores[i] for i, j in chosen])
    tested: dict[int, Pair] = {}
    for mask, members in group_by_mask(np.isfinite(differences)):
        inside, own = differences[members][:, mask], codes[mask]
        p, test = _test(inside, own, together, binary)
        limits = stats.difference_interval(inside, own, binary, _RESAMPLES)
        for at, member in enumerate(members):
            row = inside[at]
            up, down = int((row > 0).sum()), int((row < 0).sum())
            first, second = chosen[member]
            tested[member] = Pair(
                first=conditions[first],
                second=conditions[second],
                difference=float(row.mean()),
                low=float(limits.low[at]),
                high=float(limits.high[at]),
                p=float(p[at]),
                p_holm=float("nan"),
                wins=up if higher_is_better else down,
                ties=len(row) - up - down,
                losses=down if higher_is_better else up,
                n=len(row),
                detectable=stats.smallest_detectable(row, own, binary, tests=len(chosen)),
                test=test,
            )
    ordered = [tested[member] for member in range(len(chosen))]
    corrected = stats.holm([pair.p for pair in ordered])
    return tuple(replace(pair, p_holm=float(p)) for pair, p in zip(ordered, corrected, strict=True))


def _test(differences: Floats, codes: Codes, together: str, binary: bool) -> tuple[Floats, str]:
    """Return p-values and the test's name: McNemar for independent rates, else permutation by cluster."""
    if binary and not together:
        return stats.mcnemar((differences > 0).sum(-1), (differences < 0).sum(-1)), "exact McNemar"
    sums, _ = stats.cluster_sums(differences, codes)
    return stats.sign_flip(sums), f"paired permutation by {together}" if together else "paired permutation"
