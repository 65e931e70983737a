"""Which columns a comparison shows: a family's checkpoints under prompt variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline.evaluation.limits import MAX_COLUMNS
from pipeline.models.checkpoints import columns
from pipeline.models.families import Family, first_family, get_family
from pipeline.schema import VARIANTS
from pipeline.settings import Settings
from ui import pieces
from ui.callbacks import QUIET, inform
from ui.choices import checkpoint_choices, family_choices, first_columns
from ui.labels import family_label
from ui.navigation import Updates
from ui.views import View


@dataclass(frozen=True)
class ColumnPicker:
    """The components that choose columns.

    Attributes:
        left: the family that the field had as it was entered, as leaving a field is an ``input`` too.
    """

    family: gr.Dropdown
    left: gr.Textbox
    checkpoints: gr.CheckboxGroup
    variants: gr.CheckboxGroup
    note: gr.HTML

    @property
    def chosen(self) -> list[gr.Dropdown | gr.CheckboxGroup]:
        """The components that hold the choice."""
        return [self.family, self.checkpoints, self.variants]


def build(settings: Settings, view: View) -> ColumnPicker:
    """Family, checkpoints and prompt variants, and a sentence on how many answers they give."""
    gr.HTML(pieces.step(2, "Choose checkpoints"))
    first = get_family(settings, view.family)
    chosen, variants = _halves(view.columns, 0), _halves(view.columns, 1)
    picker = ColumnPicker(
        family=gr.Dropdown(family_choices(settings), value=first.name, label="Model family"),
        left=gr.Textbox(visible="hidden", container=False),
        checkpoints=gr.CheckboxGroup(
            checkpoint_choices(settings, first),
            value=chosen,
            label="Checkpoints",
            info="The model as published, and fine-tuned on so many samples.",
        ),
        variants=gr.CheckboxGroup(
            [("Regular", "regular"), ("Augmented", "augmented"), ("Chat (baseline only)", "chat")],
            value=variants,
            label="Prompt",
            info="Augmented adds the code of the file; chat is the baseline's own format.",
        ),
        note=gr.HTML(pieces.note(column_note(settings, first.name, chosen, variants)), padding=False),
    )

    def restart(name: str, left: str) -> Any:
        if name == left:
            return gr.skip()
        family = get_family(settings, name)
        return _checkpoints(settings, family, first_columns(settings, family))

    # Only the user's own choice of a family resets the checkpoints: a view comes with its own.
    picker.family.focus(None, picker.family, picker.left, js="(name) => name", **QUIET)
    picker.family.input(restart, [picker.family, picker.left], picker.checkpoints, **QUIET)
    return picker


def open_columns(settings: Settings, view: View, picker: ColumnPicker) -> Updates:
    """Choose a view's family and columns; those that do not exist are named and left out."""
    if not (view.family or view.columns):
        return {}
    family = get_family(settings, view.family) if view.family else first_family(settings)
    known = columns(settings, family)
    keys = [key for key in view.columns if key in known] or first_columns(settings, family)
    if missing := [key for key in view.columns if key not in known]:
        inform(f"There is no {', '.join(missing)} of {family_label(family)} on this machine.")
    return {
        picker.family: gr.Dropdown(family_choices(settings), value=family.name),
        picker.checkpoints: _checkpoints(settings, family, keys),
        picker.variants: [variant for variant in VARIANTS if variant in _halves(keys, 1)],
    }


def _checkpoints(settings: Settings, family: Family, keys: Sequence[str]) -> gr.CheckboxGroup:
    return gr.CheckboxGroup(checkpoint_choices(settings, family), value=_halves(keys, 0))


def _halves(keys: Sequence[str], half: int) -> list[str]:
    """The checkpoints (0) or the prompt variants (1) of some column keys."""
    return list(dict.fromkeys(key.split("/")[half] for key in keys))


def column_keys(
    settings: Settings, family: Family, checkpoints: Sequence[str], variants: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Of every chosen checkpoint under every chosen variant: keys of those that exist, and of the others."""
    known = columns(settings, family)
    wanted = [f"{name}/{variant}" for variant in VARIANTS if variant in variants for name in checkpoints]
    # By variant, then by size as they are listed: not in the order in which the boxes were ticked.
    there = sorted(
        (key for key in known if key in wanted), key=lambda key: VARIANTS.index(known[key].variant)
    )
    return there, [key for key in wanted if key not in known]


def column_note(settings: Settings, family: str, checkpoints: Sequence[str], variants: Sequence[str]) -> str:
    """What the choice makes, and why a checkpoint of it cannot be used."""
    known = columns(settings, get_family(settings, family))
    there, missing = column_keys(settings, get_family(settings, family), checkpoints, variants)
    if not there:
        note = f"Tick at least one checkpoint and one prompt; up to {MAX_COLUMNS} answers fit one comparison."
    elif len(there) > MAX_COLUMNS:
        note = f"{len(there)} answers are too many: at most {MAX_COLUMNS} fit one comparison."
    else:
        note = f"{len(there)} answers side by side." if len(there) > 1 else "One answer."
    if any(key.endswith("/chat") for key in missing):
        note += " The chat prompt is for the baseline only."
    if missing := [key for key in missing if not key.endswith("/chat")]:
        note += f" Not available: {', '.join(missing)}. These checkpoints were not fine-tuned on that prompt."
    problems = [known[key].checkpoint.problem for key in there]
    return " ".join([note, *(problem for problem in problems if problem)])
