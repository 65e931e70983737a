"""The settings of a training as a checkpoint's record stores them, and which checkpoint it may replace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from pipeline.data.dataset import Dataset
from pipeline.models.checkpoints import checkpoint_name, list_checkpoints, says_other
from pipeline.models.families import Family
from pipeline.models.model_files import read_json_object
from pipeline.models.recipes import to_record
from pipeline.schema import (
    Checkpoint,
    FieldError,
    LabError,
    PromptVariant,
    Recipe,
)
from pipeline.settings import Settings

SCHEMA = 1
"""Of a checkpoint's record, and of what an interrupted training is resumed by."""
_WARMUP_STEPS = 10
_BEFORE = {"schema": 0, "packing": False, "scheduler": "linear", "warmup": None}
"""What records hold that were written before these fields existed."""


def training_recipe(family: Family, arguments: Mapping[str, Any]) -> Recipe:
    """The recipe of a training with these arguments: what they leave open is the family's."""
    names = [field.name for field in fields(Recipe)]
    return replace(
        family.recipe, **{name: arguments[name] for name in names if arguments.get(name) is not None}
    )


def trained_name(family: Family, arguments: Mapping[str, Any]) -> str:
    """Name of the checkpoint that a training with these arguments makes.

    Raises:
        FieldError: the name that was asked for says other samples, prompt or seed.
    """
    size, prompt, seed = (arguments[name] for name in ("subset_size", "prompt", "seed"))
    name = arguments.get("name")
    if not name:
        recipe, dataset = training_recipe(family, arguments), arguments.get("dataset")
        return checkpoint_name(size, prompt, seed, recipe, family.recipe, dataset)
    trained = Checkpoint(
        family.name, name, size, prompt, seed, recipe={"dataset": arguments.get("dataset") or family.dataset}
    )
    if other := says_other(name, trained):
        raise FieldError("name", other)
    return str(name)


def warmup_steps(recipe: Recipe, steps: int) -> int:
    """The steps over which the learning rate rises, of all steps of a training."""
    return min(_WARMUP_STEPS, steps // 10) if recipe.warmup is None else min(recipe.warmup, steps)


def training_settings(
    family: Family,
    dataset: Dataset,
    subset_size: int,
    prompt: PromptVariant,
    seed: int,
    recipe: Recipe,
    backend: str,
) -> dict[str, Any]:
    """All settings that a training's outcome depends on, except the machine and its software."""
    return {
        "family": family.name,
        "base": family.base_names[0],
        "subset_size": subset_size,
        "variant": prompt,
        "seed": seed,
        **to_record(recipe),
        "sequence_length": family.sequence_length,
        "max_new_tokens": family.max_new_tokens,
        "templates": dict(family.templates),
        "backend": backend,
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
    }


def read_settings(file: Path) -> dict[str, Any]:
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


def existing_checkpoint(settings: Settings, family: Family, name: str) -> Checkpoint | None:
    """Return the listed checkpoint of that name: shipped, trained here, imported or published.

    Raises:
        FieldError: there is one whose name differs in upper and lower case only, the same for some disks.
    """
    known = {one.name: one for one in list_checkpoints(settings, family)}
    if name not in known and (alike := [one for one in known if one.lower() == name.lower()]):
        raise FieldError("name", f"must be another one: there is a checkpoint {alike[0]} already.")
    return known.get(name)


def other_recipe(checkpoint: Checkpoint, recipe: Recipe) -> str:
    """Describe how a checkpoint's recipe differs from this one; empty if it does not."""
    return differences(checkpoint.recipe, asdict(recipe)) if "epochs" in checkpoint.recipe else "unknown ones"


def check_replace(checkpoint: Checkpoint, recipe: Recipe) -> None:
    """Raise ``FieldError`` for the argument ``replace``, unless the checkpoint cannot be used anyway."""
    if checkpoint.problem:
        return
    other = other_recipe(checkpoint, recipe)
    settings = f"with other settings ({other})" if other else "with the same settings"
    raise FieldError(
        "replace",
        f"must be set to train {checkpoint.name} again, because there is a checkpoint of that name, trained "
        f"{settings}. Another name or another seed keeps both.",
    )
