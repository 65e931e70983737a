"""Makes the arguments of test calls (seeded tensors, modules with fixed weights) and their observations.

Call expressions refer to these as ``make.normal(1, 2, 3)``. Everything depends on the arguments alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.scoring.execution.suites.place import load_module


def normal(seed: int, *shape: int) -> Tensor:
    """A float32 tensor of a normal distribution, rounded to 3 decimals."""
    return torch.from_numpy(_random(seed).normal(size=shape).round(3)).float()


def uniform(seed: int, *shape: int) -> Tensor:
    """A float32 tensor of values from 0 to 1, rounded to 3 decimals."""
    return torch.from_numpy(np.asarray(_random(seed).uniform(size=shape).round(3))).float()


def integers(seed: int, high: int, *shape: int) -> Tensor:
    """An int64 tensor of values from 0 up to, and without, ``high``."""
    return torch.from_numpy(np.asarray(_random(seed).integers(0, high, size=shape)))


def booleans(seed: int, *shape: int) -> Tensor:
    """A bool tensor with about as many of either value."""
    return torch.from_numpy(np.asarray(_random(seed).uniform(size=shape) < 0.5))


def fixed(module: nn.Module) -> nn.Module:
    """The module in evaluation mode with weights that depend on their shapes and order only.

    A candidate may create its layers in another order or under other names and still computes the same.
    """
    seen: dict[tuple[int, ...], int] = {}
    with torch.no_grad():
        for parameter in module.parameters():
            shape = tuple(parameter.shape)
            seen[shape] = seen.get(shape, -1) + 1
            draw = _random(int.from_bytes(hashlib.sha256(repr((shape, seen[shape])).encode()).digest()[:4]))
            parameter.copy_(
                torch.from_numpy(np.asarray(draw.normal(scale=0.5, size=shape))).to(parameter.dtype)
            )
    return module.eval()


def tiny(path: str) -> Any:
    """A model configuration of transformers with its sizes cut, so that its modules take milliseconds."""
    kind = named(path)
    cut: dict[str, Any] = {}
    for name, value in vars(kind()).items():
        size = next((size for part, size in _TINY_SIZES if part in name), None)
        if size is not None and type(value) is int and not name.startswith("_"):
            cut[name] = min(size, value)
    return kind(**cut)


# The first that a name holds decides.
_TINY_SIZES = (
    ("token_id", 1),
    ("num_channels", 3),
    ("vocab", 32),
    ("head_dim", 4),
    ("heads", 2),
    ("n_head", 2),
    ("layers", 2),
    ("n_layer", 2),
    ("depth", 2),
    ("position", 32),
    ("image_size", 8),
    ("patch_size", 2),
    ("experts", 2),
    ("group", 2),
    ("inner", 16),
    ("intermediate", 16),
    ("ffn", 16),
    ("d_ff", 16),
    ("hidden", 8),
    ("d_model", 8),
    ("d_kv", 4),
    ("embd", 8),
    ("embed", 8),
    ("_size", 8),
    ("_dim", 8),
    ("dim", 8),
    ("channels", 8),
)


def named(path: str) -> Any:
    """Look up a qualified name in a module: ``named("torch.fx:Graph.nodes")``."""
    module, _, name = path.partition(":")
    value: Any = load_module(module)
    for part in name.split("."):
        value = getattr(value, part)
    return value


def tried(step: Callable[[], Any]) -> Any:
    """Return the result of a step, or the type of its exception under the key ``raised``."""
    try:
        return step()
    except Exception as error:
        return {"raised": type(error).__name__}


def state(target: Any) -> Any:
    """An object's own attributes, a module's parameters and buffers among them."""
    attributes = dict(getattr(target, "__dict__", {}))
    if isinstance(target, nn.Module):
        attributes = {name: value for name, value in attributes.items() if name not in _MODULE_INTERNALS}
        attributes["state_dict"] = dict(target.state_dict())
    return attributes


_MODULE_INTERNALS = frozenset(nn.Module().__dict__) - {"training"}


def _random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))
