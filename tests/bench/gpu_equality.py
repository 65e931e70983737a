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

from pipeline.evaluation.attempts import render
from pipeline.evaluation.datasets import load_dataset
from pipeline.evaluation.tasks import task_from_sample
from pipeline.generation.engine import Request
from pipeline.generation.torch_engine import TorchEngine, load_engine
from pipeline.models.checkpoints import columns
from pipeline.models.families import DEFAULT_FAMILY, Family, get_family
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
    fast, fast_bits, fast_logits = _answers(settings, family, samples, dtype, plain="")
    slow, slow_bits, slow_logits = _answers(settings, family, samples, dtype, plain="it is the reference")
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
        found["logit_difference"] = float((fast_logits - slow_logits).abs().max())
    return found


def _answers(
    settings: Settings, family: Family, samples: Sequence[Sample], dtype: torch.dtype, plain: str
) -> tuple[list[str], list[float], torch.Tensor]:
    """The first tokens of each answer as text, bits per byte of its reference, and logits of some prompts."""
    engine = load_engine(settings, family, dtype=dtype, plain=plain)
    column = columns(settings, family)[COLUMN]
    sampling = SamplingParams(0, max_new_tokens=TOKENS)
    attempts = [render(engine, Attempt(task_from_sample(each), column), sampling) for each in samples]
    requests = [Request(column.checkpoint, each.prompt, each.prompt) for each in attempts]
    *_, last = engine.stream(requests, sampling)
    bits = engine.bits_per_byte(requests, [sample.function for sample in samples])
    logits = _logits(engine, requests[:LOGIT_PROMPTS])
    del engine
    gc.collect()
    torch.cuda.empty_cache()
    return [each.text for each in last], bits, logits


@torch.inference_mode()
def _logits(engine: TorchEngine, requests: Sequence[Request]) -> torch.Tensor:
    """After each prompt, read alone [prompts, vocabulary]."""
    rows = []
    for request in requests:
        adapters = [engine._adapter(request.checkpoint)]
        ids = torch.tensor([engine._prompts.encode(request.prompt)])
        engine._decoder.load(adapters)
        positions = torch.arange(ids.shape[1])[None]
        rows.append(engine._decoder.forward(adapters, ids, positions, None)[0].float().cpu())
    return torch.cat(rows)


if __name__ == "__main__":
    main()
