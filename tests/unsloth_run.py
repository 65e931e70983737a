"""Train with Unsloth in a process of its own, as it patches transformers, and keep what it computed.

Used by test_large_families.py: python -m tests.unsloth_run FOLDER
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import unsloth  # isort: skip  # noqa: F401 - before transformers
import torch

from pipeline.evaluation.datasets import load_dataset
from pipeline.models.families import DEFAULT_FAMILY, get_family
from pipeline.settings import Settings
from training.backends import load
from training.encoding import encode_all
from training.jobs.progress import Reporter
from training.trainer import build_trainer

SAMPLES, STEPS = 48, 24


def main(folder: Path) -> None:
    settings = Settings.from_env()
    family = get_family(settings, DEFAULT_FAMILY)
    samples = load_dataset(settings, family.dataset, "regular").subset(SAMPLES)
    model, tokenizer = load(settings, family, family.recipe, "unsloth", 42, lambda fraction, message: None)
    rows = encode_all(samples, "regular", family, tokenizer)
    recipe = replace(family.recipe, epochs=8, max_steps=STEPS)
    trainer = build_trainer(model, tokenizer, rows, family, recipe, 42, folder / "w", Reporter())
    trainer.train()
    losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    model.save_pretrained(folder / "200-regular")
    model.eval()
    logits = [_logits(model, torch.tensor([row["input_ids"]])) for row in rows[:4]]
    torch.save({"losses": losses, "rows": rows[:4], "logits": logits}, folder / "trained.pt")

    packs = replace(family, packing=True, batch_size=2, sequence_length=512)
    packed = build_trainer(
        model, tokenizer, rows[:12], packs, replace(packs.recipe, epochs=1), 42, folder / "p", Reporter()
    )
    batch = next(iter(packed.get_train_dataloader()))
    starts = (batch["position_ids"][0] == 0).nonzero()[:, 0].tolist()
    ends = [*starts[1:], batch["input_ids"].shape[1]]
    inside = {name: batch[name] for name in ("position_ids", "packed_seq_lengths") if name in batch}
    together = _logits(model, batch["input_ids"], **inside)
    pairs = [
        (together[start:end], _logits(model, batch["input_ids"][:, start:end]))
        for start, end in zip(starts, ends, strict=True)
    ]
    torch.save(pairs, folder / "packed.pt")


@torch.inference_mode()
def _logits(model: Any, ids: Any, **inside: Any) -> Any:
    return model(input_ids=ids.to("cuda"), **inside).logits[0].float().cpu()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
