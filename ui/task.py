"""What a comparison asks: a test sample of the family's dataset, or an own instruction."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import gradio as gr

from pipeline.families import get_family
from pipeline.schema import LabError, PromptVariant, Sample
from ui import panes
from ui.columns import ColumnPicker
from ui.comparison import Task
from ui.events import QUIET
from ui.lab import Lab, Loading

if TYPE_CHECKING:
    from pipeline.dataset import Dataset

SAMPLE, OWN = "Dataset sample", "Own instruction"
_MOVES: dict[str, Callable[[int], int]] = {
    "Previous": lambda at: at - 1,
    "Next": lambda at: at + 1,
    "Random": lambda at: random.getrandbits(31),
}
"""Buttons that go to another sample: from a position to one that is brought into range."""


@dataclass(frozen=True)
class Place:
    """Where one is among the test samples: a search, and the position in what it finds."""

    query: str = ""
    offset: int = 0


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


def build(lab: Lab, picker: ColumnPicker) -> TaskForm:
    """The two kinds of task, one shown at a time."""
    source = gr.Radio([SAMPLE, OWN], value=SAMPLE, label="Task", elem_classes="switch")
    with gr.Column(elem_classes="plain") as sample_part:
        with gr.Row(equal_height=True):
            search = gr.Textbox(
                placeholder="Search the test samples",
                show_label=False,
                label="Search",
                scale=3,
                min_width=180,
            )
            steps = {name: gr.Button(name, size="sm", min_width=60) for name in _MOVES}
        card = gr.HTML()
    with gr.Column(visible=False, elem_classes="plain") as own_part:
        instruction = gr.Textbox(
            label="Instruction", lines=3, max_lines=10, placeholder="Write a function that …", autofocus=False
        )
        code = gr.Textbox(
            label="Code of the file around it (optional; only the augmented prompt shows it to the model)",
            lines=3,
            max_lines=12,
            elem_classes="mono",
        )
    form = TaskForm(source, search, card, gr.State(Place()), gr.State(""), instruction, code)
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

    def move(by: Callable[[int], int]) -> Callable[..., tuple[str, Place, str]]:
        return lambda family, variants, place: show_place(
            lab, family, variants, Place(place.query, by(place.offset))
        )

    for name, by in _MOVES.items():
        steps[name].click(move(by), [*where, form.place], form.sample_view, **QUIET)
    picker.variants.change(move(lambda at: at), [*where, form.place], form.sample_view, **QUIET)

    def search(family: str, variants: Sequence[str], query: str, place: Place) -> tuple[str, Place, str]:
        # Another tab empties the search and sets the place together: that place stays.
        return show_place(lab, family, variants, place if place.query == query else Place(query))

    # Not ``input``, which a text box sends for key presses only: not for the backspace key, not for a paste.
    form.search.change(
        search, [*where, form.search, form.place], form.sample_view, trigger_mode="always_last", **QUIET
    )
    picker.family.input(
        lambda family, variants: ("", *show_place(lab, family, variants, Place())),
        where,
        [form.search, *form.sample_view],
        **QUIET,
    )


def dataset(lab: Lab, family: str, variants: Sequence[str]) -> Loading[Dataset]:
    """The family's dataset as the prompt variants see it: the narrower view as soon as one needs it."""
    variant: PromptVariant = "augmented" if "augmented" in variants else "regular"
    return lab.dataset(get_family(lab.settings, family), variant)


def show_place(lab: Lab, family: str, variants: Sequence[str], place: Place) -> tuple[str, Place, str]:
    """The sample at a place as a card, the place in range, and the sample's id (or nothing)."""
    loading = dataset(lab, family, variants)
    if loading.state == "loading":
        return panes.waiting(loading.says), place, ""
    try:
        data = loading.result()
    except LabError as error:
        return panes.problem(str(error)), place, ""
    found = data.matches(place.query)
    if not found:
        return f'<p class="note">No test sample holds “{escape(place.query)}”.</p>', place, ""
    place = Place(place.query, place.offset % len(found))
    sample = data.test[found[place.offset]]
    return sample_card(sample, f"{place.offset + 1:,} of {len(found):,}"), place, sample.id


def sample_card(sample: Sample, position: str = "") -> str:
    """What a sample asks, and where it is from."""
    return (
        f'<article class="sample"><header><h3><code>{escape(sample.function_name)}</code></h3>'
        f"<span>{escape(position)}</span></header><p>{escape(sample.prompt)}</p>"
        f"<footer>{escape(sample.repo)} · {escape(sample.file)}</footer></article>"
    )


def read_task(
    lab: Lab, family: str, variants: Sequence[str], source: str, sample_id: str, instruction: str, code: str
) -> Task:
    """The task that the form sets; raises ``LabError`` where it sets none."""
    if source == OWN:
        return Task.of_instruction(instruction, code)
    loading = dataset(lab, family, variants)
    if loading.state == "loading":
        raise LabError(
            f"The dataset is not ready yet ({loading.says}). Try again shortly, or write an own instruction."
        )
    if not sample_id:
        raise LabError("Choose a sample first: none is shown.")
    return Task.of_sample(loading.result().get(sample_id))
