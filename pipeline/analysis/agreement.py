"""Every metric held against execution: does it score those attempts higher that pass their tests?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from pipeline import stats
from pipeline.analysis.setups import Setup, sample_clusters, score_table
from pipeline.evaluation.runs import Run
from pipeline.schema import counted
from pipeline.scoring import Metric, metric_of
from pipeline.stats import Association, Codes, Estimate, Floats, PairCounts, Verdicts

MIN_EACH = 10
"""So many clusters must have a passing attempt, and so many a failing one.

With fewer, the interval of the AUC says next to nothing, and many draws of the bootstrap have no pair.
"""
_UNITS = {
    "": ("sample", "samples"),
    "file": ("file", "files"),
    "repository": ("repository", "repositories"),
}


@dataclass(frozen=True)
class MetricAgreement:
    """One metric against execution, over the attempts that both scored.

    Attributes:
        within: over pairs of attempts of the same checkpoint and prompt variant, so that differences between
            checkpoints do not count; or, in words, why there is no figure.
        overall: over all pairs of attempts, or, in words, why there is no figure.
        verdicts: of a judge that answers yes or no; None for other metrics, and without ``overall``.
        flips: share of these attempts on which a judge's votes contradict each other; None for other metrics,
            and if it has one vote.
        same_order: other metrics that put the attempts in the same order, as a rescaled one does.
    """

    metric: Metric
    attempts: int
    passing: int
    within: Association | str
    overall: Association | str
    verdicts: Verdicts | None
    flips: Estimate | None = None
    same_order: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lead:
    """The metric that follows execution best, and the next.

    Attributes:
        difference: of their AUC within checkpoints, over the attempts that both scored.
    """

    best: MetricAgreement
    next: MetricAgreement
    difference: Estimate

    @property
    def distinguishable(self) -> bool:
        """Whether the best can be distinguished from the next.

        The plain interval of two serves although the two were chosen among many: that is the test that the
        selected one is the best (Gutmann and Maymin 1987, Annals of Statistics 15:456).
        """
        return self.difference.low > 0


@dataclass(frozen=True)
class AgainstExecution:
    """Every metric of a set-up against execution, the one with the highest AUC within checkpoints first.

    Attributes:
        execution: name of that metric.
        attempts: how many were executed, and ``passing`` how many of them pass.
        together: what keeps samples together in the intervals, empty where each sample is on its own.
        lead: None with fewer than two metrics that have figures within checkpoints.
    """

    execution: str
    attempts: int
    passing: int
    together: str
    metrics: tuple[MetricAgreement, ...]
    lead: Lead | None


@dataclass(frozen=True)
class _Scored:
    """The attempts that a metric and execution both scored.

    Attributes:
        place: which of all executed attempts each is.
        scores: by the metric, higher is better.
        passed: whether it passes.
        codes: its cluster.
        checkpoints: its run.
        flipped: whether a judge's votes on it contradict each other, 0 or 1; NaN with fewer than two votes.
    """

    metric: Metric
    place: NDArray[np.intp]
    scores: Floats
    passed: NDArray[np.bool_]
    codes: Codes
    checkpoints: Codes
    flipped: Floats

    def among(self, other: _Scored) -> _Scored:
        """Those of them that the other metric scored too."""
        keep = np.isin(self.place, other.place)
        return _Scored(
            self.metric,
            self.place[keep],
            self.scores[keep],
            self.passed[keep],
            self.codes[keep],
            self.checkpoints[keep],
            self.flipped[keep],
        )


def against_execution(
    setup: Setup, excluded: Collection[str] = (), only: str | None = None
) -> AgainstExecution | None:
    """Hold every other metric of a set-up against execution; None if no attempt was to be executed.

    Args:
        setup: the runs.
        excluded: ids of samples to leave out.
        only: the one metric to hold against it, since each takes a part of a second.
    """
    execution = setup.execution
    if execution is None:
        return None
    table = score_table(setup.runs, execution)
    table = table[~table.index.isin(list(excluded))]
    outcome = table.to_numpy()
    clusters = sample_clusters(setup.runs, list(table.index))
    scored = [
        _scored(
            metric_of(name),
            score_table(setup.runs, name).loc[table.index].to_numpy(),
            outcome,
            clusters.codes,
            _flipped(setup.runs, name, table.index),
        )
        for name in ([only] if only else setup.metrics)
        if name != execution
    ]
    agreements = sorted(
        ((_agreement(each, same, clusters.together), each) for each, same in _by_order(scored)),
        key=lambda pair: _place(pair[0]),
    )
    return AgainstExecution(
        execution=execution,
        attempts=int(np.isfinite(outcome).sum()),
        passing=int(np.nansum(outcome)),
        together=clusters.together,
        metrics=tuple(agreement for agreement, _ in agreements),
        lead=_lead(agreements),
    )


def _flipped(runs: Sequence[Run], metric: str, samples: Iterable[str]) -> Floats:
    """(samples, runs)."""

    def flipped(run: Run, sample: str) -> float:
        attempt = run.attempts.get(sample)
        details = attempt.scores[metric].details if attempt and metric in attempt.scores else {}
        return float(details.get("flipped", False)) if len(details.get("votes", ())) > 1 else np.nan

    return np.array([[flipped(run, sample) for run in runs] for sample in samples]).reshape(-1, len(runs))


def _scored(metric: Metric, values: Floats, outcome: Floats, codes: Codes, flipped: Floats) -> _Scored:
    """The attempts that have both scores; ``codes`` is (samples,), the other arrays are (samples, runs)."""
    there = np.isfinite(values) & np.isfinite(outcome)
    samples, runs = np.nonzero(there)
    return _Scored(
        metric=metric,
        place=np.flatnonzero(there),
        scores=values[there] if metric.higher_is_better else -values[there],
        passed=outcome[there] == 1,
        codes=codes[samples],
        checkpoints=runs,
        flipped=flipped[there],
    )


def _by_order(scored: Sequence[_Scored]) -> list[tuple[_Scored, list[str]]]:
    """Group the metrics that order the attempts in the same way: the first of each, and the others' names."""
    groups: list[tuple[_Scored, list[str]]] = []
    for each in scored:
        same = next((names for first, names in groups if _same_order(first, each)), None)
        if same is None:
            groups.append((each, []))
        else:
            same.append(each.metric.name)
    return groups


