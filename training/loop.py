"""The training loop of the embedded families: LoRA weights on a base model, with saves to resume from."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pipeline.files import write_atomically
from pipeline.json_files import parse_object
from pipeline.models.model_files import writing_weights
from pipeline.schema import LabError, Recipe, counted
from training.jobs.progress import Reporter
from training.jobs.recipe import warmup_steps
from training.saving import not_finite
from training.stepper import Row, Stepper

_SAVES = 10  # an interrupted training loses at most a tenth of its steps
_SORTED_BATCHES = 20  # so many batches of samples are drawn at random, then sorted by length


@dataclass
class TrainingLog:
    """What a training did so far.

    Attributes:
        step: optimizer steps done.
        loss: (step, mean loss per token since the entry before).
        held_out_loss: (step, loss per token on samples that no training set holds).
    """

    step: int = 0
    loss: list[tuple[int, float]] = field(default_factory=list)
    held_out_loss: list[tuple[int, float]] = field(default_factory=list)


def train(
    model: Any,
    rows: Sequence[Row],
    held_out: Sequence[Row],
    recipe: Recipe,
    seed: int,
    work: Path,
    report: Reporter,
    resume: bool,
) -> TrainingLog:
    """Train the model's LoRA weights in place.

    AdamW without weight decay in fp32, on a copy of the weights; the model computes in its own precision. The
    loss is the mean over all tokens of a batch that carry loss.

    Args:
        model: a PEFT model whose LoRA weights are new, or those of a training that goes on.
        rows: the training set; its order is drawn from the seed.
        held_out: rows whose loss is measured ten times on the way, on a CPU at the end only; may be empty.
        recipe: how to train.
        seed: of the rows' order.
        work: folder for what an interrupted training goes on from.
        report: gets the progress.
        resume: whether to go on from the last save in ``work``.

    Raises:
        LabError: a loss, a gradient or a held-out loss is not finite; the last save stays.
    """
    steps = -(-len(rows) // recipe.batch_size) * recipe.epochs
    steps = min(steps, recipe.max_steps) if recipe.max_steps else steps
    stepper = Stepper(model, recipe.learning_rate)
    log = _load(stepper, work) if resume else TrainingLog()
    every, save_every = max(1, steps // 100), max(1, steps // _SAVES)
    # What is only read takes a third of the time of what is trained on.
    each = 0.96 / (steps + len(held_out) / (3 * recipe.batch_size))
    recent: list[float] = []
    report(0.02 + each * log.step, f"training {counted(steps, 'step')}, {log.step:,} done")
    for number, batch in enumerate(batches(rows, recipe.batch_size, recipe.epochs, seed), start=1):
        if number > steps:
            break
        if number <= log.step:
            continue  # done before the interruption
        loss, norm = stepper.step(batch, recipe.learning_rate * schedule(recipe, number - 1, steps))
        _check_finite({"loss": loss, "gradient norm": norm}, number, steps, work)
        log.step = number
        recent.append(loss)
        if number % every == 0 or number == steps:
            log.loss.append((number, round(sum(recent) / len(recent), 4)))
            recent.clear()
            report(0.02 + each * number, f"step {number} of {steps}", step=number, loss=loss)
        if number % save_every == 0 or number == steps:
            # On a CPU each measurement would take longer than many steps.
            if held_out and (stepper.graphs or number == steps):
                if number == steps:
                    asked = counted(len(held_out), "held-out sample")
                    report(0.02 + each * steps, f"measuring the loss of {asked}")
                held_out_loss = stepper.loss(held_out)
                _check_finite({"held-out loss": held_out_loss}, number, steps, work)
                log.held_out_loss.append((number, round(held_out_loss, 4)))
            _save(stepper, log, work)
    return log


def _check_finite(values: Mapping[str, float], step: int, steps: int, work: Path) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise not_finite(f"the {name} is {value}", step, steps, work)


def schedule(recipe: Recipe, step: int, steps: int) -> float:
    """The share of the peak learning rate at a step, counted from 0."""
    warmup = warmup_steps(recipe, steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    left = (steps - step) / max(1, steps - warmup)
    shares = {"linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2, "constant": 1.0}
    return shares[recipe.scheduler]


def batches(rows: Sequence[Row], size: int, epochs: int, seed: int) -> Iterator[list[Row]]:
    """Batches bucketed by length, in an order that only the seed decides."""
    for epoch in range(epochs):
        draw = random.Random(f"{seed}/{epoch}")
        order = list(range(len(rows)))
        draw.shuffle(order)
        span = _SORTED_BATCHES * size
        by_length = [
            index
            for start in range(0, len(order), span)
            for index in sorted(order[start : start + span], key=lambda i: -len(rows[i]["input_ids"]))
        ]
        drawn = [by_length[start : start + size] for start in range(0, len(by_length), size)]
        draw.shuffle(drawn)
        for batch in drawn:
            yield [rows[index] for index in batch]


def _last_save(work: Path) -> Path | None:
    saves = [file.parent for file in work.glob("step-[0-9]*/log.json")]
    return max(saves, key=lambda folder: int(folder.name.partition("-")[2]), default=None)


def _save(stepper: Stepper, log: TrainingLog, work: Path) -> None:
    """Write weights, optimizer and log; the log comes last, and older saves go then."""
    folder = work / f"step-{log.step}"
    tensors: dict[str, Any] = {}
    for index, master in enumerate(stepper.masters):
        state = stepper.optimizer.state[master]
        tensors |= {f"{index}.weight": master, f"{index}.step": state["step"].reshape(1)}
        tensors |= {f"{index}.{name}": state[name] for name in ("exp_avg", "exp_avg_sq")}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with writing_weights():
            save_file(
                {name: tensor.detach().cpu() for name, tensor in tensors.items()},
                folder / "state.safetensors",
            )
        write_atomically(folder / "log.json", json.dumps(vars(log)))
    except OSError as error:
        raise LabError(
            f"The training could not be saved in {work}: {error}. Make room, then resume."
        ) from error
    for old in work.glob("step-*"):
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)


def _load(stepper: Stepper, work: Path) -> TrainingLog:
    """Continue from the last save; from the beginning if there is none.

    Raises:
        LabError: the save is damaged.
    """
    folder = _last_save(work)
    if folder is None:
        return TrainingLog()
    try:
        return _read_save(stepper, folder)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise LabError(
            f"The save in {folder} is damaged: {error}. Start again without --resume, which deletes it."
        ) from error


def _read_save(stepper: Stepper, folder: Path) -> TrainingLog:
    tensors = load_file(folder / "state.safetensors", device=str(stepper.device))
    for index, (weight, master) in enumerate(zip(stepper.weights, stepper.masters, strict=True)):
        master.data.copy_(tensors[f"{index}.weight"])
        weight.data.copy_(master)
        step = tensors[f"{index}.step"].reshape(())
        stepper.optimizer.state[master] = {
            "step": step if stepper.graphs else step.cpu(),
            "exp_avg": tensors[f"{index}.exp_avg"],
            "exp_avg_sq": tensors[f"{index}.exp_avg_sq"],
        }
    raw = parse_object((folder / "log.json").read_bytes())
    return TrainingLog(
        raw["step"], *([(step, value) for step, value in raw[name]] for name in ("loss", "held_out_loss"))
    )
