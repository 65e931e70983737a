"""What decides a training's outcome, as a checkpoint's record holds it, and what a training may replace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.data.dataset import Dataset
from pipeline.models.checkpoints import PUBLISHED, checkpoint_name, list_checkpoints
from pipeline.models.families import Family, get_family
from pipeline.schema import Checkpoint, LabError
from pipeline.settings import Settings

SCHEMA = 1
RECORD = "checkpoint.json"
"""A trained checkpoint's record, beside its adapter."""
PROTOCOL_EPOCHS = 3
_BEFORE = {"schema": 0, "packing": False}
"""What records hold that were written before these fields existed."""


def hyperparameters(
    family: Family, epochs: int, max_steps: int | None, learning_rate: float | None
) -> dict[str, Any]:
    """Every setting of a training beside its samples and seed, as checkpoint records name them."""
    return {
        "epochs": epochs,
        "max_steps": max_steps,
        "learning_rate": learning_rate or family.learning_rate,
        "batch_size": family.batch_size,
        "packing": family.packing,
        "lora": {"r": family.lora_r, "alpha": family.lora_alpha},
    }


def recipe(family: Family, dataset: Dataset, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that decides a training's outcome but the machine and its software.

    Args:
        family: of the checkpoint.
        dataset: that it is trained on.
        arguments: of ``training.finetune``, with the backend that was chosen.
    """
    base = family.base if isinstance(family.base, str) else asdict(family.base)
    return {
        "family": family.name,
        "base": base,
        "subset_size": arguments["subset_size"],
        "variant": arguments["prompt"],
        "seed": arguments["seed"],
        **hyperparameters(family, arguments["epochs"], arguments["max_steps"], arguments["learning_rate"]),
        "sequence_length": family.sequence_length,
        "max_new_tokens": family.max_new_tokens,
        "templates": dict(family.templates),
        "backend": arguments["backend"],
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
    }


def read_record(file: Path) -> dict[str, Any]:
    """Read a JSON record of this module's schema.

    Raises:
        LabError: there is none, it is damaged, or a newer version wrote it.
    """
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        schema = int({**_BEFORE, **record}["schema"])
    except (OSError, ValueError, TypeError) as error:
        raise LabError(f"{file} cannot be read: {error}") from error
    if schema > SCHEMA:
        raise LabError(f"{file} was written by a newer version of this program. Update it to read the file.")
    return {**_BEFORE, **record}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Where two records differ, in words: ``learning_rate 0.002 and now 1e-07``; empty where they agree."""
    names = [name for name in now if before.get(name) != now[name]]
    return ", ".join(f"{name} {before.get(name)} and now {now[name]}" for name in names)


def listed(settings: Settings, arguments: Mapping[str, Any]) -> Checkpoint | None:
    """The checkpoint in the lists whose name a training with these arguments would take."""
    family = get_family(settings, arguments["family"])
    name = checkpoint_name(arguments["subset_size"], arguments["prompt"], arguments["seed"])
    return next((one for one in list_checkpoints(settings, family) if one.name == name), None)


def other_hyperparameters(
    checkpoint: Checkpoint, family: Family, epochs: int, max_steps: int | None, learning_rate: float | None
) -> str:
    """How a checkpoint was trained otherwise than with these, in words; empty if it was trained so.

    One that is published on the hub without a record counts as trained by the protocol.
    """
    now = hyperparameters(family, epochs, max_steps, learning_rate)
    if checkpoint.path is None or (checkpoint.path / PUBLISHED).is_file():
        return differences(hyperparameters(family, PROTOCOL_EPOCHS, None, None), now)
    try:
        return differences(read_record(checkpoint.path / RECORD), now)
    except LabError as error:
        return f"unknown: {error}"


def refuse_replacing(checkpoint: Checkpoint, other: str) -> None:
    """Raise ``LabError`` that says what is there, unless ``other`` (see above) is empty."""
    if other:
        raise LabError(
            f"There is a checkpoint {checkpoint.name} already, and its training was another ({other}). "
            "Choose another seed, or say that this training may replace it (--replace)."
        )
