"""Write shipped runs in the present form: ``python -m maintenance.repack``.

Runs that were packed by an older version lose the texts of installed packages and get their hash instead. A
run that has the present form stays as it is.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from maintenance.judge import runs_on
from pipeline.command_line.verbs import run_verb
from pipeline.evaluation.store import pack_run
from pipeline.settings import Settings


def repack(runs: Path | None = None) -> dict[str, Any]:
    """Pack every shipped run again.

    Args:
        runs: folder of packed runs, instead of the shipped ones

    Returns:
        The number of runs, and the size of their files before and after, in kilobytes.

    Raises:
        LabError: a run, or a line of it, cannot be read.
    """
    root = runs or Settings.from_env().assets / "results"
    folders = runs_on(root, None)
    before = _kilobytes(root)
    for folder in folders:
        pack_run(folder, root)
    return {"runs": len(folders), "kilobytes_before": before, "kilobytes": _kilobytes(root)}


def _kilobytes(root: Path) -> int:
    return sum(file.stat().st_size for file in root.rglob("*") if file.is_file()) // 1000


if __name__ == "__main__":
    sys.exit(run_verb(repack))
