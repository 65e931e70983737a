"""Temperature and min-p sampling with one seeded stream of random numbers for each row."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def uniform_draws(seed: int, keys: list[str], steps: int) -> Tensor:
    """Uniform numbers [rows, steps]; those of a row depend on the seed and its own key alone.

    So a row draws the same numbers in any batch and at any place in it.
    """
    rows = []
    for key in keys:
        digest = hashlib.sha256(f"{seed}\0{key}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        rows.append(torch.rand(steps, generator=generator))
    return torch.stack(rows)


def sample_tokens(logits: Tensor, temperature: float, min_p: float, uniform: Tensor) -> Tensor:
    """Sample one token id for each row, [rows], from logits [rows, vocabulary] and uniform numbers [rows].

    Temperature 0 takes the most likely token. Min-p (Nguyen et al. 2024, arXiv 2407.01082) drops tokens
    less likely than ``min_p`` times the most likely one; as in transformers, after the temperature.
    """
    if temperature == 0:
        return logits.argmax(-1)
    probabilities = torch.softmax(logits.float() / temperature, -1)
    probabilities[probabilities < min_p * probabilities.amax(-1, keepdim=True)] = 0
    cumulative = probabilities.cumsum(-1)
    threshold = uniform.to(cumulative)[:, None] * cumulative[:, -1:]
    return (cumulative <= threshold).sum(-1).clamp(max=logits.shape[-1] - 1)
