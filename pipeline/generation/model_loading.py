"""Loading a transformers model: on the best device here, whole, and dequantized where there is room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pipeline.models.families import Family
from pipeline.models.weights import best_dtype
from pipeline.schema import LabError


def load_model(family: Family, source: Path | str, dtype: torch.dtype | None = None) -> Any:
    """Load a model from a folder or a hub id, on the best device here, from safetensors alone.

    Raises:
        LabError: it cannot be loaded, or lacks weights.
    """
    from transformers import AutoModelForCausalLM

    dtype = dtype or best_dtype()
    with explain_errors(family, source):
        model, info = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=dtype,
            device_map="cuda" if torch.cuda.is_available() else None,
            output_loading_info=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
        if missing := sorted(info["missing_keys"]):  # transformers fills them with random numbers
            raise ValueError(f"it holds no {missing[0]}")
    if getattr(model, "is_quantized", False) and has_room_to_dequantize(model, dtype):
        # The same weights: 4-bit kernels are fast for one row only, and a comparison has many.
        model = model.dequantize(dtype)
    return model


@contextmanager
def explain_errors(family: Family, source: Path | str) -> Iterator[None]:
    """Name the family and the source in any error inside the ``with`` block, as a ``LabError``."""
    try:
        yield
    except LabError:
        raise
    except Exception as error:  # a damaged file can make any part of the loading fail
        why = str(error)
        if "trust_remote_code" in why:  # transformers advises to allow it
            why = "it needs Python code of its own, which is never run here."
        raise LabError(f"The model of {family.name} could not be loaded from {source}: {why}") from error


def has_room_to_dequantize(model: Any, dtype: torch.dtype) -> bool:
    """Whether the GPU holds the whole model and has as much left again for caches and activations."""
    free, _ = torch.cuda.mem_get_info()
    return free > 2 * 2 * dtype.itemsize * model.num_parameters()