def _same_order(first: _Scored, second: _Scored) -> bool:
    if not len(first.place) or not np.array_equal(first.place, second.place):
        return False
    return np.array_equal(rankdata(first.scores), rankdata(second.scores))


def _agreement(scored: _Scored, same_order: Sequence[str], together: str) -> MetricAgreement:
    overall = _associate(scored, np.zeros_like(scored.checkpoints), together)
    judged = scored.metric.is_opinion and stats.is_binary(scored.scores)
    return MetricAgreement(
        metric=scored.metric,
        attempts=len(scored.place),
        passing=int(scored.passed.sum()),
        within=_associate(scored, scored.checkpoints, together),
        overall=overall,
        verdicts=stats.hold_verdicts(scored.scores == 1, scored.passed, scored.codes)
        if judged and isinstance(overall, Association)
        else None,
        flips=_flips(scored),
        same_order=tuple(same_order),
    )


def _flips(scored: _Scored) -> Estimate | None:
    voted = np.isfinite(scored.flipped)
    if not voted.any():
        return None
    flipped = scored.flipped[voted] == 1
    return Estimate.of(flipped.mean(), stats.rate_interval(flipped, scored.codes[voted]))


def _place(agreement: MetricAgreement) -> tuple[bool, float]:
    """The highest AUC within checkpoints first, then what has no such figure."""
    within = agreement.within
    return (False, -within.auc.value) if isinstance(within, Association) else (True, 0.0)


def _associate(scored: _Scored, strata: Codes, together: str) -> Association | str:
    if problem := _problem(scored, strata, together):
        return problem
    return stats.associate(_count(scored, strata))


def _count(scored: _Scored, strata: Codes) -> PairCounts:
    return stats.count_pairs(scored.scores, scored.passed, scored.codes, strata)


def _problem(scored: _Scored, strata: Codes, together: str) -> str:
    """Why no figure can be given, in words; empty if one can."""
    if not len(scored.place):
        return "no attempt has both scores"
    if np.ptp(scored.scores) == 0:
        return "all attempts have the same score"
    both = _has_both(scored.passed, strata)
    for kind, chosen in (("passing", scored.passed), ("failing", ~scored.passed)):
        count = len(np.unique(scored.codes[chosen & both]))
        if count < MIN_EACH:
            alone = np.ptp(strata) and not both[chosen].all()
            where = " of a checkpoint with both passing and failing ones" if alone else ""
            return (
                f"{counted(count, *_UNITS[together])} with a {kind} attempt{where}, and {MIN_EACH} are needed"
            )
    return ""


def _has_both(passed: NDArray[np.bool_], strata: Codes) -> NDArray[np.bool_]:
    """For each attempt whether its stratum has passing and failing ones."""
    every = np.bincount(strata)
    passing = np.bincount(strata, passed, minlength=len(every))
    return np.asarray(((passing > 0) & (passing < every))[strata])


def _lead(agreements: Sequence[tuple[MetricAgreement, _Scored]]) -> Lead | None:
    ranked = [pair for pair in agreements if isinstance(pair[0].within, Association)]
    if len(ranked) < 2:
        return None
    (best, first), (following, second) = ranked[:2]
    first, second = first.among(second), second.among(first)
    if _problem(first, first.checkpoints, ""):
        return None
    difference = stats.auc_difference(*(_count(each, each.checkpoints) for each in (first, second)))
    return Lead(best, following, difference)
