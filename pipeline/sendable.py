"""What can be sent and stored as JSON in UTF-8."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

MEASURED_DIGITS = 6
"""Significant digits of measured numbers in files: float32 has 7, and a score over 200 samples means 3."""
_ALL_DIGITS = 17
_SURROGATE = re.compile("[\ud800-\udfff]")


def sendable_text(text: str) -> str:
    """The text with lone surrogates replaced, which UTF-8 cannot encode (and ``json`` does read)."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def sendable(value: Any, digits: int = _ALL_DIGITS) -> Any:
    """The value with sendable texts, lists for tuples, and None for numbers that readers of JSON do not know.

    Those are NaN, infinity and whole numbers of more than 64 bits.

    Args:
        value: of any types that JSON has.
        digits: significant digits that floats keep, all of them by default.
    """
    if isinstance(value, str):
        return sendable_text(value)
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else None
    if isinstance(value, Mapping):
        return {sendable_text(str(key)): sendable(each, digits) for key, each in value.items()}
    return [sendable(each, digits) for each in value] if isinstance(value, list | tuple) else value


def is_sendable(value: Any) -> bool:
    """Whether no text in the value holds a lone surrogate; reads values as deep as JSON can be."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str) and _SURROGATE.search(each):
            return False
        if isinstance(each, Mapping):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple):
            waiting += each
    return True
