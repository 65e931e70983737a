"""The chance that at least one of k completions passes."""

from __future__ import annotations

from math import comb


def pass_at_k(drawn: int, passed: int, k: int) -> float:
    """The unbiased estimator of pass@k for one problem (Chen et al. 2021, arXiv 2107.03374, section 2.1).

    Args:
        drawn: number of completions drawn, at least ``k``.
        passed: how many of them pass.
        k: how many of them one would be allowed.

    Returns:
        1 minus the share of the sets of ``k`` completions in which none passes.
    """
    if not 0 <= passed <= drawn or not 1 <= k <= drawn:
        raise ValueError(f"pass@{k} cannot be estimated from {passed} passes among {drawn} completions")
    return 1.0 - comb(drawn - passed, k) / comb(drawn, k)
