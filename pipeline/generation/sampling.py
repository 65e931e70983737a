"""Temperature and min-p sampling: each row has its own settings and its own seeded random numbers."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.schema import SamplingParams

Odds = list[tuple[int, float]]
"""Token ids with their probabilities: the one that was written first, then the most likely others."""
_OTHERS = 4


def uniform_draws(seed: int, key: str, steps: int) -> Sequence[float]:
    """A row's uniform numbers, one a step. They depend on the seed and its own key alone.

    So a row draws the same numbers in any batch, at any place in it and at any time.
    """
    digest = hashlib.sha256(f"{seed}\0{key}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return array("f", torch.rand(steps, generator=generator).tolist())  # 4 bytes each, and exact


def sample_tokens(logits: Tensor, settings: Sequence[SamplingParams], draws: Sequence[float]) -> list[int]:
    """Sample one token id for each row from logits [rows, vocabulary] and a uniform number a row.

    Temperature 0 takes the most likely token. Min-p (Nguyen et al. 2024, arXiv 2407.01082) drops tokens
    less likely than ``min_p`` times the most likely one; as in transformers, after the temperature. A draw
    near the border of two tokens can fall to either with the rounding of another batch; without min-p, with
    thousands of unlikely tokens, that is not rare.
    """
    tokens = logits.argmax(-1)
    warm = [row for row, sampling in enumerate(settings) if sampling.temperature > 0]
    if warm:

        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, device=logits.device)[:, None]

        temperature = column([settings[row].temperature for row in warm])
        min_p = column([settings[row].min_p for row in warm])
        uniform = column([draws[row] for row in warm])
        probabilities = torch.softmax(logits[warm].float() / temperature, -1)
        probabilities[probabilities < min_p * probabilities.amax(-1, keepdim=True)] = 0
        cumulative = probabilities.cumsum(-1)
        drawn = (cumulative <= uniform * cumulative[:, -1:]).sum(-1)
        tokens[warm] = drawn.clamp(max=logits.shape[-1] - 1)
    return tokens.tolist()


def token_odds(logits: Tensor, tokens: Sequence[int]) -> list[Odds]:
    """Return for each row of logits [rows, vocabulary] the odds of its written token and of others."""
    logits = logits.float()
    total = logits.logsumexp(-1, keepdim=True)
    written = torch.tensor(tokens, device=logits.device)[:, None]
    values, ids = logits.topk(_OTHERS + 1)
    probabilities = (torch.cat([logits.gather(-1, written), values], -1) - total).exp().tolist()
    rows = zip(tokens, ids.tolist(), probabilities, strict=True)
    return [
        [(token, first), *[pair for pair in zip(likely, others, strict=True) if pair[0] != token][:_OTHERS]]
        for token, likely, (first, *others) in rows
    ]
