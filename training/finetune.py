"""Fine-tune one checkpoint: LoRA on a nested subset, loss on the completion only."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.command_line.commands import command_text, module_command
from pipeline.command_line.signature import module_name
from pipeline.command_line.verbs import run_verb
from pipeline.data.dataset import Dataset
from pipeline.evaluation.datasets import check_dataset, load_dataset
from pipeline.models.checkpoints import RECORD, SIZES, checkpoints_dir
from pipeline.models.families import DEFAULT_FAMILY, Family, get_family
from pipeline.models.fingerprints import fingerprint
from pipeline.models.weights import best_dtype
from pipeline.schema import (
    DEFAULT_SEED,
    Checkpoint,
    Recipe,
    Sample,
    Schedule,
    TrainedVariant,
    counted,
)
from pipeline.settings import Settings
from pipeline.versions import package_versions
from training.backends import TrainingBackend, choose, load
from training.encoding import encode_all
from training.jobs.arguments import (
    Alpha,
    BatchSize,
    Epochs,
    LearningRate,
    Name,
    Rank,
    Seed,
    Steps,
    SubsetSize,
    Warmup,
)
from training.jobs.progress import Reporter
from training.jobs.recipe import (
    SCHEMA,
    check_replace,
    differences,
    existing_checkpoint,
    read_settings,
    trained_name,
    training_recipe,
    training_settings,
)
from training.jobs.tracking import Tracker, check_tracker, tracked
from training.saving import last_saved_step, prepare_work, save_adapter

if TYPE_CHECKING:
    from training.loop import TrainingLog
    from training.stepper import Row

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
    name: Name | None = None,
    lora_r: Rank | None = None,
    lora_alpha: Alpha | None = None,
    batch_size: BatchSize | None = None,
    scheduler: Schedule | None = None,
    warmup: Warmup | None = None,
    dataset: str | None = None,
    report_to: Tracker = "none",
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
        replace: replace a checkpoint of the same name
        name: of the checkpoint; if empty, from samples, prompt, seed and what differs from the usual recipe
        lora_r: rank of the LoRA matrices, instead of the family's own
        lora_alpha: LoRA's alpha, instead of the family's own; the scaling is alpha divided by the rank
        batch_size: samples in an optimizer step, instead of the family's own
        scheduler: how the learning rate falls after the warm-up, instead of linear
        warmup: steps over which the learning rate rises, instead of ten and at most a tenth of all
        dataset: one of yours, instead of the family's own; see python -m pipeline.data.own
        report_to: experiment tracker that gets the loss, too; wandb reads its key from WANDB_API_KEY

    Returns:
        The checkpoint's name, folder, fingerprint, final loss, steps and seconds.

    Raises:
        LabError: there is another checkpoint of that name, the data or the machine do not allow the training,
            or its loss or a gradient is not finite.
    """
    arguments = dict(locals())
    # A training has one GPU: transformers would spread its batches over all GPUs, and 4-bit models cannot be
    # spread.
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    settings, report = Settings.from_env(), Reporter()
    check_tracker(report_to)
    chosen = get_family(settings, family)
    check_dataset(settings, dataset or chosen.dataset)
    recipe = training_recipe(chosen, arguments)
    kind = choose(backend, chosen)
    target = (output or checkpoints_dir(settings, chosen)) / trained_name(chosen, arguments)
    report(0.0, "reading the dataset")
    data = load_dataset(settings, dataset or chosen.dataset, prompt)
    samples = data.subset(subset_size)
    wanted = training_settings(chosen, data, subset_size, prompt, seed, recipe, kind)
    work = target.with_name(target.name + ".part")
    if existing := _existing(settings, chosen, target, listed=output is None):
        if resume and not replace and (ended := _ended(existing, wanted)):
            shutil.rmtree(work, ignore_errors=True)
            report(1.0, f"{target.name} had been saved before the training was interrupted")
            return ended
        if not replace:
            check_replace(existing, recipe)
        report(0.0, f"the checkpoint {target.name} exists; this training replaces it when it ends")
    resume = resume and _can_resume(work, report)
    prepare_work(work, wanted, resume)
    started = time.time()
    model, tokenizer = load(
        settings, chosen, recipe, kind, seed, lambda fraction, message: report(0.0, message)
    )
    rows = _encode(samples, prompt, chosen, tokenizer, report)
    held_out = encode_all(_held_out(data, subset_size), prompt, chosen, tokenizer)
    options = (recipe, seed, work, report, resume)
    with tracked(settings, report, report_to, target.name, wanted):
        log = _train(model, tokenizer, rows, held_out, chosen, kind, options)
    seconds = round(time.time() - started, 1)
    record = _record(wanted, log, seconds, _command(arguments, recipe, kind)) | {
        "left_out": len(samples) - len(rows)
    }
    save_adapter(model, chosen.base_names[0], record, work, target)
    report(1.0, f"saved {target.name}")
    return _result(target, log.loss[-1][1] if log.loss else None, log.step, seconds)


