"""A page with the Results tab, on a made-up ladder of runs: a plugin of the tests of that tab."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr
import pytest

from pipeline.analysis import Setup
from pipeline.settings import Settings
from tests.made_up_runs import bare_settings, make_ladder
from ui import theme
from ui.callbacks import Page
from ui.results import tab as results
from ui.results.presenter import View


@contextmanager
def page_of(settings: Settings) -> Iterator[str]:
    """The tab behind another; gives the page's URL."""
    with Page(fill_width=True) as page, gr.Tabs():
        with gr.Tab("First"):
            gr.Markdown("Another tab")
        with gr.Tab("Results") as tab:
            results.build(settings, page, tab)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **theme.launch())
    try:
        yield url
    finally:
        page.close()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings whose only runs are the made-up ones."""
    settings = bare_settings(tmp_path_factory.mktemp("results"))
    make_ladder(settings)
    return settings


@pytest.fixture(scope="module")
def view(own: Settings) -> View:
    return View(own)


@pytest.fixture(scope="module")
def setup(view: View) -> Setup:
    return view.library.setup("")


@pytest.fixture(scope="module")
def url(own: Settings) -> Iterator[str]:
    with page_of(own) as url:
        yield url
