"""The settings of a training as a checkpoint's record stores them, and which checkpoint it may replace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.data.dataset import Dataset
from pipeline.models.checkpoints import list_checkpoints
from pipeline.models.families import Family, get_family
from pipeline.models.fingerprints import PUBLISHED
from pipeline.models.model_files import read_json_object
from pipeline.schema import Checkpoint, FieldError, LabError, PromptVariant
from pipeline.settings import Settings

SCHEMA = 1
RECORD = "checkpoint.json"
"""A trained checkpoint's record, beside its adapter."""
PROTOCOL_EPOCHS = 3
_BEFORE = {"schema": 0, "packing": False}
"""What records hold that were written before these fields existed."""


def hyperparameters(family: Family, epochs: int, max_steps: int | None) -> dict[str, Any]:
    """Every setting of a training beside its samples and seed, named as in a checkpoint's record."""
    return {
        "epochs": epochs,
        "max_steps": max_steps,
        "learning_rate": family.learning_rate,
        "batch_size": family.batch_size,
        "packing": family.packing,
        "lora": {"r": family.lora_r, "alpha": family.lora_alpha},
    }


def recipe(
    family: Family,
    dataset: Dataset,
    subset_size: int,
    prompt: PromptVariant,
    seed: int,
    epochs: int,
    max_steps: int | None,
    backend: str,
) -> dict[str, Any]:
    """All settings that a training's outcome depends on, except the machine and its software."""
    return {
        "family": family.name,
        "base": family.base_names[0],
        "subset_size": subset_size,
        "variant": prompt,
        "seed": seed,
        **hyperparameters(family, epochs, max_steps),
        "sequence_length": family.sequence_length,
        "max_new_tokens": family.max_new_tokens,
        "templates": dict(family.templates),
        "backend": backend,
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
    }


def read_recipe(file: Path) -> dict[str, Any]:
    """Read a JSON record of this module's schema.

    Raises:
        LabError: there is none, it is damaged, or a newer version wrote it.
    """
    try:
        record = {**_BEFORE, **read_json_object(file)}
        schema = record["schema"]
        if type(schema) is not int or schema < 0:
            raise ValueError(f"a schema of {schema!r}")
    except (OSError, ValueError) as error:
        raise LabError(f"{file} cannot be read: {error}") from error
    if schema > SCHEMA:
        raise LabError(f"{file} was written by a newer version of this program. Update it to read the file.")
    return record


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The differences of two records as text: ``learning_rate 0.002 and now 1e-07``; empty if none."""
    names = [name for name in now if before.get(name) != now[name]]
    return ", ".join(f"{name} {before.get(name)} and now {now[name]}" for name in names)


def family_for(settings: Settings, name: str, learning_rate: float | None) -> Family:
    """Return the family, with the given learning rate if it is not None."""
    family = get_family(settings, name)
    return replace(family, learning_rate=learning_rate) if learning_rate else family


def existing_checkpoint(settings: Settings, family: Family, name: str) -> Checkpoint | None:
    """Return the listed checkpoint of that name: shipped, trained here, imported or published."""
    return next((one for one in list_checkpoints(settings, family) if one.name == name), None)


def other_hyperparameters(checkpoint: Checkpoint, family: Family, epochs: int, max_steps: int | None) -> str:
    """Describe how a checkpoint's training differs from these settings; empty if it does not.

    One that is published on the hub without a record counts as trained by the protocol.
    """
    now = hyperparameters(family, epochs, max_steps)
    folder = checkpoint.path
    if folder is None or (folder / PUBLISHED).is_file():
        return differences(hyperparameters(family, PROTOCOL_EPOCHS, None), now)
    try:
        return differences(read_recipe(folder / RECORD), now)
    except LabError as error:
        return f"unknown, since {error}"


def check_replace(checkpoint: Checkpoint, family: Family, epochs: int, max_steps: int | None) -> None:
    """Raise ``FieldError`` for the argument ``replace``, unless the checkpoint was trained like this."""
    if other := other_hyperparameters(checkpoint, family, epochs, max_steps):
        raise FieldError(
            "replace",
            f"must be set to train {checkpoint.name}, because there is a checkpoint of that name which was "
            f"trained with other settings ({other}). Another seed makes another checkpoint.",
        )
