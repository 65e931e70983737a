"""Take a checkpoint out: an adapter with its card as a zip file, a merged model, or a push to the hub."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.evaluation.model_card import CURVE, model_card
from pipeline.evaluation.runs import Run
from pipeline.files import folder_beside
from pipeline.models.checkpoints import RECORD
from pipeline.models.families import Family
from pipeline.models.fingerprints import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from pipeline.models.hub import explain
from pipeline.models.model_files import read_json_object, writing_weights
from pipeline.models.weights import base_model_dir
from pipeline.network import HUB_ID
from pipeline.schema import Checkpoint, FieldError, LabError, Progress
from pipeline.settings import Settings

CARD = "README.md"
_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, RECORD, CURVE)


def card_of(family: Family, checkpoint: Checkpoint, runs: Iterable[Run]) -> str:
    """A checkpoint's card in Markdown, with the evaluations of it among these runs."""
    own = [run for run in runs if run.config.fingerprint == checkpoint.fingerprint]
    return model_card(family, checkpoint, record_of(checkpoint), own)


def record_of(checkpoint: Checkpoint, file: str = RECORD) -> dict[str, Any]:
    """A record beside a checkpoint's files; empty where it has none or it cannot be read."""
    try:
        return read_json_object(checkpoint.path / file) if checkpoint.path else {}
    except (OSError, ValueError):
        return {}


def export_adapter(family: Family, checkpoint: Checkpoint, file: Path, runs: Iterable[Run] = ()) -> Path:
    """Write an adapter, its record and its card into a zip file, and return its path.

    Raises:
        LabError: there is no adapter, or the file cannot be written.
    """
    folder = _adapter(checkpoint)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{checkpoint.name}/{CARD}", card_of(family, checkpoint, runs))
            for name in _FILES:
                if (folder / name).is_file():
                    archive.write(folder / name, f"{checkpoint.name}/{name}")
    except OSError as error:
        raise LabError(f"Checkpoint {checkpoint.name} cannot be written to {file}: {error}") from error
    return file


def export_merged(
    settings: Settings,
    family: Family,
    checkpoint: Checkpoint,
    folder: Path,
    runs: Iterable[Run] = (),
    progress: Progress | None = None,
) -> Path:
    """Write the base model with the adapter added to its weights, as transformers loads it.

    The weights are added in fp32 and stored in the base model's own precision, each rounded once.

    Raises:
        LabError: there is no adapter, the folder exists, the base model is quantized or cannot be read, or
            the disk is full.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from pipeline.generation.adapters import merge

    _adapter(checkpoint)
    if folder.exists():
        raise LabError(f"{folder} exists already: name another folder, or delete it.")
    base = base_model_dir(settings, family, progress)
    try:
        config = AutoConfig.from_pretrained(base, trust_remote_code=False)
        if getattr(config, "quantization_config", None):
            raise LabError(
                f"The base model of {family.name} is quantized, so an adapter cannot be added to its weights "
                "without a loss. Export the adapter."
            )
        if progress:
            progress(0.3, "adding the adapter to the base model")
        model = AutoModelForCausalLM.from_pretrained(
            base, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
        merge(model, checkpoint, family)
        with folder_beside(folder) as part, writing_weights():
            model.to(config.dtype or torch.bfloat16).save_pretrained(part)
            AutoTokenizer.from_pretrained(base, trust_remote_code=False).save_pretrained(part)
            (part / CARD).write_text(card_of(family, checkpoint, runs), encoding="utf-8")
            part.rename(folder)
    except OSError as error:
        raise LabError(f"The merged model cannot be written to {folder}: {error}") from error
    return folder


def push_adapter(
    family: Family,
    checkpoint: Checkpoint,
    hub_id: str,
    token: str,
    private: bool = True,
    runs: Iterable[Run] = (),
) -> str:
    """Push an adapter with its card to the Hugging Face hub, and return the address of its page.

    Args:
        family: its family.
        checkpoint: what to push.
        hub_id: the repository, which is made if there is none.
        token: of the account, with the right to write; used for this call and kept nowhere.
        private: whether a new repository is private.
        runs: evaluations, for the card.

    Raises:
        FieldError: the hub id cannot be one, or there is no token.
        LabError: there is no adapter, or the hub refuses it or cannot be reached.
    """
    from huggingface_hub import HfApi

    folder = _adapter(checkpoint)
    if not HUB_ID.fullmatch(hub_id):
        raise FieldError("hub_id", f"must look like owner/name, not {hub_id[:80]!r}.")
    if not token.strip():
        raise FieldError("token", "must not be empty: the hub takes files only from an account.")
    try:
        api = HfApi(token=token.strip())
        page = api.create_repo(hub_id, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            (Path(scratch) / CARD).write_text(card_of(family, checkpoint, runs), encoding="utf-8")
            for name in _FILES:
                if (folder / name).is_file():
                    (Path(scratch) / name).write_bytes((folder / name).read_bytes())
            api.upload_folder(repo_id=hub_id, folder_path=scratch, commit_message=f"Add {checkpoint.name}")
    except Exception as error:  # of the hub, the network and the disk; they share no base class
        raise LabError(explain(hub_id, error).replace(token.strip(), "the token")) from error
    return str(page)


def _adapter(checkpoint: Checkpoint) -> Path:
    """The folder of a checkpoint that is an adapter on this machine; raise ``LabError`` if it is none."""
    if checkpoint.is_baseline:
        raise LabError("The baseline has no adapter to export.")
    if checkpoint.problem:
        raise LabError(checkpoint.problem)
    if checkpoint.path is None or checkpoint.is_merged:
        where = "still on the hub" if checkpoint.path is None else "a merged model"
        raise LabError(f"Checkpoint {checkpoint.name} is {where}, so there is no adapter to export.")
    return checkpoint.path
