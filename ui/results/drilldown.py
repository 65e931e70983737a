"""One sample under every checkpoint of a set-up, in the panes of Compare."""

from __future__ import annotations

from collections.abc import Collection

from pipeline.analysis import Setup
from pipeline.analysis.samples import attempts_at
from pipeline.schema import LabError, quoted
from ui import panes, pieces
from ui.labels import run_label
from ui.markup import escape, instruction
from ui.panes import Against

_NOT_HERE = "This checkpoint is not on this machine: its stored answers are all that can be compared."


def sample(
    setup: Setup, sample_id: str, against: Against = "nothing", run_id: str = "", absent: Collection[str] = ()
) -> str:
    """The sample's instruction and reference, and a pane for each checkpoint, the one asked for first.

    If the texts cannot be read, the reason stands in their place.

    Args:
        setup: the runs.
        sample_id: the sample.
        against: shows the answers as differences from it.
        run_id: the run whose pane comes first.
        absent: ids of runs whose checkpoint is not on this machine.

    Raises:
        LabError: no run has the sample.
    """
    pairs = sorted(attempts_at(setup, sample_id), key=lambda pair: pair[0].config.id != run_id)
    if not pairs:
        raise LabError(f"No run of this set-up has the sample {quoted(sample_id)}.")
    task = pairs[0][1].task
    notes = {run.config.as_column: _NOT_HERE for run, _ in pairs if run.config.id in absent}
    runs = {run.config.as_column: run_label(run.config) for run, _ in pairs}
    chosen = next((run.config.as_column for run, _ in pairs if run.config.id == run_id), None)
    attempts = [panes.untimed(attempt) for _, attempt in pairs]
    asked = pieces.problem(task.problem) if task.problem else instruction(task.instruction)
    return (
        f'<section class="sample" aria-label="Sample"><header><h3><code>{escape(sample_id)}</code></h3>'
        f"<span>{escape(task.repo)}</span></header>{asked}</section>"
        + panes.grid(attempts, against == "nothing", against, notes, chosen, stored=True, runs=runs)
    )
