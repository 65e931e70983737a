"""Engines that turn prompts into completions: one protocol, a local and a remote implementation."""

from __future__ import annotations

import sys

from pipeline.generation.engine import Engine, Request
from pipeline.generation.local_engine import open_local_engine
from pipeline.gpu import has_gpu
from pipeline.models.families import Family
from pipeline.schema import LabError, Progress
from pipeline.settings import Settings, on_zero_gpu
from pipeline.spending import open_purse

__all__ = ["Engine", "Request", "check_can_run", "open_engine"]

# Without this package openvino takes a stub for it. Else each import of openvino sends a report to a
# statistics server, and leaves a file in the home folder.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]


def check_can_run(settings: Settings, family: Family) -> None:
    """Check that the family can run on this machine, before anything is loaded or unloaded.

    Raises:
        LabError: it needs a GPU, and there is none.
    """
    if family.embedded or settings.engine_url:
        return
    if not (on_zero_gpu() or has_gpu()):
        raise LabError(
            f"{family.title} needs a CUDA GPU, and this machine has none. The embedded family runs on a CPU."
        )


def open_engine(
    settings: Settings, family: Family, progress: Progress | None = None, run: str = ""
) -> Engine:
    """Open the family's engine: for a large family the server of ``RCL_ENGINE_URL``, else a local model.

    Args:
        settings: of this installation.
        family: whose engine.
        progress: hears of the loading.
        run: the run that is generated, for its budget; empty for what a page or a terminal shows.

    Raises:
        LabError: the family cannot run here, or its base model or server cannot be reached.
    """
    check_can_run(settings, family)
    if settings.engine_url and not family.embedded:
        from pipeline.generation.remote_engine import RemoteEngine

        purse = open_purse(settings, settings.engine_key, settings.engine_url, run)
        return RemoteEngine(family, settings.engine_url, settings.engine_key, purse=purse)
    if on_zero_gpu():
        from pipeline.generation.zero_gpu import open_zero_gpu_engine

        return open_zero_gpu_engine(settings, family, progress)
    return open_local_engine(settings, family, progress)
