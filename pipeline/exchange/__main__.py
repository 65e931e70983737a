"""The verbs of ``rcl checkpoints``: list, import, export, push, rename, delete, hide and show checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from pipeline.command_line.progress import ProgressBar
from pipeline.command_line.signature import Verb
from pipeline.command_line.verbs import run_subcommand
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.exchange.exports import export_adapter, export_merged, push_adapter
from pipeline.exchange.imports import import_checkpoint
from pipeline.models import own_checkpoints
from pipeline.models.checkpoints import list_checkpoints
from pipeline.models.families import DEFAULT_FAMILY, get_family
from pipeline.schema import Checkpoint, FieldError, TrainedVariant
from pipeline.settings import Settings


def list_all(family: str = DEFAULT_FAMILY) -> dict[str, Any]:
    """List a family's checkpoints with where they come from and how they were trained.

    Args:
        family: model family

    Returns:
        A row for each checkpoint.
    """
    settings = Settings.from_env()
    chosen = get_family(settings, family)
    hidden = own_checkpoints.hidden_checkpoints(settings, chosen)
    rows = [{**_row(one), "hidden": one.name in hidden} for one in list_checkpoints(settings, chosen)]
    return {"checkpoints": rows}


def bring_in(
    source: str,
    name: str | None = None,
    family: str = DEFAULT_FAMILY,
    prompt: TrainedVariant | None = None,
    subset_size: int | None = None,
) -> dict[str, Any]:
    """Import a LoRA adapter that was trained elsewhere, if it fits the family's base model.

    Args:
        source: a folder, a zip file, or a hub id such as owner/name
        name: of the checkpoint; if empty, that of the source
        family: model family
        prompt: prompt variant that it was trained with, if its record does not say so
        subset_size: its number of training samples, if its record does not say so

    Returns:
        The checkpoint's name, fingerprint, folder and attributes.
    """
    settings = Settings.from_env()
    return _row(
        import_checkpoint(settings, get_family(settings, family), source, name or "", prompt, subset_size)
    )


def export(
    name: str, output: Path | None = None, family: str = DEFAULT_FAMILY, merged: bool = False
) -> dict[str, Any]:
    """Export a checkpoint: a zip file with the adapter and its card, or a merged model.

    Args:
        name: of the checkpoint
        output: the zip file, or the folder of the merged model; by itself NAME.zip or NAME-merged here
        family: model family
        merged: write the whole model, with the adapter added to the base model's weights

    Returns:
        The path of what was written.
    """
    settings = Settings.from_env()
    chosen = get_family(settings, family)
    checkpoint = own_checkpoints.find_checkpoint(settings, chosen, name)
    runs = StoredRuns(settings).runs()
    if merged:
        target = output or Path(f"{name}-merged")
        with closing(ProgressBar()) as progress:
            return {"path": str(export_merged(settings, chosen, checkpoint, target, runs, progress))}
    return {"path": str(export_adapter(chosen, checkpoint, output or Path(f"{name}.zip"), runs))}


def push(name: str, hub_id: str, family: str = DEFAULT_FAMILY, public: bool = False) -> dict[str, Any]:
    """Push a checkpoint's adapter and card to the Hugging Face hub; the token comes from HF_TOKEN.

    Args:
        name: of the checkpoint
        hub_id: the repository, such as owner/name; made if there is none
        family: model family
        public: whether everybody may see a new repository

    Returns:
        The address of its page.
    """
    from huggingface_hub import get_token

    settings = Settings.from_env()
    chosen = get_family(settings, family)
    checkpoint = own_checkpoints.find_checkpoint(settings, chosen, name)
    token = get_token() or ""
    runs = StoredRuns(settings).runs()
    return {"page": push_adapter(chosen, checkpoint, hub_id, token, not public, runs)}


def rename(name: str, new_name: str, family: str = DEFAULT_FAMILY) -> dict[str, Any]:
    """Rename a checkpoint that was trained or imported on this machine.

    Args:
        name: of the checkpoint
        new_name: that it gets
        family: model family

    Returns:
        The checkpoint's new row.
    """
    settings = Settings.from_env()
    return _row(own_checkpoints.rename_checkpoint(settings, get_family(settings, family), name, new_name))


def delete(name: str, family: str = DEFAULT_FAMILY, yes: bool = False) -> dict[str, Any]:
    """Delete a checkpoint that was trained or imported on this machine. Its stored runs stay.

    Args:
        name: of the checkpoint
        family: model family
        yes: delete it; without this nothing is done, as it cannot be undone

    Returns:
        The name of the deleted checkpoint.
    """
    settings = Settings.from_env()
    if not yes:
        raise FieldError("yes", f"must be set to delete {name}: it cannot be undone.")
    own_checkpoints.delete_checkpoint(settings, get_family(settings, family), name)
    return {"deleted": name}


def hide(name: str, family: str = DEFAULT_FAMILY) -> dict[str, Any]:
    """Let Compare offer a checkpoint no more. Nothing is deleted.

    Args:
        name: of the checkpoint
        family: model family

    Returns:
        The name of the hidden checkpoint.
    """
    settings = Settings.from_env()
    own_checkpoints.hide_checkpoint(settings, get_family(settings, family), name)
    return {"hidden": name}


def show(name: str, family: str = DEFAULT_FAMILY) -> dict[str, Any]:
    """Let Compare offer a hidden checkpoint again.

    Args:
        name: of the checkpoint
        family: model family

    Returns:
        The name of the shown checkpoint.
    """
    settings = Settings.from_env()
    own_checkpoints.hide_checkpoint(settings, get_family(settings, family), name, hidden=False)
    return {"shown": name}


def _row(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "name": checkpoint.name,
        "origin": checkpoint.origin,
        "subset_size": checkpoint.subset_size,
        "prompt": checkpoint.variant,
        "seed": checkpoint.seed,
        "recipe": dict(checkpoint.recipe),
        "fingerprint": checkpoint.fingerprint,
        "path": str(checkpoint.path) if checkpoint.path else None,
        "problem": checkpoint.problem,
    }


CHECKPOINT_VERBS: Mapping[str, Verb] = {
    "list": list_all,
    "import": bring_in,
    "export": export,
    "push": push,
    "rename": rename,
    "delete": delete,
    "hide": hide,
    "show": show,
}
ABOUT = "List, import, export and delete the checkpoints of this machine."


if __name__ == "__main__":
    sys.exit(run_subcommand("python -m pipeline.exchange", ABOUT, CHECKPOINT_VERBS))
