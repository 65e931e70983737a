"""The mean score of each condition with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline import stats
from pipeline.analysis.setups import Axis, Condition
from pipeline.schema import Attempt, PromptVariant
from pipeline.stats import Codes, Floats


@dataclass(frozen=True)
class Point:
    """One condition: a place on the axis under one prompt variant.

    Attributes:
        x: value of the axis, 0 for the baseline.
        size: training samples, 0 for the baseline, None if unknown.
        checkpoint: name of the first one.
        value: mean over samples and training seeds; NaN if nothing is scored.
        low: lower limit of the 95% interval (noise of evaluation only), ``high`` the upper one.
        n: number of samples with a score.
        unscored: number of attempts that could not be scored.
        missing: number of attempts that were not made, or not scored yet.
        by_seed: the mean of each training seed.
        truncated: share of the outputs that were cut off at the token limit.
        flagged: number of attempts that pass their tests with code that may have used the reference.
        windowed: share of the outputs longer than the encoder's 512 tokens; None if unknown.
    """

    variant: PromptVariant
    axis: Axis
    x: float
    size: int | None
    checkpoint: str
    value: float
    low: float
    high: float
    n: int
    unscored: int
    missing: int
    by_seed: tuple[tuple[int | None, float], ...]
    truncated: float
    flagged: int
    windowed: float | None


def estimate_points(
    metric: str,
    conditions: Sequence[Condition],
    scores: Floats,
    table: pd.DataFrame,
    codes: Codes,
    binary: bool,
) -> tuple[Point, ...]:
    """Estimate the mean and its interval for each condition.

    Args:
        metric: its name.
        conditions: the conditions.
        scores: of shape (conditions, samples), NaN if unscored.
        table: the scores of each run, samples by run id.
        codes: the cluster of each sample.
        binary: whether scores are 0 or 1.
    """
    points: dict[int, Point] = {}
    for mask, members in group_by_mask(np.isfinite(scores)):
        values = scores[members][:, mask]
        limits = stats.interval(values, codes[mask], binary) if mask.any() else None
        for at, member in enumerate(members):
            value, low, high = (
                (float(values[at].mean()), float(limits.low[at]), float(limits.high[at]))
                if limits
                else (float("nan"),) * 3
            )
            points[member] = _point(metric, conditions[member], table, value, low, high, int(mask.sum()))
    return tuple(points[member] for member in range(len(conditions)))


def group_by_mask(there: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], list[int]]]:
    """Group the rows with the same mask, so that a group is computed at once; yields mask and row numbers."""
    groups: dict[bytes, list[int]] = {}
    for row, mask in enumerate(there):
        groups.setdefault(mask.tobytes(), []).append(row)
    for members in groups.values():
        yield there[members[0]], members


def _point(
    metric: str, condition: Condition, table: pd.DataFrame, value: float, low: float, high: float, n: int
) -> Point:
    attempts = [
        attempt for run in condition.runs for sample, attempt in run.attempts.items() if sample in table.index
    ]
    cut_off = [a.completion is not None and a.completion.finish_reason == "length" for a in attempts]
    asked = sum(sample in table.index for run in condition.runs for sample in run.config.sample_ids)
    scores = [attempt.scores[metric].value for attempt in attempts if metric in attempt.scores]
    return Point(
        variant=condition.variant,
        axis=condition.axis,
        x=condition.x,
        size=condition.size,
        checkpoint=condition.checkpoint,
        value=value,
        low=low,
        high=high,
        n=n,
        unscored=scores.count(None),
        missing=asked - len(scores),
        by_seed=tuple(
            (run.config.training_seed, float(table[run.config.id].mean())) for run in condition.runs
        ),
        truncated=_share(cut_off) or 0.0,
        flagged=sum(_passes_flagged(attempt) for attempt in attempts),
        windowed=_share([windows > 1 for attempt in attempts if (windows := _windows(attempt))]),
    )


def _windows(attempt: Attempt) -> int | None:
    """Return the number of the encoder's 512-token windows for the output; None if unknown."""
    return next((s.details["windows"] for s in attempt.scores.values() if "windows" in s.details), None)


def _passes_flagged(attempt: Attempt) -> bool:
    return any(score.value == 1 and score.details.get("flags") for score in attempt.scores.values())


def _share(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None
