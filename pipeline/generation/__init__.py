"""Engines that turn prompts into completions: one protocol, a local and a remote implementation."""

from __future__ import annotations

import sys

from pipeline.generation.engine import Engine, Request
from pipeline.models.families import Family
from pipeline.schema import LabError, Progress
from pipeline.settings import Settings

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
    import torch  # takes seconds

    if not torch.cuda.is_available():
        raise LabError(
            f"{family.title} needs a CUDA GPU, and this machine has none. The embedded family runs on a CPU."
        )


def open_engine(settings: Settings, family: Family, progress: Progress | None = None) -> Engine:
    """Open the family's engine: for a large family the server of ``RCL_ENGINE_URL``, else a local model.

    Raises:
        LabError: the family cannot run here, or its base model or server cannot be reached.
    """
    check_can_run(settings, family)
    if settings.engine_url and not family.embedded:
        from pipeline.generation.remote_engine import RemoteEngine

        return RemoteEngine(family, settings.engine_url, settings.engine_key)
    from pipeline.generation.torch_engine import load_engine  # torch takes seconds to import

    engine = load_engine(settings, family, progress)
    if not family.published:
        return engine
    from pipeline.generation.published_engine import PublishedEngine
    from pipeline.models.hub import fetch

    return PublishedEngine(engine, lambda checkpoint: fetch(settings, family, checkpoint))
