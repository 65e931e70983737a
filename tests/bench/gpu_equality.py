"""How far the CUDA graphs' answers are from those of transformers, the reference, on one GPU.

Run on a CUDA machine with the base model and its checkpoints: python -m tests.bench.gpu_equality
[--family smollm2-135m] [--samples 200] [--into assets/studies/gpu_equality.json]

Each test sample is answered greedily by the checkpoint of 1,000 samples, by both ways, in the same precision:
the share of samples whose first 64 tokens are the same, and the difference of bits per byte. In fp32 also the
largest difference of a logit after the prompts.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from pipeline.evaluation.attempts import render
from pipeline.evaluation.datasets import load_dataset
from pipeline.evaluation.tasks import task_from_sample
from pipeline.generation.adapters import AdapterStack, read_adapter
from pipeline.generation.decoders import Decoder, TransformersDecoder
from pipeline.generation.engine import Request
from pipeline.generation.model_loading import load_model
from pipeline.generation.static_decoder import StaticDecoder
from pipeline.generation.torch_engine import load_engine
from pipeline.models.checkpoints import columns
from pipeline.models.families import DEFAULT_FAMILY, Family, get_family
from pipeline.models.weights import base_model_dir
from pipeline.schema import Attempt, Sample, SamplingParams
from pipeline.settings import Settings
from pipeline.versions import package_versions

TOKENS = 64
COLUMN = "1000/regular"
LOGIT_PROMPTS = 24


def main() -> None:
    """Compare both ways in fp32 and bf16, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", default=DEFAULT_FAMILY)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--into", type=Path, help="file that gets the result too")
    options = parser.parse_args()
    settings = Settings.from_env()
    family = get_family(settings, options.family)
    samples = load_dataset(settings, family.dataset, "regular").evaluation(options.samples)
    result = {
        "bench": "gpu_equality",
        "command": f"python -m tests.bench.gpu_equality --family {family.name} --samples {options.samples}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "gpu": torch.cuda.get_device_name(),
        "versions": package_versions(),
        "family": family.name,
        "column": COLUMN,
        "samples": len(samples),
        "tokens": TOKENS,
        "precisions": {
            name: _compare(settings, family, samples, dtype)
            for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
        },
    }
    print(json.dumps(result))
    if options.into:
        options.into.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _compare(
    settings: Settings, family: Family, samples: Sequence[Sample], dtype: torch.dtype
) -> dict[str, Any]:
    fast, fast_bits = _answers(settings, family, samples, dtype, plain="")
    slow, slow_bits = _answers(settings, family, samples, dtype, plain="it is the reference")
    differences = [abs(one - other) for one, other in zip(fast_bits, slow_bits, strict=True)]
    found = {
        "same_first_tokens": sum(one == other for one, other in zip(fast, slow, strict=True)) / len(samples),
        "bits_per_byte_difference": {
            "of_means": abs(statistics.mean(fast_bits) - statistics.mean(slow_bits)),
            "mean": statistics.mean(differences),
            "most": max(differences),
        },
    }
    if dtype == torch.float32:
        found["logit_difference"] = _logit_difference(settings, family, samples[:LOGIT_PROMPTS])
    return found


def _answers(
    settings: Settings, family: Family, samples: Sequence[Sample], dtype: torch.dtype, plain: str
) -> tuple[list[str], list[float]]:
    """The first tokens of each answer as text, and bits per byte of its reference."""
    engine = load_engine(settings, family, dtype=dtype, plain=plain)
    column = columns(settings, family)[COLUMN]
    sampling = SamplingParams(0, max_new_tokens=TOKENS)
    attempts = [render(engine, Attempt(task_from_sample(each), column), sampling) for each in samples]
    requests = [Request(column.checkpoint, each.prompt, each.prompt) for each in attempts]
    *_, last = engine.stream(requests, sampling)
    bits = engine.bits_per_byte(requests, [sample.function for sample in samples])
    del engine
    gc.collect()
    torch.cuda.empty_cache()
    return [each.text for each in last], bits


@torch.inference_mode()
def _logit_difference(settings: Settings, family: Family, samples: Sequence[Sample]) -> float:
    """The largest after an instruction that is read alone, in fp32."""
    source = base_model_dir(settings, family)
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = load_model(family, source, torch.float32)
    stack = AdapterStack(model)
    checkpoint = columns(settings, family)[COLUMN].checkpoint
    adapters = [read_adapter(checkpoint, family, stack.layers).to(model)]
    rows = [torch.tensor([tokenizer(sample.prompt).input_ids]) for sample in samples]

    def logits(decoder: Decoder) -> torch.Tensor:
        decoder.load(adapters)
        places = [torch.arange(ids.shape[1])[None] for ids in rows]
        found = (decoder.forward(adapters, ids, at, None)[0] for ids, at in zip(rows, places, strict=True))
        return torch.cat([each.clone() for each in found])

    expected = logits(TransformersDecoder(model, stack))  # first: the other takes the weights over
    return float((logits(StaticDecoder(model, stack)) - expected).abs().max())


if __name__ == "__main__":
    main()
