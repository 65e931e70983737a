"""How a finished job leads to the other tabs."""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipeline.schema import LabError
from training.jobs import Runner
from ui import columns
from ui.compare import CompareTab
from ui.events import QUIET, in_words
from ui.jobs import JobsTab
from ui.lab import Lab


def wire(lab: Lab, runner: Runner, tabs: gr.Tabs, compare: CompareTab, jobs: JobsTab) -> None:
    """A fine-tuned checkpoint opens in Compare beside the baseline, an evaluation in Results."""

    def open_in_compare(job_id: str) -> tuple[Any, ...]:
        with in_words():
            job = runner.records.get(job_id)
            if job is None or not job.result:
                raise LabError("This job has left no checkpoint.")
            given = job.arguments
            picked = columns.choose(lab.settings, given["family"], given["prompt"], job.result["checkpoint"])
        return gr.Tabs(selected="compare"), *picked

    jobs.open_in_compare.click(open_in_compare, jobs.opened, [tabs, *compare.picker.all], **QUIET)
    jobs.open_in_results.click(lambda: gr.Tabs(selected="results"), None, tabs, **QUIET)
