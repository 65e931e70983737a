"""Which columns a comparison shows: a family's checkpoints under prompt variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from pipeline.evaluation.limits import MAX_COLUMNS
from pipeline.models.checkpoints import columns
from pipeline.models.families import Family, get_family, load_families
from pipeline.schema import VARIANTS, PromptVariant
from pipeline.settings import Settings
from ui import markup
from ui.callbacks import QUIET
from ui.labels import column_label


@dataclass(frozen=True)
class ColumnPicker:
    """The components that choose columns."""

    family: gr.Dropdown
    checkpoints: gr.CheckboxGroup
    variants: gr.CheckboxGroup

    @property
    def all(self) -> list[gr.Dropdown | gr.CheckboxGroup]:
        """What ``choose`` gives."""
        return [self.family, self.checkpoints, self.variants]


def build(settings: Settings, page: gr.Blocks) -> ColumnPicker:
    """Family, checkpoints and prompt variants, and a sentence on what they make."""
    gr.HTML(markup.step(1, "Choose checkpoints"))
    families = load_families(settings)
    first = next(iter(families.values()))
    choices, chosen = checkpoint_choices(settings, first)
    picker = ColumnPicker(
        gr.Dropdown(
            [(known.title, known.name) for known in families.values()], value=first.name, label="Model family"
        ),
        gr.CheckboxGroup(
            choices,
            value=chosen,
            label="Checkpoints",
            info="The baseline is the model as published; the others were fine-tuned on that many samples.",
        ),
        gr.CheckboxGroup(
            [("Regular", "regular"), ("Augmented", "augmented")],
            value=["regular"],
            label="Prompt",
            info="Regular: the instruction alone. Augmented: with the code of the file around it.",
        ),
    )
    note = gr.Markdown(column_note(settings, first.name, chosen, ["regular"]), elem_classes="hint")

    def list_choices(family: str) -> gr.CheckboxGroup:
        return gr.CheckboxGroup(checkpoint_choices(settings, get_family(settings, family))[0])

    def restart(family: str) -> gr.CheckboxGroup:
        choices, chosen = checkpoint_choices(settings, get_family(settings, family))
        return gr.CheckboxGroup(choices, value=chosen)

    # A fine-tune may have added a checkpoint since the page was made. Only the user's own choice of a family
    # starts anew: what another tab sends comes with its checkpoints.
    page.load(list_choices, picker.family, picker.checkpoints, **QUIET)
    picker.family.input(restart, picker.family, picker.checkpoints, **QUIET)
    gr.on(
        [picker.family.change, picker.checkpoints.change, picker.variants.change],
        lambda *chosen: column_note(settings, *chosen),
        picker.all,
        note,
        **QUIET,
    )
    return picker


def choose(
    settings: Settings, family: str, variant: PromptVariant, checkpoint: str | None = None
) -> tuple[str, gr.CheckboxGroup, list[str]]:
    """The picker as another tab sets it: the baseline beside one checkpoint by name, or the largest one."""
    choices, chosen = checkpoint_choices(settings, get_family(settings, family))
    if checkpoint:
        chosen = ["baseline", checkpoint.replace(f"-{variant}", "", 1)]
    return family, gr.CheckboxGroup(choices, value=chosen), [variant]


def checkpoint_choices(settings: Settings, family: Family) -> tuple[list[tuple[str, str]], list[str]]:
    """The choices (label, first half of the column key), and the baseline with the largest regular one."""
    labels: dict[str, str] = {}
    largest = "baseline"
    for key, column in columns(settings, family).items():
        name = key.partition("/")[0]
        labels.setdefault(name, column_label(column).partition(" · ")[0])
        if column.variant == "regular":
            largest = name
    return [(label, name) for name, label in labels.items()], list(dict.fromkeys(["baseline", largest]))


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
    """One sentence on what the choice makes."""
    there, missing = column_keys(settings, get_family(settings, family), checkpoints, variants)
    if not there:
        note = f"Tick at least one checkpoint and one prompt; up to {MAX_COLUMNS} answers fit one comparison."
    elif len(there) > MAX_COLUMNS:
        note = f"{len(there)} answers are too many: at most {MAX_COLUMNS} fit one comparison."
    else:
        note = (
            f"{len(there)} answers side by side, written in one batch." if len(there) > 1 else "One answer."
        )
    if missing:
        note += f" There is no {', '.join(missing)}: nobody fine-tuned these checkpoints on that prompt."
    return note
