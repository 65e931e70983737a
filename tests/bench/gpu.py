"""Tokens per second on one GPU: the engine with CUDA graphs, the same on transformers, and PEFT, in turn.

Run on a CUDA machine: python -m tests.bench.gpu [--into assets/studies/gpu_engine.json]

The models have the shapes of real ones and random weights, on which speed does not depend, and write all
tokens to the end. The engine's figures hold all of its work: prompts, sampling, text. PEFT's two ways are
measured for one prompt only.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from pipeline.generation import Request
from pipeline.generation.adapters import Adapter, AdapterStack
from pipeline.generation.tokenization import encode_prompt, prepare_tokenizer
from pipeline.generation.torch_engine import TorchEngine
from pipeline.models.families import DEFAULT_FAMILY, TARGETS, get_family
from pipeline.models.weights import base_model_dir
from pipeline.schema import Checkpoint, SamplingParams
from pipeline.settings import Settings
from pipeline.versions import package_versions

COLUMNS, RANK, TOKENS, ROUNDS = 6, 16, 128, 3
PEFT_TOKENS = 32  # it is slow
PROMPT = "Write a PyTorch module for scaled dot-product attention, number {}.\n"
SHAPES: dict[str, tuple[str, Any]] = {
    "135M": (
        "smollm2-135m",
        LlamaConfig(
            vocab_size=49152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            tie_word_embeddings=True,
        ),
    ),
    "1.5B": (
        "qwen2.5-coder-1.5b",
        Qwen2Config(
            vocab_size=151936,
            hidden_size=1536,
            intermediate_size=8960,
            num_hidden_layers=28,
            num_attention_heads=12,
            num_key_value_heads=2,
            tie_word_embeddings=True,
        ),
    ),
    "8B": (
        "llama-3.1-8b",
        LlamaConfig(
            vocab_size=128256,
            hidden_size=4096,
            intermediate_size=14336,
            num_hidden_layers=32,
            num_attention_heads=32,
            num_key_value_heads=8,
        ),
    ),
}


def main() -> None:
    """Measure each shape, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, help="file that gets the result too")
    into = parser.parse_args().into
    settings = Settings.from_env()
    base = base_model_dir(settings, get_family(settings, DEFAULT_FAMILY))
    speeds = {}
    for shape in SHAPES:
        speeds[shape] = _measure(settings, shape, base)
        gc.collect()
        torch.cuda.empty_cache()
    result = {
        "bench": "gpu",
        "command": "python -m tests.bench.gpu",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "gpu": torch.cuda.get_device_name(),
        "versions": package_versions(),
        "columns": COLUMNS,
        "rank": RANK,
        "new_tokens": TOKENS,
        "new_tokens_peft": PEFT_TOKENS,
        "tokens_per_second": speeds,
    }
    print(json.dumps(result))
    if into:
        into.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _measure(settings: Settings, shape: str, base: Path | str) -> dict[str, dict[str, Any]]:
    """Median, least and most tokens per second by way, for 1 and 32 prompts a column."""
    name, config = SHAPES[shape]
    values: dict[str, list[float]] = {}
    tokenizer = AutoTokenizer.from_pretrained(base)
    for way in ("CUDA graphs", "transformers"):
        with _engine(settings, name, config, tokenizer, way) as engine:
            for prompts in (1, 32):
                values[f"{way}, {COLUMNS} x {prompts}"] = _timed(lambda n=prompts: _write(engine, name, n))  # type: ignore[misc]
    for label, run in _peft_ways(config, tokenizer):
        values[f"{label}, {COLUMNS} x 1"] = _timed(run, rounds=1)
    return {
        way: {
            "median": round(statistics.median(each), 1),
            "least": round(min(each), 1),
            "most": round(max(each), 1),
        }
        for way, each in values.items()
    }


