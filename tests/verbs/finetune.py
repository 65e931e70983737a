"""Writes what a fine-tune writes: a checkpoint's folder, with random numbers for an adapter."""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any, Literal

import numpy as np
from safetensors.numpy import save_file

from pipeline.command_line.verbs import run_verb
from pipeline.evaluation.datasets import dataset_version
from pipeline.models.checkpoints import RECORD, checkpoints_dir
from pipeline.models.families import DEFAULT_FAMILY, get_family
from pipeline.models.fingerprints import ADAPTER_CONFIG, ADAPTER_WEIGHTS, fingerprint
from pipeline.models.recipes import to_record
from pipeline.schema import LabError, PromptVariant, Schedule
from pipeline.settings import Settings
from training.jobs.arguments import Epochs, Name, Rank, SubsetSize
from training.jobs.progress import Reporter
from training.jobs.recipe import SCHEMA, trained_name, training_recipe


def finetune(
    subset_size: SubsetSize,
    prompt: PromptVariant = "regular",
    family: str = DEFAULT_FAMILY,
    epochs: Epochs = 3,
    seed: int = 42,
    max_steps: int | None = None,
    learning_rate: float | None = None,
    backend: Literal["auto", "peft"] = "auto",
    resume: bool = False,
    *,
    replace: bool = False,
    name: Name | None = None,
    lora_r: Rank | None = None,
    scheduler: Schedule | None = None,
    dataset: str | None = None,
) -> dict[str, Any]:
    """Write a checkpoint, a tenth of a second an epoch; size 666 fails."""
    arguments = dict(locals())
    settings, report = Settings.from_env(), Reporter()
    for step in range(1, epochs + 1):
        time.sleep(0.1)
        report(step / epochs, f"step {step} of {epochs}", step=step, loss=2.0 / step)
    if subset_size == 666:
        raise LabError("This size never works.")
    chosen = get_family(settings, family)
    recipe = training_recipe(chosen, arguments)
    folder = checkpoints_dir(settings, chosen) / trained_name(chosen, arguments)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = random.Random(folder.name).randbytes(64)
    save_file({"lora": np.frombuffer(numbers, np.uint8)}, folder / ADAPTER_WEIGHTS)
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config))
    told = {"subset_size": subset_size, "variant": prompt, "seed": seed}
    record = {"schema": SCHEMA, **told, **to_record(recipe)}
    if dataset:
        version = dataset_version(settings, dataset)
        record |= {"dataset": dataset, "dataset_fingerprint": version}
    (folder / RECORD).write_text(json.dumps(record))
    return {
        "checkpoint": folder.name,
        "path": str(folder),
        "fingerprint": fingerprint(folder),
        "loss": 2.0 / epochs,
    }


if __name__ == "__main__":
    sys.exit(run_verb(finetune))
