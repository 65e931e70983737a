"""A figure with its interval."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.stats.intervals import Floats, Interval


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval from ``low`` to ``high``."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float | Floats, interval: Interval) -> Estimate:
        """From a single experiment."""
        return cls(float(value), float(interval.low), float(interval.high))
