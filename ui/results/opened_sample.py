"""Below a table of samples: the one that was clicked, under every checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import gradio as gr

from ui.callbacks import QUIET
from ui.navigation import Navigation
from ui.panes import STORED_WAYS, Against

if TYPE_CHECKING:
    from ui.results.presenter import Presenter

NOTHING_OPEN = (
    '<p class="note">Choose a sample to read its outputs, its scores and the judge\'s words.</p>',
    ("", "", ""),
)
"""What ``build`` shows before a sample is chosen, and the keys of its set-up, run and sample."""
# A click anywhere in a row, or Enter on the button in it, opens it.
PICK = """
element.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-id]");
  if (!row) return;
  element.querySelectorAll("tr[aria-current]").forEach((each) => each.removeAttribute("aria-current"));
  row.setAttribute("aria-current", "true");
  const place = event.target.closest("[data-run]");
  trigger("click", { id: row.dataset.id, run: place ? place.dataset.run : "" });
});
"""
PICK_IN_ADDRESS = PICK.replace("  trigger", '  labViews.set("sample", row.dataset.id);\n  trigger')
"""As ``PICK``, for the list whose open sample the address holds."""
_SCROLL = "() => setTimeout(() => document.getElementById('{id}')?.scrollIntoView(), 200)"


def build(
    presenter: Callable[[], Presenter],
    setup: gr.Dropdown,
    opener: gr.HTML,
    elem_id: str,
    navigation: Navigation,
) -> tuple[gr.HTML, gr.State]:
    """Show the sample on which the table ``opener`` was clicked.

    Returns what is to be set to ``NOTHING_OPEN`` when the samples change.
    """
    opened = gr.State(NOTHING_OPEN[1])
    with gr.Row(elem_classes="view"):
        against = gr.Radio(STORED_WAYS, value="nothing", label="Show", elem_id=elem_id)
        send = gr.Button("Compare on this sample", size="sm", min_width=180)
    detail = gr.HTML(NOTHING_OPEN[0])

    def open_sample(setup: str, against: Against, event: gr.EventData) -> tuple[str, tuple[str, str, str]]:
        return presenter().sample(setup, event.id, against, event.run), (setup, event.run, event.id)

    def show_again(setup: str, against: Against, opened: tuple[str, str, str]) -> str:
        _, run, sample = opened
        return presenter().sample(setup, sample, against, run) if sample else NOTHING_OPEN[0]

    opener.click(open_sample, [setup, against], [detail, opened], **QUIET).then(
        None, js=_SCROLL.format(id=elem_id)
    )
    navigation.add_link(
        send.click, lambda setup, opened: presenter().comparison(setup, opened[2]), [setup, opened]
    )
    against.input(show_again, [setup, against, opened], detail, **QUIET)
    return detail, opened
