"""Several LoRA adapters on one base model, in one batch.

All adapters of a batch are stacked along the rank: A is [R, in] and B is [out, R], R the sum of their ranks.
A row of the batch uses its own adapter through a mask over R: ``y = W x + B (mask * (A x))``, which is exact
(Hu et al. 2021, arXiv 2106.09685, section 4.1, for each row by itself) and two plain matrix products however
many adapters there are, where a loop over adapters launches two for each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.schema import Checkpoint, LabError


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter's matrices by module name: A [r, in], and B [out, r] with its scaling multiplied in."""

    name: str
    rank: int
    matrices: dict[str, tuple[Tensor, Tensor]]


class Routing:
    """Which row of the batch uses which ranks; shared by every stacked layer of a model."""

    mask: Tensor | None = None  # [batch, 1, R]; None for the bare model


class StackedLinear(nn.Module):
    """A linear layer plus the stacked adapters of the current batch."""

    def __init__(self, base: nn.Linear, routing: Routing) -> None:
        super().__init__()
        self.base, self.routing = base, routing
        self.a: Tensor | None = None
        self.b: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [batch, length, in] to [batch, length, out]."""
        y = self.base(x)
        mask = self.routing.mask
        if mask is None or self.a is None or self.b is None:
            return y
        ranks = functional.linear(x.to(self.a.dtype), self.a) * mask
        return y + functional.linear(ranks, self.b).to(y.dtype)


class AdapterStack:
    """Wraps a model's linear layers, and puts adapters on the rows of a batch."""

    def __init__(self, model: nn.Module) -> None:
        self.routing = Routing()
        self.layers: dict[str, StackedLinear] = {}
        for name, module in list(model.named_modules()):
            if (
                isinstance(module, nn.Linear) and ".layers." in f".{name}"
            ):  # bitsandbytes' 4-bit layer is one too
                parent = model.get_submodule(name.rpartition(".")[0])
                layer = StackedLinear(module, self.routing)
                setattr(parent, name.rpartition(".")[2], layer)
                self.layers[name] = layer
        self._stacked: tuple[str, ...] | None = None

    def assign(self, rows: Sequence[Adapter | None], dtype: torch.dtype, device: torch.device) -> None:
        """Give each row of the next batches its adapter; None is the bare model."""
        adapters = list({adapter.name: adapter for adapter in rows if adapter}.values())
        names = tuple(adapter.name for adapter in adapters)
        if names != self._stacked:
            self._stack(adapters, dtype, device)
            self._stacked = names
        if not adapters:
            self.routing.mask = None
            return
        owner = torch.tensor([i for i, adapter in enumerate(adapters) for _ in range(adapter.rank)])
        row = torch.tensor([names.index(adapter.name) if adapter else -1 for adapter in rows])
        self.routing.mask = (row[:, None] == owner[None, :]).to(device, dtype)[:, None, :]

    @contextmanager
    def only(self, rows: Tensor) -> Iterator[None]:
        """Meanwhile the batch is these of its rows."""
        whole = self.routing.mask
        self.keep(rows)
        try:
            yield
        finally:
            self.routing.mask = whole

    def keep(self, rows: Tensor) -> None:
        """Go on with only these rows of the batch."""
        if self.routing.mask is not None:
            self.routing.mask = self.routing.mask[rows]

    def _stack(self, adapters: list[Adapter], dtype: torch.dtype, device: torch.device) -> None:
        for name, layer in self.layers.items():
            if not any(name in adapter.matrices for adapter in adapters):
                layer.a = layer.b = None
                continue
            size_in, size_out = layer.base.in_features, layer.base.out_features
            pairs = [
                # Zeros where only other adapters have this layer: the mask's ranks are the same everywhere.
                adapter.matrices.get(name)
                or (torch.zeros(adapter.rank, size_in), torch.zeros(size_out, adapter.rank))
                for adapter in adapters
            ]
            layer.a = torch.cat([a for a, _ in pairs]).to(device, dtype)
            layer.b = torch.cat([b for _, b in pairs], dim=1).to(device, dtype)


def read_adapter(checkpoint: Checkpoint, layers: dict[str, StackedLinear]) -> Adapter:
    """Read a PEFT LoRA folder for the layers of this base model.

    Raises:
        LabError: the files are damaged, of another kind than plain LoRA, or of another base model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = checkpoint.path
    if folder is None:
        raise LabError(f"Checkpoint {checkpoint.name} has not been downloaded.")
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "adapter_model.safetensors")
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise LabError(f"Checkpoint {checkpoint.name} is damaged and cannot be used: {error}") from error
    if config.get("use_dora") or config.get("modules_to_save") or config.get("rank_pattern"):
        raise LabError(
            f"Checkpoint {checkpoint.name} is not a plain LoRA adapter, which is what can be compared here."
        )
    scaling = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    matrices: dict[str, tuple[Tensor, Tensor]] = {}
    for key, a in tensors.items():
        name, found, _ = key.removeprefix("base_model.model.").partition(".lora_A.")
        if not found:
            continue
        b = tensors.get(key.replace(".lora_A.", ".lora_B."))
        layer = layers.get(name)
        if b is None or layer is None or not _fits(layer.base, a, b, rank):
            raise LabError(
                f"Checkpoint {checkpoint.name} does not fit the base model of {checkpoint.family}: {name}."
            )
        matrices[name] = (a.float(), b.float() * scaling)
    if not matrices:
        raise LabError(f"Checkpoint {checkpoint.name} holds no LoRA weights.")
    if set(matrices) != _complete(layers, matrices):
        raise LabError(f"Checkpoint {checkpoint.name} is damaged: some of its layers are missing.")
    if any(not torch.isfinite(m).all() for pair in matrices.values() for m in pair):
        raise LabError(f"Checkpoint {checkpoint.name} is damaged: it holds values that are not finite.")
    return Adapter(checkpoint.name, rank, matrices)


def _fits(base: Any, a: Tensor, b: Tensor, rank: int) -> bool:
    return tuple(a.shape) == (rank, base.in_features) and tuple(b.shape) == (base.out_features, rank)


def _complete(layers: dict[str, StackedLinear], matrices: dict[str, Any]) -> set[str]:
    """Every layer of the kinds (``q_proj``, ...) that the adapter has."""
    kinds = {name.rpartition(".")[2] for name in matrices}
    return {name for name in layers if name.rpartition(".")[2] in kinds}
