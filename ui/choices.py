"""What the forms of several tabs offer: a family's checkpoints, and the columns chosen at first."""

from __future__ import annotations

from pipeline.models.checkpoints import columns
from pipeline.models.families import Family
from pipeline.schema import PromptVariant
from pipeline.settings import Settings
from ui.labels import checkpoint_label


def checkpoint_choices(settings: Settings, family: Family) -> list[tuple[str, str]]:
    """A family's checkpoints as choices: label, and the first half of the column's key."""
    labels: dict[str, str] = {}
    for key, column in columns(settings, family).items():
        label = checkpoint_label(column.checkpoint)
        unusable = " (cannot be used)" if column.checkpoint.problem else ""
        labels.setdefault(key.partition("/")[0], label + unusable)
    return [(label, name) for name, label in labels.items()]


def first_columns(settings: Settings, family: Family, variant: PromptVariant = "regular") -> tuple[str, ...]:
    """Keys of the columns chosen at first: a variant's baseline, smallest, middle and largest checkpoint."""
    usable = [
        key
        for key, column in columns(settings, family).items()
        if column.variant == variant and not column.checkpoint.problem
    ]
    chosen = (0, min(1, len(usable) - 1), len(usable) // 2, len(usable) - 1)
    return tuple(dict.fromkeys(usable[place] for place in chosen))
