"""Engines that turn prompts into completions: one protocol, a local and a remote implementation."""

from __future__ import annotations

import os

from pipeline.families import Family
from pipeline.generation.engine import Engine, Request
from pipeline.schema import Progress
from pipeline.settings import Settings

__all__ = ["Engine", "Request", "open_engine"]


def open_engine(settings: Settings, family: Family, progress: Progress | None = None) -> Engine:
    """The family's engine: for a large family the server of ``RCL_ENGINE_URL``, else a model on this machine.

    Raises:
        LabError: see ``pipeline.generation.local.load_engine`` and ``RemoteEngine``.
    """
    if settings.engine_url and not family.embedded:
        from pipeline.generation.remote import RemoteEngine

        return RemoteEngine(family, settings.engine_url, os.environ.get("RCL_ENGINE_KEY", ""))
    from pipeline.generation.local import load_engine  # torch takes seconds to import

    engine = load_engine(settings, family, progress)
    if not family.published:
        return engine
    from pipeline.generation.published import PublishedEngine
    from pipeline.hub import fetch

    return PublishedEngine(engine, lambda checkpoint: fetch(settings, family, checkpoint))
