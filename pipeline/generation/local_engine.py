"""Open a model on this machine, with its published checkpoints where the family has some."""

from __future__ import annotations

from pipeline.generation.engine import Engine
from pipeline.models.families import Family
from pipeline.schema import Progress
from pipeline.settings import Settings


def open_local_engine(
    settings: Settings, family: Family, progress: Progress | None = None, plain: str = ""
) -> Engine:
    """Load the family's base model on the best device here.

    Args:
        settings: of this installation.
        family: whose engine.
        progress: hears of the loading.
        plain: why transformers writes and nothing faster; empty where nothing prevents that.

    Raises:
        LabError: the base model cannot be loaded.
    """
    from pipeline.generation.torch_engine import load_engine  # torch takes seconds to import

    engine = load_engine(settings, family, progress, plain=plain)
    if not family.published:
        return engine
    from pipeline.generation.published_engine import PublishedEngine
    from pipeline.models.hub import fetch

    return PublishedEngine(engine, lambda checkpoint: fetch(settings, family, checkpoint))
