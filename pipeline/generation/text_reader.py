"""Read whole texts with the static decoder's layers, many at once, to score what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.generation.cuda_graphs import Graphs
from pipeline.generation.fused_layers import Layer, normalize, round_up

_LENGTH_STEP = 128
"""Lengths of texts that are read at once are multiples of it."""
_TOKENS = 8192
"""That are read at once, padding included."""
_TEXTS = 16
"""That are read at once, at most."""


@dataclass
class _Place:
    """What texts of one length are read from and into, always at the same addresses.

    Attributes:
        ids: [texts · length].
        ranks: which ranks each token uses [texts · length, ranks].
        cos, sin: see ``Layer.project``.
        states: what the head reads [texts · length, width].
    """

    ids: Tensor
    ranks: Tensor
    cos: Tensor
    sin: Tensor
    states: Tensor


class TextReader:
    """Reads texts in groups of a few shapes, each shape one graph.

    Args:
        layers: of the decoder.
        embedding: [vocabulary, width].
        norm: of what the head reads.
        angles: the cosines and sines of the first positions, as ``Layer.project`` takes them.
        graphs: of the decoder.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        embedding: Tensor,
        norm: Any,
        angles: Callable[[int], tuple[Tensor, Tensor]],
        graphs: Graphs,
    ) -> None:
        self._layers, self._embedding, self._norm = layers, embedding, norm
        self._angles, self._graphs = angles, graphs
        self._places: dict[int, _Place] = {}  # by length

    def group(self, lengths: Sequence[int]) -> list[list[int]]:
        """Those that are as long after rounding up (see ``Decoder.group_texts``).

        A batch has the same shape whoever is in it, so a text's values do not depend on the others.
        """
        groups: dict[int, list[list[int]]] = {}
        for text, length in enumerate(lengths):
            padded = round_up(length, _LENGTH_STEP)
            full = groups.setdefault(padded, [[]])
            if len(full[-1]) == _at_once(padded):
                full.append([])
            full[-1].append(text)
        return [group for full in groups.values() for group in full]

    def read(self, texts: Sequence[Sequence[int]], ranks: Tensor) -> list[Tensor]:
        """Read one group.

        Args:
            texts: their token ids.
            ranks: which ranks each text uses, on the CPU [texts, ranks].

        Returns:
            What the head reads, of each text [tokens, width]; valid until the next group is read.
        """
        length = round_up(max(map(len, texts)), _LENGTH_STEP)
        count = _at_once(length)
        ids, mask = torch.zeros(count, length, dtype=torch.long), ranks.new_zeros(count, ranks.shape[1])
        mask[: len(texts)] = ranks
        for row, text in enumerate(texts):
            ids[row, : len(text)] = torch.tensor(text)
        place = self._place(length, ranks.shape[1])
        place.ids.copy_(ids.flatten())
        place.ranks.copy_(mask.repeat_interleave(length, 0))
        self._graphs.compute((length,), lambda: self._read(place, length))
        states = place.states.view(count, length, -1)
        return [states[row, : len(text)] for row, text in enumerate(texts)]

    def forget(self) -> None:
        """Drop the places, since the number of ranks may change."""
        self._places.clear()

    def _place(self, length: int, ranks: int) -> _Place:
        if length not in self._places:
            count = _at_once(length)
            cos, sin = (each.repeat(count, 1)[:, None] for each in self._angles(length))
            self._places[length] = _Place(
                torch.zeros(count * length, dtype=torch.long, device=self._embedding.device),
                self._embedding.new_zeros(count * length, ranks),
                cos,
                sin,
                self._embedding.new_zeros(count * length, self._embedding.shape[1]),
            )
        return self._places[length]

    def _read(self, place: _Place, length: int) -> None:
        x = functional.embedding(place.ids, self._embedding)
        for layer in self._layers:
            found = layer.project(x, place.ranks, place.cos, place.sin)
            query, pair = (each.unflatten(0, (-1, length)) for each in found)
            query, key, value = (each.transpose(1, 2) for each in (query, pair[:, :, 0], pair[:, :, 1]))
            grouped = query.shape[1] > key.shape[1]
            read = functional.scaled_dot_product_attention(
                query, key, value, is_causal=True, enable_gqa=grouped
            )
            x = layer.finish(x, read.transpose(1, 2).flatten(2).flatten(0, 1), place.ranks)
        place.states.copy_(normalize(x, self._norm))


def _at_once(length: int) -> int:
    return max(1, min(_TEXTS, _TOKENS // length))
