"""A page with the Results tab, for tests that need no more of the app."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from pipeline.settings import Settings
from ui import results, theme


@contextmanager
def page_of(settings: Settings) -> Iterator[str]:
    """The tab behind another; gives the page's URL."""
    with gr.Blocks(fill_width=True) as page, gr.Tabs():
        with gr.Tab("First"):
            gr.Markdown("Another tab")
        with gr.Tab("Results") as tab:
            results.build(settings, page, tab)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **theme.launch())
    try:
        yield url
    finally:
        page.close()
