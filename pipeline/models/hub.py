"""Checkpoints that are published on the Hugging Face hub: fetched once, into the data folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from pipeline.files import folder_beside, write_atomically
from pipeline.models.checkpoints import published_dir, read_checkpoint
from pipeline.models.families import Family
from pipeline.models.fingerprints import ADAPTER_CONFIG, ADAPTER_WEIGHTS, PUBLISHED
from pipeline.network import HUB_URL, with_settings
from pipeline.schema import Checkpoint, LabError, Progress
from pipeline.settings import Settings

_ADAPTER = [ADAPTER_CONFIG, ADAPTER_WEIGHTS]
_MERGED = ["config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json"]


def fetch(
    settings: Settings, family: Family, checkpoint: Checkpoint, progress: Progress | None = None
) -> Checkpoint:
    """Return the checkpoint with local files; a published one is downloaded into the data folder, once.

    Raises:
        LabError: the hub has no such repository, asks for a login, cannot be reached, or holds neither an
            adapter nor a merged model in safetensors; or the files cannot be used.
    """
    if not checkpoint.path and checkpoint.hub_id:
        checkpoint = _fetch(settings, family, checkpoint.name, checkpoint.hub_id, progress)
    if checkpoint.problem:
        raise LabError(checkpoint.problem)
    return checkpoint


def _fetch(
    settings: Settings, family: Family, name: str, hub_id: str, progress: Progress | None
) -> Checkpoint:
    target = published_dir(settings, family) / name
    if not (target / PUBLISHED).is_file():
        if progress:
            progress(0.0, f"downloading {hub_id}")
        _download(hub_id, target)
    return replace(read_checkpoint(family, target), hub_id=hub_id)


def _download(hub_id: str, target: Path) -> None:
    """Download all files of one commit, then move them into place together.

    If two processes do so at once, the first to finish wins.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        with folder_beside(target) as part:
            info = HfApi().model_info(hub_id)
            names = {file.rfilename for file in info.siblings or ()}
            files = _files_to_download(hub_id, names)
            snapshot_download(hub_id, revision=info.sha, local_dir=part, allow_patterns=files)
            shutil.rmtree(part / ".cache", ignore_errors=True)  # the download's own notes
            write_atomically(part / PUBLISHED, json.dumps({"hub_id": hub_id, "commit": info.sha}))
            part.rename(target)
    except LabError:
        raise
    except Exception as error:  # of the hub, the network and the disk; they share no base class
        if not (target / PUBLISHED).is_file():
            raise LabError(_explain(hub_id, error)) from error


def _files_to_download(hub_id: str, names: set[str]) -> list[str]:
    if set(_ADAPTER) <= names:
        return _ADAPTER
    if "config.json" in names and any(name.endswith(".safetensors") for name in names):
        return _MERGED
    raise LabError(
        f"{hub_id} on the Hugging Face hub holds neither a LoRA adapter nor a merged model in safetensors, "
        "so it cannot be compared here."
    )


def _explain(hub_id: str, error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return (
            f"{hub_id} is gated: ask for access on its page of the Hugging Face hub, then set HF_TOKEN to a "
            "token of that account."
        )
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"The Hugging Face hub has no model {hub_id}; it was removed or renamed, or is private (then set "
            "HF_TOKEN)."
        )
    return f"{hub_id} cannot be fetched from the Hugging Face hub: {with_settings(str(error), HUB_URL)}"
