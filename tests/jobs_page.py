"""A page with the Jobs tab, for tests that need no more of the app."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from tests.jobs_kit import until
from training.jobs import Runner
from ui import theme
from ui.api import jobs as jobs_api
from ui.callbacks import Page
from ui.compare import tab as compare
from ui.jobs import tab as jobs
from ui.lab import Lab
from ui.navigation import Navigation
from ui.results import tab as results


@contextmanager
def page_of(runner: Runner) -> Iterator[str]:
    """The tab behind two others; gives the page's URL."""
    lab = Lab(runner.settings)
    with Page(runner.settings, fill_width=True) as page:
        voter = gr.BrowserState("")
        jobs_api.add(runner, page)
        with gr.Tabs() as tabs:
            navigation = Navigation(tabs, "smollm2-135m")
            with gr.Tab("Compare", id="compare") as tab:
                compare.build(lab, tab, navigation, voter)
            with gr.Tab("Results", id="results") as tab:
                results.build(lab, runner, results.lazy_presenter(lab.stored), tab, navigation, voter)
            with gr.Tab("Jobs", id="jobs") as tab:
                jobs.build(lab, runner, page, tab, navigation)
        navigation.connect(page)
    runner.start()
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **theme.launch(runner.settings))
    try:
        yield url
    finally:
        for job in runner.list(("queued", "running")):
            runner.cancel(job.id)
        until(lambda: not runner.list(("running",)))
        page.close()
        runner.close()
