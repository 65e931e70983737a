"""What a comparison asks: a test sample of the family's dataset, or an own instruction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline.data.dataset import BUILT_IN
from pipeline.data.own.store import list_own
from pipeline.evaluation.datasets import check_dataset
from pipeline.evaluation.tasks import task_from_instruction, task_from_sample
from pipeline.models.families import first_family, get_family
from pipeline.schema import Task
from pipeline.settings import Settings
from ui import pieces
from ui.callbacks import QUIET
from ui.compare.columns import ColumnPicker
from ui.compare.examples import MARK, PICK, buttons
from ui.compare.sample_place import (
    MOVES,
    SamplePlace,
    SampleView,
    dataset,
    first_place,
    show_place,
    stored_card,
)
from ui.lab import Lab
from ui.navigation import Updates
from ui.views import View

SAMPLE, OWN = "Dataset sample", "Own instruction"
_SHOW_PART = f"""(chosen) => [{json.dumps(SAMPLE)}, {json.dumps(OWN)}].map(
  (part) => ({{ __type__: "update", visible: chosen === part }})
)"""
# Where an own instruction has no code, the visitor's choice of it ticks the regular prompt in place of the
# augmented one. A link that names the augmented prompt keeps it.
_FIT_PROMPT = f"""(chosen, code, variants) => [
  chosen === {json.dumps(OWN)} && !(code ?? "").trim()
    ? [...new Set(variants.map((variant) => variant === "augmented" ? "regular" : variant))]
    : variants
]"""
_EXAMPLES = {
    "Cosine similarity": "Write a function `cosine_similarity(a, b)` that returns the cosine similarity of "
    "two vectors.",
    "RMSNorm": "Write a class `RMSNorm(nn.Module)` that divides its input by its root mean square and scales "
    "it with a learned weight.",
    "Top-k accuracy": "Write a function `top_k_accuracy(logits, labels, k=5)` that returns the share of rows "
    "whose label is among the k largest logits.",
}


@dataclass(frozen=True)
class TaskForm:
    """The components that set the task.

    ``place`` is a state. ``sample_id`` is a hidden text box, because a state that changes outside of Gradio's
    queue calls no listeners. ``steps`` are buttons by the name of the move.
    """

    source: gr.Radio
    dataset: gr.Dropdown
    search: gr.Textbox
    card: gr.HTML
    place: gr.State
    sample_id: gr.Textbox
    instruction: gr.Textbox
    code: gr.Textbox
    steps: dict[str, gr.Button]
    examples: gr.HTML

    @property
    def sample_view(self) -> list[Any]:
        """What ``show_place`` gives."""
        return [self.card, self.place, self.sample_id]

    @property
    def all(self) -> list[Any]:
        """What a view changes."""
        return [
            self.source,
            self.dataset,
            self.search,
            self.instruction,
            self.code,
            self.examples,
            *self.sample_view,
        ]


def build(lab: Lab, picker: ColumnPicker, view: View) -> TaskForm:
    """The two kinds of task, one shown at a time; the view's sample is the first."""
    with gr.Row(elem_classes="view"):
        gr.HTML(pieces.step(1, "Choose a task"), padding=False)
        source = gr.Radio([SAMPLE, OWN], value=SAMPLE, label="Task", show_label=False, container=False)
    with gr.Column(elem_classes="plain") as sample_part:
        dataset = list_datasets(lab.settings, view.family, view.dataset)
        with gr.Row(elem_classes="finder"):
            search = gr.Textbox(
                placeholder="Search the test samples",
                show_label=False,
                label="Search",
                min_width=220,
                scale=3,
            )
            with gr.Row(elem_classes="moves"):
                steps = {
                    name: gr.Button(name, size="sm", min_width=0, elem_id=f"{name.lower()}-sample")
                    for name in MOVES
                }
        examples = gr.HTML(buttons(lab.settings, view.family, view.sample), js_on_load=PICK, padding=False)
        place = SamplePlace(sample=view.sample)
        card = gr.HTML(stored_card(lab, view.family, place))
    with gr.Column(visible=False, elem_classes="plain") as own_part:
        instruction = gr.Textbox(
            label="Instruction", lines=3, max_lines=10, placeholder="Write a function that …", autofocus=False
        )
        gr.Examples(
            [[text] for text in _EXAMPLES.values()],
            instruction,
            example_labels=list(_EXAMPLES),
            label="For example",
        )
        code = gr.Textbox(
            label="Code of the file around it (optional)",
            info="The augmented prompt adds it. Without code, the regular prompt fits better.",
            lines=3,
            max_lines=12,
            elem_classes="mono",
        )
    form = TaskForm(
        source,
        dataset,
        search,
        card,
        gr.State(place),
        gr.Textbox(view.sample, visible="hidden", container=False),
        instruction,
        code,
        steps,
        examples,
    )
    source.change(None, source, [sample_part, own_part], js=_SHOW_PART, **QUIET)
    source.input(None, [source, code, picker.variants], picker.variants, js=_FIT_PROMPT, **QUIET)
    _wire(lab, picker, form)
    return form


