"""TRL's trainer on rows that are tokenized and labelled already.

Slow to import, and to be imported after Unsloth where that trains: it patches what is imported here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer

from pipeline.models.families import Family
from pipeline.models.weights import best_dtype
from training.jobs.progress import Reporter
from training.loop import TrainingLog

_SAVES = 10  # a killed training loses at most a tenth of its steps


def train_with_trl(
    model: Any,
    tokenizer: Any,
    rows: Sequence[dict[str, list[int]]],
    family: Family,
    work: Path,
    epochs: int,
    seed: int,
    max_steps: int | None,
    report: Reporter,
    resume: bool,
) -> TrainingLog:
    """Train the model's LoRA weights in place; see ``build_trainer`` for the arguments."""
    trainer = build_trainer(model, tokenizer, rows, family, work, epochs, seed, max_steps, report)
    last = last_save(work) if resume else None
    if resume and last is None:
        report(0.02, "nothing saved yet to resume from; starting at the beginning")
    trainer.train(resume_from_checkpoint=last)
    losses = [(log["step"], round(log["loss"], 4)) for log in trainer.state.log_history if "loss" in log]
    return TrainingLog(trainer.state.global_step, losses)


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
    """A trainer that saves to ``work`` and reports every logged step.

    Args:
        model: the base model with LoRA weights on it
        tokenizer: its tokenizer
        rows: ``input_ids`` and ``labels`` of each sample, see ``training.examples``
        family: gives learning rate, batch size and packing
        work: folder for what a resumed training starts from
        epochs: passes over the rows
        seed: of their order
        max_steps: stop after this many optimizer steps
        report: is told step and loss

    Returns:
        The ``SFTTrainer``; ``train()`` is still to be called.
    """
    datasets.disable_progress_bars()
    # TRL's fused loss needs Triton, which CPUs do not have; the model's own loss is the same.
    trainer: Any = (SFTTrainer if torch.cuda.is_available() else _PlainLossTrainer)(
        model=model,
        args=_arguments(family, work, epochs, seed, max_steps),
        train_dataset=datasets.Dataset.from_list(list(rows)),
        processing_class=tokenizer,
        callbacks=[_Progress(report)],
    )
    per_epoch = -(-len(trainer.train_dataset) // family.batch_size)  # of packed rows, where it packs
    steps = max_steps or per_epoch * epochs
    trainer.args.warmup_steps = min(10, steps // 10)
    trainer.args.logging_steps = max(1, steps // 100)
    trainer.args.save_steps = max(1, steps // _SAVES)
    # The reporter says it; the trainer's own printing of each log line would say it twice.
    trainer.remove_callback(PrinterCallback)
    return trainer


def last_save(work: Path) -> str | None:
    """The folder that an interrupted training in ``work`` saved last."""
    saves = sorted(work.glob("checkpoint-*/trainer_state.json"), key=lambda file: int(file.parent.name[11:]))
    return str(saves[-1].parent) if saves else None


def _arguments(family: Family, work: Path, epochs: int, seed: int, max_steps: int | None) -> SFTConfig:
    cuda = torch.cuda.is_available()
    # A CPU is bound by arithmetic, so it takes small micro-batches, which waste less on padding.
    micro = family.batch_size if cuda else min(4, family.batch_size)
    return SFTConfig(
        output_dir=str(work),
        num_train_epochs=epochs,
        max_steps=max_steps or -1,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=max(1, family.batch_size // micro),
        learning_rate=family.learning_rate,
        lr_scheduler_type="linear",
        optim="adamw_torch" if family.embedded else "adamw_8bit",
        weight_decay=0.0,
        bf16=best_dtype() == torch.bfloat16,
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


class _PlainLossTrainer(SFTTrainer):
    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        return super(SFTTrainer, self).compute_loss(*args, **kwargs)


class _Progress(TrainerCallback):
    def __init__(self, report: Reporter) -> None:
        self.report = report

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            done, steps = state.global_step, state.max_steps
            share = 0.02 + 0.96 * done / steps
            self.report(share, f"step {done} of {steps}", step=done, loss=float(logs["loss"]))
