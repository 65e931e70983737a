"""What the forms of several tabs offer: a family's checkpoints, and the columns chosen at first."""

from __future__ import annotations

from pipeline.models.checkpoints import columns
from pipeline.models.families import Family, load_families
from pipeline.models.own_checkpoints import hidden_checkpoints
from pipeline.schema import Column, PromptVariant
from pipeline.settings import Settings
from ui.labels import checkpoint_label, family_label


def checkpoint_choices(settings: Settings, family: Family) -> list[tuple[str, str]]:
    """A family's checkpoints as choices: label, and the first half of the column's key; no hidden ones."""
    labels: dict[str, str] = {}
    for key, column in _shown(settings, family).items():
        label = checkpoint_label(column.checkpoint)
        unusable = " (cannot be used)" if column.checkpoint.problem else ""
        labels.setdefault(key.partition("/")[0], label + unusable)
    return [(label, name) for name, label in labels.items()]


def family_choices(settings: Settings) -> list[tuple[str, str]]:
    """The model families as choices: title, without what stands in brackets behind it, and name."""
    known = load_families(settings).values()
    return [(family_label(family), family.name) for family in known]


def first_columns(settings: Settings, family: Family, variant: PromptVariant = "regular") -> tuple[str, ...]:
    """Keys of the columns chosen at first: a variant's baseline, smallest, middle and largest checkpoint."""
    usable = [
        key
        for key, column in _shown(settings, family).items()
        if column.variant == variant and not column.checkpoint.problem
    ]
    chosen = (0, min(1, len(usable) - 1), len(usable) // 2, len(usable) - 1)
    return tuple(dict.fromkeys(usable[place] for place in chosen))


def _shown(settings: Settings, family: Family) -> dict[str, Column]:
    """The columns by key, without those of checkpoints that the user has hidden."""
    hidden = hidden_checkpoints(settings, family)
    return {
        key: column
        for key, column in columns(settings, family).items()
        if column.checkpoint.name not in hidden
    }
