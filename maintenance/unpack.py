"""Copy shipped runs with all texts: ``python -m maintenance.unpack``, for a machine without the packages.

There ``python -m maintenance.judge --runs FOLDER`` judges them. Copied back over the shipped ones, they are
packed by ``python -m maintenance.repack``.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from maintenance.judge import runs_on
from pipeline.command_line.verbs import run_verb
from pipeline.evaluation.store import append_attempts, create_run, load_run
from pipeline.evaluation.texts import with_texts
from pipeline.schema import Attempt, LabError
from pipeline.settings import Settings


def unpack(into: Path, datasets: str | None = None, runs: Path | None = None) -> dict[str, Any]:
    """Copy runs with the instruction and the reference of each sample, one plain line for each.

    Args:
        into: folder for the copies; those that are there are replaced
        datasets: names of datasets with commas between them, instead of all
        runs: folder of runs, instead of the shipped ones

    Returns:
        The number of runs and of answers.

    Raises:
        LabError: a run, or the texts of one of its samples, cannot be read here.
    """
    root = runs or Settings.from_env().assets / "results"
    answers = 0
    folders = runs_on(root, datasets)
    for folder in folders:
        run = load_run(folder)
        attempts = [_with_own_texts(run.config.dataset, each) for each in run.attempts.values()]
        shutil.rmtree(into / run.config.id, ignore_errors=True)
        append_attempts(create_run(into, run.config), attempts)
        answers += len(attempts)
    return {"runs": len(folders), "answers": answers}


def _with_own_texts(dataset: str, attempt: Attempt) -> Attempt:
    """The attempt as it was before it was packed."""
    task = with_texts(dataset, attempt.task)
    if task.problem:
        raise LabError(f"{task.sample_id} cannot be copied with its texts. {task.problem}")
    return replace(attempt, task=replace(task, digest=""))


if __name__ == "__main__":
    sys.exit(run_verb(unpack))
