"""Delete a dataset of one's own, after a second click."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

import gradio as gr

from pipeline.data.dataset import BUILT_IN
from pipeline.data.own.store import delete_own
from pipeline.models.families import first_family
from pipeline.settings import Settings
from training.jobs.admission import require_launch
from ui.callbacks import QUIET, inform
from ui.callers import caller

_BUTTONS: Mapping[str, Literal["secondary", "stop"]] = {
    "Delete this dataset": "secondary",
    "Delete it for good": "stop",
    "Keep it": "secondary",
}
"""The first asks, the others decide."""
_OFFER = f"""(name) => [!{json.dumps(BUILT_IN)}.includes(name), false, false].map(
  (visible) => ({{ __type__: "update", visible }})
)"""


def layout() -> list[gr.Button]:
    """The buttons in a row, hidden until a dataset of one's own is chosen."""
    with gr.Row(elem_classes="moves"):
        return [
            gr.Button(label, size="sm", min_width=0, visible=False, variant=variant)
            for label, variant in _BUTTONS.items()
        ]


def wire(
    settings: Settings,
    buttons: list[gr.Button],
    dataset: gr.Dropdown,
    token: gr.Textbox,
    choices: Callable[[], list[tuple[str, str]]],
) -> Any:
    """Let the buttons delete the chosen dataset; returns the event after which another one is chosen."""

    def delete(name: str, token: str) -> gr.Dropdown:
        require_launch(settings, caller(settings, token))
        delete_own(settings, name)
        inform(f"The dataset {name} is deleted. Its checkpoints and runs are kept.")
        return gr.Dropdown(choices(), value=first_family(settings).dataset)

    ask, really, keep = buttons
    dataset.change(None, dataset, buttons, js=_OFFER, **QUIET)
    ask.click(None, None, buttons, js=_show(asked=True), **QUIET)
    keep.click(None, None, buttons, js=_show(asked=False), **QUIET)
    return really.click(delete, [dataset, token], dataset, **QUIET)


def _show(asked: bool) -> str:
    """Show the buttons that decide, or the one that asks."""
    shown = [not asked, asked, asked]
    return f"() => {json.dumps(shown)}.map((visible) => ({{ __type__: 'update', visible }}))"
