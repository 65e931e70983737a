"""Real PEFT adapters with random weights, made in a second: for what only needs adapters that differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from pipeline.models.families import TARGETS


def write_random_adapters(
    base: Path, folders: list[Path], rank: int = 8, strength: float = 0.05, **options: Any
) -> None:
    """Save one adapter a folder, each from its own seed, strong enough to change greedy text.

    ``options`` are further fields of PEFT's ``LoraConfig``.
    """
    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    fields = {"lora_alpha": 2 * rank, "target_modules": list(TARGETS), "task_type": "CAUSAL_LM", **options}
    peft_model = get_peft_model(model, LoraConfig(r=rank, **fields))
    for seed, folder in enumerate(folders):
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in peft_model.named_parameters():
            if "lora_" in name:
                parameter.data = torch.randn(parameter.shape, generator=generator) * strength
        peft_model.save_pretrained(folder)
