"""Checkpoints that are published on the Hugging Face hub: fetched once, into the data folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.files import folder_beside, given_path, write_atomically
from pipeline.models.checkpoints import published_dir, read_checkpoint
from pipeline.models.families import Family
from pipeline.models.fingerprints import ADAPTER_CONFIG, ADAPTER_WEIGHTS, PUBLISHED
from pipeline.network import HUB_ID, HUB_URL, with_settings
from pipeline.schema import Checkpoint, FieldError, LabError, Progress, quoted
from pipeline.settings import Settings

_ADAPTER = [ADAPTER_CONFIG, ADAPTER_WEIGHTS]
_MERGED = ["config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json"]


def base_source(source: str) -> dict[str, str]:
    """Where a base model comes from, as the file of families has it: its ``folder``, or its ``hub_id``.

    Raises:
        FieldError: there is no such folder, and it is no hub id.
    """
    folder = given_path("source", source)
    if folder.is_dir():
        return {"folder": str(folder.resolve())}
    if not HUB_ID.fullmatch(source):
        raise FieldError(
            "source", f"must be a folder or a hub id such as owner/name; there is no {quoted(source)}."
        )
    return {"hub_id": source}


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
    return replace(read_checkpoint(family, target, "published"), hub_id=hub_id)


def download_files(
    hub_id: str, folder: Path, needed: Sequence[str], others: Sequence[str], most_bytes: Mapping[str, int]
) -> None:
    """Download some files of a repository's newest commit.

    Args:
        hub_id: the repository.
        folder: gets the files.
        needed: names of files that must be there.
        others: names of files that are taken if they are there.
        most_bytes: by name; nothing is downloaded if one is larger.

    Raises:
        LabError: the hub has no such repository or file, asks for a login, or cannot be reached.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        info = HfApi().model_info(hub_id, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        for name in needed:
            if name not in sizes:
                raise LabError(f"{hub_id} on the Hugging Face hub has no {name}, so it is no LoRA adapter.")
        wanted = [name for name in (*needed, *others) if name in sizes]
        for name in wanted:
            if sizes[name] > most_bytes[name]:
                raise LabError(f"{name} of {hub_id} is larger than {most_bytes[name] // 1_000_000:,} MB.")
        snapshot_download(hub_id, revision=info.sha, local_dir=folder, allow_patterns=wanted)
    except LabError:
        raise
    except Exception as error:  # of the hub, the network and the disk; they share no base class
        raise LabError(explain(hub_id, error)) from error


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
            raise LabError(explain(hub_id, error)) from error


def _files_to_download(hub_id: str, names: set[str]) -> list[str]:
    if set(_ADAPTER) <= names:
        return _ADAPTER
    if "config.json" in names and any(name.endswith(".safetensors") for name in names):
        return _MERGED
    raise LabError(
        f"{hub_id} on the Hugging Face hub holds neither a LoRA adapter nor a merged model in safetensors, "
        "so it cannot be compared here."
    )


def explain(hub_id: str, error: Exception) -> str:
    """Why the hub did not give or take a repository, in words."""
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
    cause = with_settings(str(error), HUB_URL)
    return f"{hub_id} cannot be fetched from the Hugging Face hub.\nCause: {cause}"
