"""The training loop of the embedded families against TRL + PEFT on one GPU, on the same rows, in one run.

Run on a CUDA machine:  python -m tests.bench.training_loop --family qwen2.5-coder-1.5b
Each way trains on the first 500 samples in its own process. The first pass of the loop captures graphs, so
its second is measured; TRL captures nothing, and its time holds the set-up of its trainer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.evaluation.datasets import load_dataset
from pipeline.models.families import get_family
from pipeline.settings import Settings
from pipeline.versions import package_versions
from training import stepper
from training.backends import load
from training.encoding import encode_all
from training.jobs.progress import Reporter
from training.loop import batches

WAYS = ("loop", "loop without Liger", "loop without Liger and fused LoRA", "TRL + PEFT")
SAMPLES = 500


def main() -> None:
    """Measure every way in a process of its own; print one JSON line."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--family", default="qwen2.5-coder-1.5b")
    arguments.add_argument("--one", choices=WAYS)
    given = arguments.parse_args()
    if given.one:
        print(json.dumps(_measure(given.one, given.family)))
        return
    results: dict[str, Any] = {"bench": "training loop", "family": given.family, "samples": SAMPLES}
    results |= {"versions": package_versions(), "date": datetime.now(UTC).date().isoformat()}
    for way in WAYS:
        command = [sys.executable, "-m", "tests.bench.training_loop", "--family", given.family, "--one", way]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        results[way] = json.loads(done.stdout.strip().splitlines()[-1])
    print(json.dumps(results))


def _measure(way: str, name: str) -> dict[str, Any]:
    import torch

    settings = Settings.from_env()
    family = get_family(settings, name)
    model, tokenizer = load(settings, family, family.recipe, "peft", 42, lambda fraction, message: None)
    samples = load_dataset(settings, family.dataset, "regular").subset(SAMPLES)
    rows = encode_all(samples, "regular", family, tokenizer)
    if way == WAYS[-1]:
        from training.trainer import train_with_trl

        work = Path(tempfile.mkdtemp())
        start = time.perf_counter()
        recipe = replace(family.recipe, epochs=1)
        train_with_trl(model, tokenizer, rows, family, recipe, 42, work, Reporter(), False)
    else:
        nothing: Any = lambda model: None  # noqa: E731
        if "Liger" in way:
            stepper.use_liger = nothing
        if "fused" in way:
            stepper.fuse_lora = nothing
        loop = stepper.Stepper(model, family.learning_rate)
        for _ in range(2):
            torch.cuda.synchronize()
            start = time.perf_counter()
            for batch in batches(rows, family.batch_size, 1, 42):
                loop.step(batch, family.learning_rate)
    torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return {
        "device": torch.cuda.get_device_name(),
        "tokens_per_second": round(sum(len(row["input_ids"]) for row in rows) / seconds),
        "samples_per_second": round(SAMPLES / seconds, 1),
        "peak_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1),
    }


if __name__ == "__main__":
    main()
