"""The form of a comparison: columns, task and sampling, and the view that they set."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from typing import Any

import gradio as gr

from pipeline.models.families import first_family, get_family
from pipeline.schema import PromptVariant, SamplingParams
from pipeline.settings import Settings
from ui.callbacks import QUIET
from ui.choices import first_columns
from ui.compare import columns, task
from ui.compare.columns import ColumnPicker
from ui.compare.examples import read_examples
from ui.compare.task import SAMPLE, TaskForm
from ui.lab import Lab
from ui.navigation import Updates
from ui.views import View

LABELS = {
    "temperature": "Temperature",
    "min_p": "Min-p",
    "max_new_tokens": "Max new tokens",
    "seed": "Seed",
    "instruction": "Instruction",
    "context": "Code of the file around it",
}
_INFO = {
    "temperature": "0 is greedy: always the likeliest token",
    "min_p": "Leaves out tokens below this share of the likeliest one's probability",
    "max_new_tokens": "Longer answers are cut off here",
    "seed": "Of the random choices; greedy makes none",
}
"""What each field of the sampling does, in the order of ``SamplingParams``."""


@dataclass(frozen=True)
class Form:
    """The components of the left side of the tab."""

    picker: ColumnPicker
    task: TaskForm
    sampling: list[gr.Number]

    @property
    def inputs(self) -> list[Any]:
        """What ``read_view`` takes."""
        asked = [self.task.source, self.task.dataset, self.task.sample_id]
        own = [self.task.instruction, self.task.code]
        return [*self.picker.chosen, *asked, *own, *self.sampling]

    @property
    def outputs(self) -> list[Any]:
        """What ``open_view`` may change."""
        return [*self.picker.chosen, *self.task.all, *self.sampling]


def first_view(settings: Settings) -> View:
    """What the page opens with: an example of the first family."""
    family = first_family(settings)
    example = next(iter(read_examples(settings, family.name)), None)
    if example is None:
        return View("compare", family.name, columns=first_columns(settings, family))
    chosen = first_columns(settings, family, example.variant)
    return View("compare", family.name, columns=chosen, sample=example.sample)


def build(lab: Lab, view: View) -> Form:
    """Two cards, set to a view of a sample: the task above, as the answers beside it are to that."""
    task_card = gr.Column(elem_classes="card")
    with gr.Column(elem_classes="card"):
        picker = columns.build(lab.settings, view)
        sampling = _sampling(lab.settings, picker)
    with task_card:
        return Form(picker, task.build(lab, picker, view), sampling)


def _sampling(settings: Settings, picker: ColumnPicker) -> list[gr.Number]:
    first = get_family(settings, str(picker.family.value)).sampling
    with gr.Accordion("Sampling settings", open=False), gr.Row():
        # Without Gradio's limits and rounding: ``check_sampling`` refuses a bad value by the field's name.
        numbers = [
            gr.Number(getattr(first, name), label=LABELS[name], info=info, min_width=190)
            for name, info in _INFO.items()
        ]

    def restart(name: str, left: str) -> Any:
        return [gr.skip()] * len(numbers) if name == left else astuple(get_family(settings, name).sampling)

    picker.family.input(restart, [picker.family, picker.left], numbers, **QUIET)
    return numbers


def read_view(
    settings: Settings, family_name: str, checkpoints: list[str], variants: list[str], source: str,
    dataset: str, sample_id: str, instruction: str | None, code: str | None, *sampling: float,
) -> View:  # fmt: skip
    """The view that the form sets; ``sampling`` is None where it is the family's own."""
    family = get_family(settings, family_name)
    keys, _ = columns.column_keys(settings, family, checkpoints, variants)
    chosen = SamplingParams(*sampling)  # type: ignore[arg-type]
    own = source != SAMPLE
    return View(
        "compare",
        family_name,
        "" if own else dataset,
        tuple(keys),
        sample="" if own else sample_id,
        instruction=(instruction or "").strip() if own else "",  # None where the browser has no text yet
        context=(code or "") if own else "",
        sampling=None if chosen == family.sampling else chosen,
    )


def for_family(settings: Settings, view: View, name: str) -> View:
    """The same task for another family, with the columns that this one begins with.

    An example of the family before shows nothing of this one: an example of its own takes its place.
    """
    before, family = get_family(settings, view.family), get_family(settings, name)
    own = next(iter(read_examples(settings, name)), None)
    if own and view.sample in [each.sample for each in read_examples(settings, view.family)]:
        return View("compare", name, columns=first_columns(settings, family, own.variant), sample=own.sample)
    dataset = view.dataset or ("" if before.dataset == family.dataset else before.dataset)
    variant: PromptVariant = "augmented" if view.columns[:1] and "augmented" in view.columns[0] else "regular"
    chosen = first_columns(settings, family, variant)
    task_dataset = "" if view.instruction else dataset
    return replace(view, family=name, dataset=task_dataset, columns=chosen, sampling=None)


def context_note(view: View) -> str:
    """A word where the augmented prompt has nothing to add; empty where it has."""
    augmented = any(key.endswith("/augmented") for key in view.columns)
    if not augmented or not view.instruction or view.context.strip():
        return ""
    return " The augmented prompt has no code to add: paste the code of the file below the instruction."


def open_view(lab: Lab, form: Form, view: View) -> Updates:
    """Set the form to a view."""
    updates = {
        **columns.open_columns(lab.settings, view, form.picker),
        **task.open_task(lab, view, form.task),
    }
    if view.family or view.sampling:
        family = get_family(lab.settings, view.family) if view.family else first_family(lab.settings)
        sampling = view.sampling or family.sampling
        updates |= dict(zip(form.sampling, astuple(sampling), strict=True))
    return updates
