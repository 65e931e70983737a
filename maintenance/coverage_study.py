"""Measure how well the intervals cover and whether the tests hold their level.

Run it with ``python -m maintenance.coverage_study``. Rates of independent samples are not simulated but
summed exactly over the binomial distribution, on a fine grid of rates, because an average over rates hides
where an interval fails. All other settings are simulated, with the functions that the Results tab uses.
"""

from __future__ import annotations

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import stats

from pipeline.analysis.agreement import MIN_EACH
from pipeline.command_line.commands import command_text
from pipeline.command_line.signature import command
from pipeline.command_line.verbs import run_verb
from pipeline.settings import ASSETS
from pipeline.stats.association import associate, auc, auc_difference, count_pairs
from pipeline.stats.intervals import (
    MIN_RESAMPLED,
    Codes,
    Floats,
    Interval,
    cluster_sums,
    effective_clusters,
    mean_interval,
    rate_difference_interval,
    rate_interval,
    wilson,
)
from pipeline.stats.paired_tests import ALPHA, holm, mcnemar, sign_flip, smallest_detectable

BOUNDS = (0.93, 0.97)
SIZES = (50, 200)
FEW = (3, 5, 7, 8, 12)
"""Samples of small experiments, around ``MIN_RESAMPLED``."""
RATES = tuple(np.round(np.arange(0.05, 0.951, 0.05), 2))
# Samples and repositories of the clustered experiments; the sizes of the repositories are unequal.
CLUSTERED = ((50, 40), (200, 60), (200, 100))
SIMILARITY = (0.1, 0.3)
"""Correlation of two samples of one repository."""


