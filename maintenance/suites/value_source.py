"""A value as the source of an expression that makes it, and variants of it: other numbers, other words."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

MOST_LITERAL = 24
STORY = "__rcl_story__"


class NoSource(Exception):
    """A value that no expression makes."""


@dataclass
class Story:
    """How an object was made: for each variant, statements that make it as ``it``."""

    variants: list[list[str]]
    busy: bool = False
    intact: bool = True


def story_of(value: Any) -> Story | None:
    """Return the story that was recorded on an object, None if there is none."""
    story = getattr(value, "__dict__", {}).get(STORY)
    return story if isinstance(story, Story) else None


def source_of(value: Any, variant: int = 0, depth: int = 0) -> str:
    """An expression that makes a value, or one like it for a variant other than 0.

    Raises:
        NoSource: there is none.
    """
    if depth > 4:
        raise NoSource
    if isinstance(value, enum.Enum):
        return _named(f"{type(value).__module__}:{type(value).__qualname__}.{value.name}")
    if type(value) in (list, tuple, set, dict):
        return _container(value, variant, depth)
    if isinstance(value, torch.Tensor) and type(value) in (torch.Tensor, torch.nn.Parameter):
        return _tensor(value, variant)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fib":
        return _tensor(torch.from_numpy(value.copy()), variant) + ".numpy()"
    if source := _plain(value, variant):
        return source
    story = story_of(value)
    if story and story.intact and len(story.variants[variant]) == 1:
        made = story.variants[variant][0].removeprefix("it = ")
        has_weights = isinstance(value, torch.nn.Module) and list(value.parameters())
        return f"make.fixed({made})" if has_weights else made
    if callable(value) and getattr(value, "__module__", None):
        name = getattr(value, "__qualname__", "<")
        if "<" not in name:
            return _named(f"{value.__module__}:{name}")
    raise NoSource


def _named(path: str) -> str:
    return f"make.named({path!r})"


def _plain(value: Any, variant: int) -> str:
    """An expression for a value without parts; empty if it is of another kind."""
    if type(value) in (int, bool, bytes, torch.dtype) or value is None:
        return repr(value)
    if type(value) is str:
        if len(value) > 300:
            raise NoSource
        return repr(_other_words(value, variant))
    if type(value) is float:
        finite = value == value and abs(value) != float("inf")
        return repr(value) if finite else f"float({str(value)!r})"
    if isinstance(value, torch.Size):
        return f"torch.Size({tuple(value)})"
    if isinstance(value, torch.device):
        return f"torch.device({str(value)!r})"
    return ""


def _container(value: Any, variant: int, depth: int) -> str:
    if len(value) > 24:
        raise NoSource
    if type(value) is dict:
        pairs = ((source_of(k, 0, depth + 1), source_of(v, variant, depth + 1)) for k, v in value.items())
        return "{" + ", ".join(f"{key}: {item}" for key, item in pairs) + "}"
    parts = [source_of(each, variant, depth + 1) for each in value]
    if type(value) is tuple:
        return "(" + "".join(f"{part}, " for part in parts) + ")"
    listed = f"[{', '.join(parts)}]"
    return listed if type(value) is list else f"set({listed})"


def _tensor(value: torch.Tensor, variant: int) -> str:
    if value.layout != torch.strided or value.is_complex() or value.is_quantized or value.is_meta:
        raise NoSource
    value = value.detach()
    size = value.numel()
    if (variant == 0 and size <= MOST_LITERAL) or size <= 1:
        suffix = "" if value.dtype in (torch.float32, torch.int64, torch.bool) else f", dtype={value.dtype}"
        if size == 0:
            return f"torch.empty({tuple(value.shape)}, dtype={value.dtype})"
        return f"torch.tensor({_rounded(value.tolist())}{suffix})"
    if size > 20_000:
        raise NoSource
    shape = ", ".join(str(each) for each in value.shape)
    seed = f"{variant}, {shape}"
    if value.dtype == torch.bool:
        return f"make.booleans({seed})"
    low, high = value.min().item(), value.max().item()
    if not value.is_floating_point():
        made = f"make.integers({variant}, {int(high - low) + 1}, {shape})" + (f" + {int(low)}" if low else "")
        made = f"({made})" if low else made
    elif low != low or high != high or high - low == float("inf"):
        raise NoSource
    elif bool((value == value.round()).all()):
        made = f"(make.integers({variant}, {int(high - low) + 1}, {shape}) + {int(low)}).float()"
    elif low >= 0 and high <= 1:
        sums = next(
            (
                axis
                for axis in range(value.ndim - 1, -1, -1)
                if value.shape[axis] > 1 and torch.allclose(value.float().sum(axis), torch.ones(1), atol=1e-3)
            ),
            None,
        )
        made = f"make.uniform({seed})" if sums is None else f"make.normal({seed}).softmax({sums})"
    elif low >= 0:
        made = f"make.uniform({seed}) * {round(high, 2)}"
    else:
        made = f"make.normal({seed}) * {round(value.std().item() or 1, 2)}"
    made = f"({made})" if " * " in made else made
    usual = torch.float32 if value.is_floating_point() else torch.int64
    return made if value.dtype == usual else f"{made}.to({value.dtype})"


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _other_words(text: str, variant: int) -> str:
    words = text.split(" ")
    if variant == 0 or len(words) < 3:
        return text
    rng = random.Random(f"{variant}/{text}")
    match variant % 3:
        case 0:
            rng.shuffle(words)
        case 1:
            del words[rng.randrange(len(words))]
        case _:
            words[rng.randrange(len(words))] = rng.choice(words)
    return " ".join(words)
