"""Random Llamas and Qwen2s of three layers with adapters, behind two decoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from pipeline.generation.adapters import Adapter, AdapterStack
from pipeline.generation.decoders import Decoder, TransformersDecoder
from pipeline.generation.running_batch import Row
from pipeline.generation.sampling import uniform_draws
from pipeline.schema import SamplingParams

SIZES = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
}
GREEDY = SamplingParams(temperature=0, max_new_tokens=12)
WARM = SamplingParams(temperature=0.9, min_p=0.05, max_new_tokens=12, seed=7)


def make_model(kind: str) -> Any:
    torch.manual_seed(0)
    if kind == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**SIZES))
    else:
        model = LlamaForCausalLM(LlamaConfig(**SIZES))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return model.eval()


class Both:
    """The same model and adapters behind the reference and another decoder."""

    def __init__(self, model: Any, decoder: Callable[[Any, AdapterStack], Any]) -> None:
        self.model, self.stack = model, AdapterStack(model)
        self.reference = TransformersDecoder(model, self.stack)
        self.decoder = decoder(model, self.stack)
        self.adapters = [None, *(self.make_adapter(seed) for seed in range(1, 6))]

    def make_adapter(self, seed: int) -> Adapter:
        """Of a rank of its own, and on some of the layers only."""
        generator = torch.Generator().manual_seed(seed)
        matrices = {}
        for name, layer in self.stack.layers.items():
            if seed % 2 or "o_proj" in name or "up_proj" in name or "q_proj" in name:
                base, rank = layer.base, 2 + seed
                a = torch.randn(rank, base.in_features, generator=generator) * 0.2
                matrices[name] = (a, torch.randn(base.out_features, rank, generator=generator) * 0.2)
        return Adapter(str(seed), f"seed {seed}", matrices)


def make_rows(both: Both, number: int, sampling: SamplingParams = GREEDY) -> list[Row]:
    """Of different lengths, each under its own adapter."""
    generator = torch.Generator().manual_seed(3)
    rows = []
    for at in range(number):
        prompt = torch.randint(300, (3 + 5 * at % 17,), generator=generator).tolist()
        draws = uniform_draws(sampling.seed, str(at), sampling.max_new_tokens)
        rows.append(Row(prompt, both.adapters[at % len(both.adapters)], sampling, draws))
    return rows


@torch.inference_mode()
def logits(decoder: Decoder, adapters: Sequence[Adapter | None]) -> torch.Tensor:
    """Of three pieces of a prompt, one of many tokens and two of one: [3, rows, vocabulary]."""
    ids = torch.randint(300, (len(adapters), 20), generator=torch.Generator().manual_seed(5))
    padding = torch.arange(len(adapters))[:, None]
    decoder.load(adapters)
    cache, found = None, []
    for begin, end in ((0, 18), (18, 19), (19, 20)):
        positions = torch.arange(end) - padding
        values, cache = decoder.forward(adapters, ids[:, begin:end], positions, cache)
        found.append(values.float())
    return torch.stack(found)