def coverage_study(
    experiments: int = 20_000,
    coverage: int = 4_000,
    seed: int = 0,
    output: Path = ASSETS / "studies" / "coverage.json",
) -> dict[str, Any]:
    """Run all experiments, and write the results as JSON.

    Args:
        experiments: A/A experiments
        coverage: intervals per setting
        seed: of the simulated scores
        output: file for the results

    Returns:
        What was written.
    """
    arguments = {"experiments": experiments, "coverage": coverage, "seed": seed}
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": command_text(command(coverage_study, arguments)),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
        **study(experiments, coverage, seed),
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def study(experiments: int, coverage: int, seed: int = 0) -> dict[str, Any]:
    """Run all experiments; returns the results by name."""
    rng = np.random.default_rng(seed)
    return {
        "rates, independent samples, exact": [exact_coverage(n) for n in SIZES],
        "rates, shared repositories": [clustered_rates(rng, *setting, coverage) for setting in _clustered()],
        "means, independent samples": [means(rng, n, coverage) for n in SIZES],
        "means, shared repositories": [clustered_means(rng, *setting, coverage) for setting in _clustered()],
        "paired rates, independent samples": [paired_rates(rng, n, coverage) for n in SIZES],
        "A/A": [*aa_independent(rng, experiments), *aa_clustered(rng, experiments)],
        "A/A, six checkpoints, any of 15 pairs after Holm": aa_family(rng, experiments // 10),
        "power at the smallest detectable difference": power(rng, experiments // 10),
        "means, few samples": [means(np.random.default_rng([seed, 2, n]), n, coverage) for n in FEW],
        **against_tests(np.random.default_rng([seed, 1]), coverage // 8),
    }


def _clustered() -> list[tuple[int, int, float]]:
    return [(n, repos, similarity) for n, repos in CLUSTERED for similarity in SIMILARITY]


def exact_coverage(n: int) -> dict[str, Any]:
    """Coverage of Wilson's interval, at 19 rates and at every one from .05 to .95, and of what others do."""
    successes, every = np.arange(n + 1), np.linspace(0.05, 0.95, 9_001)
    wilsons = wilson(successes / n, n)
    return {
        "n": n,
        "method": "Wilson",
        **_summary(RATES, _exact(wilsons, n, RATES)),
        "every rate": _summary(every, _exact(wilsons, n, every), share=True),
        "others, every rate": {
            name: _summary(every, _exact(limits, n, every), share=True)
            for name, limits in other_intervals(successes, n).items()
        },
    }


def other_intervals(successes: NDArray[Any], n: int) -> dict[str, Interval]:
    """95% intervals of rates as Brown, Cai and DasGupta (2001) compare them, by name.

    Args:
        successes: of ``n`` trials.
        n: the trials.
    """
    failures, tail = n - successes, ALPHA / 2
    z = stats.norm.isf(tail)
    center = (successes + z**2 / 2) / (n + z**2)
    half = z * np.sqrt(center * (1 - center) / (n + z**2))
    exact_low = stats.beta.ppf(tail, np.maximum(successes, 1), failures + 1)
    exact_high = stats.beta.isf(tail, successes + 1, np.maximum(failures, 1))
    return {
        "Clopper-Pearson": Interval(np.where(successes, exact_low, 0), np.where(failures, exact_high, 1)),
        "Agresti-Coull": Interval(np.maximum(center - half, 0), np.minimum(center + half, 1)),
        "Jeffreys": Interval(*stats.beta.interval(1 - ALPHA, successes + 0.5, failures + 0.5)),
    }


def _exact(limits: Interval, n: int, rates: Any) -> Floats:
    inside = (limits.low[:, None] <= np.asarray(rates)) & (np.asarray(rates) <= limits.high[:, None])
    return np.asarray((stats.binom.pmf(np.arange(n + 1)[:, None], n, rates) * inside).sum(0))


def clustered_rates(
    rng: np.random.Generator, n: int, repos: int, similarity: float, runs: int
) -> dict[str, Any]:
    """Rates where samples of one repository succeed together (beta-binomial)."""
    codes = draw_codes(rng, n, repos)
    covered = []
    for rate in RATES:
        values = (rng.random((runs, n)) < _repo_means(rng, rate, similarity, codes, runs)).astype(float)
        covered.append(_covers(rate_interval(values, codes), rate))
    summary = _summary(RATES, covered)
    return {**_clusters(codes, similarity), "method": "Wilson at the effective size", **summary}


def means(rng: np.random.Generator, n: int, runs: int) -> dict[str, Any]:
    """Measure means of independent scores from 0 to 1, skewed near the edges (beta, concentration 5)."""
    covered = [
        _covers(mean_interval(rng.beta(5 * p, 5 * (1 - p), (runs, n)), np.arange(n), 1_999), p) for p in RATES
    ]
    method = "Student's t" if n < MIN_RESAMPLED else "BCa, expanded"
    return {"n": n, "method": method, **_summary(RATES, covered)}


def clustered_means(
    rng: np.random.Generator, n: int, repos: int, similarity: float, runs: int
) -> dict[str, Any]:
    """Measure means of scores that are similar within a repository."""
    codes = draw_codes(rng, n, repos)
    covered = []
    for p in RATES:
        center = np.clip(_repo_means(rng, p, similarity, codes, runs), 1e-6, 1 - 1e-6)
        covered.append(_covers(mean_interval(rng.beta(5 * center, 5 * (1 - center)), codes, 1_999), p))
    summary = _summary(RATES, covered)
    return {**_clusters(codes, similarity), "method": "BCa by repository, expanded", **summary}


def paired_rates(rng: np.random.Generator, n: int, runs: int) -> dict[str, Any]:
    """Measure differences of two rates on the same samples, by the shares that go up and down."""
    shares = [(0.02, 0.02), (0.05, 0.02), (0.1, 0.05), (0.1, 0.1), (0.2, 0.05), (0.3, 0.1), (0.3, 0.3)]
    covered = []
    for up, down in shares:
        draw = rng.random((runs, n))
        differences = np.where(draw < up, 1.0, np.where(draw < up + down, -1.0, 0.0))
        covered.append(_covers(rate_difference_interval(differences, np.arange(n)), up - down))
    names = [f"{up:.0%} up, {down:.0%} down" for up, down in shares]
    return {"n": n, "method": "Bonett-Price", **_summary(names, covered)}


def aa_independent(rng: np.random.Generator, experiments: int) -> list[dict[str, Any]]:
    """Compare a checkpoint with itself: how often is p <= .05?"""
    levels = []
    for n in SIZES:
        difficulty = rng.beta(0.7, 1.5, (experiments, n))
        first, second = (rng.random((experiments, n)) < difficulty for _ in range(2))
        p = mcnemar((second & ~first).sum(-1), (first & ~second).sum(-1))
        levels.append(_level("exact McNemar", n, experiments, p))
        a, b = (rng.beta(4 * difficulty + 0.1, 4 * (1 - difficulty) + 0.1) for _ in range(2))
        levels.append(_level("paired permutation", n, experiments, _in_blocks(b - a)))
    return levels


def aa_clustered(rng: np.random.Generator, experiments: int) -> list[dict[str, Any]]:
    """Compare equally good checkpoints of which each is better on some of the repositories."""
    levels = []
    for n, repos, similarity in _clustered():
        codes = draw_codes(rng, n, repos)
        rates = [_repo_means(rng, 0.3, similarity, codes, experiments) for _ in range(2)]
        first, second = (rng.random(rate.shape) < rate for rate in rates)
        binary, _ = cluster_sums(second.astype(float) - first, codes)
        scores = [rng.beta(4 * rate + 0.1, 4 * (1 - rate) + 0.1) for rate in rates]
        smooth, _ = cluster_sums(scores[1] - scores[0], codes)
        blind = mcnemar((second & ~first).sum(-1), (first & ~second).sum(-1))
        for scored, sums in (("rates", binary), ("means", smooth)):
            level = _level(f"paired permutation by repository, {scored}", n, experiments, _in_blocks(sums))
            levels.append({**level, **_clusters(codes, similarity)})
        levels[-2]["had repositories been ignored"] = _share(blind <= ALPHA)
    return levels


def aa_family(rng: np.random.Generator, experiments: int, n: int = 200, runs: int = 6) -> dict[str, Any]:
    """Compare six copies of a checkpoint: how often is any of the 15 pairs significant after Holm?"""
    first, second = np.triu_indices(runs, 1)
    difficulty = rng.beta(0.7, 1.5, (experiments, 1, n))
    solved = rng.random((experiments, runs, n)) < difficulty
    scores = rng.beta(4 * difficulty + 0.1, 4 * (1 - difficulty) + 0.1, (experiments, runs, n))
    up = (solved[:, second] & ~solved[:, first]).sum(-1)
    down = (solved[:, first] & ~solved[:, second]).sum(-1)
    smooth = _in_blocks(scores[:, second] - scores[:, first])
    return {
        "experiments": experiments,
        "n": n,
        "exact McNemar": _share([(holm(p) <= ALPHA).any() for p in mcnemar(up, down)]),
        "paired permutation": _share([(holm(p) <= ALPHA).any() for p in smooth]),
    }


def power(rng: np.random.Generator, experiments: int) -> list[dict[str, Any]]:
    """Count how often the smallest detectable difference is detected, if it is the true one; 80% is right."""
    results = []
    for n in SIZES:
        for against in (0.0, 0.05, 0.1):
            few = round(against * n)
            seen = np.repeat([1.0, -1.0, 0.0], [few, few, n - 2 * few])
            delta = smallest_detectable(seen, np.arange(n), binary=True)
            chances = [delta + few / n, few / n, 1 - delta - 2 * few / n]
            up, down = rng.multinomial(n, chances, experiments).T[:2]
            rate = _share(mcnemar(up, down) <= ALPHA)
            results.append(
                {"test": "exact McNemar", "n": n, "against": few / n, "difference": delta, "power": rate}
            )
        seen = rng.normal(0, 0.2, (100, n))
        delta = float(np.mean([smallest_detectable(each, np.arange(n), binary=False) for each in seen]))
        rate = _share(_in_blocks(rng.normal(delta, 0.2, (experiments, n))) <= ALPHA)
        results.append({"test": "paired permutation", "n": n, "difference": delta, "power": rate})
    return [{key: _round(value) for key, value in each.items()} for each in results]


def against_tests(rng: np.random.Generator, runs: int) -> dict[str, Any]:
    """Metrics held against tests within checkpoints: coverage of the AUC, and leads over equal metrics."""
    sizes = ((60, 1), (164, 1), (164, 4))
    settings = [(n, checkpoints, rate) for n, checkpoints in sizes for rate in _PASSING]
    return {
        "AUC against tests": [auc_coverage(rng, *setting, runs) for setting in settings],
        "best of equally good metrics against the next": [equal_leads(rng, k, runs) for k in (2, 6)],
    }


_PASSING = (0.1, 0.3)
"""Shares of attempts that pass their tests."""
_SHIFTS = (0.0, 1.0, 2.0)
"""By how many standard deviations passing attempts score higher."""


def auc_coverage(
    rng: np.random.Generator, n: int, checkpoints: int, passing: float, runs: int
) -> dict[str, Any]:
    """Coverage of the AUC's interval; draws with too few passing attempts for a figure are drawn again."""
    covered = []
    for shift in _SHIFTS:
        truth = float(stats.norm.cdf(shift / 2**0.5))  # of two attempts at different samples
        hits = []
        for _ in range(runs):
            passed, codes, strata = _outcomes(rng, n, checkpoints, passing)
            counts = count_pairs(_scores(rng, passed, shift).ravel(), passed.ravel(), codes, strata)
            limits = associate(counts).auc
            hits.append(limits.low <= truth <= limits.high)
        covered.append(np.mean(hits))
    summary = _summary([f"AUC {stats.norm.cdf(shift / 2**0.5):.2f}" for shift in _SHIFTS], covered)
    setting = {"n": n, "checkpoints": checkpoints, "passing": passing, "experiments": runs}
    return {**setting, "method": "BCa, expanded for the rarer outcome", **summary}


def equal_leads(rng: np.random.Generator, metrics: int, runs: int) -> dict[str, Any]:
    """Metrics that follow the tests equally well: how often does the best stand out from the next?"""
    n, checkpoints, stands_out = 164, 4, []
    for _ in range(runs):
        passed, codes, strata = _outcomes(rng, n, checkpoints, passing=0.3)
        counts = [
            count_pairs(_scores(rng, passed, 1.0).ravel(), passed.ravel(), codes, strata)
            for _ in range(metrics)
        ]
        best, second, *_ = sorted(counts, key=lambda each: -float(auc(each, np.ones(n))))
        stands_out.append(auc_difference(best, second).low > 0)
    setting = {"metrics": metrics, "n": n, "checkpoints": checkpoints, "experiments": runs}
    return {**setting, "false positives": _share(stands_out)}


def _outcomes(
    rng: np.random.Generator, n: int, checkpoints: int, passing: float
) -> tuple[NDArray[np.bool_], Codes, Codes]:
    """Which attempts pass, (samples, checkpoints), correlated within a sample; then the two of each, flat."""
    codes, strata = (each.ravel() for each in np.indices((n, checkpoints)))
    while True:
        ability = (rng.normal(size=(n, 1)) + rng.normal(size=(n, checkpoints))) / 2**0.5
        passed = ability > stats.norm.ppf(1 - passing)
        if min(passed.any(1).sum(), (~passed).any(1).sum()) >= MIN_EACH:
            return passed, codes, strata


def _scores(rng: np.random.Generator, passed: NDArray[np.bool_], shift: float) -> Floats:
    """Scores with a standard deviation of 1, correlated within a sample; a pass adds ``shift``."""
    own = (rng.normal(size=(len(passed), 1)) + rng.normal(size=passed.shape)) / 2**0.5
    return np.asarray(own + shift * passed)


def draw_codes(rng: np.random.Generator, n: int, repos: int) -> Codes:
    """Draw repositories of unequal size, each with at least one sample."""
    weights = 1 / np.arange(1, repos + 1) ** 0.5
    sizes = rng.multinomial(n - repos, weights / weights.sum()) + 1
    return np.repeat(np.arange(repos), sizes)


def _repo_means(rng: np.random.Generator, mean: float, similarity: float, codes: Codes, runs: int) -> Floats:
    spread = 1 / similarity - 1
    drawn = rng.beta(mean * spread, (1 - mean) * spread, (runs, int(codes.max()) + 1))
    return np.asarray(drawn[:, codes])


def _in_blocks(differences: Floats, size: int = 500) -> Floats:
    """Return p-values; each block of experiments has its own flips, so that their errors are independent."""
    blocks = range(0, len(differences), size)
    return np.concatenate([sign_flip(differences[at : at + size], 1_999, seed=at) for at in blocks])


def _covers(interval: Interval, truth: float) -> float:
    return float(np.mean((interval.low <= truth) & (truth <= interval.high)))


def _summary(names: Any, covered: Any, share: bool = False) -> dict[str, Any]:
    names, covered = list(names), np.asarray(covered)
    low, high = int(covered.argmin()), int(covered.argmax())
    rounded = covered.round(3)
    inside = (rounded >= BOUNDS[0]) & (rounded <= BOUNDS[1])
    extremes = {
        "lowest": _round(covered[low]),
        "lowest at": _round(names[low]),
        "highest": _round(covered[high]),
        "highest at": _round(names[high]),
        "within 93.0 to 97.0%": f"{inside.mean():.1%}" if share else f"{inside.sum()} of {len(inside)}",
    }
    each = {str(name): _round(value) for name, value in zip(names, covered, strict=True)}
    return extremes if share else {**extremes, "coverage": each}


def _level(test: str, n: int, experiments: int, p: Floats) -> dict[str, Any]:
    return {"test": test, "n": n, "experiments": experiments, "false positives": _share(p <= ALPHA)}


def _clusters(codes: Codes, similarity: float) -> dict[str, Any]:
    repos, effective = int(codes.max()) + 1, round(effective_clusters(codes))
    return {"n": len(codes), "repositories": repos, "effective": effective, "similarity": similarity}


def _share(hits: Any) -> float:
    return round(float(np.mean(hits)), 4)


def _round(value: Any) -> Any:
    return round(float(value), 4) if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(run_verb(coverage_study))
