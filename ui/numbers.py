"""How scores and what is computed from them are written: one way for every tab, export and figure."""

from __future__ import annotations

from pipeline.decimals import decimal
from pipeline.scoring import Metric
from pipeline.scoring.execution.spec import EXECUTION
from pipeline.scoring.likelihood import BITS_PER_BYTE
from pipeline.scoring.text import PARSES, SAME_SIGNATURE


def mean_score(value: float | None, metric: Metric, signed: bool = False) -> str:
    """A score, or the difference of two, in the metric's own scale: ``.085``, ``26.1``."""
    return decimal(value, metric.places, signed)


def score(value: float, metric: Metric) -> str:
    """The score of one attempt: a word where the metric asks a yes-or-no question, else the number.

    Bits per byte of a single attempt are right to two decimals only (see ``ROUNDING_NOTE``).
    """
    if metric.name in (PARSES, SAME_SIGNATURE):
        return "yes" if value else "no"
    if metric.name in EXECUTION.values():
        return "passed" if value else "failed"
    if metric.is_opinion and value in (0, 1) and "taxonomy" not in metric.name:
        return "correct" if value else "not correct"
    return decimal(value, 2) if metric.name == BITS_PER_BYTE else mean_score(value, metric)


def p_value(p: float) -> str:
    """``p < .001``, ``p .21``."""
    if p < 0.001:
        return "p < .001"
    return f"p {decimal(p, 3 if p < 0.1 else 2)}"


def correlation(value: float) -> str:
    """``.42``, ``−.10``."""
    return decimal(value, 2)
