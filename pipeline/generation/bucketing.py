"""Reading prompts of unlike length in one batch without padding all of them to the longest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import DynamicCache


def bucket_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Rows in groups in which padding at most doubles any, the group with the longest first."""
    groups: list[list[int]] = []
    longest = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if not groups or lengths[row] * 2 < longest:
            groups.append([])
            longest = lengths[row]
        groups[-1].append(row)
    return [sorted(rows) for rows in groups]


def join(groups: Sequence[Sequence[int]], caches: Sequence[Any]) -> Any:
    """One key-value cache of all rows out of each group's, padded on the left to the length of the first.

    The caches are used up.
    """
    if len(caches) == 1:
        return caches[0]
    joined = DynamicCache()
    for index, longest in enumerate(caches[0].layers):
        both = []
        for name in ("keys", "values"):
            _, heads, length, size = getattr(longest, name).shape
            whole = getattr(longest, name).new_zeros(sum(map(len, groups)), heads, length, size)
            for rows, cache in zip(groups, caches, strict=True):
                part = getattr(cache.layers[index], name)
                whole[list(rows), :, length - part.shape[2] :] = part
            both.append(whole)
        joined.update(*both, index)
        for cache in caches:
            cache.layers[index] = None  # so that only one layer is ever held twice
    return joined
