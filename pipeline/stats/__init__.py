"""Intervals, paired tests and the scaling fit: what may be said about a difference, and what may not."""

from pipeline.stats.intervals import (
    MIN_CLUSTERS,
    Codes,
    Floats,
    Interval,
    choose_clusters,
    cluster_sums,
    difference_interval,
    interval,
    is_binary,
    mean_interval,
    rate_difference_interval,
    rate_interval,
    standard_error,
    wilson,
)
from pipeline.stats.paired_tests import ALPHA, holm, mcnemar, sign_flip, smallest_detectable
from pipeline.stats.scaling import MIN_SIZES, ScalingFit, fit_scaling

__all__ = [
    "ALPHA",
    "MIN_CLUSTERS",
    "MIN_SIZES",
    "Codes",
    "Floats",
    "Interval",
    "ScalingFit",
    "choose_clusters",
    "cluster_sums",
    "difference_interval",
    "fit_scaling",
    "holm",
    "interval",
    "is_binary",
    "mcnemar",
    "mean_interval",
    "rate_difference_interval",
    "rate_interval",
    "sign_flip",
    "smallest_detectable",
    "standard_error",
    "wilson",
]
