"""A question before something is deleted: a row with two answers, shown by a click on a button."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ui.callbacks import QUIET
from ui.markup import escape

SMALL: dict[str, Any] = {"size": "sm", "scale": 0, "min_width": 150}
"""The look of a small button beside others."""


def layout(question: str) -> tuple[gr.Row, gr.Button, gr.Button]:
    """The row, hidden, and in it the buttons that delete and that keep."""
    with gr.Row(visible=False, elem_classes="actions") as sure:
        gr.HTML(f'<p class="problem" role="alert">{escape(question)} It cannot be undone.</p>')
        yes = gr.Button("Yes, delete it", variant="stop", **SMALL)
        no = gr.Button("Keep it", **SMALL)
    return sure, yes, no


def wire(delete: gr.Button, sure: gr.Row, *leave: Any) -> None:
    """Show the row when the button is clicked, and hide it again at the other events."""
    delete.click(None, None, sure, js=_shown(True), **QUIET)
    for event in leave:
        event(None, None, sure, js=_shown(False), **QUIET)


def _shown(visible: bool) -> str:
    return f"() => ({{__type__: 'update', visible: {str(visible).lower()}}})"
