"""Rows of the running batch, written step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from pipeline.generation.running_batch import Row, RunningBatch


@torch.inference_mode()
def write_out(
    batch: RunningBatch, rows: Sequence[Row], between: Callable[[], object] = lambda: None
) -> list[list[int]]:
    """Step until all rows of a batch are written; their tokens. ``between`` is called after each step."""
    while any(row.finish_reason is None for row in rows):
        batch.step()
        between()
    return [row.tokens for row in rows]


@torch.inference_mode()
def run_rows(batch: RunningBatch, *rows: Row) -> list[list[int]]:
    """Write rows that join a batch together; their tokens."""
    batch.add(rows)
    return write_out(batch, rows)
