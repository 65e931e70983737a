"""A training's folder while it runs, with what it resumes from, and the adapter that it ends with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.files import replace_folder, write_atomically
from pipeline.models.checkpoints import RECORD
from pipeline.models.fingerprints import ADAPTER_WEIGHTS
from pipeline.models.model_files import writing_weights
from pipeline.schema import LabError
from training.jobs.recipe import SCHEMA, differences, read_settings

_RECIPE = "recipe.json"
_SAVES = ("step-*/log.json", "checkpoint-*/trainer_state.json")  # of training.loop, of TRL


def last_saved_step(work: Path) -> int | None:
    """The step that an interrupted training in this folder can go on from, None if it saved nothing."""
    saves = [file.parent.name.rpartition("-")[2] for pattern in _SAVES for file in work.glob(pattern)]
    return max((int(step) for step in saves if step.isdecimal()), default=None)


def prepare_work(work: Path, settings: Mapping[str, Any], resume: bool) -> None:
    """Make the folder ready for a training with these settings.

    Args:
        work: the training's folder; without ``resume``, what is in it is deleted.
        settings: see ``training.jobs.recipe``.
        resume: whether the training goes on from the last save in it.

    Raises:
        LabError: the save was made with other settings, and these would not be applied.
    """
    if resume:
        _check_same(work, settings)
        return
    shutil.rmtree(work, ignore_errors=True)
    try:
        write_atomically(work / _RECIPE, json.dumps({"schema": SCHEMA, **settings}, indent=1))
    except OSError as error:
        raise LabError(f"The training cannot be saved in {work}: {error}") from error


def not_finite(problem: str, step: int, steps: int, work: Path) -> LabError:
    """The error that stops a training whose loss or gradient is not finite."""
    saved = last_saved_step(work)
    kept = "Nothing was saved yet." if saved is None else f"The save of step {saved} stays."
    return LabError(
        f"Training stopped at step {step} of {steps}: {problem}. No checkpoint was made. {kept} "
        "A lower learning rate may help."
    )


def save_adapter(model: Any, base: str, record: Mapping[str, Any], work: Path, target: Path) -> None:
    """Write the adapter in bf16 beside its record, then put the whole folder in its place at once.

    Args:
        model: with the LoRA weights.
        base: public name of the base model.
        record: what ``checkpoint.json`` holds.
        work: the training's folder, which is deleted at the end.
        target: the checkpoint's folder; one that is there is replaced.

    Raises:
        LabError: a weight is not finite, or the folder cannot be written to.
    """
    import torch
    from safetensors.torch import load_file, save_file

    final = work / "final"
    try:
        # Not the folder of this machine: whoever gets the adapter finds its base model by this name.
        model.active_peft_config.base_model_name_or_path = base
        with writing_weights():
            model.save_pretrained(final, save_embedding_layers=False)
        weights = final / ADAPTER_WEIGHTS
        tensors = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(weights).items()}
        broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
        if broken:
            raise LabError(
                f"The adapter is not saved, because {len(broken)} of its {len(tensors)} tensors hold values "
                f"that are not finite, such as {broken[0]}. Train again with a lower learning rate."
            )
        with writing_weights():
            save_file(tensors, weights)
        (final / "README.md").unlink(missing_ok=True)  # PEFT's template of a model card, unfilled
        write_atomically(final / RECORD, json.dumps(record, indent=1))
        replace_folder(final, target)
    except OSError as error:
        raise LabError(
            f"The checkpoint could not be saved to {target}: {error}. Solve this, then resume."
        ) from error
    shutil.rmtree(work, ignore_errors=True)


def _check_same(work: Path, settings: Mapping[str, Any]) -> None:
    again = "Resume with the same arguments, or start again without --resume, which deletes what was saved."
    if not (work / _RECIPE).is_file():
        raise LabError(
            f"The interrupted training in {work} does not say what its arguments were, because an older "
            f"version saved it. Start again without --resume, which deletes what was saved."
        )
    if other := differences(read_settings(work / _RECIPE), settings):
        raise LabError(
            f"The interrupted training in {work} was started with other settings: {other}. {again}"
        )