def _wire(lab: Lab, picker: ColumnPicker, form: TaskForm) -> None:
    where = [picker.family, form.dataset, picker.variants]
    form.sample_id.change(None, form.sample_id, None, js=MARK, **QUIET)
    picker.variants.input(
        lambda family, name, variants, place: show_place(lab, family, name, variants, place, again=True),
        [*where, form.place],
        form.sample_view,
        trigger_mode="always_last",
        **QUIET,
    )

    def search(family: str, name: str, variants: Sequence[str], query: str, place: SamplePlace) -> SampleView:
        # A view empties the search and sets the place together: that place stays.
        return show_place(lab, family, name, variants, place if place.query == query else SamplePlace(query))

    # Not ``input``, which a text box sends for key presses only: not for the backspace key, not for a paste.
    form.search.change(
        search, [*where, form.search, form.place], form.sample_view, trigger_mode="always_last", **QUIET
    )

    def start_again(
        family: str, name: str, variants: Sequence[str], place: SamplePlace, sample: str
    ) -> tuple[Any, ...]:
        """Keep the sample if the family has stored answers to it.

        Else begin with an example of the family, or the first sample of a dataset that has none.
        """
        if sample not in lab.stored.sample_ids(family):
            place = first_place(lab.settings, family, name)
        shown = show_place(lab, family, name, variants, place, again=True)
        examples = _examples(lab, family, name, shown[-1])
        return list_datasets(lab.settings, family, name), place.query, examples, *shown

    changed = [form.dataset, form.search, form.examples, *form.sample_view]
    given = [*where, form.place, form.sample_id]
    gr.on([picker.family.input, form.dataset.input], start_again, given, changed, **QUIET)


def list_datasets(settings: Settings, family: str, name: str) -> gr.Dropdown:
    """The datasets that samples can be from: the family's, which has an empty name here, and one's own.

    Shown only where there is a choice. A link can name a further one, of another family.
    """
    others = {own.name: own.title for own in list_own(settings)}
    others |= {name: name} if name in BUILT_IN else {}
    choices = [(get_family(settings, family).dataset, ""), *((title, key) for key, title in others.items())]
    return gr.Dropdown(
        choices, value=name if name in others else "", label="Dataset", visible=len(choices) > 1
    )


def _examples(lab: Lab, family: str, name: str, shown: str) -> str:
    return "" if name else buttons(lab.settings, family, shown)


def open_task(lab: Lab, view: View, form: TaskForm) -> Updates:
    """Set a view's sample, or its own instruction.

    One that names a family or a dataset alone begins with a first sample: the shown one can be of another
    dataset.
    """
    settings = lab.settings
    family = view.family or first_family(settings).name
    if view.dataset:
        check_dataset(settings, view.dataset)
    updates: dict[Any, Any] = {
        form.dataset: list_datasets(settings, family, view.dataset),
        form.examples: _examples(lab, family, view.dataset, view.sample),
    }
    if view.instruction:
        own = {form.source: OWN, form.instruction: view.instruction, form.code: view.context}
        return {**updates, **own}
    if view.sample:
        updates[form.source] = SAMPLE
    if view.sample or view.family or view.dataset:
        place = (
            SamplePlace(sample=view.sample) if view.sample else first_place(settings, family, view.dataset)
        )
        shown = show_place(lab, family, view.dataset, _variants(view), place, again=True)
        examples = _examples(lab, family, view.dataset, shown[-1])
        updates |= {
            form.search: "",
            form.examples: examples,
            **dict(zip(form.sample_view, shown, strict=True)),
        }
    return updates


def read_task(lab: Lab, view: View) -> Task:
    """The task of a view; raises ``LabError`` where it has none. Waits for the dataset."""
    if view.sample:
        data = dataset(lab, view.family, view.dataset, _variants(view)).result()
        return task_from_sample(data.get(view.sample))
    return task_from_instruction(view.instruction, view.context)


def _variants(view: View) -> list[str]:
    return [key.partition("/")[2] for key in view.columns]
