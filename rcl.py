"""The console command: the app and the verbs as subcommands."""

from __future__ import annotations

import sys
from typing import Any

from pipeline.command_line.verbs import run_subcommand
from pipeline.evaluation.terminal import compare
from training.base_model import base_model
from training.evaluate import original_spelling
from training.sweep import VERBS


def app() -> dict[str, Any]:
    """Serve the app on HOST:PORT, 127.0.0.1:7860 if they are not set."""
    from app import main as serve  # slow to import, and only needed here

    serve()
    return {}


def main() -> int:
    """Run the subcommand that the command line names."""
    name, *rest = sys.argv[1:] or [""]
    argv = [name, *(original_spelling(rest) if name == "evaluate" else rest)]
    about = "Compare a language model and its fine-tunes on research code."
    verbs = {"app": app, "compare": compare, "base-model": base_model, **VERBS}
    return run_subcommand("rcl", about, verbs, argv if name else [])


if __name__ == "__main__":
    sys.exit(main())
