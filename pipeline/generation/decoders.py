"""What computes the next tokens of the running batch: one protocol, and its reference in transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    Attributes:
        most_to_join: tokens that two caches have together at most if joining them is worth its time.
    """

    most_to_join: float

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

    def group_texts(self, lengths: Sequence[int]) -> list[list[int]]:
        """Which texts ``nats`` reads at once."""
        ...

    def nats(
        self,
        adapters: Sequence[Adapter | None],
        prompts: Sequence[Sequence[int]],
        targets: Sequence[Sequence[int]],
    ) -> list[float]:
        """Of each text under its adapter, the sum of -ln p over the target's tokens after the prompt."""
        ...

    def join(self, first: Any, second: Any) -> Any:
        """One cache of both caches' rows; the shorter one is padded."""
        ...

    def select(self, cache: Any, rows: Sequence[int], length: int) -> Any:
        """The cache of some of its rows, and of their last ``length`` tokens."""
        ...


class TransformersDecoder:
    """The reference: a transformers causal language model (see ``Decoder``)."""

    most_to_join: float = float("inf")

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
        self._stack.assign(adapters)
        texts = [[*prompt, *target] for prompt, target in zip(prompts, targets, strict=True)]
        ids = torch.tensor(texts, device=self._model.device)
        states = self._model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        return sum_nats(self._model.get_output_embeddings(), list(states), prompts, targets)

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


def read_alone(lengths: Sequence[int]) -> list[list[int]]:
    """Each text by itself: kernels round differently for other shapes, and no text may depend on others."""
    return [[text] for text in range(len(lengths))]


def sum_nats(
    head: Callable[[Tensor], Tensor],
    states: Sequence[Tensor],
    prompts: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
) -> list[float]:
    """See ``Decoder.nats``; ``states`` are what the head reads, of each text [tokens, width]."""
    nats = []
    for hidden, prompt, target in zip(states, prompts, targets, strict=True):
        logits = head(hidden[len(prompt) - 1 : len(prompt) + len(target) - 1]).float()
        expected = torch.tensor(target, device=logits.device)
        nats.append(functional.cross_entropy(logits, expected, reduction="sum"))
    return torch.stack(nats).tolist()


def find_obstacle(model: Any, stack: AdapterStack) -> str | None:
    """Why the fast decoders, OpenVINO's and the static one, cannot compute this model; None if they can."""
    config = model.config
    if config.model_type not in ("llama", "qwen2") or getattr(config, "use_sliding_window", False):
        return f"the fast decoder is written for Llama and Qwen2, and this is {config.model_type}"
    plain = all(type(each.base) is nn.Linear for each in stack.layers.values())
    fixed = model.model.rotary_emb.rope_type not in ("dynamic", "longrope")  # angles, whatever the length
    if config.hidden_act != "silu" or not plain or not fixed:
        return "the model has layers that the fast decoder does not have"
    return None


def find_openvino_obstacle(model: Any, stack: AdapterStack) -> str | None:
    """Why OpenVINO cannot compute this model here; None if nothing prevents it."""
    if find_spec("openvino") is None:
        return "openvino is not installed"
    if obstacle := find_obstacle(model, stack):
        return obstacle
    if psutil.virtual_memory().available < model.get_memory_footprint():
        return "there is too little free memory for a second copy of the model"
    return None
