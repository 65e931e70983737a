"""The registry of checkpoints: shipped, trained on this machine, imported, and published on the hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pipeline.data.dataset import BUILT_IN
from pipeline.models.families import Family
from pipeline.models.fingerprints import ADAPTER_CONFIG, ADAPTER_WEIGHTS, PUBLISHED, fingerprint
from pipeline.models.lora_settings import LoraSettings, parse_lora_settings
from pipeline.models.model_files import check_model, check_weights, read_json_object
from pipeline.models.recipes import differing, from_record
from pipeline.schema import (
    BASELINE,
    DEFAULT_SEED,
    SIZE_NAME,
    TRAINED_VARIANTS,
    VARIANTS,
    Checkpoint,
    Column,
    LabError,
    Origin,
    PromptVariant,
    Recipe,
    counted,
    quoted,
)
from pipeline.settings import Settings

SIZES = (100, 200, 500, 1000, 1500, 5000, 10000)
RECORD = "checkpoint.json"
"""A trained checkpoint's record, beside its adapter."""
IMPORTED = "imported.json"
"""What an imported checkpoint has beside its files: where it comes ``from``, and its known attributes."""
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}", re.ASCII)
_KEY_NAME = re.compile(r"\d+(-seed\d+)?", re.ASCII)  # as the keys of columns have it for 1000-regular
_MARKS = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, PUBLISHED)  # a checkpoint's folder has one of them
_UNKNOWN_SIZE = 1 << 62  # after all others


def checkpoint_name(
    size: int,
    variant: PromptVariant,
    seed: int,
    recipe: Recipe | None = None,
    usual: Recipe | None = None,
    dataset: str | None = None,
) -> str:
    """The name that a training gives its checkpoint: ``1000-regular``, ``1000-regular-seed43-mine-lr1e-4``.

    It tells the seed if that is not the protocol's 42, the dataset if that is one of the user's, and what
    differs from the usual recipe.
    """
    parts = [f"{size}-{variant}"]
    if seed != DEFAULT_SEED:
        parts.append(f"seed{seed}")
    if dataset and dataset not in BUILT_IN:
        parts.append(dataset)
    return "-".join([*parts, *(differing(recipe, usual) if recipe and usual else ())])


def check_name(name: str) -> str:
    """Return a name that a checkpoint can have.

    Raises:
        ValueError: it has other characters, is too long, or has a meaning of its own.
    """
    if not _SAFE_NAME.fullmatch(name) or name.endswith(".part"):
        raise ValueError(
            f"must be 1 to 60 letters, digits, '.', '_' or '-', with a letter or digit first and without "
            f"'.part' at the end, not {name[:80]!r}"
        )
    if name == BASELINE or _KEY_NAME.fullmatch(name):
        raise ValueError(f"must not be {name!r}: this names the baseline or a number of training samples")
    return name


def says_other(name: str, checkpoint: Checkpoint) -> str:
    """What a name of the pattern ``1000-regular-seed43`` says wrongly of a checkpoint; empty if nothing."""
    known = SIZE_NAME.match(name)
    if not known:
        return ""
    said = (int(known["size"]), known["variant"], int(known["seed"] or DEFAULT_SEED))
    shipped_data = checkpoint.recipe.get("dataset", BUILT_IN[0]) in BUILT_IN
    if said == (checkpoint.subset_size, checkpoint.variant, checkpoint.seed) and shipped_data:
        return ""
    return (
        f"says {counted(said[0], 'sample')} of the family's dataset, the {said[1]} prompt and seed "
        f"{said[2]}, and this checkpoint has others. Give another name."
    )


def checkpoints_dir(settings: Settings, family: Family) -> Path:
    """Where fine-tuning on this machine puts its checkpoints."""
    return settings.data_dir / "checkpoints" / family.name


def published_dir(settings: Settings, family: Family) -> Path:
    """Where checkpoints from the hub are kept."""
    return settings.data_dir / "published" / family.name


def list_checkpoints(settings: Settings, family: Family) -> list[Checkpoint]:
    """List the baseline, then all adapters by size, variant, seed and name; reads the folders.

    A checkpoint of this machine replaces the shipped one of the same name, and a shipped one the published
    one. If its files cannot be used, it is listed with its ``problem``.
    """
    checkpoints = {name: _published(family, name, hub_id) for name, hub_id in family.published.items()}
    shipped = settings.assets / "checkpoints" / family.name
    roots: dict[Origin, Path] = {
        "published": published_dir(settings, family),
        "shipped": shipped,
        "trained": checkpoints_dir(settings, family),
    }
    for origin, root in roots.items():
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if is_name(folder.name) and any((folder / mark).exists() for mark in _MARKS):
                checkpoints[folder.name] = read_checkpoint(family, folder, origin)
    return [Checkpoint(family.name, BASELINE), *sorted(checkpoints.values(), key=_order)]


def is_name(name: str) -> bool:
    """Whether a checkpoint can have this name."""
    try:
        return bool(check_name(name))
    except ValueError:
        return False


def _order(checkpoint: Checkpoint) -> tuple[int, int, int, str]:
    size = _UNKNOWN_SIZE if checkpoint.subset_size is None else checkpoint.subset_size
    variant = VARIANTS.index(checkpoint.variant) if checkpoint.variant else len(VARIANTS)
    return size, variant, checkpoint.seed or 0, checkpoint.name


