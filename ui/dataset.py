"""The Dataset tab: browse, search and open test samples, and send one to Compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from pipeline.generation.prompts import context_around
from pipeline.models.families import Family, first_family, get_family, load_families
from pipeline.schema import TRAINED_VARIANTS, LabError, PromptVariant, Sample
from ui import markup, panes, pieces
from ui.callbacks import QUIET
from ui.choices import first_columns
from ui.lab import Lab
from ui.markup import escape
from ui.navigation import Navigation, Updates
from ui.stored_answers import find_stored
from ui.views import View, to_query

_PAGE = 10
# One at a time, so that the list is that of the last event: a search that is typed while the tab opens its
# first sample would lose its answer to the list of before.
_IN_TURN: dict[str, Any] = {**QUIET, "concurrency_id": "dataset-list", "concurrency_limit": 1}
_AROUND = 15  # lines of the file shown on each side of the function
_CLOSED = '<p class="note">Open a sample to read it.</p>'
_PICK = """
element.addEventListener("click", (event) => {
  const row = event.target.closest("[data-id]");
  if (!row) return;
  trigger("click", { id: row.dataset.id });
  // On a phone the sample opens below the list, out of sight.
  if (innerWidth < 760) document.getElementById("open-sample").scrollIntoView({ behavior: "smooth" });
});
"""


@dataclass(frozen=True)
class _Parts:
    """The components of the tab."""

    family: gr.Dropdown
    variant: gr.Radio
    query: gr.Textbox
    rows: gr.HTML
    back: gr.Button
    onward: gr.Button
    send: gr.Button
    detail: gr.HTML
    answers: gr.HTML
    offset: gr.State
    opened: gr.State  # id of the open sample, empty for none

    @property
    def where(self) -> list[Any]:
        """Which page of which list is shown, and what is open."""
        return [self.family, self.variant, self.query, self.offset, self.opened]

    @property
    def sample(self) -> list[Any]:
        """What an opened sample changes."""
        return [self.detail, self.answers, self.opened, self.send, self.rows, self.offset]


def build(lab: Lab, tab: gr.Tab, navigation: Navigation) -> None:
    """A list on the left, the open sample on the right."""
    pieces.tab_heading("Dataset")
    parts = _layout(load_families(lab.settings))
    _wire_list(lab, tab, parts)
    chosen = [parts.family, parts.variant, parts.opened]

    def compare_on(name: str, variant: PromptVariant, opened: str) -> View:
        family = get_family(lab.settings, name)
        return View("compare", name, first_columns(lab.settings, family, variant), opened)

    def open_view(view: View) -> Updates:
        """Choose the dataset and name the sample; entering the tab then opens it."""
        family = get_family(lab.settings, view.family) if view.family else first_family(lab.settings)
        variant = "augmented" if view.variant == "augmented" else "regular"
        shown = gr.Radio(value=variant, visible=_splits(family))
        return {parts.family: family.name, parts.variant: shown, parts.query: "", parts.opened: view.sample}

    navigation.add_link(parts.send.click, compare_on, chosen)
    navigation.add_tab("dataset", open_view, [parts.family, parts.variant, parts.query, parts.opened])
    parts.opened.change(
        lambda family, variant, opened: to_query(View("dataset", family, variant=variant, sample=opened)),
        chosen,
        navigation.address(),
        **QUIET,
    )


def _layout(families: Mapping[str, Family]) -> _Parts:
    names = [(f"{family.dataset}, for {family.title}", family.name) for family in families.values()]
    with gr.Row():
        with gr.Column(scale=2, min_width=320, elem_classes="card"):
            family = gr.Dropdown(names, value=names[0][1], label="Dataset")
            variant = gr.Radio(
                [(name.capitalize(), name) for name in TRAINED_VARIANTS],
                value="regular",
                label="Test samples for the prompt",
                visible=_splits(families[names[0][1]]),
            )
            query = gr.Textbox(placeholder="Name, instruction or repository", label="Search the test samples")
            rows = gr.HTML(js_on_load=_PICK)
            with gr.Row(elem_classes="moves"):
                back, onward = (
                    gr.Button(f"{name} page", size="sm", min_width=0) for name in ("Previous", "Next")
                )
        with gr.Column(scale=3, min_width=320, elem_classes="card", elem_id="open-sample"):
            send = gr.Button("Compare on this sample", variant="primary", interactive=False)
            detail = gr.HTML(_CLOSED)
            answers = gr.HTML()
    family.input(lambda name: gr.Radio(visible=_splits(families[name])), family, variant, **QUIET)
    return _Parts(
        family, variant, query, rows, back, onward, send, detail, answers, gr.State(0), gr.State("")
    )


def _wire_list(lab: Lab, tab: gr.Tab, parts: _Parts) -> None:
    def wait(family: str, variant: PromptVariant) -> Iterator[str]:
        for says in lab.dataset(get_family(lab.settings, family), variant, again=True).wait():
            yield pieces.waiting(says)

    def open_sample(
        opened: str, family: str, variant: PromptVariant, query: str, offset: int | None
    ) -> tuple[Any, ...]:
        """Show one sample and mark it in the list; without ``offset``, on the page that holds it."""
        data = lab.dataset(get_family(lab.settings, family), variant).result()
        place = data.test_place(opened)
        page, offset = list_page(lab, 0, family, variant, query, place if offset is None else offset, opened)
        answers = stored_answers(lab, family, variant, opened)
        return show_sample(data.test[place]), answers, opened, gr.Button(interactive=True), page, offset

    def open_row(
        family: str, variant: PromptVariant, query: str, offset: int, event: gr.EventData
    ) -> tuple[Any, ...]:
        return open_sample(str(event.id), family, variant, query, offset)

    def open_first(
        family: str, variant: PromptVariant, query: str, offset: int, opened: str
    ) -> tuple[Any, ...]:
        """Show the sample of a view, or the first one: half of the page would be empty without it."""
        data = lab.dataset(get_family(lab.settings, family), variant)
        if data.state != "ready":
            return tuple(gr.skip() for _ in parts.sample)
        try:
            return open_sample(opened or data.result().test.ids[0], family, variant, query, None)
        except LabError as error:
            return pieces.problem(str(error)), "", "", gr.Button(interactive=False), gr.skip(), gr.skip()

    def close() -> tuple[Any, ...]:
        return _CLOSED, "", "", gr.Button(interactive=False), gr.skip(), 0

    listed, list_first = [parts.rows, parts.offset], partial(list_page, lab, 0)
    changed = gr.on([parts.family.input, parts.variant.input], close, None, parts.sample, **QUIET)
    for begin in (tab.select, changed.then):
        waited = begin(wait, parts.where[:2], parts.rows, **QUIET)
        filled = waited.then(list_first, parts.where, listed, **_IN_TURN)
        filled.then(open_first, parts.where, parts.sample, **_IN_TURN)
    for event, by in ((parts.back.click, -1), (parts.onward.click, 1)):
        event(partial(list_page, lab, by), parts.where, listed, **_IN_TURN)
    parts.query.change(list_first, parts.where[:3], listed, trigger_mode="always_last", **_IN_TURN)
    parts.rows.click(open_row, parts.where[:4], parts.sample, **_IN_TURN)


def list_page(
    lab: Lab, by: int, family: str, variant: PromptVariant, query: str, offset: int = 0, opened: str = ""
) -> tuple[str, int]:
    """The page of search results ``by`` pages from ``offset``, as a list of buttons; and its own offset."""
    loading = lab.dataset(get_family(lab.settings, family), variant)
    try:
        data = loading.result()
    except LabError as error:
        return pieces.problem(str(error)), 0
    matches = data.matches(query)
    if not matches:
        return '<p class="note">No test sample matches this search.</p>', 0
    last = (len(matches) - 1) // _PAGE * _PAGE
    offset = min(max(0, offset // _PAGE * _PAGE + by * _PAGE), last)
    page = matches[offset : offset + _PAGE]
    count = f"{offset + 1:,} to {offset + len(page):,} of {len(matches):,} test samples"
    items = "".join(_row(data.test[index], opened) for index in page)
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in (count, *data.notes))
    return f'{notes}<ul class="rows">{items}</ul>', offset


def _row(sample: Sample, opened: str) -> str:
    current = ' aria-current="true"' if sample.id == opened else ""
    return (
        f'<li><button type="button" data-id="{escape(sample.id)}"{current}>'
        f"<b>{escape(sample.function_name)}</b><span>{markup.prose(sample.prompt)}</span></button></li>"
    )


def show_sample(sample: Sample) -> str:
    """A sample whole: what is asked, the function, and the file around it."""
    context = context_around(sample.full_code, sample.function)
    before, after = context.before.splitlines(), context.after.splitlines()
    left_out = max(0, len(before) - _AROUND) + max(0, len(after) - _AROUND)
    note = f" ({left_out:,} lines further away are not shown)" if left_out else ""
    return (
        pieces.sample_card(sample, f"{len(sample.function):,} characters")
        + '<h4 class="part">Function</h4>'
        + f'<pre class="code" tabindex="0">{markup.python(sample.function)}</pre>'
        + f'<h4 class="part">Its file{note}</h4>'
        + f'<pre class="code" tabindex="0">{markup.python(chr(10).join(before[-_AROUND:]))}'
        + '<mark class="hole">the function stands here</mark>'
        + f"{markup.python(chr(10).join(after[:_AROUND]))}</pre>"
    )


def stored_answers(lab: Lab, family: str, variant: PromptVariant, sample: str) -> str:
    """What stored runs have of a sample, as panes; a note where they have nothing."""
    chosen = get_family(lab.settings, family)
    view = View("compare", family, first_columns(lab.settings, chosen, variant), sample)
    found = find_stored(lab, view)
    if found is None:
        return pieces.note("No stored run has answers to this sample. Compare has them written live.")
    heading = f'<h4 class="part">Stored answers of {escape(chosen.title)}</h4>'
    return heading + panes.grid(found.attempts, notes=found.runs, stored=True)


def _splits(family: Family) -> bool:
    """Whether the two prompt variants have different test samples."""
    return family.dataset == "arxivdl"
