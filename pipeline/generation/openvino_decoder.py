"""The running batch's decoder on OpenVINO: the fast one on a CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import openvino as ov
import torch
from torch import Tensor

from pipeline.generation.adapters import Adapter, AdapterStack
from pipeline.generation.openvino_graph import MASKED, build_graph, share_memory, state_name


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
            yield state, state.state.data[self.rows, :, self.columns - self.length :]


class OpenVinoDecoder:
    """A compiled graph with the stacked adapters as inputs: others need no compiling (see ``Decoder``)."""

    def __init__(self, model: Any, stack: AdapterStack) -> None:
        """Write and compile the graph of a model on the CPU: seconds, in which other threads can go on."""
        self._stack, self._dtype, self._rotary = stack, model.dtype, model.model.rotary_emb
        self._graph = build_graph(model)
        precision = "bf16" if model.dtype == torch.bfloat16 else "f32"
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "KV_CACHE_PRECISION": precision,  # else 8 bits
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # none
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self._compiled = ov.Core().compile_model(self._graph.model, "CPU", options)
        self._order: tuple[str, ...] | None = None  # of the adapters in the matrices
        self._matrices: dict[str, Any] = {}

    def load(self, adapters: Sequence[Adapter | None]) -> None:
        """See ``Decoder.load``."""
        self._stack.load(adapters)
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
            padded = [
                np.pad(each, ((0, 0), (0, 0), (longest - each.shape[2], 0), (0, 0))) for each in (own, other)
            ]
            _set_state(state, np.concatenate(padded))
        first.rows = list(range(len(first.rows) + len(second.rows)))
        first.length = first.columns = longest
        return first

    def select(self, cache: _Cache, rows: Sequence[int], length: int) -> _Cache:
        """See ``Decoder.select``; the states are as they were until the next call."""
        cache.rows = [cache.rows[row] for row in rows]
        cache.length = length
        return cache

    def adopt(self, cache: Any) -> _Cache:
        """The cache of a transformers model, to go on with it here."""
        values = {
            state_name(number, kind): getattr(layer, kind)
            for number, layer in enumerate(cache.layers)
            for kind in ("keys", "values")
        }
        rows, _, length, _ = values[state_name(0, "keys")].shape
        own = _Cache(self._compiled.create_infer_request(), list(range(rows)), length, length)
        for state in own.request.query_state():
            _set_state(state, values[state.name].float().numpy())
        return own

    def _rank_mask(self, adapters: Sequence[Adapter | None], columns: int) -> Tensor:
        """[rows · columns, R]."""
        self._stack.route(adapters)
        mask = self._stack.routing.mask
        if mask is None:
            return torch.zeros(len(adapters) * columns, 0, dtype=self._dtype)
        return mask.expand(-1, columns, -1).flatten(0, 1)

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


def _set_state(state: Any, values: np.ndarray[Any, Any]) -> None:
    state.state = ov.Tensor(np.ascontiguousarray(values))
