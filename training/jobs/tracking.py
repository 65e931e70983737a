"""A training's loss in an experiment tracker that the user has installed: Trackio or Weights & Biases.

Both are called alike. They read keys and servers from their own environment variables, such as
``WANDB_API_KEY``; none of them passes through here.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any, Literal

from pipeline.schema import FieldError, LabError
from pipeline.settings import Settings
from training.jobs.progress import Reporter

Tracker = Literal["none", "trackio", "wandb"]
_PROJECT = "research-code-lab"


def check_tracker(tracker: Tracker) -> None:
    """Raise ``FieldError`` if the tracker's package is not installed."""
    if tracker != "none" and importlib.util.find_spec(tracker) is None:
        raise FieldError(
            "report_to", f"needs a package that is not installed here. Install it: pip install {tracker}."
        )


@contextmanager
def tracked(
    settings: Settings, report: Reporter, tracker: Tracker, name: str, config: Mapping[str, Any]
) -> Iterator[None]:
    """Send each loss that is reported to the tracker, too, as a run of this name.

    Raises:
        LabError: the tracker does not start, for example because it has no key.
    """
    if tracker == "none":
        yield
        return
    os.environ.setdefault("WANDB_DIR", str(settings.data_dir))  # its files, else in the working folder
    package = _package(tracker)
    try:
        with redirect_stdout(sys.stderr):  # stdout is for the verb's result
            package.init(project=_PROJECT, name=name, config=dict(config))
    except Exception as error:  # each package has its own kinds
        raise LabError(f"{tracker} does not start: {str(error).rstrip('.')}.") from error
    report.on_loss = lambda step, loss: package.log({"loss": loss}, step=step)
    try:
        yield
    finally:
        report.on_loss = None
        with redirect_stdout(sys.stderr):
            package.finish()


def _package(tracker: Tracker) -> Any:
    if tracker == "trackio":
        import trackio

        return trackio
    import wandb

    return wandb
