"""Unsloth against TRL + PEFT on one GPU: speed, memory and loss on the same rows, in one run.

Run on a CUDA machine:  python -m tests.bench.training
The 8B model has Llama-3.1-8B's shape and random weights (quantized to NF4): speed and memory do not
depend on the values, its loss says nothing. The embedded model is the real one. Both backends get the same
rows: padded for the embedded model, packed (TRL's best-fit decreasing) for the 8B one, as the families say.
Nothing is saved while the clock runs: a training saves ten times in all, 30 steps would do so as often.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.evaluation.datasets import load_dataset
from pipeline.models.families import Family, get_family
from pipeline.models.weights import base_model_dir
from pipeline.settings import Settings
from pipeline.versions import package_versions
from training.backends import load
from training.encoding import encode_all
from training.jobs.progress import Reporter

STEPS, WARM = 30, 12
# Rows a step: samples of the embedded model, packed rows of the 8B one.
MODELS = {"smollm2-135m": (16,), "llama-3.1-8b": (2, 4)}
EMBEDDED, LARGE = MODELS


def main() -> None:
    """Run every backend and model in a process of its own; print one JSON line."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--one", nargs=3, metavar=("BACKEND", "MODEL", "FOLDER"))
    arguments.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    given = arguments.parse_args()
    if given.one:
        print(json.dumps(_measure(*given.one)))
        return
    results: dict[str, Any] = {"bench": "training", "steps": STEPS, "warm_up": WARM}
    results |= {"versions": package_versions(), "date": datetime.now(UTC).date().isoformat()}
    with tempfile.TemporaryDirectory() as folder:
        for model in given.models:
            if model == LARGE:
                subprocess.run([sys.executable, "-c", f"{_MAKE_8B}make({folder!r})"], check=True)
            for backend in ("peft", "unsloth"):
                command = [sys.executable, "-m", "tests.bench.training", "--one", backend, model, folder]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    found: dict[str, Any] = {"failed": done.stderr[-1500:]}
                else:
                    found = json.loads(done.stdout.strip().splitlines()[-1])
                results[f"{model} {backend}"] = found
                print(model, backend, found, file=sys.stderr, flush=True)
            unsloth, peft = results[f"{model} unsloth"], results[f"{model} peft"]
            results[f"{model} unsloth to peft"] = {
                rows: round(unsloth[rows]["tokens_per_second"] / peft[rows]["tokens_per_second"], 2)
                for rows in sorted(unsloth.keys() & peft.keys() - {"failed"})
            }
    print(json.dumps(results))


def _measure(backend: str, model_name: str, folder: str) -> dict[str, Any]:
    """What each number of rows a step gives, by that number."""
    settings = Settings.from_env()
    embedded = get_family(settings, EMBEDDED)
    if backend == "unsloth":
        import unsloth  # noqa: F401 - must come before transformers
    from transformers import AutoTokenizer

    family = embedded if model_name == EMBEDDED else replace(get_family(settings, model_name), base=folder)
    tokenizer = AutoTokenizer.from_pretrained(base_model_dir(settings, embedded))
    samples = load_dataset(settings, embedded.dataset, "regular").subset(1_000)
    rows = encode_all(samples, "regular", family, tokenizer)
    model, _ = load(settings, family, family.recipe, backend, 42, lambda fraction, message: None)  # type: ignore[arg-type]
    return {
        str(size): _train(model, tokenizer, rows, replace(family, batch_size=size), Path(folder) / "out")
        for size in MODELS[model_name]
    }


def _train(
    model: Any, tokenizer: Any, rows: Sequence[dict[str, list[int]]], family: Family, out: Path
) -> dict[str, Any]:
    import torch
    from transformers import TrainerCallback

    from training.trainer import build_trainer  # after Unsloth

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.seen: list[tuple[float, int]] = []

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            torch.cuda.synchronize()
            self.seen.append((time.perf_counter(), counted["tokens"]))

    clock, counted = Clock(), {"tokens": 0, "samples": 0}
    trainer = build_trainer(
        model, tokenizer, rows, family, replace(family.recipe, max_steps=STEPS), 42, out, Reporter()
    )
    trainer.args.save_strategy = "no"
    trainer.add_callback(clock)
    collate = trainer.data_collator

    def counting(examples: list[dict[str, Any]]) -> Any:
        counted["tokens"] += sum(len(example["input_ids"]) for example in examples)
        counted["samples"] += sum(len(example.get("seq_lengths", [0])) for example in examples)
        return collate(examples)

    trainer.data_collator = counting
    torch.cuda.reset_peak_memory_stats()
    trainer.train()
    (start, before), (end, after) = clock.seen[WARM], clock.seen[-1]
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "device": torch.cuda.get_device_name(),
        "tokens_per_second": round((after - before) / (end - start)),
        "samples_per_second": round(
            counted["samples"] / counted["tokens"] * (after - before) / (end - start), 1
        ),
        "peak_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2),
        "tokens_per_step": round(counted["tokens"] / STEPS),
        "first_loss": losses[0],
        "mean_loss_last_10": round(sum(losses[-10:]) / 10, 4),
    }


_MAKE_8B = """
import shutil
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers import BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM
from pipeline.families import get_family
from pipeline.generation.weights import base_model_dir
from pipeline.settings import Settings

def make(folder):
    config = LlamaConfig(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=131072, rms_norm_eps=1e-5,
        bos_token_id=128000, eos_token_id=128009,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
    )
    with torch.device("cuda"):
        torch.set_default_dtype(torch.bfloat16)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder + "/bf16")
    del model
    torch.cuda.empty_cache()
    torch.set_default_dtype(torch.float32)
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_use_double_quant=True,
    )
    model = AutoModelForCausalLM.from_pretrained(
        folder + "/bf16", quantization_config=nf4, device_map={"": 0}
    )
    model.save_pretrained(folder)
    shutil.rmtree(folder + "/bf16")
    settings = Settings.from_env()
    embedded = base_model_dir(settings, get_family(settings, "smollm2-135m"))
    AutoTokenizer.from_pretrained(embedded).save_pretrained(folder)

"""

if __name__ == "__main__":
    main()
