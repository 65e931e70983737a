"""The Dataset tab: browse, search and open test samples, and send one to Compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from pipeline.data.dataset import BUILT_IN
from pipeline.data.own.store import list_own
from pipeline.evaluation.datasets import check_dataset
from pipeline.models.families import first_family, get_family, load_families
from pipeline.schema import TRAINED_VARIANTS, LabError, PromptVariant
from pipeline.settings import Settings
from ui import pieces
from ui.callbacks import QUIET
from ui.choices import family_choices, first_columns
from ui.dataset import deleting, importing
from ui.dataset.samples import PAGE, ListPage, list_page, show_sample, stored_answers
from ui.lab import Lab
from ui.navigation import Navigation, Updates
from ui.views import View, to_query

# One at a time, so that the list is that of the last event: a search that is typed while the tab is filled
# would lose its answer to the list of before.
_IN_TURN: dict[str, Any] = {**QUIET, "concurrency_id": "dataset-list", "concurrency_limit": 1}
_CLOSED = '<p class="note">Open a sample to read it.</p>'
_PICK = f"""
element.addEventListener("click", (event) => {{
  const row = event.target.closest("[data-id]");
  if (!row) return;
  labViews.set("sample", row.dataset.id);
  trigger("click", {{ id: row.dataset.id }});
  {pieces.show_on_a_phone("open-sample")}
}});
"""


@dataclass(frozen=True)
class _Parts:
    """The components of the tab."""

    dataset: gr.Dropdown
    deleting: list[Any]
    family: gr.Dropdown
    variant: gr.Radio
    query: gr.Textbox
    rows: gr.HTML
    back: gr.Button
    onward: gr.Button
    send: gr.Button
    detail: gr.HTML
    answers: gr.HTML
    offset: gr.State  # None before the first list: as a tab is drawn, its fields change, before its view
    opened: gr.State  # id of the open sample, empty for none

    @property
    def where(self) -> list[Any]:
        """Which list is shown, and what is open."""
        return [*self.shown, self.query, self.opened]

    @property
    def shown(self) -> list[Any]:
        """Which samples are listed, and the model whose answers to them are shown."""
        return [self.dataset, self.family, self.variant]

    @property
    def sample(self) -> list[Any]:
        """What an opened sample changes."""
        return [self.detail, self.answers, self.opened, self.send, *self.listed]

    @property
    def listed(self) -> list[Any]:
        """What another page of the list changes."""
        return [self.rows, self.offset, self.back, self.onward]


def build(lab: Lab, tab: gr.Tab, navigation: Navigation) -> None:
    """A list on the left, the open sample on the right."""
    pieces.tab_heading("Dataset")
    form = importing.layout(lab.settings)
    parts = _layout(lab.settings)
    choices = partial(_choices, lab.settings)
    imported = importing.wire(lab.settings, form, parts.dataset, choices)
    deleted = deleting.wire(lab.settings, parts.deleting, parts.dataset, form.token, choices)
    _wire_list(lab, tab, [imported, deleted], parts)
    chosen = [*parts.shown, parts.opened]

    def compare_on(dataset: str, name: str, variant: PromptVariant, opened: str) -> View:
        family = get_family(lab.settings, name)
        other = "" if dataset == family.dataset else dataset
        return View("compare", name, other, first_columns(lab.settings, family, variant), opened)

    def open_view(view: View) -> Updates:
        """Choose the dataset and name the sample; entering the tab then opens it."""
        family = get_family(lab.settings, view.family) if view.family else first_family(lab.settings)
        dataset = view.dataset or family.dataset
        check_dataset(lab.settings, dataset)
        variant = "augmented" if view.variant == "augmented" else "regular"
        return {
            parts.dataset: gr.Dropdown(_choices(lab.settings), value=dataset),
            parts.family: gr.Dropdown(family_choices(lab.settings), value=family.name),
            parts.variant: gr.Radio(value=variant, visible=_splits(dataset)),
            parts.query: view.search,
            parts.opened: view.sample,
        }

    def as_query(
        dataset: str, family: str, variant: PromptVariant, opened: str, search: str, offset: int | None
    ) -> Any:
        if offset is None:
            return gr.skip()
        return to_query(View("dataset", family, dataset, sample=opened, variant=variant, search=search))

    navigation.add_link(parts.send.click, compare_on, chosen)
    navigation.add_link(form.onward.click, lambda name: View("jobs", dataset=name.strip()), [form.name])
    navigation.add_tab("dataset", open_view, [*parts.shown, parts.query, parts.opened])
    gr.on(
        [parts.opened.change, parts.query.change, parts.family.change],
        as_query,
        [*chosen, parts.query, parts.offset],
        navigation.address(),
        trigger_mode="multiple",
        concurrency_limit=1,
        **QUIET,
    )


def _layout(settings: Settings) -> _Parts:
    first = first_family(settings)
    with gr.Row():
        with gr.Column(scale=2, min_width=320, elem_classes="card"):
            with gr.Row():
                dataset = gr.Dropdown(_choices(settings), value=first.dataset, label="Dataset", min_width=140)
                family = gr.Dropdown(
                    family_choices(settings), value=first.name, label="Answers of", min_width=140
                )
            delete = deleting.layout()
            variant = gr.Radio(
                [(name.capitalize(), name) for name in TRAINED_VARIANTS],
                value="regular",
                label="Test samples for the prompt",
                visible=_splits(first.dataset),
            )
            query = gr.Textbox(placeholder="Name, instruction or repository", label="Search the test samples")
            rows = gr.HTML(js_on_load=_PICK)
            with gr.Row(elem_classes="moves"):
                back, onward = (
                    gr.Button(f"{name} page", size="sm", min_width=0, interactive=False)
                    for name in ("Previous", "Next")
                )
        with gr.Column(scale=3, min_width=320, elem_classes="card", elem_id="open-sample"):
            send = gr.Button("Compare on this sample", variant="primary", interactive=False)
            detail = gr.HTML(_CLOSED)
            answers = gr.HTML()

    def choose(name: str, of: str) -> tuple[gr.Radio, str]:
        """A family's own dataset comes with its answers; one of yours with those of any family."""
        families = load_families(settings)
        owners = {each.dataset: each.name for each in reversed(families.values()) if not each.own}
        same = families[of].dataset == name
        return gr.Radio(value="regular", visible=_splits(name)), of if same else owners.get(name, of)

    dataset.input(choose, [dataset, family], [variant, family], **QUIET)
    return _Parts(
        dataset,
        delete,
        family,
        variant,
        query,
        rows,
        back,
        onward,
        send,
        detail,
        answers,
        gr.State(),
        gr.State(""),
    )