def _published(family: Family, name: str, hub_id: str) -> Checkpoint:
    """One that is not downloaded. It has no record, and was trained as the protocol says."""
    checkpoint = Checkpoint(family.name, name, hub_id=hub_id, origin="published")
    return replace(checkpoint, **_attributes(name, {}), recipe=usual_recipe(family))


def usual_recipe(family: Family) -> dict[str, Any]:
    """The family's recipe as a checkpoint has it."""
    return {**asdict(family.recipe), "dataset": family.dataset}


def read_checkpoint(family: Family, folder: Path, origin: Origin = "trained") -> Checkpoint:
    """Read the checkpoint in a folder of that name, with its ``problem`` if the files cannot be used."""
    record = _read_record(folder / RECORD)
    imported = _read_record(folder / IMPORTED)
    checkpoint = replace(
        Checkpoint(family.name, folder.name, path=folder),
        **_attributes(folder.name, {**imported, **record}),
        origin="imported" if imported and origin == "trained" else origin,
    )
    try:
        checkpoint = replace(checkpoint, fingerprint=fingerprint(folder))
        settings = _check_files(checkpoint, family)
    except LabError as error:
        return replace(checkpoint, problem=str(error))
    except (OSError, ValueError) as error:
        words = f"Checkpoint {folder.name} is damaged and cannot be used: {error}. Its folder is {folder}."
        return replace(checkpoint, problem=words)
    if recipe := from_record(record):
        recipe["dataset"] = str(record.get("dataset", family.dataset))
    elif origin == "published":
        recipe = usual_recipe(family)
    elif settings:
        recipe = {"lora_r": settings.r, "lora_alpha": settings.lora_alpha}
    return replace(checkpoint, recipe=recipe)


def _read_record(file: Path) -> dict[str, Any]:
    """What a JSON file beside an adapter says; nothing if it cannot be read: the adapter works without it."""
    try:
        return read_json_object(file)
    except (OSError, ValueError):
        return {}


def _attributes(name: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Size, variant and seed: as the record says, else as the name says, else unknown."""
    known = SIZE_NAME.match(name)
    said = {"subset_size": int(known["size"]), "variant": known["variant"]} if known else {}
    if known:
        said["seed"] = int(known["seed"] or DEFAULT_SEED)
    given = {"subset_size": None, "variant": None, "seed": None} | said
    size, variant, seed = (record.get(each) for each in given)
    if type(size) is int and size > 0:
        given["subset_size"] = size
    if variant in TRAINED_VARIANTS:
        given["variant"] = variant
    if type(seed) is int:
        given["seed"] = seed
    return given


def _check_files(checkpoint: Checkpoint, family: Family) -> LoraSettings | None:
    """Check what can be seen without the model; the engine checks the weights themselves.

    Returns:
        The adapter's settings; None for a merged model.

    Raises:
        LabError, OSError, ValueError: the checkpoint cannot be used.
    """
    name, folder = checkpoint.name, checkpoint.path
    assert folder is not None
    came_from = read_json_object(folder / PUBLISHED).get("hub_id") if (folder / PUBLISHED).exists() else None
    if came_from and came_from != family.published.get(name, came_from):
        raise LabError(
            f"Checkpoint {name} was downloaded from {came_from}, and {family.name} now publishes "
            f"{family.published[name]} under that name. Delete the folder {folder} to download that one."
        )
    if checkpoint.is_merged:
        if not family.published:
            raise LabError(
                f"Checkpoint {name} cannot be used here: it is a merged model, and {family.name} takes only "
                "adapters."
            )
        check_model(folder)
        return None
    settings = parse_lora_settings(name, (folder / ADAPTER_CONFIG).read_bytes(), family)
    if (folder / "adapter_model.bin").exists() and not (folder / ADAPTER_WEIGHTS).exists():
        raise LabError(
            f"Checkpoint {name} cannot be used here: its weights are in adapter_model.bin, the format of old "
            f"versions of PEFT. Load it with PEFT and save it again, which writes {ADAPTER_WEIGHTS}."
        )
    check_weights(folder / ADAPTER_WEIGHTS)
    return settings


def columns(settings: Settings, family: Family) -> dict[str, Column]:
    """Return all columns by key: the baseline under every variant, each adapter under its own."""
    by_key = {}
    for checkpoint in list_checkpoints(settings, family):
        for variant in [checkpoint.variant] if checkpoint.variant else VARIANTS:
            column = Column(checkpoint, variant)
            by_key[column.key] = column
    return by_key


def get_column(settings: Settings, family: Family, key: str) -> Column:
    """Return one column by a key such as ``1000/regular``.

    Raises:
        LabError: there is none; the message lists all keys.
    """
    known = columns(settings, family)
    if key not in known:
        name, _, variant = key.rpartition("/")
        for column in known.values():
            if column.checkpoint.name == name and variant in VARIANTS:
                raise LabError(
                    f"Checkpoint {name} was trained with the {column.variant} prompt, not the {variant} one. "
                    f"Choose the {column.variant} prompt."
                )
        raise LabError(
            f"There is no checkpoint {quoted(key)} of {family.name}. There are: {', '.join(known)}."
        )
    return known[key]
