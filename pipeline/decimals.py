"""How numbers are written: measured ones on every page and export, and those that users give as text."""

from __future__ import annotations

import math
import re

NONE = "–"
"""Stands where there is no number."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def decimal(value: float | None, places: int = 3, signed: bool = False) -> str:
    """``.705``, ``1.204``, ``−.010``: no zero before the point, a true minus, ``–`` where there is none."""
    if value is None or not math.isfinite(value):
        return NONE
    value = round(value, places) or 0.0  # no minus before a zero
    text = f"{value:+.{places}f}" if signed else f"{value:.{places}f}"
    if places > 1 and abs(value) < 1:
        text = text.replace("0.", ".", 1)
    return text.replace("-", "−")


def is_number(text: str) -> bool:
    """Whether a text is a number as people write it: ``8``, ``-0.5``, ``1e-4``.

    Spaces around it are a paste's. Python also reads ``1_0``, other scripts' digits and ``nan``.
    """
    return _NUMBER.fullmatch(text.strip(" ")) is not None
