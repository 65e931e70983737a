"""The chosen run of the list: its configuration, and the deletion of one that was made on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from pipeline.evaluation.own_runs import delete_run, is_own
from pipeline.evaluation.runs import RunConfig
from pipeline.schema import LabError
from training.jobs import ACTIVE, Runner
from training.jobs.admission import jobs_are_on, require_launch
from training.jobs.arguments import evaluated_column
from ui import asking, pieces
from ui.callbacks import QUIET, inform
from ui.callers import caller

if TYPE_CHECKING:
    from ui.results.presenter import Presenter

_SHIPPED = "This run came with the app and cannot be deleted."


def build(presenter: Callable[[], Presenter], runner: Runner, runs: gr.HTML) -> Callable[..., Any]:
    """What stands below the list of runs; returns the event after which a run is gone."""
    settings = runner.settings
    token = gr.Textbox(
        label="Jobs token",
        info="Needed to delete a run.",
        type="password",
        visible=bool(settings.jobs_token),
    )
    chosen = gr.State("")
    with gr.Row(elem_classes="actions"):
        delete = gr.Button("Delete this run", visible=False, **asking.SMALL)
        shipped = gr.HTML(visible=False, apply_default_css=False)
    sure, yes, no = asking.layout("Delete this run with its answers and scores?")
    config = gr.HTML(elem_classes="results", apply_default_css=False)
    shown = [chosen, delete, shipped, config]

    def open_run(event: gr.EventData) -> list[Any]:
        run, text = presenter().run_at(event.id), presenter().config(event.id)
        own = is_own(settings, run.path)
        return [
            event.id,
            gr.Button(visible=own and jobs_are_on(settings)),
            gr.HTML(pieces.note(_SHIPPED), visible=not own),
            pieces.listing("Configuration of the chosen run", text),
        ]

    def delete_chosen(token: str, place: str) -> list[Any]:
        require_launch(settings, caller(settings, token))
        run = presenter().run_at(place)
        require_unused(runner, run.config)
        delete_run(settings, run.path.name)
        inform("The run is deleted. Its checkpoint and people's votes are kept.")
        return ["", gr.Button(visible=False), gr.HTML(visible=False), ""]

    runs.click(open_run, None, shown, **QUIET)
    asking.wire(delete, sure, no.click, yes.click, runs.click)
    deleted = yes.click(delete_chosen, [token, chosen], shown, **QUIET)
    return deleted.success


def require_unused(runner: Runner, config: RunConfig) -> None:
    """Raise ``LabError`` if a job is evaluating the run's checkpoint: it may be writing this run."""
    for job in runner.list(ACTIVE):
        same = job.kind == "evaluate" and evaluated_column(job.arguments) == config.column
        if same and job.arguments.get("family") == config.family:
            raise LabError(
                f"A job is evaluating {config.checkpoint}. Cancel it first, or wait until it has ended."
            )
