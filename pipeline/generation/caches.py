"""Key-value caches of rows of different lengths, and which prompts are read together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional


def bucket_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Group rows so that padding at most doubles the length of any; the group of the longest comes first."""
    groups: list[list[int]] = []
    longest = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if not groups or lengths[row] * 2 < longest:
            groups.append([])
            longest = lengths[row]
        groups[-1].append(row)
    return [sorted(rows) for rows in groups]


def join_caches(first: Any, second: Any) -> Any:
    """One cache of both caches' rows, the shorter one padded on the left. The given caches are used up."""
    for layer, other in zip(first.layers, second.layers, strict=True):
        longest = max(layer.keys.shape[2], other.keys.shape[2])
        for name in ("keys", "values"):
            states = [getattr(each, name) for each in (layer, other)]  # [rows, heads, length, head size]
            padded = [functional.pad(each, (0, 0, longest - each.shape[2], 0)) for each in states]
            setattr(layer, name, torch.cat(padded))
            setattr(other, name, None)  # no more than one layer is held twice
    return first


def select_rows(cache: Any, rows: Sequence[int], length: int) -> Any:
    """The cache of some of its rows, and of their last ``length`` tokens. The given cache is used up."""
    for layer in cache.layers:
        for name in ("keys", "values"):
            states = getattr(layer, name)
            setattr(layer, name, states[list(rows), :, states.shape[2] - length :])
    return cache
