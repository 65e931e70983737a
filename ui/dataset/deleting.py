"""Delete a dataset of one's own, after a question."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gradio as gr

from pipeline.data.dataset import BUILT_IN
from pipeline.data.own.store import delete_own
from pipeline.models.families import first_family
from pipeline.settings import Settings
from training.jobs.admission import require_launch
from ui import asking
from ui.callbacks import QUIET, inform
from ui.callers import caller

_OFFER = f"""(name) => ({{
  __type__: "update", visible: !{json.dumps(BUILT_IN)}.includes(name)
}})"""


def layout() -> list[Any]:
    """The button, hidden until a dataset of one's own is chosen, and the question with its two answers."""
    with gr.Row(elem_classes="moves"):
        delete = gr.Button("Delete this dataset", size="sm", min_width=0, visible=False)
    return [delete, *asking.layout("Delete this dataset?")]


def wire(
    settings: Settings,
    parts: list[Any],
    dataset: gr.Dropdown,
    token: gr.Textbox,
    choices: Callable[[], list[tuple[str, str]]],
) -> Any:
    """Let the button delete the chosen dataset; returns the event after which another one is chosen."""

    def delete(name: str, token: str) -> gr.Dropdown:
        require_launch(settings, caller(settings, token))
        delete_own(settings, name)
        inform(f"The dataset {name} is deleted. Its checkpoints and runs are kept.")
        return gr.Dropdown(choices(), value=first_family(settings).dataset)

    offer, sure, yes, no = parts
    dataset.change(None, dataset, offer, js=_OFFER, **QUIET)
    asking.wire(offer, sure, no.click, yes.click, dataset.change)
    return yes.click(delete, [dataset, token], dataset, **QUIET)
