"""A model's weights in 8 bits, made once and kept beside the converted base model.

A step of a large model on a CPU takes as long as reading its weights; these are half as many bytes as bf16.
They are symmetric, with a scale for each 128 weights of a row: one scale for the whole row rounds up to four
times as coarsely.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.files import folder_beside
from pipeline.generation.adapters import AdapterStack
from pipeline.models.model_files import check_weights, writing_weights
from pipeline.schema import LabError, Progress

LARGE = 500e6
"""Parameters from which on int8 is used; smaller models gain little."""
_GROUP = 128
_ROWS = 8192  # that are converted together, so that a copy in fp32 stays small
_SPARE_BYTES = 230e6  # that stay free on the disk
_VALUES, _SCALES = ".values", ".scales"  # ends of the names in the file


@dataclass(frozen=True)
class Int8:
    """A matrix [out, in] in groups.

    Attributes:
        values: int8 [out, groups, group].
        scales: fp32 [out, groups, 1]; a weight is its value times the scale of its group.
    """

    values: Tensor
    scales: Tensor


Compressor = Callable[[Any, AdapterStack], Mapping[str, Int8]]
"""Gives the int8 weights of a model's layers by their names, none where its own are better."""


def quantize(weight: Tensor) -> Int8:
    """Round a matrix to int8; a row that cannot be cut into groups is one group."""
    values, scales = [], []
    for part in weight.detach().split(_ROWS):
        groups = part.float().view(_grouped(part))
        scale = groups.abs().amax(2, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny) / 127
        values.append((groups / scale).round_().to(torch.int8))
        scales.append(scale)
    return Int8(torch.cat(values), torch.cat(scales))


def _grouped(weight: Tensor) -> tuple[int, int, int]:
    """The shape [out, groups, group] of a matrix's values."""
    rows, width = weight.shape
    group = width if width % _GROUP else _GROUP
    return rows, width // group, group


def int8_file(folder: Path) -> Path:
    """Where the int8 weights of a converted base model are kept."""
    return folder.with_name(f"{folder.name}.int8-g{_GROUP}.safetensors")


def compress(file: Path, report: Progress, model: Any, stack: AdapterStack) -> Mapping[str, Int8]:
    """The weights of a model's layers that a CPU computes with in int8: all of a large model, else none.

    They are read from the file, mapped into memory; it is made if it is missing or damaged. Two processes may
    do so at once: each puts its own in its place whole.

    Raises:
        LabError: the disk is full, or the file cannot be written.
    """
    if model.num_parameters() < LARGE:
        return {}
    layers = {name: layer.base for name, layer in stack.layers.items()}
    weights = {name: layer.weight for name, layer in {**layers, "lm_head": model.lm_head}.items()}
    try:
        return _read(file, weights)
    except (OSError, ValueError):
        needed = sum(weight.numel() for weight in weights.values()) * (1 + 4 / _GROUP)
        report(0.92, f"Converting the weights to int8 (once; {needed / 1e6:,.0f} MB)")
        _check_room(file.parent, needed + _SPARE_BYTES)
    try:
        _write(file, weights)
        return _read(file, weights)
    except (OSError, ValueError) as error:
        raise LabError(f"The int8 weights could not be written to {file}: {error}") from error


def _read(file: Path, weights: Mapping[str, Tensor]) -> dict[str, Int8]:
    from safetensors.torch import load_file

    check_weights(file)
    tensors = load_file(file)
    found = {}
    for name, weight in weights.items():
        shape = _grouped(weight)
        expected = [(name + _VALUES, torch.int8, shape), (name + _SCALES, torch.float32, (*shape[:2], 1))]
        for key, kind, size in expected:
            if key not in tensors or tensors[key].dtype != kind or tensors[key].shape != size:
                raise ValueError(f"{file.name} has other weights than the model: {key}")
        found[name] = Int8(*(tensors[key] for key, _, _ in expected))
    return found


def _write(file: Path, weights: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    for name, weight in weights.items():
        made = quantize(weight)
        tensors |= {name + _VALUES: made.values, name + _SCALES: made.scales}
    with folder_beside(file) as part, writing_weights():
        save_file(tensors, part / file.name)
        (part / file.name).replace(file)


def _check_room(folder: Path, needed: float) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise LabError(
            f"Not enough disk space for the int8 weights: {folder} has {free / 1e6:,.0f} MB free and "
            f"{needed / 1e6:,.0f} MB are needed. Free some, or set RCL_DATA_DIR to another disk."
        )