def _timed(run: Callable[[], int], rounds: int = ROUNDS) -> list[float]:
    """Tokens per second of each round, after one to warm up."""
    run()
    speeds = []
    for _ in range(rounds):
        start = time.perf_counter()
        tokens = run()
        torch.cuda.synchronize()
        speeds.append(tokens / (time.perf_counter() - start))
    return speeds


def _random_model(config: Any) -> Any:
    kind = Qwen2ForCausalLM if config.model_type == "qwen2" else LlamaForCausalLM
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):
            model = kind(config)
    finally:
        torch.set_default_dtype(torch.float32)
    model.generation_config.eos_token_id = config.eos_token_id = config.vocab_size - 1
    return model.eval()


@contextmanager
def _engine(settings: Settings, name: str, config: Any, tokenizer: Any, way: str) -> Iterator[TorchEngine]:
    """An engine that finds a random adapter for each checkpoint."""
    obstacle = "it is measured" if way == "transformers" else None
    with patch("pipeline.generation.torch_engine.find_obstacle", lambda model, stack: obstacle):
        engine = TorchEngine(get_family(settings, name), _random_model(config), tokenizer)
    read = "pipeline.generation.torch_engine.read_adapter"
    with patch(read, lambda checkpoint, family, layers: _random_adapter(engine.stack, checkpoint)):
        yield engine


def _random_adapter(stack: AdapterStack, checkpoint: Checkpoint) -> Adapter:
    generator = torch.Generator("cuda").manual_seed(checkpoint.subset_size or 0)
    matrices = {
        name: (
            torch.randn(RANK, layer.base.in_features, generator=generator, device="cuda") * 0.02,
            torch.randn(layer.base.out_features, RANK, generator=generator, device="cuda") * 0.02,
        )
        for name, layer in stack.layers.items()
    }
    return Adapter(checkpoint.fingerprint, checkpoint.name, matrices)


def _write(engine: TorchEngine, family: str, prompts: int) -> int:
    """Greedy texts of all columns for so many prompts; returns the number of tokens."""
    columns = [Checkpoint(family, "baseline")]
    columns += [
        Checkpoint(family, f"{n}", n, "regular", 42, None, None, f"seed {n}") for n in range(1, COLUMNS)
    ]
    requests = [Request(column, PROMPT.format(n), str(n)) for n in range(prompts) for column in columns]
    *_, last = engine.stream(requests, SamplingParams(0, max_new_tokens=TOKENS))
    return sum(completion.tokens for completion in last)


def _peft_ways(config: Any, tokenizer: Any) -> Iterator[tuple[str, Callable[[], int]]]:
    """PEFT as its users run it: one checkpoint after another, and all in one batch by ``adapter_names``."""
    prepare_tokenizer(tokenizer)
    names = [f"seed {number}" for number in range(1, COLUMNS)]
    lora = LoraConfig(r=RANK, target_modules=list(TARGETS), task_type="CAUSAL_LM", init_lora_weights=False)
    model = get_peft_model(_random_model(config), lora, adapter_name=names[0])
    for name in names[1:]:
        model.add_adapter(name, lora)
    model.eval()
    ids = torch.tensor([encode_prompt(tokenizer, PROMPT.format(0))], device="cuda")
    options = {"max_new_tokens": PEFT_TOKENS, "min_new_tokens": PEFT_TOKENS, "do_sample": False}

    def one_after_another() -> int:
        for name in names:
            model.set_adapter(name)
            model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
        with model.disable_adapter():
            model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
        return COLUMNS * PEFT_TOKENS

    def adapter_names() -> int:
        rows = ids.repeat(COLUMNS, 1)
        mask = torch.ones_like(rows)
        model.generate(input_ids=rows, attention_mask=mask, adapter_names=["__base__", *names], **options)
        return COLUMNS * PEFT_TOKENS

    yield "PEFT one after another", one_after_another
    yield "PEFT adapter_names", adapter_names


if __name__ == "__main__":
    main()
