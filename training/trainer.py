"""TRL's trainer on rows that are tokenized and labelled already.

Slow to import, and to be imported after Unsloth where that trains: it patches what is imported here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer

from pipeline.models.families import Family
from pipeline.models.weights import best_dtype
from pipeline.schema import LabError, Recipe
from training.jobs.progress import Reporter
from training.jobs.recipe import warmup_steps
from training.loop import TrainingLog
from training.saving import not_finite

_SAVES = 10  # a killed training loses at most a tenth of its steps


def train_with_trl(
    model: Any,
    tokenizer: Any,
    rows: Sequence[dict[str, list[int]]],
    family: Family,
    recipe: Recipe,
    seed: int,
    work: Path,
    report: Reporter,
    resume: bool,
) -> TrainingLog:
    """Train the model's LoRA weights in place; see ``build_trainer`` for the arguments.

    Raises:
        LabError: a loss or gradient is not finite; the last save stays.
    """
    trainer = build_trainer(model, tokenizer, rows, family, recipe, seed, work, report)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(work)) if resume else None)
    losses = [(log["step"], round(log["loss"], 4)) for log in trainer.state.log_history if "loss" in log]
    return TrainingLog(trainer.state.global_step, losses)


def build_trainer(
    model: Any,
    tokenizer: Any,
    rows: Sequence[dict[str, list[int]]],
    family: Family,
    recipe: Recipe,
    seed: int,
    work: Path,
    report: Reporter,
) -> Any:
    """A trainer that saves to ``work`` and reports every logged step.

    Args:
        model: the base model with LoRA weights on it
        tokenizer: its tokenizer
        rows: ``input_ids`` and ``labels`` of each sample, see ``training.encoding``
        family: gives the length of packed rows
        recipe: how to train
        seed: of the rows' order
        work: folder for what a resumed training starts from
        report: gets step and loss

    Returns:
        The ``SFTTrainer``; ``train()`` is still to be called.
    """
    datasets.disable_progress_bars()
    trainer: Any = _Trainer(
        model=model,
        args=_arguments(family, recipe, seed, work),
        train_dataset=datasets.Dataset.from_list(list(rows)),
        processing_class=tokenizer,
        callbacks=[_Progress(report), _FiniteGradients()],
    )
    per_epoch = -(-len(trainer.train_dataset) // recipe.batch_size)  # of packed rows, where it packs
    steps = recipe.max_steps or per_epoch * recipe.epochs
    trainer.args.warmup_steps = warmup_steps(recipe, steps)
    trainer.args.logging_steps = max(1, steps // 100)
    trainer.args.save_steps = max(1, steps // _SAVES)
    # The reporter says it; the trainer's own printing of each log line would say it twice.
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(family: Family, recipe: Recipe, seed: int, work: Path) -> SFTConfig:
    cuda = torch.cuda.is_available()
    # A CPU is bound by arithmetic, so it takes small micro-batches, which waste less on padding.
    micro = recipe.batch_size if cuda else math.gcd(4, recipe.batch_size)
    return SFTConfig(
        output_dir=str(work),
        num_train_epochs=recipe.epochs,
        max_steps=recipe.max_steps or -1,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=recipe.batch_size // micro,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.scheduler if recipe.scheduler != "constant" else "constant_with_warmup",
        optim="adamw_torch" if family.embedded else "adamw_8bit",
        weight_decay=0.0,
        bf16=best_dtype() == torch.bfloat16,
        fp16=best_dtype() == torch.float16,
        use_cpu=not cuda,
        gradient_checkpointing=not family.embedded,  # its memory is worth a third of the time only there
        packing=recipe.packing,
        max_length=family.sequence_length if recipe.packing else None,  # no row is longer: nothing is cut
        save_total_limit=1,
        disable_tqdm=True,
        report_to=[],
        seed=seed,
        logging_nan_inf_filter=False,  # it would log the last finite loss in the place of NaN
        dataloader_pin_memory=cuda,
    )


class _Trainer(SFTTrainer):
    """Stops at the first loss that is not finite: the training could only go on with broken weights."""

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise _not_finite(f"the loss is {float(loss)}", self.state, self.args)
        return loss

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        if torch.cuda.is_available():
            return super().compute_loss(*args, **kwargs)
        # TRL's fused loss needs Triton, which CPUs do not have; the model's own loss is the same.
        return super(SFTTrainer, self).compute_loss(*args, **kwargs)


class _FiniteGradients(TrainerCallback):
    """Stops before a gradient that is not finite reaches the weights."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if args.fp16:
            return  # its loss scaler meets such gradients now and then, and skips the step itself
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        if not math.isfinite(norm):
            raise _not_finite(f"the gradient norm is {norm}", state, args)


def _not_finite(problem: str, state: Any, args: Any) -> LabError:
    return not_finite(problem, state.global_step + 1, state.max_steps, Path(args.output_dir))


class _Progress(TrainerCallback):
    def __init__(self, report: Reporter) -> None:
        self.report = report

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            done, steps = state.global_step, state.max_steps
            share = 0.02 + 0.96 * done / steps
            self.report(share, f"step {done} of {steps}", step=done, loss=float(logs["loss"]))
