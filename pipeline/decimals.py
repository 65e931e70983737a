"""How a measured number is written: one way for every page, export, figure and progress line."""

from __future__ import annotations

import math

NONE = "–"
"""Stands where there is no number."""


def decimal(value: float | None, places: int = 3, signed: bool = False) -> str:
    """``.705``, ``1.204``, ``−.010``: no zero before the point, a true minus, ``–`` where there is none."""
    if value is None or not math.isfinite(value):
        return NONE
    value = round(value, places) or 0.0  # no minus before a zero
    text = f"{value:+.{places}f}" if signed else f"{value:.{places}f}"
    if places > 1 and abs(value) < 1:
        text = text.replace("0.", ".", 1)
    return text.replace("-", "−")
