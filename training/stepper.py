"""Optimizer steps on LoRA weights; on a GPU each batch shape is captured once as a CUDA graph and replayed.

A step is bound by launching its kernels, not by arithmetic: batch 16 took as long at 210 tokens a sample as
at 865. Batches are padded on the right, so that causal attention needs no mask, and only the tokens that
carry loss reach the output layer. On a CPU the same steps run without graphs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface

from training.encoding import IGNORED
from training.lora_linear import fuse_lora

_MAX_GRAD_NORM = 1.0
_CPU_BYTES = 4_000_000_000  # for the activations of one forward pass

Row = dict[str, list[int]]
"""``input_ids`` and ``labels`` of one sample (``training.encoding``)."""


@dataclass(frozen=True)
class _Batch:
    """Some rows of a batch as tensors of a shape that occurs often.

    Attributes:
        ids: [rows, length], padded on the right.
        places: [tokens], where in the flattened ids a token that carries loss is predicted.
        labels: [tokens], these tokens; ``IGNORED`` where ``places`` is padded.
    """

    ids: Tensor
    places: Tensor
    labels: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.ids.shape, *self.places.shape)


class Stepper:
    """The weights, the optimizer and, on a GPU, the captured graphs."""

    def __init__(self, model: Any, learning_rate: float) -> None:
        base = model.get_base_model()
        self.device = base.device
        self.graphs = self.device.type == "cuda"
        _use_causal_attention(base)
        fuse_lora(base)
        if self.graphs:
            use_liger(base)
        model.train()
        self.body, self.head = base.base_model, base.get_output_embeddings()
        self.weights = [p for p in model.parameters() if p.requires_grad]
        self.masters = [p.detach().float().clone() for p in self.weights]
        for weight, master in zip(self.weights, self.masters, strict=True):
            weight.data = weight.data.to(base.dtype)
            master.grad = torch.zeros_like(master)
        self.rate = torch.tensor(learning_rate, device=self.device)
        self.optimizer = torch.optim.AdamW(
            self.masters, lr=self.rate, weight_decay=0.0, fused=True, capturable=self.graphs
        )
        self.share = torch.zeros((), device=self.device)  # 1 over the tokens of the batch that carry loss
        self.limit = max(1, tokens_at_once(base.config, self.device))
        self._captured: dict[Any, tuple[torch.cuda.CUDAGraph, _Batch | None, Any]] = {}
        self._pool: Any = None

    def step(self, rows: Sequence[Row], rate: float) -> tuple[float, float]:
        """One optimizer step; returns loss per token and gradient norm."""
        tokens = sum(label != IGNORED for row in rows for label in row["labels"])
        self.share.fill_(1 / tokens)
        self.rate.fill_(rate)
        losses = [self._run(self._accumulate, part).clone() for part in self._parts(rows)]
        norm = self._run(self._update, None)
        return float(torch.stack(losses).sum()), float(norm)

    @torch.no_grad()
    def loss(self, rows: Sequence[Row]) -> float:
        """Loss per token, without training on it."""
        tokens = sum(label != IGNORED for row in rows for label in row["labels"])
        self.share.fill_(1 / tokens)
        return float(sum(float(self._forward(part)) for part in self._parts(rows)))

    def _parts(self, rows: Sequence[Row]) -> Iterator[_Batch]:
        """The batch in parts that fit the memory, all of one shape."""
        length = _up(max(len(row["input_ids"]) for row in rows), 128 if self.graphs else 1)
        size = max(1, min(len(rows), self.limit // length))
        for start in range(0, len(rows), size):
            yield self._tensors(rows[start : start + size], size, length)

    def _tensors(self, rows: Sequence[Row], size: int, length: int) -> _Batch:
        ids = torch.zeros(size, length, dtype=torch.long)
        places: list[int] = []
        labels: list[int] = []
        for index, row in enumerate(rows):
            ids[index, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
            for place, label in enumerate(row["labels"]):
                if label != IGNORED:
                    places.append(index * length + place - 1)
                    labels.append(label)
        spare = _up(len(places), 512 if self.graphs else 1) - len(places)
        return _Batch(
            ids.to(self.device),
            torch.tensor(places + [0] * spare).to(self.device),
            torch.tensor(labels + [IGNORED] * spare).to(self.device),
        )

    def _forward(self, batch: _Batch) -> Tensor:
        hidden = self.body(input_ids=batch.ids, use_cache=False).last_hidden_state
        logits = self.head(hidden.flatten(0, 1).index_select(0, batch.places)).float()
        total = F.cross_entropy(logits, batch.labels, ignore_index=IGNORED, reduction="sum")
        return total * self.share

    def _accumulate(self, batch: _Batch) -> Tensor:
        loss = self._forward(batch)
        loss.backward()
        gradients = [weight.grad for weight in self.weights]
        torch._foreach_add_([master.grad for master in self.masters], gradients)
        return loss.detach()

    def _update(self, _: None) -> Tensor:
        norm = torch.nn.utils.clip_grad_norm_(self.masters, _MAX_GRAD_NORM, foreach=True)
        self.optimizer.step()
        torch._foreach_copy_([weight.data for weight in self.weights], self.masters)
        torch._foreach_zero_([master.grad for master in self.masters])
        return norm

    def _run(self, work: Any, batch: Any) -> Any:
        """Do a piece of work: the first time as it is, from then on as the graph captured of it."""
        if not self.graphs:
            self._forget_gradients()
            return work(batch)
        key = (work.__name__, batch.shape if batch else ())
        if key in self._captured:
            graph, inputs, result = self._captured[key]
            if batch:
                for name in ("ids", "places", "labels"):
                    getattr(inputs, name).copy_(getattr(batch, name))
            graph.replay()
            return result
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            self._forget_gradients()
            result = work(batch).clone()
        torch.cuda.current_stream().wait_stream(aside)
        self._forget_gradients()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            captured = work(batch)
        self._pool = self._pool or graph.pool()
        self._captured[key] = graph, batch, captured
        return result

    def _forget_gradients(self) -> None:
        for weight in self.weights:
            weight.grad = None


def _use_causal_attention(base: Any) -> None:
    """Let every token attend to those before it, without a mask: padding stands on the right."""

    def causal(
        module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, scaling: float, **_: Any
    ) -> tuple[Tensor, None]:
        out = F.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
        )
        return out.transpose(1, 2).contiguous(), None

    AttentionInterface.register("causal", causal)
    AttentionMaskInterface.register("causal", lambda *_, **__: None)
    base.set_attn_implementation("causal")


def use_liger(base: Any) -> None:
    """Use Liger's fused kernels, if they are installed and know the architecture."""
    with suppress(ImportError):
        from liger_kernel.transformers import monkey_patch

        patch = monkey_patch.MODEL_TYPE_TO_APPLY_LIGER_FN.get(base.config.model_type)
        if patch:
            patch(model=base, fused_linear_cross_entropy=False, cross_entropy=False)


def tokens_at_once(config: Any, device: torch.device) -> int:
    """How many tokens one forward and backward pass may hold.

    Rests on about 34 hidden and 8 inner vectors of bf16 kept for each token and layer; measured 36 GB for
    16,384 tokens of the 135M model.
    """
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    per_layer = 34 * config.hidden_size + 8 * inner
    per_token = 2 * config.num_hidden_layers * per_layer
    budget = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else _CPU_BYTES
    return int(budget // per_token)


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