def _ended(saved: Checkpoint, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """The result of the training that made a checkpoint, if it had these settings."""
    if saved.path is None or saved.problem or not (saved.path / RECORD).is_file():
        return None
    record = read_settings(saved.path / RECORD)
    if differences(record, wanted):
        return None
    step, loss = record["loss"][-1] if record["loss"] else (0, None)
    return _result(saved.path, loss, step, record["seconds"])


def _result(target: Path, loss: float | None, steps: int, seconds: float) -> dict[str, Any]:
    return {
        "checkpoint": target.name,
        "path": str(target),
        "fingerprint": fingerprint(target),
        "loss": loss,
        "steps": steps,
        "seconds": seconds,
    }


def _can_resume(work: Path, report: Reporter) -> bool:
    if last_saved_step(work) is not None:
        return True
    report(0.0, "there is no save to resume from, so the training starts at the beginning")
    return False


def _encode(
    samples: Sequence[Sample], prompt: TrainedVariant, family: Family, tokenizer: Any, report: Reporter
) -> Sequence[Row]:
    """The training rows, with a word on how many samples are too long for the model."""
    report(0.01, f"encoding {counted(len(samples), 'sample')}")
    rows = encode_all(samples, prompt, family, tokenizer)
    if left_out := len(samples) - len(rows):
        most = f"{family.sequence_length:,} tokens"
        report(0.01, f"left out: {counted(left_out, 'sample')} of more than {most}")
    return rows


def _train(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    held_out: Sequence[Row],
    family: Family,
    backend: str,
    options: tuple[Recipe, int, Path, Reporter, bool],
) -> TrainingLog:
    """Train: embedded families with ``training.loop``, others with TRL."""
    if family.embedded and backend == "peft":
        from training.loop import train

        return train(model, rows, held_out, *options)
    from training.trainer import train_with_trl  # after Unsloth, which patches what it imports

    return train_with_trl(model, tokenizer, rows, family, *options)


def _existing(settings: Settings, family: Family, target: Path, listed: bool) -> Checkpoint | None:
    """The checkpoint that this training would replace; folders of ``--output`` are in no list."""
    if listed:
        return existing_checkpoint(settings, family, target.name)
    return Checkpoint(family.name, target.name, path=target) if target.exists() else None


def _record(wanted: Mapping[str, Any], log: TrainingLog, seconds: float, command: str) -> dict[str, Any]:
    """The content of ``checkpoint.json``."""
    return {
        "schema": SCHEMA,
        **wanted,
        "device": _device(),
        "dtype": str(best_dtype()).removeprefix("torch."),
        "versions": package_versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "command": command,
        "loss": log.loss,
        "held_out_loss": log.held_out_loss,
    }


def _held_out(dataset: Dataset, subset_size: int) -> Sequence[Sample]:
    """Training samples after those of the largest size, which no checkpoint is trained on.

    A dataset that has no more than that size has those that this training leaves.
    """
    first = max(SIZES) if len(dataset.train) > max(SIZES) else subset_size
    return dataset.train[first:][:_HELD_OUT]


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def _command(arguments: Mapping[str, Any], recipe: Recipe, backend: str) -> str:
    """The command that trains the same again, also where the family's own recipe changes."""
    names = ("family", "subset_size", "prompt", "seed", "name", "dataset")
    named = {name: arguments[name] for name in names}
    settings = {name: value for name, value in asdict(recipe).items() if name != "packing"}
    return command_text(module_command(module_name(finetune), {**named, **settings, "backend": backend}))


if __name__ == "__main__":
    sys.exit(run_verb(finetune))
