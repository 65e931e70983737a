"""The console command: the app and the verbs as subcommands."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Any

from pipeline.command_line.progress import ProgressBar
from pipeline.command_line.verbs import run_subcommand
from pipeline.data.own.__main__ import import_data
from pipeline.evaluation import own_runs
from pipeline.evaluation.terminal import compare
from pipeline.exchange.__main__ import ABOUT, CHECKPOINT_VERBS
from training.base_model import base_model
from training.evaluate import original_spelling
from training.sweep import VERBS


def app() -> dict[str, Any]:
    """Serve the app on HOST:PORT, 127.0.0.1:7860 if they are not set."""
    from app import main as serve  # slow to import, and only needed here

    serve()
    return {}


def bundle(output: str = "results-bundle") -> dict[str, Any]:
    """Write all results as a folder of static files for any web host.

    Args:
        output: the folder; files that are there are replaced.
    """
    from ui.results.bundle import bundle as write  # slow to import, and only needed here

    with closing(ProgressBar()) as progress:
        return write(output, progress)


def main() -> int:
    """Run the subcommand that the command line names."""
    name, *rest = sys.argv[1:] or [""]
    if name == "checkpoints":
        return run_subcommand("rcl checkpoints", ABOUT, CHECKPOINT_VERBS, rest)
    if name == "runs":
        return run_subcommand("rcl runs", own_runs.ABOUT, own_runs.RUN_VERBS, rest)
    argv = [name, *(original_spelling(rest) if name == "evaluate" else rest)]
    about = (
        "Compare a language model and its fine-tunes on research code. See also: rcl checkpoints --help, and "
        "rcl runs --help."
    )
    verbs = {"app": app, "bundle": bundle, "compare": compare, "import-data": import_data}
    verbs |= {"base-model": base_model, **{name.replace("_", "-"): verb for name, verb in VERBS.items()}}
    return run_subcommand("rcl", about, verbs, argv if name else [])


if __name__ == "__main__":
    sys.exit(main())
