"""Process prompts of different lengths in one batch without padding all of them to the longest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import DynamicCache


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


def join_caches(groups: Sequence[Sequence[int]], caches: Sequence[Any]) -> Any:
    """Join the groups' key-value caches into one of all rows, padded on the left to the first's length.

    The given caches are emptied.
    """
    if len(caches) == 1:
        return caches[0]
    joined = DynamicCache()
    for index, longest in enumerate(caches[0].layers):
        keys_and_values = []
        for name in ("keys", "values"):
            _, heads, length, size = getattr(longest, name).shape
            joined_states = getattr(longest, name).new_zeros(sum(map(len, groups)), heads, length, size)
            for rows, cache in zip(groups, caches, strict=True):
                states = getattr(cache.layers[index], name)
                joined_states[list(rows), :, length - states.shape[2] :] = states
            keys_and_values.append(joined_states)
        joined.update(*keys_and_values, index)
        for cache in caches:
            cache.layers[index] = None  # so that no more than one layer is held twice
    return joined
