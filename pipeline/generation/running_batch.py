"""A batch that is always running: rows join and leave it between any two steps.

Iteration-level scheduling as in Orca (Yu et al. 2022, OSDI, section 3.2): a step generates one token of each
row, so no row waits for another one's end.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.generation.adapters import Adapter
from pipeline.generation.decoders import Decoder
from pipeline.generation.sampling import Odds, sample_tokens, token_odds
from pipeline.schema import FinishReason, SamplingParams


@dataclass(eq=False)
class Row:
    """One row: a prompt, and what is written after it.

    Attributes:
        prompt: its token ids.
        adapter: None for the bare model.
        sampling: its own; ``max_new_tokens`` is its limit.
        draws: a uniform number for each step, from its own seed; empty if it is greedy.
        tokens: written so far, without the stop token.
        finish_reason: None while it is being written; whoever sets it takes the row out of the batch.
        note: why it was ended, where a reader should know that.
        started: when it joined the batch.
        first: when its first token came; 0 before.
        last: when its last token came.
        odds: of each token; None for a row that needs none.
    """

    prompt: list[int]
    adapter: Adapter | None
    sampling: SamplingParams
    draws: Sequence[float] = ()
    tokens: list[int] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    note: str = ""
    started: float = 0.0
    first: float = 0.0
    last: float = 0.0
    odds: list[Odds] | None = None

    @property
    def length(self) -> int:
        """Number of tokens, prompt included."""
        return len(self.prompt) + len(self.tokens)

    @property
    def final_length(self) -> int:
        """Number of tokens that it can come to have."""
        return len(self.prompt) + self.sampling.max_new_tokens


@dataclass(eq=False)
class _Writing:
    """Rows that are written together, in the order of their cache, which is the decoder's."""

    rows: list[Row]
    cache: Any

    @property
    def size(self) -> int:
        """Tokens of the cache, padding included."""
        return len(self.rows) * max(row.length for row in self.rows)


@dataclass(eq=False)
class _Reading:
    """Prompts that are read together, in pieces: ``done`` of the columns of ``ids`` [rows, longest]."""

    rows: list[Row]
    ids: Tensor
    done: int = 0
    cache: Any = None

    def joined(self, other: _Reading) -> _Reading:
        """Both groups' rows, of which nothing has been read."""
        longest = max(self.ids.shape[1], other.ids.shape[1])
        padded = [functional.pad(each.ids, (longest - each.ids.shape[1], 0)) for each in (self, other)]
        return _Reading([*self.rows, *other.rows], torch.cat(padded))


