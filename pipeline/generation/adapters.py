"""Several LoRA adapters on one base model, in one batch.

All adapters of a batch are stacked along the rank: A is [R, in] and B is [out, R], R the sum of their ranks.
A row of the batch uses its own adapter through a mask over R: ``y = W x + B (mask * (A x))``, which is exact
(Hu et al. 2021, arXiv 2106.09685, section 4.1, for each row by itself) and two plain matrix products however
many adapters there are, where a loop over adapters launches two for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.families import Family
from pipeline.models.fingerprints import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_fingerprint
from pipeline.models.lora_settings import LoraSettings, parse_lora_settings
from pipeline.models.weights import base_model_dir, is_here
from pipeline.schema import Checkpoint, LabError
from pipeline.settings import Settings

_PREFIX = "base_model.model."  # of every tensor that PEFT saves


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter's matrices by module name: A [r, in], and B [out, r] with its scaling multiplied in.

    Attributes:
        fingerprint: of the content that was read; two adapters of one name differ in it.
        name: of the checkpoint, for messages.
    """

    fingerprint: str
    name: str
    matrices: Mapping[str, tuple[Tensor, Tensor]]

    @cached_property
    def rank(self) -> int:
        """The largest rank of its layers."""
        return max(len(a) for a, _ in self.matrices.values())

    def to(self, model: Any) -> Adapter:
        """The adapter in the precision of a model and on its device."""
        kind = {"device": model.device, "dtype": model.dtype}
        matrices = {name: (a.to(**kind), b.to(**kind)) for name, (a, b) in self.matrices.items()}
        return replace(self, matrices=matrices)


class Routing:
    """Which row of the batch uses which ranks; all stacked layers of a model share it."""

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

    def __init__(self, model: Any) -> None:
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
        self._kind = {"dtype": model.dtype, "device": model.device}
        self._places: dict[str, int] | None = {}  # of each stacked adapter, by fingerprint
        self._owners = torch.empty(0)  # of each rank, the place of its adapter: [R]

    def assign(self, rows: Sequence[Adapter | None]) -> None:
        """Set the adapter of each row of the next batch; None is the bare model."""
        self.load(rows)
        self.route(rows)

    def load(self, rows: Sequence[Adapter | None], keep: bool = False) -> None:
        """Stack the adapters of these rows and no others; does nothing if they are stacked.

        With ``keep`` others may stay beside them.
        """
        adapters = {adapter.fingerprint: adapter for adapter in rows if adapter}
        if keep and self._places is not None and adapters.keys() <= self._places.keys():
            return
        order = sorted(adapters)  # one order, whoever comes first
        if self._places is None or order != list(self._places):
            self._places = None  # if memory runs out half-way, the next call begins again
            self._stack([adapters[fingerprint] for fingerprint in order])
            self._places = {fingerprint: place for place, fingerprint in enumerate(order)}

    def route(self, rows: Sequence[Adapter | None]) -> None:
        """Set the adapter of each row of the next batch, among those that are stacked."""
        self.routing.mask = self.rank_mask(rows).to(**self._kind)[:, None, :] if self._places else None

    def rank_mask(self, rows: Sequence[Adapter | None]) -> Tensor:
        """Which ranks each row uses, on the CPU: [rows, R], without columns if no adapter is stacked."""
        places = self._places or {}
        own = torch.tensor([places[adapter.fingerprint] if adapter else -1 for adapter in rows])
        return own[:, None] == self._owners

    @property
    def order(self) -> tuple[str, ...]:
        """The fingerprints of the adapters that are stacked, in their order."""
        return tuple(self._places or ())

    @property
    def ranks(self) -> int:
        """The sum of the ranks of the adapters that are stacked."""
        return len(self._owners)

    def _stack(self, adapters: Sequence[Adapter]) -> None:
        ranks = sum(adapter.rank for adapter in adapters)
        for name, layer in self.layers.items():
            layer.a = layer.b = None
            if not any(name in adapter.matrices for adapter in adapters):
                continue
            # Zeros where an adapter has a lower rank here, or nothing: the mask is the same in all layers.
            layer.a = torch.zeros(ranks, layer.base.in_features, **self._kind)
            layer.b = torch.zeros(layer.base.out_features, ranks, **self._kind)
            start = 0
            for adapter in adapters:
                if name in adapter.matrices:
                    a, b = adapter.matrices[name]
                    layer.a[start : start + len(a)] = a
                    layer.b[:, start : start + len(a)] = b
                start += adapter.rank
        self._owners = torch.tensor([place for place, each in enumerate(adapters) for _ in range(each.rank)])


