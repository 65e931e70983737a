"""The running batch's decoder for a GPU: caches that stay in place, so that a step is one CUDA graph.

A step of a small model is a thousand short kernels, and a CPU takes ten times longer to launch them than the
GPU to run them. A CUDA graph launches them at once, if all addresses and shapes are those of its capture. So
each row keeps its keys and values in a *slot*, at the place of their own positions, and a step computes the
first so many slots, those that nobody uses included. There are graphs for a few numbers of slots and lengths;
the first step of each captures it.

Without CUDA the same steps run one operation at a time: this is how the tests compare them on any machine.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.generation.adapters import Adapter, AdapterStack
from pipeline.generation.cuda_graphs import Graphs
from pipeline.generation.decoders import sum_nats
from pipeline.generation.fused_layers import Layer, Linear, normalize, round_up
from pipeline.generation.text_reader import TextReader

_LENGTH_STEP = 256
"""Lengths of the caches that a graph reads are multiples of it."""
_SLOT_STEP = 64
"""Numbers of slots are multiples of it, or powers of two below it."""
_RANK_STEP = 16
"""Room for ranks of adapters is a multiple of it."""


@dataclass(eq=False)
class _Rows:
    """The cache of some rows: their slots. Slots that no cache has are free."""

    slots: list[int]


class StaticDecoder:
    """A Llama or Qwen2 model with stacked adapters (see ``Decoder``)."""

    most_to_join: float = float("inf")

    def __init__(self, model: Any, stack: AdapterStack) -> None:
        """Take over the model's weights: those that read the same input become one matrix in memory."""
        self._stack, self._device = stack, model.device
        core, config = model.model, model.config
        self._embedding, self._norm, self._head = core.embed_tokens.weight, core.norm, model.lm_head.weight
        self._rotary = core.rotary_emb
        self._heads, query_heads = config.num_key_value_heads, config.num_attention_heads
        self._head_size = getattr(config, "head_dim", None) or config.hidden_size // query_heads
        self._group = query_heads // self._heads  # query heads for each cached head
        self._layers = [
            Layer(layer, number, stack, self._heads, self._head_size)
            for number, layer in enumerate(core.layers)
        ]
        self._order: tuple[str, ...] | None = None  # of the adapters in the matrices
        self._ranks = 0  # that the matrices have room for
        self._caches: weakref.WeakSet[_Rows] = weakref.WeakSet()
        self._slots = self._length = 0
        self._cache = self._embedding.new_zeros(0)  # [layers, 2, slots, heads, length + 1, head size]
        self._graphs = Graphs(model.device)
        self._reader = TextReader(self._layers, self._embedding, self._norm, self._angles, self._graphs)

    def load(self, adapters: Sequence[Adapter | None], keep: bool = False) -> None:
        """See ``Decoder.load``, and ``AdapterStack.load`` for ``keep``.

        The matrices stay where they are unless they have to grow.
        """
        self._stack.load(adapters, keep)
        if self._stack.order == self._order:
            return
        self._order = self._stack.order
        ranks = round_up(self._stack.ranks, _RANK_STEP)
        if ranks > self._ranks:
            self._ranks = ranks
            self._forget()
            for linear in self._linears():
                linear.make_room(ranks)
        for linear in self._linears():
            linear.copy_adapters(self._stack.ranks)

    def forward(
        self, adapters: Sequence[Adapter | None], ids: Tensor, positions: Tensor, cache: _Rows | None
    ) -> tuple[Tensor, _Rows]:
        """See ``Decoder.forward``."""
        columns, length = ids.shape[1], int(positions[:, -1].max()) + 1
        if cache is None:
            cache = self._new_rows(len(ids), length)
        if columns > 1:
            self._make_room(self._slots, length)
            return self._read(adapters, ids, positions[:, -columns:], cache), cache
        self._pack(cache)
        slots = _slot_step(max(cache.slots) + 1)
        self._make_room(slots, length)
        self._set_inputs(adapters, ids[:, 0], positions[:, -1], cache.slots)
        length = round_up(length, _LENGTH_STEP)
        self._graphs.compute((slots, length), lambda: self._compute_step(slots, length))
        return self._logits[cache.slots], cache

    def join(self, first: _Rows, second: _Rows) -> _Rows:
        """See ``Decoder.join``."""
        first.slots, second.slots = first.slots + second.slots, []
        return first

    def select(self, cache: _Rows, rows: Sequence[int], length: int) -> _Rows:
        """See ``Decoder.select``; a row begins at its own first position, so ``length`` changes nothing."""
        cache.slots = [cache.slots[row] for row in rows]
        return cache

    def _forget(self) -> None:
        """Addresses or sizes change: no graph is of use."""
        self._graphs.forget()
        self._reader.forget()

    # Slots

    def _new_rows(self, number: int, length: int) -> _Rows:
        taken = {slot for cache in self._caches for slot in cache.slots}
        free = (slot for slot in range(len(taken) + number) if slot not in taken)
        cache = _Rows([slot for slot, _ in zip(free, range(number), strict=False)])
        self._make_room(_slot_step(max(cache.slots) + 1), length)
        # What a masked position holds is multiplied by 0, which does not take away what is not a number.
        self._cache[:, :, cache.slots] = 0
        self._caches.add(cache)
        return cache

    def _make_room(self, slots: int, length: int) -> None:
        """Grow the caches; the graphs of the old addresses are of no use then."""
        slots, length = max(slots, self._slots), round_up(length, _LENGTH_STEP)
        if slots == self._slots and length <= self._length:
            return
        if length > self._length:
            length = max(length, round_up(self._length * 5 // 4, _LENGTH_STEP))  # not at every step
        length = max(length, self._length)
        self._forget()
        kind = {"dtype": self._embedding.dtype, "device": self._device}
        # Unused slots write to one place more than there are positions.
        shape = (len(self._layers), 2, slots, self._heads, length + 1, self._head_size)
        cache = torch.zeros(shape, **kind)
        if self._slots:
            cache[:, :, : self._slots, :, : self._length] = self._cache[:, :, :, :, : self._length]
        self._cache, self._slots, self._length = cache, slots, length
        self._cos, self._sin = self._angles(length + 1)
        self._ids = torch.zeros(slots, dtype=torch.long, device=self._device)
        self._positions = torch.full((slots,), length, device=self._device)
        self._logits = torch.zeros(slots, len(self._head), **kind)
        self._mask = torch.zeros(0, **kind)  # made with the first inputs
        self._users: Any = None  # of the mask

    def _pack(self, cache: _Rows) -> None:
        """Move rows to lower slots where a smaller graph is then enough."""
        enough = _slot_step(len(cache.slots))
        if _slot_step(max(cache.slots) + 1) == enough:
            return
        taken = {slot for each in self._caches for slot in each.slots}
        free = [slot for slot in range(enough) if slot not in taken]
        high = [row for row, slot in enumerate(cache.slots) if slot >= enough]
        for row, slot in zip(high, free, strict=False):
            self._cache[:, :, slot] = self._cache[:, :, cache.slots[row]]
            cache.slots[row] = slot

    # A step

    def _set_inputs(
        self, adapters: Sequence[Adapter | None], ids: Tensor, positions: Tensor, slots: list[int]
    ) -> None:
        every = torch.zeros(2, self._slots, dtype=torch.long)
        every[1] = self._length
        every[0, slots], every[1, slots] = ids, positions
        every = every.to(self._device)
        self._ids.copy_(every[0])
        self._positions.copy_(every[1])
        users = (
            self._order,
            self._ranks,
            self._slots,
            list(slots),
            [each and each.fingerprint for each in adapters],
        )
        if users == self._users:
            return
        self._users = users
        mask = self._rank_mask(adapters)
        if self._mask.shape != (self._slots, mask.shape[1]):
            self._mask = self._embedding.new_zeros(self._slots, mask.shape[1])
        whole = torch.zeros(self._mask.shape, dtype=mask.dtype)
        whole[slots] = mask
        self._mask.copy_(whole)

    def _rank_mask(self, adapters: Sequence[Adapter | None]) -> Tensor:
        """Which ranks each row uses, for as many layers as a ``Linear`` has at most: on the CPU."""
        mask = self._stack.rank_mask(adapters).to(self._embedding.dtype)
        return functional.pad(mask, (0, self._ranks - mask.shape[1])).repeat(1, 3)

    def _compute_step(self, slots: int, length: int) -> None:
        """The next token's logits of the first slots, from the first ``length`` positions of the caches."""
        positions, ranks = self._positions[:slots], self._mask[:slots]
        cos, sin = self._cos[positions][:, None], self._sin[positions][:, None]  # [slots, 1, head size]
        seen = torch.arange(length, device=self._device) <= positions[:, None]
        mask = _additive(seen, self._embedding.dtype)[:, None, None]  # [slots, 1, 1, length]
        mask = mask.expand(-1, self._heads, self._group, -1)
        every = torch.arange(slots, device=self._device)
        x = functional.embedding(self._ids[:slots], self._embedding)
        for layer, states in zip(self._layers, self._cache, strict=True):
            query, pair = layer.project(x, ranks, cos, sin)
            _by_place(states)[every, positions] = pair
            query = query.unflatten(1, (self._heads, self._group))
            keys, values = states[:, :slots, :, :length]
            found = functional.scaled_dot_product_attention(query, keys, values, mask)
            x = layer.finish(x, found.reshape(slots, -1), ranks)
        torch.mm(normalize(x, self._norm), self._head.t(), out=self._logits[:slots])

    # Prompts

    def _read(
        self, adapters: Sequence[Adapter | None], ids: Tensor, positions: Tensor, cache: _Rows
    ) -> Tensor:
        """Read a piece of the rows' prompts: [rows, columns]. Padding has negative positions."""
        (rows, columns), length = ids.shape, int(positions.max()) + 1
        row, column = (positions >= 0).nonzero(as_tuple=True)  # of each token that is no padding
        slots = torch.tensor(cache.slots)
        places = (slots[row].to(self._device), positions[row, column].to(self._device))
        tokens = (row * columns + column).to(self._device)
        slots, positions = slots.to(self._device), positions.clamp(min=0).to(self._device)
        seen = torch.arange(length, device=self._device) <= positions[:, :, None]
        mask = _additive(seen, self._embedding.dtype)  # [rows, columns, length]
        mask = mask.repeat(1, self._group, 1)[:, None].expand(-1, self._heads, -1, -1)
        ranks = self._rank_mask(adapters).to(self._device).repeat_interleave(columns, 0)
        flat = positions.flatten()
        cos, sin = self._cos[flat][:, None], self._sin[flat][:, None]
        x = functional.embedding(ids.to(self._device).flatten(), self._embedding)  # [rows · columns, width]
        for layer, states in zip(self._layers, self._cache, strict=True):
            query, pair = layer.project(x, ranks, cos, sin)
            _by_place(states)[places] = pair[tokens]
            # The query heads that share a cached head, one after another as if they were columns.
            query = query.unflatten(1, (self._heads, self._group)).unflatten(0, (rows, columns))
            query = query.permute(0, 2, 3, 1, 4).flatten(2, 3)
            keys, values = states[:, slots, :, :length]
            found = functional.scaled_dot_product_attention(query, keys, values, mask)
            found = found.unflatten(2, (self._group, columns)).permute(0, 3, 1, 2, 4)
            x = layer.finish(x, found.reshape(rows * columns, -1), ranks)
        last = x.view(rows, columns, -1)[:, -1]
        return functional.linear(normalize(last, self._norm), self._head)

    # Texts

    def group_texts(self, lengths: Sequence[int]) -> list[list[int]]:
        """See ``TextReader.group``."""
        return self._reader.group(lengths)

    def nats(
        self,
        adapters: Sequence[Adapter | None],
        prompts: Sequence[Sequence[int]],
        targets: Sequence[Sequence[int]],
    ) -> list[float]:
        """See ``Decoder.nats``; the texts are one group of ``group_texts``."""
        self.load(adapters, keep=True)  # the running batch needs the others again at its next step
        texts = [[*prompt, *target] for prompt, target in zip(prompts, targets, strict=True)]
        states = self._reader.read(texts, self._rank_mask(adapters))
        return sum_nats(lambda hidden: functional.linear(hidden, self._head), states, prompts, targets)

    def _angles(self, length: int) -> tuple[Tensor, Tensor]:
        """Of the first positions [length, head size]: what ``Layer.project`` rotates with."""
        places = torch.arange(length, device=self._device)
        cos, sin = self._rotary(self._embedding[:0], places[None])
        first, second = sin[0].chunk(2, -1)
        return cos[0], torch.cat([-first, second], -1)

    def _linears(self) -> list[Linear]:
        return [linear for layer in self._layers for linear in layer.linears]


def _by_place(cache: Tensor) -> Tensor:
    """A layer's cache as [slots, positions, 2, heads, head size]."""
    return cache.permute(1, 3, 0, 2, 4)


def _additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to scores: 0 where ``seen``, else minus infinity."""
    return torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, float("-inf"))


def _slot_step(slots: int) -> int:
    """The number of slots of the smallest graph for so many."""
    return round_up(slots, _SLOT_STEP) if slots > _SLOT_STEP else 1 << (slots - 1).bit_length()