class RunningBatch:
    """The rows of everybody who asks, each under its own adapter. One thread uses it.

    Rows that are written together are padded on the left to the length of the longest: the new tokens of all
    have the last place of the cache. Padding is masked, and positions count a row's own tokens, so that a
    row's numbers depend on its neighbors through the rounding of other shapes alone.

    Args:
        decoder: computes the logits.
        stop_ids: tokens that end a row.
        piece_tokens: how many tokens of prompts are read in a step, so that other rows go on meanwhile.
    """

    def __init__(self, decoder: Decoder, stop_ids: Collection[int], piece_tokens: int) -> None:
        self.decoder = decoder
        self.piece_tokens = piece_tokens
        self._stop_ids = frozenset(stop_ids)
        self._writing: list[_Writing] = []
        self._reading: list[_Reading] = []

    @property
    def rows(self) -> list[Row]:
        """Those that are being written."""
        return [row for group in self._writing for row in group.rows]

    @property
    def reads(self) -> bool:
        """Whether prompts are still to be read."""
        return bool(self._reading)

    def add(self, rows: Sequence[Row]) -> None:
        """Let rows join; their prompts are read in the next steps."""
        now = time.perf_counter()
        for row in rows:
            row.started = now
        for group in bucket_by_length([len(row.prompt) for row in rows]):
            members = [rows[index] for index in group]
            longest = max(len(row.prompt) for row in members)
            ids = [[0] * (longest - len(row.prompt)) + row.prompt for row in members]
            self._reading.append(_Reading(members, torch.tensor(ids)))

    def step(self) -> None:
        """Write one token of each row, and read the next piece of a prompt. Finished rows have left then."""
        self._drop_finished()
        self.decoder.load([row.adapter for row in (*self.rows, *(r for g in self._reading for r in g.rows))])
        for group in self._writing:
            self._write(group)
        self._drop_finished()
        if self._reading:
            self._gather()
            self._read(self._reading[0])

    def clear(self) -> None:
        """Drop all rows."""
        self._writing, self._reading = [], []

    def _write(self, group: _Writing) -> None:
        ids = torch.tensor([row.tokens[-1:] for row in group.rows])  # [rows, 1]
        longest = max(row.length for row in group.rows)
        logits, group.cache = self._forward(group.rows, ids, longest, group.cache)
        self._take(group.rows, logits)

    def _gather(self) -> None:
        """Let those who wait be read with the first group: as many as one piece has room for."""
        first, *others = self._reading
        for other in others:
            together = first.joined(other)
            if first.done or other.done or together.ids.numel() > self.piece_tokens:
                break
            first = together
            self._reading[:2] = [first]

    def _read(self, group: _Reading) -> None:
        """Read as many columns of the prompts as a piece has; after the last one the rows are written."""
        end = min(group.ids.shape[1], group.done + max(1, self.piece_tokens // len(group.rows)))
        logits, group.cache = self._forward(group.rows, group.ids[:, group.done : end], end, group.cache)
        group.done = end
        if end < group.ids.shape[1]:
            return
        self._reading.remove(group)
        self._writing.append(_Writing(group.rows, group.cache))
        self._join()
        self._take(group.rows, logits)
        self._drop_finished()

    def _join(self) -> None:
        """Join caches, the smallest first, until one is left, or two that are better kept apart."""
        while len(self._writing) > 1:
            smaller, larger = sorted(self._writing, key=lambda group: group.size)[:2]
            if len(self._writing) == 2 and smaller.size + larger.size > self.decoder.most_to_join:
                return
            self._writing.remove(smaller)
            larger.cache = self.decoder.join(larger.cache, smaller.cache)
            larger.rows = [*larger.rows, *smaller.rows]

    def _forward(self, rows: Sequence[Row], ids: Tensor, end: int, cache: Any) -> tuple[Tensor, Any]:
        """Next-token logits [rows, vocabulary] and the cache, after ``ids`` [rows, columns before ``end``].

        The columns of a batch are those of its longest row; the other rows begin later.
        """
        longest = max(row.length for row in rows)
        begins = torch.tensor([longest - row.length for row in rows])
        positions = torch.arange(end) - begins[:, None]  # [rows, end]; padding is negative
        return self.decoder.forward([row.adapter for row in rows], ids, positions, cache)

    def _take(self, rows: Sequence[Row], logits: Tensor) -> None:
        """Sample each row's next token."""
        now = time.perf_counter()
        draws = [row.draws[len(row.tokens)] if row.draws else 0.0 for row in rows]
        tokens = sample_tokens(logits, [row.sampling for row in rows], draws)
        kept = {at: row.odds for at, row in enumerate(rows) if row.odds is not None}
        if kept:
            found = token_odds(logits[list(kept)], [tokens[at] for at in kept])
            for odds, one in zip(kept.values(), found, strict=True):
                odds.append(one)
        for row, token in zip(rows, tokens, strict=True):
            row.first, row.last = row.first or now, now
            stopped = token in self._stop_ids
            if not stopped:
                row.tokens.append(token)
            if row.finish_reason is None and (stopped or len(row.tokens) == row.sampling.max_new_tokens):
                row.finish_reason = "stop" if stopped else "length"

    def _drop_finished(self) -> None:
        """Take finished rows out, and the columns that only they needed."""
        for written in self._writing:
            kept = [at for at, row in enumerate(written.rows) if row.finish_reason is None]
            if len(kept) < len(written.rows):
                written.rows = [written.rows[at] for at in kept]
                # The last token of a row is not in the cache before the next step.
                longest = max((row.length for row in written.rows), default=1) - 1
                written.cache = self.decoder.select(written.cache, kept, longest) if kept else None
        self._writing = [group for group in self._writing if group.rows]
        for group in self._reading:
            self._keep_unfinished(group)
        self._reading = [group for group in self._reading if group.rows]

    def _keep_unfinished(self, group: _Reading) -> None:
        kept = [at for at, row in enumerate(group.rows) if row.finish_reason is None]
        if len(kept) == len(group.rows):
            return
        group.rows = [group.rows[at] for at in kept]
        longest = max((len(row.prompt) for row in group.rows), default=0)
        surplus = group.ids.shape[1] - longest  # columns that only the others had
        group.ids, group.done = group.ids[kept, surplus:], max(0, group.done - surplus)
        group.cache = self.decoder.select(group.cache, kept, group.done) if kept and group.done else None


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