def read_adapter(checkpoint: Checkpoint, family: Family, layers: Mapping[str, StackedLinear]) -> Adapter:
    """Read a PEFT LoRA folder for the layers of the family's base model.

    Raises:
        LabError: the files are damaged or have changed since the checkpoint was listed, or the adapter is of
            another kind than plain LoRA, or of another base model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    name, folder = checkpoint.name, checkpoint.path
    if checkpoint.problem or folder is None:
        raise LabError(checkpoint.problem or f"Checkpoint {name} has not been downloaded.")
    try:
        files = {each: (folder / each).read_bytes() for each in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)}
        settings = parse_lora_settings(name, files[ADAPTER_CONFIG], family)
        tensors = load(files[ADAPTER_WEIGHTS])
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise LabError(f"Checkpoint {name} is damaged and cannot be used: {error}") from error
    if adapter_fingerprint(files) != checkpoint.fingerprint:
        raise LabError(f"The files of checkpoint {name} have just been replaced. Choose it again.")
    modules = _modules(checkpoint, settings, tensors, layers)
    ranks, scalings = settings.ranks(modules), settings.scalings(modules)
    matrices = {
        module: _matrices(checkpoint, module, tensors, layers[module].base, ranks[module], scalings[module])
        for module in modules
    }
    return Adapter(checkpoint.fingerprint, name, matrices)


def merge(model: Any, checkpoint: Checkpoint, family: Family) -> None:
    """Add an adapter to the weights of a model, in the model's precision.

    Not by PEFT, whose patterns of modules can take forever (see ``pipeline.models.lora_settings``).

    Raises:
        LabError: as for ``read_adapter``.
    """
    stack = AdapterStack(model)
    adapter = read_adapter(checkpoint, family, stack.layers)
    for name, layer in stack.layers.items():
        if name in adapter.matrices:
            a, b = adapter.matrices[name]
            layer.base.weight.data += b @ a
        model.set_submodule(name, layer.base)


def check_fit(settings: Settings, checkpoint: Checkpoint, family: Family) -> None:
    """Check an adapter's tensors against the layers of the base model, of which only the sizes are read.

    Nothing is checked where the base model is not on this machine: the engine does so when it is used.

    Raises:
        LabError: the adapter does not fit, or is damaged.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    if not (is_here(settings, family) or Path(str(family.base)).is_dir()):
        return
    config = AutoConfig.from_pretrained(base_model_dir(settings, family), trust_remote_code=False)
    with torch.device("meta"):
        stack = AdapterStack(AutoModelForCausalLM.from_config(config, trust_remote_code=False))
    read_adapter(checkpoint, family, stack.layers)


def _modules(
    checkpoint: Checkpoint,
    settings: LoraSettings,
    tensors: Mapping[str, Tensor],
    layers: Mapping[str, StackedLinear],
) -> list[str]:
    """The layers that the adapter changes: those that its settings name, if the file has exactly these."""
    modules = settings.targets(list(layers))
    expected = {key for module in modules for key in _keys(module)}
    if foreign := sorted(set(tensors) - expected):
        raise LabError(
            f"Checkpoint {checkpoint.name} cannot be used here: only LoRA on the linear layers that its "
            f"target_modules name can be applied, and it also holds {foreign[0].removeprefix(_PREFIX)}."
        )
    if missing := sorted(expected - set(tensors)):
        raise LabError(
            f"Checkpoint {checkpoint.name} is damaged: it has no {missing[0].removeprefix(_PREFIX)}."
        )
    if not modules:
        raise LabError(f"Checkpoint {checkpoint.name} holds no LoRA weights for {checkpoint.family}.")
    return modules


def _keys(module: str) -> tuple[str, str]:
    return f"{_PREFIX}{module}.lora_A.weight", f"{_PREFIX}{module}.lora_B.weight"


def _matrices(
    checkpoint: Checkpoint,
    module: str,
    tensors: Mapping[str, Tensor],
    base: torch.nn.Linear,
    rank: int,
    scaling: float,
) -> tuple[Tensor, Tensor]:
    if whole := [key for key in _keys(module) if not tensors[key].is_floating_point()]:
        raise LabError(
            f"Checkpoint {checkpoint.name} cannot be used here: {whole[0].removeprefix(_PREFIX)} is of type "
            f"{str(tensors[whole[0]].dtype).removeprefix('torch.')}. Quantized adapters cannot be applied."
        )
    a, b = (tensors[key].float() for key in _keys(module))
    if a.shape != (rank, base.in_features) or b.shape != (base.out_features, rank):
        raise LabError(
            f"Checkpoint {checkpoint.name} does not fit the base model of {checkpoint.family}: {module}."
        )
    b = b * scaling
    if not (a.isfinite().all() and b.isfinite().all()):
        raise LabError(
            f"Checkpoint {checkpoint.name} cannot be used: it holds values that are not finite. Its training "
            "went wrong."
        )
    return a, b
