"""The running batch's decoder on OpenVINO: the fast one on a CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import openvino as ov
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.generation.adapters import Adapter, AdapterStack
from pipeline.generation.decoders import read_alone
from pipeline.generation.engine import INT8
from pipeline.generation.int8 import Int8
from pipeline.generation.openvino_graph import MASKED, build_graph, share_memory
from pipeline.memory import release_file_pages, release_freed_memory

_PIECE = 64  # tokens of a text whose logits are computed together
_ACTIVATIONS = 32
"""How many numbers that a layer of int8 weights reads are rounded to int8 with one scale.

Products of integers are several times as fast as those with weights made whole, and this rounding is small
beside that of the weights. Each row has scales of its own, so that it does not depend on other rows.
"""


@dataclass(eq=False)
class _Cache:
    """A request of the compiled graph; its states are the cache.

    Attributes:
        rows: of each row that is left, its place in the states.
        length: how many tokens of the states count, from the last one back.
        columns: how many there are: those of rows that have left are dropped when the next rows join.
        matrices: the adapters' inputs that the request has.
    """

    request: Any
    rows: list[int] = field(default_factory=list)
    length: int = 0
    columns: int = 0
    matrices: Mapping[str, Any] | None = None

    def states(self) -> Iterator[tuple[Any, np.ndarray[Any, Any]]]:
        """Each state, and what counts of it: [rows, heads, length, head size]."""
        for state in sorted(self.request.query_state(), key=lambda state: str(state.name)):
            values = state.state.data[:, :, self.columns - self.length :]
            yield state, values if self.rows == list(range(len(values))) else values[self.rows]


class OpenVinoDecoder:
    """A compiled graph with the stacked adapters as inputs: others need no compiling (see ``Decoder``).

    OpenVINO converts the states of a cache when they are read, and again when they are set: joining 100 rows
    of 64 tokens with a few others takes 1.5 to 2 s on two cores, as long as 30 steps of the few alone.
    """

    most_to_join: float = 4096

    rounding: str
    """What is rounded to less than the model's precision; empty if nothing is."""

    def __init__(self, model: Any, stack: AdapterStack, int8: Mapping[str, Int8] | None = None) -> None:
        """Write and compile the graph of a model on the CPU: seconds, in which other threads can go on.

        Args:
            model: in transformers.
            stack: the model's linear layers.
            int8: weights to compute with instead of the model's own, by the name of their layer.
        """
        self._stack, self._dtype, self._rotary = stack, model.dtype, model.model.rotary_emb
        self._graph = build_graph(model, int8 or {})
        precision = "bf16" if model.dtype == torch.bfloat16 else "f32"
        self.rounding = "" if not int8 else INT8 if precision == "f32" else f"{INT8} and activations"
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "KV_CACHE_PRECISION": precision,  # else 8 bits
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": _ACTIVATIONS if int8 and precision == "bf16" else 0,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self._compiled = ov.Core().compile_model(self._graph.model, "CPU", options)
        self._order: tuple[str, ...] | None = None  # of the adapters in the matrices
        self._matrices: dict[str, Any] = {}
        self._pack_weights()

    @torch.inference_mode()
    def _pack_weights(self) -> None:
        """Run once: OpenVINO makes its own copy of the weights then, and seldom reads ours again."""
        self.load([None])
        self.forward([None], torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 1, dtype=torch.long), None)
        release_file_pages(".safetensors")
        release_freed_memory()

    def load(self, adapters: Sequence[Adapter | None], keep: bool = False) -> None:
        """See ``Decoder.load``, and ``AdapterStack.load`` for ``keep``."""
        self._stack.load(adapters, keep)
        if self._stack.order == self._order:
            return
        self._matrices, self._order = {}, self._stack.order
        for projection in self._graph.projections:
            layers = [self._stack.layers[name] for name in projection.layers]
            kind, ranks = {"dtype": self._dtype}, self._stack.ranks
            a = [torch.zeros(ranks, x.base.in_features, **kind) if x.a is None else x.a for x in layers]
            b = [torch.zeros(x.base.out_features, ranks, **kind) if x.b is None else x.b for x in layers]
            self._matrices[f"{projection.name}.a"] = share_memory(torch.cat(a))
            self._matrices[f"{projection.name}.b"] = share_memory(torch.block_diag(*b))

    def forward(
        self, adapters: Sequence[Adapter | None], ids: Tensor, positions: Tensor, cache: _Cache | None
    ) -> tuple[Tensor, _Cache]:
        """See ``Decoder.forward``."""
        logits, cache = self._forward(adapters, ids, positions, cache, first=-1)
        return logits[:, -1], cache

    def group_texts(self, lengths: Sequence[int]) -> list[list[int]]:
        """See ``read_alone``."""
        return read_alone(lengths)

    def nats(
        self,
        adapters: Sequence[Adapter | None],
        prompts: Sequence[Sequence[int]],
        targets: Sequence[Sequence[int]],
    ) -> list[float]:
        """See ``Decoder.nats``."""
        self.load(adapters, keep=True)  # the running batch needs the others again at its next step
        return list(map(self._nats, adapters, prompts, targets))

    def _nats(self, adapter: Adapter | None, prompt: Sequence[int], target: Sequence[int]) -> float:
        """Read in pieces, since the logits of all tokens can take 600 MB."""
        ids, cache, total, begin = torch.tensor([[*prompt, *target[:-1]]]), None, 0.0, 0
        for end in (*range(len(prompt), ids.shape[1], _PIECE), ids.shape[1]):
            positions, first = torch.arange(end)[None], max(0, len(prompt) - 1 - begin)
            logits, cache = self._forward([adapter], ids[:, begin:end], positions, cache, first)
            expected = target[max(0, begin - len(prompt) + 1) : end - len(prompt) + 1]
            total += float(functional.cross_entropy(logits[0], torch.tensor(expected), reduction="sum"))
            begin = end
        return total

    def _forward(
        self,
        adapters: Sequence[Adapter | None],
        ids: Tensor,
        positions: Tensor,
        cache: _Cache | None,
        first: int,
    ) -> tuple[Tensor, _Cache]:
        """The logits from the column ``first`` on [rows, wanted, vocabulary], and the cache."""
        (rows, columns), end = ids.shape, positions.shape[1]
        cache = cache or _Cache(self._compiled.create_infer_request(), list(range(rows)))
        if cache.matrices is not self._matrices:
            for name, (tensor, _) in self._matrices.items():
                cache.request.set_tensor(name, tensor)
            cache.matrices = self._matrices
        inputs = {
            "ids": ids,
            "mask": _attention_mask(positions, columns, cache.columns + columns - end),
            "beam": torch.tensor(cache.rows, dtype=torch.int32),
            "ranks": self._rank_mask(adapters, columns),
            "first": torch.tensor([first]),
            **self._angles(positions[:, end - columns :].clamp(min=0)),
        }
        shared = {name: share_memory(values) for name, values in inputs.items()}
        for name, (tensor, _) in shared.items():
            cache.request.set_tensor(name, tensor)
        cache.request.infer()
        cache.rows = list(range(rows))
        cache.length, cache.columns = end, cache.columns + columns
        return torch.from_numpy(cache.request.get_output_tensor(0).data.copy()), cache

    def join(self, first: _Cache, second: _Cache) -> _Cache:
        """See ``Decoder.join``."""
        longest = max(first.length, second.length)
        for (state, own), (_, other) in zip(first.states(), second.states(), strict=True):
            _, heads, _, size = own.shape
            both = np.zeros((len(own) + len(other), heads, longest, size), own.dtype)
            both[: len(own), :, longest - first.length :] = own
            both[len(own) :, :, longest - second.length :] = other
            state.state = ov.Tensor(both)
        first.rows = list(range(len(first.rows) + len(second.rows)))
        first.length = first.columns = longest
        return first

    def select(self, cache: _Cache, rows: Sequence[int], length: int) -> _Cache:
        """See ``Decoder.select``; the states are as they were until the next call."""
        cache.rows = [cache.rows[row] for row in rows]
        cache.length = length
        return cache

    def _rank_mask(self, adapters: Sequence[Adapter | None], columns: int) -> Tensor:
        """[rows · columns, R]."""
        mask = self._stack.rank_mask(adapters).to(self._dtype)
        return mask.repeat_interleave(columns, 0)

    def _angles(self, positions: Tensor) -> dict[str, Tensor]:
        """In fp32: a product of positions in bf16 would be far off."""
        cos, sin = self._rotary(torch.empty(0), positions)
        return {"cos": cos[:, None], "sin": sin[:, None]}


def _attention_mask(positions: Tensor, columns: int, surplus: int) -> Tensor:
    """What is added to the scores of the last columns [rows, 1, columns, surplus + length].

    Columns before the positions, a row's padding, and what comes after a token do not count.
    """
    length = positions.shape[1]
    seen = torch.arange(length) <= torch.arange(length - columns, length)[:, None]
    visible = seen & (positions >= 0)[:, None, :]  # [rows, columns, length]
    mask = torch.full((len(positions), 1, columns, surplus + length), MASKED)
    mask[:, 0, :, surplus:].masked_fill_(visible, 0)
    return mask
