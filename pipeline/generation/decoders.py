"""What computes the next tokens of the running batch: one protocol, and its reference in transformers."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import psutil
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.generation.adapters import Adapter, AdapterStack


class Decoder(Protocol):
    """Computes logits of rows, each under its own adapter.

    What the rows have read is in a cache. Its rows are padded on the left to one length. A method that takes
    a cache uses it up, and returns the one to go on with.
    """

    def load(self, adapters: Sequence[Adapter | None]) -> None:
        """Hold the adapters of these rows and no others; None is the bare model."""
        ...

    def forward(
        self, adapters: Sequence[Adapter | None], ids: Tensor, positions: Tensor, cache: Any
    ) -> tuple[Tensor, Any]:
        """Read the next tokens of each row.

        Args:
            adapters: of each row, among those that are held.
            ids: the tokens [rows, columns].
            positions: of all tokens of the row [rows, cached columns + columns]; negative for padding.
            cache: None for rows that have read nothing.

        Returns:
            The logits of each row's next token [rows, vocabulary], and the cache.
        """
        ...

    def join(self, first: Any, second: Any) -> Any:
        """One cache of both caches' rows; the shorter one is padded."""
        ...

    def select(self, cache: Any, rows: Sequence[int], length: int) -> Any:
        """The cache of some of its rows, and of their last ``length`` tokens."""
        ...


class TransformersDecoder:
    """The reference: a transformers causal language model (see ``Decoder``)."""

    def __init__(self, model: Any, stack: AdapterStack) -> None:
        self._model, self._stack = model, stack

    def load(self, adapters: Sequence[Adapter | None]) -> None:
        """See ``Decoder.load``."""
        self._stack.load(adapters)

    def forward(
        self, adapters: Sequence[Adapter | None], ids: Tensor, positions: Tensor, cache: Any
    ) -> tuple[Tensor, Any]:
        """See ``Decoder.forward``."""
        self._stack.route(adapters)
        positions = positions.to(self._model.device)
        output = self._model(
            input_ids=ids.to(self._model.device),
            attention_mask=(positions >= 0).long(),
            position_ids=positions.clamp(min=0)[:, -ids.shape[1] :],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1], output.past_key_values

    def join(self, first: Any, second: Any) -> Any:
        """See ``Decoder.join``."""
        for layer, other in zip(first.layers, second.layers, strict=True):
            longest = max(layer.keys.shape[2], other.keys.shape[2])
            for name in ("keys", "values"):
                states = [getattr(each, name) for each in (layer, other)]  # [rows, heads, length, head size]
                padded = [functional.pad(each, (0, 0, longest - each.shape[2], 0)) for each in states]
                setattr(layer, name, torch.cat(padded))
                setattr(other, name, None)  # no more than one layer is held twice
        return first

    def select(self, cache: Any, rows: Sequence[int], length: int) -> Any:
        """See ``Decoder.select``."""
        for layer in cache.layers:
            for name in ("keys", "values"):
                states = getattr(layer, name)
                setattr(layer, name, states[list(rows), :, states.shape[2] - length :])
        return cache


def find_openvino_obstacle(model: Any, stack: AdapterStack) -> str | None:
    """Why OpenVINO cannot compute this model here; None if nothing prevents it."""
    config = model.config
    if find_spec("openvino") is None:
        return "openvino is not installed"
    if config.model_type not in ("llama", "qwen2") or getattr(config, "use_sliding_window", False):
        return f"OpenVINO's graph is written for Llama and Qwen2, and this is {config.model_type}"
    if config.hidden_act != "silu" or not all(type(each.base) is nn.Linear for each in stack.layers.values()):
        return "the model has layers that OpenVINO's graph does not"
    # The graph has weights of its own, and a copy of ours while they are made.
    if psutil.virtual_memory().available < 2 * model.get_memory_footprint():
        return "there is too little free memory for a second copy of the model"
    return None
