"""Fine-tune one checkpoint: LoRA on a nested subset, loss on the completion only."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.data.dataset import Dataset
from pipeline.data.load import load_dataset
from pipeline.models.checkpoints import SIZES, checkpoint_name, checkpoints_dir
from pipeline.models.families import DEFAULT_FAMILY, Family, get_family
from pipeline.models.fingerprints import fingerprint
from pipeline.models.weights import best_dtype
from pipeline.schema import LabError, PromptVariant, Sample, counted
from pipeline.settings import Settings
from pipeline.versions import package_versions
from training.backends import TrainingBackend, choose, load
from training.command_line import run_verb
from training.examples import encode_all
from training.jobs.arguments import Epochs, LearningRate, Seed, Steps, SubsetSize
from training.jobs.progress import Reporter

_HELD_OUT = 64  # samples whose loss is measured beside the training loss


def finetune(
    subset_size: SubsetSize,
    prompt: PromptVariant = "regular",
    family: str = DEFAULT_FAMILY,
    epochs: Epochs = 3,
    seed: Seed = 42,
    max_steps: Steps | None = None,
    learning_rate: LearningRate | None = None,
    backend: TrainingBackend = "auto",
    resume: bool = False,
    output: Path | None = None,
) -> dict[str, Any]:
    """Fine-tune a LoRA adapter on the first samples of the training split, and list it as a checkpoint.

    Args:
        subset_size: number of training samples, such as 200, 500, 1000, 5000 or 10000
        prompt: prompt variant to train under
        family: model family
        epochs: passes over the subset
        seed: training seed: adapter initialisation and order; the subset stays the same
        max_steps: stop after this many optimizer steps, for a trial
        learning_rate: peak learning rate, instead of the family's own
        backend: auto takes Unsloth on a GPU for large models, else PEFT
        resume: go on from the last save of an interrupted training
        output: folder that gets the checkpoint's folder, instead of the app's own

    Returns:
        The checkpoint's name, folder, fingerprint, final loss, steps and seconds.

    Raises:
        LabError: arguments, data or machine do not allow it; said in words.
    """
    # One GPU for a training: transformers would spread batches over all there are, as 4-bit models cannot.
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    settings = Settings.from_env()
    report = Reporter()
    chosen = get_family(settings, family)
    if learning_rate:
        chosen = replace(chosen, learning_rate=learning_rate)
    kind = choose(backend, chosen)
    target = (output or checkpoints_dir(settings, chosen)) / checkpoint_name(subset_size, prompt, seed)
    work = target.with_name(target.name + ".part")
    if not resume:
        shutil.rmtree(work, ignore_errors=True)
    report(0.0, "reading the dataset")
    dataset = load_dataset(settings, chosen.dataset, prompt)
    samples = dataset.subset(subset_size)
    started = time.time()
    model, tokenizer = load(settings, chosen, kind, seed, lambda fraction, message: report(0.0, message))
    report(0.01, f"encoding {counted(len(samples), 'sample')}")
    rows = encode_all(samples, prompt, chosen, tokenizer)
    if chosen.embedded and kind == "peft":
        from training.loop import train

        held_out = encode_all(_held_out(dataset), prompt, chosen, tokenizer)
        log = train(model, rows, held_out, chosen, work, epochs, seed, max_steps, report, resume)
    else:
        from training.trainer import train_with_trl  # after Unsloth, which patches what it imports

        log = train_with_trl(model, tokenizer, rows, chosen, work, epochs, seed, max_steps, report, resume)
    seconds = round(time.time() - started, 1)
    record = {
        "family": chosen.name,
        "subset_size": subset_size,
        "variant": prompt,
        "seed": seed,
        "epochs": epochs,
        "max_steps": max_steps,
        "learning_rate": chosen.learning_rate,
        "batch_size": chosen.batch_size,
        "packing": chosen.packing,
        "lora": {"r": chosen.lora_r, "alpha": chosen.lora_alpha},
        "backend": kind,
        "device": _device(),
        "dtype": str(best_dtype()).removeprefix("torch."),
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "versions": package_versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "command": _command(subset_size, prompt, chosen, epochs, seed, max_steps, learning_rate, kind),
        "loss": log.loss,
        "held_out_loss": log.held_out_loss,
    }
    _save(model, chosen.base_names[0], record, work, target)
    report(1.0, f"saved {target.name}")
    return {
        "checkpoint": target.name,
        "path": str(target),
        "fingerprint": fingerprint(target),
        "loss": log.loss[-1][1] if log.loss else None,
        "steps": log.step,
        "seconds": seconds,
    }


def _held_out(dataset: Dataset) -> Sequence[Sample]:
    """Training samples behind those of the largest size, so that no checkpoint is trained on them."""
    return dataset.train[max(SIZES) :][:_HELD_OUT]


def _save(model: Any, base: str, record: dict[str, Any], work: Path, target: Path) -> None:
    """Write the adapter in bf16 beside its record, then put the whole folder in its place at once."""
    import torch
    from safetensors.torch import load_file, save_file

    final = work / "final"
    try:
        # Not the folder of this machine: whoever gets the adapter finds its base model by this name.
        model.active_peft_config.base_model_name_or_path = base
        model.save_pretrained(final, save_embedding_layers=False)
        weights = final / "adapter_model.safetensors"
        save_file({name: tensor.to(torch.bfloat16) for name, tensor in load_file(weights).items()}, weights)
        (final / "README.md").unlink(missing_ok=True)  # PEFT's template of a model card, unfilled
        (final / "checkpoint.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        os.replace(final, target)
    except OSError as error:
        raise LabError(
            f"The checkpoint could not be saved to {target}: {error}. Mend that and resume."
        ) from error
    shutil.rmtree(work, ignore_errors=True)


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def _command(
    size: int,
    prompt: str,
    family: Family,
    epochs: int,
    seed: int,
    max_steps: int | None,
    learning_rate: float | None,
    backend: str,
) -> str:
    parts = [f"python -m training.finetune --family {family.name} --subset-size {size} --prompt {prompt}"]
    parts += [f"--epochs {epochs} --seed {seed} --backend {backend}"]
    parts += [f"--max-steps {max_steps}"] if max_steps else []
    parts += [f"--learning-rate {learning_rate}"] if learning_rate else []
    return " ".join(parts)


if __name__ == "__main__":
    sys.exit(run_verb(finetune))