def _choices(settings: Settings) -> list[tuple[str, str]]:
    """The datasets as choices: title and name."""
    return [*((name, name) for name in BUILT_IN), *((own.title, own.name) for own in list_own(settings))]


def _wire_list(lab: Lab, tab: gr.Tab, chosen: Sequence[Any], parts: _Parts) -> None:
    def wait(dataset: str, family: str, variant: PromptVariant) -> Iterator[str]:
        for says in lab.dataset(get_family(lab.settings, family, dataset), variant, again=True).wait():
            yield pieces.waiting(says)

    def fill(dataset: str, family: str, variant: PromptVariant, query: str, wanted: str) -> tuple[Any, ...]:
        """List what the search finds, and open the wanted sample if it is among that, else the first.

        In one answer: a sample that is picked before the first one is open would be left for that one.
        """
        try:
            data = lab.dataset(get_family(lab.settings, family, dataset), variant).result()
        except LabError as error:
            return *(gr.skip() for _ in closed), *_listed(ListPage(pieces.problem(str(error))))
        matches = data.matches(query)
        try:
            place = data.test_place(wanted) if wanted else None
        except LabError as error:
            return pieces.problem(str(error)), *closed[1:], *_listed(list_page(data, matches))
        if not matches:
            return "", *closed[1:], *_listed(list_page(data, matches))
        at = matches.index(place) if place in matches else 0
        sample = data.test[matches[at]]
        answers = stored_answers(lab, dataset, family, variant, sample.id)
        opened = show_sample(sample), answers, sample.id, gr.Button(interactive=True)
        return *opened, *_listed(list_page(data, matches, at, sample.id))

    def open_row(
        dataset: str, family: str, variant: PromptVariant, query: str, event: gr.EventData
    ) -> tuple[Any, ...]:
        return fill(dataset, family, variant, query, str(event.id))

    def search(offset: int | None, *where: Any) -> Any:
        return gr.skip() if offset is None else fill(*where)

    def turn(
        by: int, offset: int, dataset: str, family: str, variant: PromptVariant, query: str, opened: str
    ) -> tuple[Any, ...]:
        data = lab.dataset(get_family(lab.settings, family, dataset), variant).result()
        return _listed(list_page(data, data.matches(query), offset + by * PAGE, opened))

    closed = _CLOSED, "", "", gr.Button(interactive=False)

    def close() -> tuple[Any, ...]:
        return *closed, *_listed(ListPage(pieces.waiting("Listing the samples…")))

    inputs = [component.input for component in parts.shown]
    changed = gr.on(inputs, close, None, parts.sample, **QUIET)
    others = [event.success(close, None, parts.sample, **QUIET) for event in chosen]
    tab.select(None, parts.family, parts.family, js="(family) => labViews.family(family)", **QUIET)
    tab.select(
        lambda: (gr.Dropdown(_choices(lab.settings)), gr.Dropdown(family_choices(lab.settings))),
        None,
        [parts.dataset, parts.family],
        **QUIET,
    )
    for begin in (tab.select, *(event.then for event in (changed, *others))):
        waited = begin(wait, parts.shown, parts.rows, **QUIET)
        waited.then(fill, parts.where, parts.sample, **_IN_TURN)
    for event, by in ((parts.back.click, -1), (parts.onward.click, 1)):
        event(partial(turn, by), [parts.offset, *parts.where], parts.listed, **_IN_TURN)
    parts.query.change(
        search, [parts.offset, *parts.where], parts.sample, trigger_mode="always_last", **_IN_TURN
    )
    parts.rows.click(open_row, parts.where[:-1], parts.sample, **_IN_TURN)


def _listed(page: ListPage) -> tuple[Any, ...]:
    """Values for ``_Parts.listed``."""
    return page.html, page.offset, gr.Button(interactive=page.before), gr.Button(interactive=page.after)


def _splits(dataset: str) -> bool:
    """Whether the two prompt variants have different test samples."""
    return dataset == "arxivdl"
