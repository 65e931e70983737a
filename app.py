"""Research Code Lab: compose the tabs, and serve them."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from pipeline.settings import on_zero_gpu

if on_zero_gpu():
    import pipeline.generation.zero_gpu  # noqa: F401  # before torch, and before the app is served

from pipeline.files import open_scratch, scratch_dir
from pipeline.models.families import first_family
from pipeline.network import prepare_environment
from pipeline.schema import LabError
from pipeline.settings import Settings, find_data_dir
from ui.broken_settings import without_broken_settings

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
prepare_environment()  # gradio reads all of this as it is imported
with suppress(LabError):  # main tells of it
    os.environ.setdefault("GRADIO_TEMP_DIR", str(scratch_dir(find_data_dir()) / "page"))
with without_broken_settings():
    import gradio as gr

from training.jobs import Runner, open_runner
from training.sweep import VERBS
from ui import about, theme
from ui.api import generation, listings
from ui.api import jobs as jobs_api
from ui.api import results as results_api
from ui.callbacks import Page
from ui.checkpoints import tab as checkpoints
from ui.compare import tab as compare
from ui.dataset import tab as dataset
from ui.jobs import tab as jobs
from ui.lab import Lab
from ui.navigation import Navigation
from ui.results import tab as results


def build(lab: Lab, runner: Runner) -> gr.Blocks:
    """The page: one tab a module."""
    with Page(lab.settings, title="Research Code Lab", fill_width=True, delete_cache=(600, 3600)) as page:
        presenter = results.lazy_presenter(lab.stored)
        generation.add(lab, page)
        listings.add(lab, page)
        results_api.add(presenter, page)
        jobs_api.add(runner, page)
        gr.HTML(theme.masthead())
        # The secret hides nothing: it lets the browser's number outlive the server, whose own is random.
        voter = gr.BrowserState("", storage_key="rcl-voter", secret="research-code-lab")
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            navigation = Navigation(tabs, first_family(lab.settings).name)
            with gr.Tab("Compare", id="compare") as tab:
                compare.build(lab, tab, navigation, voter)
            with gr.Tab("Results", id="results") as tab:
                results.build(lab, runner, presenter, tab, navigation, voter)
            with gr.Tab("Dataset", id="dataset") as tab:
                dataset.build(lab, tab, navigation)
            with gr.Tab("Checkpoints", id="checkpoints") as tab:
                checkpoints.build(lab, runner, tab, navigation)
            with gr.Tab("Jobs", id="jobs") as tab:
                jobs.build(lab, runner, page, tab, navigation)
            with gr.Tab("About", id="about") as tab:
                about.build(lab, tab, navigation)
        navigation.connect(page)
    return page.queue(default_concurrency_limit=8)


def _open_data_dir(settings: Settings) -> None:
    """Make the folder for temporary files; on a full disk there is none, and the page can be read without.

    Raises:
        LabError: nothing can be written in the data folder.
    """
    try:
        open_scratch(settings.data_dir)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise LabError(
                f"nothing can be written in the data folder, {settings.data_dir} ({error.strerror}). Choose "
                "another one with RCL_DATA_DIR."
            ) from error


def _import_matplotlib(settings: Settings) -> None:
    """Before the first call: Gradio imports it in each one, which fails if the disk is read-only by then."""
    os.environ.setdefault("MPLCONFIGDIR", str(settings.data_dir / "matplotlib"))
    with suppress(ImportError, OSError):
        import matplotlib

        matplotlib.use("agg")


def main() -> None:
    """Serve on ``HOST``:``PORT``; model and dataset load meanwhile, and the queue of jobs goes on."""
    try:
        settings = Settings.from_env()
        _open_data_dir(settings)
        _import_matplotlib(settings)
        lab, runner = Lab(settings), open_runner(settings, VERBS)
        page = build(lab, runner)
        looks = theme.launch(settings)
        with without_broken_settings():
            page.launch(
                server_name=settings.host, server_port=settings.port, prevent_thread_lock=True, **looks
            )
    except (LabError, OSError, ValueError) as error:
        raise SystemExit(f"Research Code Lab cannot start: {error}") from error
    lab.start()
    runner.start()
    page.block_thread()
    lab.close()


if __name__ == "__main__":
    main()
