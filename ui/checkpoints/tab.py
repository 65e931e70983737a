"""The Checkpoints tab: every checkpoint of a family, its loss, its card, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from pipeline.exchange.exports import card_of
from pipeline.models.checkpoints import columns, list_checkpoints
from pipeline.models.families import Family, first_family, get_family
from pipeline.models.own_checkpoints import find_checkpoint, hidden_checkpoints, is_own
from pipeline.schema import LabError, PromptVariant
from training.jobs import Runner
from training.jobs.admission import jobs_are_on
from ui import pieces
from ui.callbacks import QUIET
from ui.checkpoints import actions, importing
from ui.checkpoints.table import Listed, chrf_of, detail, losses, table
from ui.choices import family_choices
from ui.lab import Lab
from ui.navigation import Navigation, Updates
from ui.views import View, to_query

_MOST = 8  # losses that can be told apart
_PICK = """
element.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-id]");
  if (row) trigger("click", { id: row.dataset.id });
});
"""


@dataclass(frozen=True)
class CheckpointParts:
    """The components that show the checkpoints; ``chosen`` is a state: names, the last one is open."""

    family: gr.Dropdown
    chosen: gr.State
    table: gr.HTML
    curve: gr.HTML
    card: gr.Column
    detail: gr.HTML
    text: gr.HTML
    actions: actions.Actions

    @property
    def shown(self) -> list[Any]:
        """What ``redraw`` gives new values for, in its order."""
        return [self.chosen, self.table, self.curve, self.card, self.detail, self.text, *self.actions.shown]


def build(lab: Lab, runner: Runner, tab: gr.Tab, navigation: Navigation) -> None:
    """The whole tab; it leads on to Compare."""
    settings, first = lab.settings, first_family(lab.settings)
    pieces.tab_heading("Checkpoints")
    with gr.Row():
        family = gr.Dropdown(family_choices(settings), value=first.name, label="Model family", min_width=280)
        token = gr.Textbox(
            label="Jobs token",
            info="Needed to change, import or export a checkpoint.",
            type="password",
            visible=bool(settings.jobs_token),
            min_width=280,
        )
    with gr.Column(elem_classes="card"):
        rows = gr.HTML(
            pieces.waiting("Reading the checkpoints…"), js_on_load=_PICK, elem_id="checkpoints-table"
        )
    form = importing.layout(settings)
    curve = gr.HTML(elem_id="checkpoints-curve")
    with gr.Column(elem_classes="card", visible=False) as card:
        shown = gr.HTML(elem_id="checkpoints-detail")
        made = actions.layout()
        with gr.Accordion("Card", open=False):
            text = gr.HTML()
    parts = CheckpointParts(family, gr.State([]), rows, curve, card, shown, text, made)
    _wire(lab, parts, tab, navigation)
    state, again = [parts.family, parts.chosen], partial(redraw, lab)
    actions.wire(lab, runner, made, token, state, again, parts.shown)
    importing.wire(settings, form, token, state, again, parts.shown)


def redraw(lab: Lab, name: str, chosen: list[str]) -> list[Any]:
    """New values of ``CheckpointParts.shown``.

    Args:
        lab: the settings and stored runs.
        name: of the family.
        chosen: names of checkpoints; those that are gone are left out.
    """
    family, runs = get_family(lab.settings, name), lab.stored.runs()
    listed = _listed(lab, family, chrf_of(family, runs))
    known = {one.name: one for one in listed.checkpoints}
    chosen = [each for each in chosen if each in known][-_MOST:]
    some = [known[each] for each in chosen]
    opened = some[-1] if some else None
    card = card_of(family, opened, runs) if opened and not opened.is_baseline else ""
    return [
        chosen,
        table(listed, chosen),
        losses(some),
        gr.Column(visible=opened is not None),
        detail(listed, opened) if opened else "",
        pieces.listing("Card", card) if card else pieces.note("The base model has no card here."),
        *actions.updates(
            opened,
            hidden=opened is not None and opened.name in listed.hidden,
            own=opened is not None and is_own(opened),
            allowed=jobs_are_on(lab.settings),
        ),
    ]


def _listed(lab: Lab, family: Family, scores: dict[tuple[str, PromptVariant], float] | None) -> Listed:
    hidden = hidden_checkpoints(lab.settings, family)
    checkpoints = list_checkpoints(lab.settings, family)
    return Listed(family, checkpoints, hidden, lab.settings.private, scores)


def _wire(lab: Lab, parts: CheckpointParts, tab: gr.Tab, navigation: Navigation) -> None:
    def look(family: str, chosen: list[str]) -> Iterator[list[Any]]:
        """The table at once, its scores when the stored runs are read."""
        if not lab.stored.is_read:
            listed = _listed(lab, get_family(lab.settings, family), None)
            yield [gr.skip(), table(listed, chosen), *(gr.skip() for _ in parts.shown[2:])]
        yield redraw(lab, family, chosen)

    def choose(event: gr.EventData, family: str, chosen: list[str]) -> list[Any]:
        name = str(event.id)
        rest = [each for each in chosen if each != name]
        return redraw(lab, family, rest if name in chosen else [*chosen, name])

    def begin(family: str) -> list[Any]:
        return redraw(lab, family, [])

    tab.select(look, [parts.family, parts.chosen], parts.shown, **QUIET)
    parts.table.click(choose, [parts.family, parts.chosen], parts.shown, **QUIET)
    parts.family.input(begin, parts.family, parts.shown, **QUIET)

    def in_compare(family: str, chosen: list[str]) -> View:
        """The chosen checkpoints beside the baseline, under the prompts that they were trained with."""
        known = columns(lab.settings, get_family(lab.settings, family))
        opened = [find_checkpoint(lab.settings, get_family(lab.settings, family), each) for each in chosen]
        if not opened:
            raise LabError("Choose a checkpoint in the table first.")
        keys = [key for key, column in known.items() if column.checkpoint.name in chosen]
        keys = [key for key in keys if not key.endswith("/chat")]
        variants = {known[key].variant for key in keys if not known[key].checkpoint.is_baseline}
        first = [f"baseline/{variant}" for variant in variants or {"regular"}]
        keys = [key for key in keys if not key.startswith("baseline/") or key in first]
        return View("compare", family, columns=tuple(dict.fromkeys([*first, *keys])))

    navigation.add_link(parts.actions.compare.click, in_compare, [parts.family, parts.chosen])

    def open_view(view: View) -> Updates:
        return {parts.family: view.family} if view.family else {}

    navigation.add_tab("checkpoints", open_view, [parts.family])
    parts.family.change(
        lambda family: to_query(View("checkpoints", family=family)),
        parts.family,
        navigation.address(),
        **QUIET,
    )
