"""What a comparison asks: a test sample of the family's dataset, or an own instruction."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from pipeline.evaluation.tasks import task_from_instruction, task_from_sample
from pipeline.models.families import first_family, get_family
from pipeline.schema import LabError, PromptVariant, Sample, Task
from ui import pieces
from ui.callbacks import QUIET
from ui.compare.columns import ColumnPicker
from ui.compare.examples import PICK, buttons, read_examples
from ui.lab import Lab, Loading
from ui.markup import escape
from ui.navigation import Updates
from ui.views import View

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset

SAMPLE, OWN = "Dataset sample", "Own instruction"
SampleView = tuple[str, "SamplePlace", str]
"""Values for ``TaskForm.sample_view``."""
_MOVES: dict[str, Callable[[int, int], int]] = {
    "Previous": lambda at, _: at - 1,
    "Next": lambda at, _: at + 1,
    "Random": lambda _, most: random.randrange(most),
}
"""Buttons that go to another sample: from a position to one that is brought into range.

Random stays below the second number.
"""
_SHOW_PART = f"""(chosen) => [{json.dumps(SAMPLE)}, {json.dumps(OWN)}].map(
  (part) => ({{ __type__: "update", visible: chosen === part }})
)"""
_EXAMPLES = {
    "Cosine similarity": "Write a function `cosine_similarity(a, b)` that returns the cosine similarity of "
    "two vectors.",
    "RMSNorm": "Write a class `RMSNorm(nn.Module)` that divides its input by its root mean square and scales "
    "it with a learned weight.",
    "Top-k accuracy": "Write a function `top_k_accuracy(logits, labels, k=5)` that returns the share of rows "
    "whose label is among the k largest logits.",
}


@dataclass(frozen=True)
class SamplePlace:
    """Where one is among the test samples: a search, and the position in what it finds.

    Without a search, ``sample`` can stand for the position: the id of a sample to go to once the dataset is
    loaded.
    """

    query: str = ""
    offset: int = 0
    sample: str = ""


@dataclass(frozen=True)
class TaskForm:
    """The components that set the task.

    ``place`` is a state. ``sample_id`` is a hidden text box, because a state that changes outside of Gradio's
    queue calls no listeners. ``steps`` are buttons by the name of the move.
    """

    source: gr.Radio
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
        return [self.source, self.search, self.instruction, self.code, self.examples, *self.sample_view]


def build(lab: Lab, picker: ColumnPicker, view: View) -> TaskForm:
    """The two kinds of task, one shown at a time; the view's sample is the first."""
    with gr.Row(elem_classes="view"):
        gr.HTML(pieces.step(1, "Choose a task"), padding=False)
        source = gr.Radio([SAMPLE, OWN], value=SAMPLE, label="Task", show_label=False, container=False)
    with gr.Column(elem_classes="plain") as sample_part:
        with gr.Row(elem_classes="finder"):
            search = gr.Textbox(
                placeholder="Search the test samples",
                show_label=False,
                label="Search",
                min_width=220,
                scale=3,
            )
            with gr.Row(elem_classes="moves"):
                steps = {name: gr.Button(name, size="sm", min_width=0) for name in _MOVES}
        examples = gr.HTML(buttons(lab.settings, view.family), js_on_load=PICK, padding=False)
        place = SamplePlace(sample=view.sample)
        card = gr.HTML(_stored_card(lab, view.family, place))
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
            label="Code of the file around it (optional; for the augmented prompt)",
            lines=3,
            max_lines=12,
            elem_classes="mono",
        )
    form = TaskForm(
        source,
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
    _wire(lab, picker, form)
    return form


def _wire(lab: Lab, picker: ColumnPicker, form: TaskForm) -> None:
    where = [picker.family, picker.variants]
    picker.variants.input(
        lambda family, variants, place: show_place(lab, family, variants, place, again=True),
        [*where, form.place],
        form.sample_view,
        trigger_mode="always_last",
        **QUIET,
    )

    def search(family: str, variants: Sequence[str], query: str, place: SamplePlace) -> SampleView:
        # A view empties the search and sets the place together: that place stays.
        return show_place(lab, family, variants, place if place.query == query else SamplePlace(query))

    # Not ``input``, which a text box sends for key presses only: not for the backspace key, not for a paste.
    form.search.change(
        search, [*where, form.search, form.place], form.sample_view, trigger_mode="always_last", **QUIET
    )

    def start_again(family: str, variants: Sequence[str]) -> tuple[Any, ...]:
        place = SamplePlace(sample=next((each.sample for each in read_examples(lab.settings, family)), ""))
        shown = show_place(lab, family, variants, place, again=True)
        return "", buttons(lab.settings, family), *shown

    changed = [form.search, form.examples, *form.sample_view]
    picker.family.input(start_again, where, changed, **QUIET)


def dataset(lab: Lab, family: str, variants: Sequence[str], again: bool = False) -> Loading[Dataset]:
    """The family's dataset as the prompt variants see it: the narrower view as soon as one needs it."""
    variant: PromptVariant = "augmented" if "augmented" in variants else "regular"
    return lab.dataset(get_family(lab.settings, family), variant, again)


def move(lab: Lab, family: str, variants: Sequence[str], place: SamplePlace, step: str) -> SamplePlace:
    """The place that one of the buttons leads to; Random prefers samples with stored answers."""
    if place.sample:  # its position was not known before the dataset was loaded
        _, place, _ = show_place(lab, family, variants, place)
    loading, most = dataset(lab, family, variants), 0
    if loading.state == "ready":
        found, stored = _listed(lab, family, loading.result(), place.query)
        most = stored or len(found)
    return SamplePlace(place.query, _MOVES[step](place.offset, max(1, most)))


def _listed(lab: Lab, family: str, data: Dataset, query: str) -> tuple[list[int], int]:
    """Indices of the samples that a search finds, those with stored answers first, and how many these are."""
    ids, answered = data.test.ids, lab.stored.sample_ids(family)
    found = sorted(data.matches(query), key=lambda index: ids[index] not in answered)
    return found, sum(ids[index] in answered for index in found)


def show_place(
    lab: Lab, family: str, variants: Sequence[str], place: SamplePlace, again: bool = False
) -> SampleView:
    """The sample at a place: as a card, the place in range, and its id, empty where there is no sample.

    ``again`` tries once more to load a dataset that could not be loaded.
    """
    loading = dataset(lab, family, variants, again)
    if loading.state != "ready" and (card := _stored_card(lab, family, place)):
        return card, place, place.sample
    if loading.state == "loading":
        return pieces.waiting(loading.message), place, ""
    try:
        data = loading.result()
        found, _ = _listed(lab, family, data, place.query)
        offset = found.index(data.test_place(place.sample)) if place.sample else place.offset
    except LabError as error:
        return pieces.problem(str(error)), SamplePlace(place.query, place.offset), ""
    if not found:
        return f'<p class="note">No test sample matches “{escape(place.query)}”.</p>', place, ""
    place = SamplePlace(place.query, offset % len(found))
    sample = data.test[found[place.offset]]
    return pieces.sample_card(sample, f"{place.offset + 1:,} of {len(found):,}"), place, sample.id


def _stored_card(lab: Lab, family: str, place: SamplePlace) -> str:
    """The card of a sample that stored runs hold, for as long as the dataset is not loaded; else empty."""
    asked = lab.stored.task(family, place.sample) if place.sample else None
    if asked is None or asked.problem:
        return ""
    path, _, name = place.sample.rpartition("::")
    file = path.removeprefix(f"{asked.repo}/")
    return pieces.sample_card(
        Sample(place.sample, asked.instruction, asked.reference or "", name, "", 0, asked.repo, file)
    )


def open_task(lab: Lab, view: View, form: TaskForm) -> Updates:
    """Set a view's sample, or its own instruction."""
    family = view.family or first_family(lab.settings).name
    updates: dict[Any, Any] = {form.examples: buttons(lab.settings, family)}
    if view.instruction:
        own = {form.source: OWN, form.instruction: view.instruction, form.code: view.context}
        return {**updates, **own}
    if view.sample:
        place = SamplePlace(sample=view.sample)
        shown = show_place(lab, family, _variants(view), place, again=True)
        updates |= {form.source: SAMPLE, form.search: "", **dict(zip(form.sample_view, shown, strict=True))}
    return updates


def read_task(lab: Lab, view: View) -> Task:
    """The task of a view; raises ``LabError`` where it has none. Waits for the dataset."""
    if view.sample:
        return task_from_sample(dataset(lab, view.family, _variants(view)).result().get(view.sample))
    return task_from_instruction(view.instruction, view.context)


def _variants(view: View) -> list[str]:
    return [key.partition("/")[2] for key in view.columns]
