"""The verbs of ``rcl runs``: list all runs, and delete those that were made on this machine."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.command_line.signature import Verb
from pipeline.command_line.verbs import run_subcommand
from pipeline.evaluation.store import list_runs, load_config, runs_dir
from pipeline.schema import FieldError, LabError, quoted
from pipeline.settings import Settings


def is_own(settings: Settings, folder: Path) -> bool:
    """Whether the run in this folder was made on this machine."""
    return folder.parent == runs_dir(settings)


def delete_run(settings: Settings, name: str) -> None:
    """Delete a run of this machine, readable or not; ``name`` is that of its folder, its id.

    Raises:
        LabError: there is no such run, it is not of this machine, or its folder cannot be deleted.
    """
    found = [folder for folder in list_runs(settings) if folder.name == name]
    folder = next((folder for folder in found if is_own(settings, folder)), None)
    if folder is None:
        why = "it was not made on this machine" if found else "there is none of that name"
        raise LabError(f"Run {quoted(name)} cannot be deleted: {why}.")
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise LabError(f"Run {name} cannot be deleted: {error}.") from error


def list_all() -> dict[str, Any]:
    """List all runs: those that came with the app, and those of this machine.

    Returns:
        A row for each run.
    """
    settings = Settings.from_env()
    return {"runs": [_row(settings, folder) for folder in list_runs(settings)]}


def delete(name: str, yes: bool = False) -> dict[str, Any]:
    """Delete a run that was made on this machine. Its checkpoint stays.

    Args:
        name: of the run, as in the list
        yes: delete it; without this nothing is done, as it cannot be undone

    Returns:
        The name of the deleted run.
    """
    if not yes:
        raise FieldError("yes", f"must be set to delete {name}: it cannot be undone.")
    delete_run(Settings.from_env(), name)
    return {"deleted": name}


def _row(settings: Settings, folder: Path) -> dict[str, Any]:
    row = {"name": folder.name, "own": is_own(settings, folder)}
    try:
        config = load_config(folder)
    except LabError as error:
        return {**row, "problem": str(error)}
    return {**row, "family": config.family, "column": config.column, "dataset": config.dataset}


RUN_VERBS: Mapping[str, Verb] = {"list": list_all, "delete": delete}
ABOUT = "List the runs, and delete those of this machine."


if __name__ == "__main__":
    sys.exit(run_subcommand("python -m pipeline.evaluation.own_runs", ABOUT, RUN_VERBS))
