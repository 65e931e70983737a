"""Model cards of the shipped checkpoints, made from their records and the stored runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maintenance.figures import figure
from pipeline.command_line.verbs import run_verb
from pipeline.evaluation.model_card import CURVE, model_card
from pipeline.evaluation.store import list_runs, load_run
from pipeline.models.checkpoints import read_checkpoint
from pipeline.models.families import DEFAULT_FAMILY, get_family
from pipeline.settings import Settings


def cards(family: str = DEFAULT_FAMILY) -> dict[str, Any]:
    """Write the model card and the loss curve of every checkpoint in assets/.

    Args:
        family: model family

    Returns:
        How many cards were written.
    """
    settings = Settings.from_env()
    chosen = get_family(settings, family)
    runs = [load_run(folder) for folder in list_runs(settings)]
    folders = sorted((settings.assets / "checkpoints" / chosen.name).glob("*/checkpoint.json"))
    for file in folders:
        folder, record = file.parent, json.loads(file.read_text(encoding="utf-8"))
        checkpoint = read_checkpoint(chosen, folder, "shipped")
        own = [run for run in runs if run.config.fingerprint == checkpoint.fingerprint]
        (folder / "README.md").write_text(model_card(chosen, checkpoint, record, own), encoding="utf-8")
        draw_curve(record, folder / CURVE)
    return {"cards": len(folders)}


def draw_curve(record: Mapping[str, Any], file: Path) -> None:
    """The loss by step as a small figure, of the training set and of held-out samples."""
    curves = (("loss", "training set", "#2f6fdb"), ("held_out_loss", "held-out samples", "#d55e00"))
    with figure(file, 1, (6, 2.6), 10) as (panel,):
        for name, label, color in curves:
            if points := record.get(name):
                steps, losses = zip(*points, strict=True)
                panel.plot(steps, losses, color=color, linewidth=1.4, label=label)
        panel.set(xlabel="optimizer step", ylabel="loss per token")
        panel.legend(frameon=False)


if __name__ == "__main__":
    sys.exit(run_verb(cards))
