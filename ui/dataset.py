"""The Dataset tab: browse, search and open test samples, and send one to Compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from pipeline.generation.prompts import context_around
from pipeline.models.families import DEFAULT_FAMILY, Family, get_family, load_families
from pipeline.schema import VARIANTS, LabError, PromptVariant, Sample
from ui import markup
from ui.callbacks import QUIET
from ui.compare import columns, panes, task
from ui.compare.tab import CompareTab
from ui.lab import Lab
from ui.markup import escape

_PAGE = 10
_AROUND = 15  # lines of the file shown on each side of the function
_CLOSED = '<p class="note">Open a sample to read it.</p>'
_PICK = """
element.addEventListener("click", (event) => {
  const row = event.target.closest("[data-index]");
  if (!row) return;
  trigger("click", { index: row.dataset.index });
  // On a phone the sample opens below the list, out of sight.
  if (innerWidth < 760) document.getElementById("open-sample").scrollIntoView({ behavior: "smooth" });
});
"""


@dataclass(frozen=True)
class _View:
    """The components of the tab."""

    family: gr.Dropdown
    variant: gr.Radio
    query: gr.Textbox
    rows: gr.HTML
    back: gr.Button
    onward: gr.Button
    send: gr.Button
    detail: gr.HTML
    offset: gr.State
    opened: gr.State  # index of the open sample, -1 for none

    @property
    def where(self) -> list[Any]:
        """Which page of which list is shown, and what is open."""
        return [self.family, self.variant, self.query, self.offset, self.opened]

    @property
    def sample(self) -> list[Any]:
        """What an opened sample changes."""
        return [self.detail, self.opened, self.send, self.rows]


def build(lab: Lab, tab: gr.Tab, tabs: gr.Tabs, compare: CompareTab) -> None:
    """A list on the left, the open sample on the right."""
    view = _layout(load_families(lab.settings))
    _wire_list(lab, tab, view)
    _wire_compare(lab, tabs, compare, view)


def _layout(families: Mapping[str, Family]) -> _View:
    names = [(f"{family.dataset}, for {family.title}", family.name) for family in families.values()]
    with gr.Row():
        with gr.Column(scale=2, min_width=320, elem_classes="card"):
            family = gr.Dropdown(names, value=DEFAULT_FAMILY, label="Dataset")
            variant = gr.Radio(
                [(name.capitalize(), name) for name in VARIANTS],
                value="regular",
                label="Test samples for the prompt",
                visible=_splits(families[DEFAULT_FAMILY]),
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
    family.change(lambda name: gr.Radio(visible=_splits(families[name])), family, variant, **QUIET)
    return _View(family, variant, query, rows, back, onward, send, detail, gr.State(0), gr.State(-1))


def _wire_list(lab: Lab, tab: gr.Tab, view: _View) -> None:
    def wait(family: str, variant: PromptVariant) -> Iterator[str]:
        for says in lab.dataset(get_family(lab.settings, family), variant, again=True).wait():
            yield panes.waiting(says)

    def open_index(
        index: int, family: str, variant: PromptVariant, query: str, offset: int
    ) -> tuple[Any, ...]:
        sample = lab.dataset(get_family(lab.settings, family), variant).result().test[index]
        page, _ = list_page(lab, 0, family, variant, query, offset, index)
        return show_sample(sample), index, gr.Button(interactive=True), page

    def open_row(
        family: str, variant: PromptVariant, query: str, offset: int, event: gr.EventData
    ) -> tuple[Any, ...]:
        return open_index(int(event.index), family, variant, query, offset)

    def open_first(
        family: str, variant: PromptVariant, query: str, offset: int, opened: int
    ) -> tuple[Any, ...]:
        """So that nobody meets an empty half of a page."""
        data = lab.dataset(get_family(lab.settings, family), variant)
        if opened >= 0 or data.state != "ready":
            return tuple(gr.skip() for _ in view.sample)
        return open_index(0, family, variant, query, offset)

    def close() -> tuple[Any, ...]:
        return _CLOSED, -1, gr.Button(interactive=False), gr.skip()

    listed, list_first = [view.rows, view.offset], partial(list_page, lab, 0)
    changed = gr.on([view.family.change, view.variant.change], close, None, view.sample, **QUIET)
    for begin in (tab.select, changed.then):
        waited = begin(wait, view.where[:2], view.rows, **QUIET)
        filled = waited.then(list_first, view.where, listed, **QUIET)
        filled.then(open_first, view.where, view.sample, **QUIET)
    for event, by in ((view.back.click, -1), (view.onward.click, 1)):
        event(partial(list_page, lab, by), view.where, listed, **QUIET)
    view.query.change(list_first, view.where[:3], listed, trigger_mode="always_last", **QUIET)
    view.rows.click(open_row, view.where[:4], view.sample, **QUIET)


def _wire_compare(lab: Lab, tabs: gr.Tabs, compare: CompareTab, view: _View) -> None:
    def compare_on(family: str, variant: PromptVariant, opened: int) -> tuple[Any, ...]:
        picked = columns.choose(lab.settings, family, variant)
        shown = task.show_place(lab, family, [variant], task.Place("", opened))
        return gr.Tabs(selected="compare"), *picked, task.SAMPLE, "", *shown

    form = compare.form
    view.send.click(
        compare_on,
        [view.family, view.variant, view.opened],
        [tabs, *compare.picker.all, form.source, form.search, *form.sample_view],
        **QUIET,
    )


def list_page(
    lab: Lab, by: int, family: str, variant: PromptVariant, query: str, offset: int = 0, opened: int = -1
) -> tuple[str, int]:
    """A page of what the search finds, as a list of buttons, ``by`` pages on; and where it begins."""
    loading = lab.dataset(get_family(lab.settings, family), variant)
    try:
        data = loading.result()
    except LabError as error:
        return panes.problem(str(error)), 0
    found = data.matches(query)
    if not found:
        return '<p class="note">No test sample holds this.</p>', 0
    last = (len(found) - 1) // _PAGE * _PAGE
    offset = min(max(0, offset + by * _PAGE), last)
    page = found[offset : offset + _PAGE]
    count = f"{offset + 1:,} to {offset + len(page):,} of {len(found):,} test samples"
    items = "".join(_row(data.test[index], index, index == opened) for index in page)
    return f'<p class="note">{count}</p><ul class="rows">{items}</ul>', offset


def _row(sample: Sample, index: int, is_open: bool) -> str:
    current = ' aria-current="true"' if is_open else ""
    return (
        f'<li><button type="button" data-index="{index}"{current}>'
        f"<b>{escape(sample.function_name)}</b><span>{markup.prose(sample.prompt)}</span></button></li>"
    )


def show_sample(sample: Sample) -> str:
    """A sample whole: what is asked, the function, and the file around it."""
    context = context_around(sample.full_code, sample.function)
    before, after = context.before.splitlines(), context.after.splitlines()
    left_out = max(0, len(before) - _AROUND) + max(0, len(after) - _AROUND)
    note = f" ({left_out:,} lines further away are not shown)" if left_out else ""
    return (
        task.sample_card(sample, f"{len(sample.function):,} characters")
        + '<h4 class="part">Function</h4>'
        + f'<pre class="code" tabindex="0">{markup.python(sample.function)}</pre>'
        + f'<h4 class="part">Its file{note}</h4>'
        + f'<pre class="code" tabindex="0">{markup.python(chr(10).join(before[-_AROUND:]))}'
        + '<mark class="hole">the function stands here</mark>'
        + f"{markup.python(chr(10).join(after[:_AROUND]))}</pre>"
    )


def _splits(family: Family) -> bool:
    """Whether the two prompt variants have different test samples."""
    return family.dataset == "arxivdl"
