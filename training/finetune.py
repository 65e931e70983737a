"""Fine-tune one checkpoint: LoRA on a nested subset, loss on the completion only."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.command_line.commands import command_text, module_command
from pipeline.command_line.signature import module_name
from pipeline.command_line.verbs import run_verb
from pipeline.data.dataset import Dataset
from pipeline.evaluation.datasets import load_dataset
from pipeline.models.checkpoints import SIZES, checkpoint_name, checkpoints_dir
from pipeline.models.families import DEFAULT_FAMILY, Family
from pipeline.models.fingerprints import fingerprint
from pipeline.models.weights import best_dtype
from pipeline.schema import DEFAULT_SEED, Checkpoint, Sample, TrainedVariant, counted
from pipeline.settings import Settings
from pipeline.versions import package_versions
from training.backends import TrainingBackend, choose, load
from training.encoding import encode_all
from training.jobs.arguments import Epochs, LearningRate, Seed, Steps, SubsetSize
from training.jobs.progress import Reporter
from training.jobs.recipe import SCHEMA, check_replace, existing_checkpoint, family_for, recipe
from training.saving import last_saved_step, prepare_work, save_adapter

if TYPE_CHECKING:
    from training.loop import TrainingLog

_HELD_OUT = 64  # samples whose loss is measured beside the training loss


def finetune(
    subset_size: SubsetSize,
    prompt: TrainedVariant = "regular",
    family: str = DEFAULT_FAMILY,
    epochs: Epochs = 3,
    seed: Seed = DEFAULT_SEED,
    max_steps: Steps | None = None,
    learning_rate: LearningRate | None = None,
    backend: TrainingBackend = "auto",
    resume: bool = False,
    output: Path | None = None,
    *,
    replace: bool = False,
) -> dict[str, Any]:
    """Fine-tune a LoRA adapter on the first samples of the training split, and list it as a checkpoint.

    Args:
        subset_size: number of training samples, such as 200, 500, 1000, 5000 or 10000
        prompt: prompt variant to train under
        family: model family
        epochs: passes over the subset
        seed: of the training: the adapter's first weights and the order of the samples, not which samples
        max_steps: stop after this many optimizer steps, for a trial
        learning_rate: peak learning rate, instead of the family's own
        backend: auto takes Unsloth on a GPU for large models, else PEFT
        resume: continue from the last save of an interrupted training
        output: folder that gets the checkpoint's folder, instead of the app's own
        replace: replace a checkpoint of the same name that was trained with other settings

    Returns:
        The checkpoint's name, folder, fingerprint, final loss, steps and seconds.

    Raises:
        LabError: there is another checkpoint of that name, the data or the machine do not allow the training,
            or its loss or a gradient is not finite.
    """
    # A training has one GPU: transformers would spread its batches over all GPUs, and 4-bit models cannot be
    # spread.
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    settings, report = Settings.from_env(), Reporter()
    chosen = family_for(settings, family, learning_rate)
    kind = choose(backend, chosen)
    target = (output or checkpoints_dir(settings, chosen)) / checkpoint_name(subset_size, prompt, seed)
    if existing := _existing(settings, chosen, target, listed=output is None):
        if not replace:
            check_replace(existing, chosen, epochs, max_steps)
        report(0.0, f"the checkpoint {target.name} exists; this training replaces it when it ends")
    report(0.0, "reading the dataset")
    dataset = load_dataset(settings, chosen.dataset, prompt)
    samples = dataset.subset(subset_size)
    wanted = recipe(chosen, dataset, subset_size, prompt, seed, epochs, max_steps, kind)
    work = target.with_name(target.name + ".part")
    if resume and last_saved_step(work) is None:
        report(0.0, "there is no save to resume from, so the training starts at the beginning")
        resume = False
    prepare_work(work, wanted, resume)
    started = time.time()
    model, tokenizer = load(settings, chosen, kind, seed, lambda fraction, message: report(0.0, message))
    log = _train(model, tokenizer, samples, _held_out(dataset), chosen, wanted, work, report, resume)
    seconds = round(time.time() - started, 1)
    save_adapter(model, chosen.base_names[0], _record(wanted, log, seconds), work, target)
    report(1.0, f"saved {target.name}")
    return {
        "checkpoint": target.name,
        "path": str(target),
        "fingerprint": fingerprint(target),
        "loss": log.loss[-1][1] if log.loss else None,
        "steps": log.step,
        "seconds": seconds,
    }


def _train(
    model: Any,
    tokenizer: Any,
    samples: Sequence[Sample],
    held_out: Sequence[Sample],
    family: Family,
    wanted: Mapping[str, Any],
    work: Path,
    report: Reporter,
    resume: bool,
) -> TrainingLog:
    """Train with the settings ``wanted``: embedded families with ``training.loop``, others with TRL."""
    report(0.01, f"encoding {counted(len(samples), 'sample')}")
    rows = encode_all(samples, wanted["variant"], family, tokenizer)
    options = (family, work, wanted["epochs"], wanted["seed"], wanted["max_steps"], report, resume)
    if family.embedded and wanted["backend"] == "peft":
        from training.loop import train

        return train(model, rows, encode_all(held_out, wanted["variant"], family, tokenizer), *options)
    from training.trainer import train_with_trl  # after Unsloth, which patches what it imports

    return train_with_trl(model, tokenizer, rows, *options)


def _existing(settings: Settings, family: Family, target: Path, listed: bool) -> Checkpoint | None:
    """The checkpoint that this training would replace; folders of ``--output`` are in no list."""
    if listed:
        return existing_checkpoint(settings, family, target.name)
    return Checkpoint(family.name, target.name, path=target) if target.exists() else None


def _record(wanted: Mapping[str, Any], log: TrainingLog, seconds: float) -> dict[str, Any]:
    """The content of ``checkpoint.json``."""
    return {
        "schema": SCHEMA,
        **wanted,
        "device": _device(),
        "dtype": str(best_dtype()).removeprefix("torch."),
        "versions": package_versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "command": _command(wanted),
        "loss": log.loss,
        "held_out_loss": log.held_out_loss,
    }


def _held_out(dataset: Dataset) -> Sequence[Sample]:
    """The training samples after those of the largest size: no checkpoint is trained on them."""
    return dataset.train[max(SIZES) :][:_HELD_OUT]


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def _command(wanted: Mapping[str, Any]) -> str:
    """The command that trains the same again."""
    arguments = {
        "family": wanted["family"],
        "subset_size": wanted["subset_size"],
        "prompt": wanted["variant"],
        "epochs": wanted["epochs"],
        "seed": wanted["seed"],
        "learning_rate": wanted["learning_rate"],
        "backend": wanted["backend"],
        "max_steps": wanted["max_steps"],
    }
    return command_text(module_command(module_name(finetune), arguments))


if __name__ == "__main__":
    sys.exit(run_verb(finetune))
