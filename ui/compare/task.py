"""What a comparison asks: a test sample of the family's dataset, or an own instruction."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from pipeline.evaluation.tasks import task_from_instruction, task_from_sample
from pipeline.models.families import DEFAULT_FAMILY, get_family
from pipeline.schema import LabError, PromptVariant, Task
from ui import pieces
from ui.callbacks import QUIET
from ui.compare.columns import ColumnPicker
from ui.lab import Lab, Loading
from ui.markup import escape
from ui.navigation import Updates
from ui.views import View

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset

SAMPLE, OWN = "Dataset sample", "Own instruction"
SampleView = tuple[str, "SamplePlace", str]
"""Values for ``TaskForm.sample_view``."""
_MOVES: dict[str, Callable[[int], int]] = {
    "Previous": lambda at: at - 1,
    "Next": lambda at: at + 1,
    "Random": lambda at: random.getrandbits(31),
}
"""Buttons that go to another sample: from a position to one that is brought into range."""
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
    """The components that set the task; ``place`` and ``sample_id`` are states."""

    source: gr.Radio
    search: gr.Textbox
    card: gr.HTML
    place: gr.State
    sample_id: gr.State
    instruction: gr.Textbox
    code: gr.Textbox

    @property
    def sample_view(self) -> list[gr.HTML | gr.State]:
        """What ``show_place`` gives."""
        return [self.card, self.place, self.sample_id]

    @property
    def all(self) -> list[Any]:
        """What a view changes."""
        return [self.source, self.search, self.instruction, self.code, *self.sample_view]


def build(lab: Lab, picker: ColumnPicker) -> TaskForm:
    """The two kinds of task, one shown at a time."""
    gr.HTML(pieces.step(2, "Choose a task"))
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
        card = gr.HTML()
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
    form = TaskForm(source, search, card, gr.State(SamplePlace()), gr.State(""), instruction, code)
    source.change(
        lambda chosen: (gr.Column(visible=chosen == SAMPLE), gr.Column(visible=chosen == OWN)),
        source,
        [sample_part, own_part],
        **QUIET,
    )
    _wire(lab, picker, form, steps)
    return form


def _wire(lab: Lab, picker: ColumnPicker, form: TaskForm, steps: dict[str, gr.Button]) -> None:
    where = [picker.family, picker.variants]

    def move(by: Callable[[int], int]) -> Callable[..., SampleView]:
        return lambda family, variants, place: show_place(
            lab, family, variants, SamplePlace(place.query, by(place.offset)), again=True
        )

    for name, by in _MOVES.items():
        steps[name].click(move(by), [*where, form.place], form.sample_view, **QUIET)
    picker.variants.change(
        lambda family, variants, place: show_place(lab, family, variants, place, again=True),
        [*where, form.place],
        form.sample_view,
        **QUIET,
    )

    def search(family: str, variants: Sequence[str], query: str, place: SamplePlace) -> SampleView:
        # A view empties the search and sets the place together: that place stays.
        return show_place(lab, family, variants, place if place.query == query else SamplePlace(query))

    # Not ``input``, which a text box sends for key presses only: not for the backspace key, not for a paste.
    form.search.change(
        search, [*where, form.search, form.place], form.sample_view, trigger_mode="always_last", **QUIET
    )
    picker.family.input(
        lambda family, variants: ("", *show_place(lab, family, variants, SamplePlace(), again=True)),
        where,
        [form.search, *form.sample_view],
        **QUIET,
    )


def dataset(lab: Lab, family: str, variants: Sequence[str], again: bool = False) -> Loading[Dataset]:
    """The family's dataset as the prompt variants see it: the narrower view as soon as one needs it."""
    variant: PromptVariant = "augmented" if "augmented" in variants else "regular"
    return lab.dataset(get_family(lab.settings, family), variant, again)


def show_place(
    lab: Lab, family: str, variants: Sequence[str], place: SamplePlace, again: bool = False
) -> SampleView:
    """The sample at a place: as a card, the place in range, and its id, empty where there is no sample.

    ``again`` tries once more to load a dataset that could not be loaded.
    """
    loading = dataset(lab, family, variants, again)
    if loading.state == "loading":
        return pieces.waiting(loading.message), place, ""
    try:
        data = loading.result()
        offset = data.test_place(place.sample) if place.sample else place.offset
    except LabError as error:
        return pieces.problem(str(error)), SamplePlace(place.query, place.offset), ""
    found = data.matches(place.query)
    if not found:
        return f'<p class="note">No test sample matches “{escape(place.query)}”.</p>', place, ""
    place = SamplePlace(place.query, offset % len(found))
    sample = data.test[found[place.offset]]
    return pieces.sample_card(sample, f"{place.offset + 1:,} of {len(found):,}"), place, sample.id


def open_task(lab: Lab, view: View, form: TaskForm) -> Updates:
    """Set a view's sample, or its own instruction."""
    if view.instruction:
        return {form.source: OWN, form.instruction: view.instruction, form.code: view.context}
    if view.sample:
        family, place = view.family or DEFAULT_FAMILY, SamplePlace(sample=view.sample)
        shown = show_place(lab, family, _variants(view), place, again=True)
        return {form.source: SAMPLE, form.search: "", **dict(zip(form.sample_view, shown, strict=True))}
    return {}


def read_task(lab: Lab, view: View) -> Task:
    """The task of a view; raises ``LabError`` where it has none. Waits for the dataset."""
    if view.sample:
        return task_from_sample(dataset(lab, view.family, _variants(view)).result().get(view.sample))
    return task_from_instruction(view.instruction, view.context)


def _variants(view: View) -> list[str]:
    return [key.partition("/")[2] for key in view.columns]
