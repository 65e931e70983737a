"""The registry of checkpoints: what ships, what this machine trained, what is published on the hub."""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path

from pipeline.models.families import Family
from pipeline.schema import DEFAULT_SEED, VARIANTS, Checkpoint, Column, LabError, PromptVariant
from pipeline.settings import Settings

SIZES = (100, 200, 500, 1000, 1500, 5000, 10000)
_NAME = re.compile(r"(?P<size>\d+)-(?P<variant>regular|augmented)(?:-seed(?P<seed>\d+))?")
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
PUBLISHED = "published.json"
"""What a checkpoint from the hub has beside its files: its ``hub_id`` and ``commit``."""


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
    """The baseline, then every adapter by size, variant and seed; read anew at each call.

    One that was trained here takes the place of the shipped one of its name, and that the published one's.
    """
    found = {name: _checkpoint(family, name, hub_id=hub_id) for name, hub_id in family.published.items()}
    shipped = settings.assets / "checkpoints" / family.name
    for root in (published_dir(settings, family), shipped, checkpoints_dir(settings, family)):
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            known = any((folder / name).is_file() for name in (_ADAPTER_FILES[0], PUBLISHED))
            if _NAME.fullmatch(folder.name) and known:
                found[folder.name] = _checkpoint(family, folder.name, path=folder)
    order = sorted(found.values(), key=lambda c: (c.subset_size, VARIANTS.index(c.variant), c.seed or 0))
    return [Checkpoint(family.name, "baseline"), *order]


def _checkpoint(family: Family, name: str, path: Path | None = None, hub_id: str | None = None) -> Checkpoint:
    match = _NAME.fullmatch(name)
    if match is None:
        raise LabError(f"{name!r} is no checkpoint name; one looks like 1000-regular.")
    variant: PromptVariant = "regular" if match["variant"] == "regular" else "augmented"
    seed = int(match["seed"]) if match["seed"] else DEFAULT_SEED
    print_ = fingerprint(path) if path else ""
    return Checkpoint(family.name, name, int(match["size"]), variant, seed, path, hub_id, print_)


def fingerprint(folder: Path) -> str:
    """First 12 hex digits of the SHA-256 over the adapter's files, or of a merged model's commit on the hub.

    Empty where there are neither.
    """
    files = [folder / name for name in _ADAPTER_FILES if (folder / name).is_file()]
    if files:
        return _digest(tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files))
    note = folder / PUBLISHED
    commit: str = json.loads(note.read_text(encoding="utf-8"))["commit"] if note.is_file() else ""
    return commit[:12]


@lru_cache(maxsize=1_000)  # every click in the list of checkpoints asks for all of them
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Of files as they are at a time and size; what is written anew is read anew."""
    digest = hashlib.sha256()
    for file, _, _ in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def columns(settings: Settings, family: Family) -> dict[str, Column]:
    """Every column there is, by key: the baseline under both variants, each adapter under its own."""
    every = [
        Column(checkpoint, variant)
        for checkpoint in list_checkpoints(settings, family)
        for variant in ([checkpoint.variant] if checkpoint.variant else VARIANTS)
    ]
    return {column.key: column for column in every}


def get_column(settings: Settings, family: Family, key: str) -> Column:
    """One column by key such as ``1000/regular``; raises ``LabError`` that lists those there are."""
    known = columns(settings, family)
    if key not in known:
        raise LabError(f"There is no checkpoint {key!r} of {family.name}. There are: {', '.join(known)}.")
    return known[key]
