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

from pipeline.dataset import load_dataset
from pipeline.families import (
    DEFAULT_FAMILY,
    Family,
    checkpoint_name,
    checkpoints_dir,
    fingerprint,
    get_family,
)
from pipeline.schema import LabError, PromptVariant
from pipeline.settings import Settings
from pipeline.versions import package_versions
from training import cli
from training.backends import Backend, choose, load
from training.examples import encode_all
from training.progress import Reporter

_SAVES = 10  # a killed training loses at most a tenth of its steps


def finetune(
    subset_size: int,
    prompt: PromptVariant,
    family: str = DEFAULT_FAMILY,
    epochs: int = 3,
    seed: int = 42,
    max_steps: int | None = None,
    learning_rate: float | None = None,
    backend: Backend = "auto",
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
    if subset_size < 1 or epochs < 1 or (max_steps is not None and max_steps < 1):
        raise LabError("Subset size, epochs and steps must be at least 1.")
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
    report(0.01, f"encoding {len(samples):,} samples")
    rows = encode_all(samples, prompt, chosen, tokenizer)
    trainer = build_trainer(model, tokenizer, rows, chosen, work, epochs, seed, max_steps, report)
    last = _last_save(work) if resume else None
    if resume and last is None:
        report(0.02, "nothing saved yet to resume from; starting at the beginning")
    trainer.train(resume_from_checkpoint=last)
    losses = [[log["step"], round(log["loss"], 4)] for log in trainer.state.log_history if "loss" in log]
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
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "versions": package_versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "command": _command(subset_size, prompt, chosen, epochs, seed, max_steps, learning_rate, kind),
        "loss": losses,
    }
    _save(model, record, work, target)
    report(1.0, f"saved {target.name}")
    return {
        "checkpoint": target.name,
        "path": str(target),
        "fingerprint": fingerprint(target),
        "loss": losses[-1][1] if losses else None,
        "steps": trainer.state.global_step,
        "seconds": seconds,
    }


def build_trainer(
    model: Any,
    tokenizer: Any,
    rows: Sequence[dict[str, list[int]]],
    family: Family,
    work: Path,
    epochs: int,
    seed: int,
    max_steps: int | None,
    report: Reporter,
) -> Any:
    """TRL's trainer on rows that are tokenized and labelled already."""
    import datasets
    import torch
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    datasets.disable_progress_bars()
    cuda = torch.cuda.is_available()
    # A CPU is bound by arithmetic, so it takes small micro-batches, which waste less on padding.
    micro = family.batch_size if cuda else min(4, family.batch_size)

    class Progress(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                done, steps = state.global_step, state.max_steps
                report(
                    0.02 + 0.96 * done / steps, f"step {done} of {steps}", step=done, loss=float(logs["loss"])
                )

    args = SFTConfig(
        output_dir=str(work),
        num_train_epochs=epochs,
        max_steps=max_steps or -1,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=max(1, family.batch_size // micro),
        learning_rate=family.learning_rate,
        lr_scheduler_type="linear",
        optim="adamw_torch" if family.embedded else "adamw_8bit",
        weight_decay=0.0,
        bf16=True,
        use_cpu=not cuda,
        gradient_checkpointing=not family.embedded,  # its memory is worth a third of the time only there
        packing=family.packing,
        max_length=family.sequence_length if family.packing else None,  # no row is longer: nothing is cut
        save_total_limit=1,
        disable_tqdm=True,
        report_to=[],
        seed=seed,
        dataloader_pin_memory=cuda,
    )

    class PlainLossTrainer(SFTTrainer):
        """TRL's fused loss needs Triton, which CPUs do not have; the model's own loss is the same."""

        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            return super(SFTTrainer, self).compute_loss(*args, **kwargs)

    trainer: Any = (SFTTrainer if cuda else PlainLossTrainer)(
        model=model,
        args=args,
        train_dataset=datasets.Dataset.from_list(list(rows)),
        processing_class=tokenizer,
        callbacks=[Progress()],
    )
    per_epoch = -(-len(trainer.train_dataset) // family.batch_size)  # of packed rows, where it packs
    steps = max_steps or per_epoch * epochs
    trainer.args.warmup_steps = min(10, steps // 10)
    trainer.args.logging_steps = max(1, steps // 100)
    trainer.args.save_steps = max(1, steps // _SAVES)
    # The reporter says it; the trainer's own printing of each log line would say it twice.
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    return trainer


def _save(model: Any, record: dict[str, Any], work: Path, target: Path) -> None:
    """Write the adapter in bf16 beside its record, then put the whole folder in its place at once."""
    import torch
    from safetensors.torch import load_file, save_file

    final = work / "final"
    try:
        model.save_pretrained(final)
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


def _last_save(work: Path) -> str | None:
    saves = sorted(work.glob("checkpoint-*/trainer_state.json"), key=lambda file: int(file.parent.name[11:]))
    return str(saves[-1].parent) if saves else None


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
    sys.exit(cli.run(finetune))
