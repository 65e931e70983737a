"""A page with the Results tab, on a made-up ladder of runs: a plugin of the tests of that tab."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr
import pytest

from pipeline.analysis import Setup
from pipeline.settings import Settings
from tests.made_up_runs import bare_settings, make_ladder
from training.jobs import open_runner
from training.sweep import VERBS
from ui import theme
from ui.api import results as results_api
from ui.callbacks import Page
from ui.lab import Lab
from ui.navigation import Navigation
from ui.results import tab as results
from ui.results.presenter import Presenter


@contextmanager
def page_of(settings: Settings) -> Iterator[str]:
    """The tab behind another; gives the page's URL."""
    with Page(settings, fill_width=True) as page:
        lab, voter = Lab(settings), gr.BrowserState("")
        presenter = results.lazy_presenter(lab.stored)
        results_api.add(presenter, page)
        with gr.Tabs() as tabs:
            navigation = Navigation(tabs, "smollm2-135m")
            with gr.Tab("About", id="about") as tab:
                navigation.add_tab("about")
            with gr.Tab("Results", id="results") as tab:
                results.build(lab, open_runner(settings, VERBS), presenter, tab, navigation, voter)
        navigation.connect(page)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **theme.launch(settings))
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
def presenter(own: Settings) -> Presenter:
    return Presenter(Lab(own).stored)


@pytest.fixture(scope="module")
def setup(presenter: Presenter) -> Setup:
    return presenter.runs.setup("")


@pytest.fixture(scope="module")
def url(own: Settings) -> Iterator[str]:
    with page_of(own) as url:
        yield url
