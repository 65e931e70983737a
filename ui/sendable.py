"""What can be sent as JSON in UTF-8."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")


def sendable_text(text: str) -> str:
    """The text with lone surrogates replaced, which UTF-8 cannot encode (and ``json`` does read)."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def sendable(value: Any) -> Any:
    """The value with sendable texts, with lists for tuples, and with None for NaN and infinity."""
    if isinstance(value, str):
        return sendable_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {sendable_text(str(key)): sendable(each) for key, each in value.items()}
    return [sendable(each) for each in value] if isinstance(value, list | tuple) else value


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
