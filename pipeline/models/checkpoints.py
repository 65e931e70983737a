"""The registry of checkpoints: shipped, trained on this machine, and published on the hub."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from pipeline.models.families import Family
from pipeline.models.fingerprints import ADAPTER_CONFIG, ADAPTER_WEIGHTS, PUBLISHED, fingerprint
from pipeline.models.lora_settings import parse_lora_settings
from pipeline.models.model_files import check_model, check_weights, read_json_object
from pipeline.schema import (
    DEFAULT_SEED,
    VARIANTS,
    Checkpoint,
    Column,
    LabError,
    PromptVariant,
    TrainedVariant,
)
from pipeline.settings import Settings

SIZES = (100, 200, 500, 1000, 1500, 5000, 10000)
_NAME = re.compile(r"(?P<size>\d+)-(?P<variant>regular|augmented)(?:-seed(?P<seed>\d+))?", re.ASCII)
_MARKS = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, PUBLISHED)  # a checkpoint's folder has one of them


def checkpoint_name(size: int, variant: PromptVariant, seed: int) -> str:
    """``1000-regular``, or ``1000-regular-seed43`` for any seed but the protocol's 42."""
    return f"{size}-{variant}" + (f"-seed{seed}" if seed != DEFAULT_SEED else "")


def checkpoints_dir(settings: Settings, family: Family) -> Path:
    """Where fine-tuning on this machine puts its checkpoints."""
    return settings.data_dir / "checkpoints" / family.name


def published_dir(settings: Settings, family: Family) -> Path:
    """Where checkpoints from the hub are kept."""
    return settings.data_dir / "published" / family.name


def list_checkpoints(settings: Settings, family: Family) -> list[Checkpoint]:
    """List the baseline, then all adapters by size, variant and seed; the folders are read at each call.

    A checkpoint trained here replaces the shipped one of the same name, and a shipped one the published one.
    If its files cannot be used, it is listed with its ``problem``.
    """
    checkpoints = {name: _checkpoint(family, name, hub_id=id_) for name, id_ in family.published.items()}
    shipped = settings.assets / "checkpoints" / family.name
    for root in (published_dir(settings, family), shipped, checkpoints_dir(settings, family)):
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if _NAME.fullmatch(folder.name) and any((folder / name).exists() for name in _MARKS):
                checkpoints[folder.name] = read_checkpoint(family, folder)
    order = sorted(
        checkpoints.values(), key=lambda c: (c.subset_size, VARIANTS.index(c.variant), c.seed or 0)
    )
    return [Checkpoint(family.name, "baseline"), *order]


def _checkpoint(family: Family, name: str, path: Path | None = None, hub_id: str | None = None) -> Checkpoint:
    match = _NAME.fullmatch(name)
    if match is None:
        raise LabError(f"{name!r} is not a checkpoint name. Such a name looks like 1000-regular.")
    variant: TrainedVariant = "regular" if match["variant"] == "regular" else "augmented"
    seed = int(match["seed"]) if match["seed"] else DEFAULT_SEED
    return Checkpoint(family.name, name, int(match["size"]), variant, seed, path, hub_id)


def read_checkpoint(family: Family, folder: Path) -> Checkpoint:
    """Read the checkpoint in a folder of that name, with its ``problem`` if the files cannot be used."""
    checkpoint = _checkpoint(family, folder.name, path=folder)
    try:
        checkpoint = replace(checkpoint, fingerprint=fingerprint(folder))
        _check_files(checkpoint, family)
    except LabError as error:
        return replace(checkpoint, problem=str(error))
    except (OSError, ValueError) as error:
        words = f"Checkpoint {folder.name} is damaged and cannot be used: {error}. Its folder is {folder}."
        return replace(checkpoint, problem=words)
    return checkpoint


def _check_files(checkpoint: Checkpoint, family: Family) -> None:
    """Check what can be seen without the model; the engine checks the weights themselves.

    Raises:
        LabError, OSError, ValueError: the checkpoint cannot be used.
    """
    name, folder = checkpoint.name, checkpoint.path
    assert folder is not None
    if not checkpoint.subset_size:
        raise LabError(
            f"{name} is not a checkpoint name: it starts with the number of training samples, which is at "
            f"least 1. Rename the folder {folder}."
        )
    assert checkpoint.variant
    assert checkpoint.seed is not None
    usual = checkpoint_name(checkpoint.subset_size, checkpoint.variant, checkpoint.seed)
    if name != usual:  # two folders of one size, variant and seed would be columns that look the same
        raise LabError(
            f"{name} is another spelling of the checkpoint name {usual}. Rename the folder {folder}."
        )
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
    else:
        parse_lora_settings(name, (folder / ADAPTER_CONFIG).read_bytes(), family)
        if (folder / "adapter_model.bin").exists() and not (folder / ADAPTER_WEIGHTS).exists():
            raise LabError(
                f"Checkpoint {name} cannot be used here: its weights are in adapter_model.bin, the format of "
                f"old versions of PEFT. Load it with PEFT and save it again, which writes {ADAPTER_WEIGHTS}."
            )
        check_weights(folder / ADAPTER_WEIGHTS)


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
        raise LabError(f"There is no checkpoint {key!r} of {family.name}. There are: {', '.join(known)}.")
    return known[key]
