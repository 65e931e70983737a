"""How much of a test sample's reference is in the training samples or in the prompt.

The measure is PaLM's (Chowdhery et al. 2022, section 8): the share of the reference's token 8-grams that
occur anywhere in the training data; a sample is contaminated if the share is 70% or more. GPT-3's 13-grams
(Brown et al. 2020, appendix C) suit documents, but many functions here have only a few dozen tokens.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.schema import Sample

N = 8
"""Tokens in an n-gram."""
THRESHOLD = 0.7
"""The smallest share of a reference's n-grams with which it is contaminated."""

_NEVER = np.iinfo(np.int64).max
"""Larger than every hash and number."""
_TOKEN = re.compile(r"\w+|[^\w\s]")
_COMMENT = re.compile(r"(^|\s)#.*")


@dataclass(frozen=True, slots=True)
class Overlap:
    """The overlap of one test sample with nested training subsets.

    Attributes:
        sample_id: of the test sample.
        shares: by subset size, the share (0 to 1) of its n-grams that occur in the subset.
        contaminated_from: size of the smallest subset that contaminates it; None if none does.
    """

    sample_id: str
    shares: Mapping[int, float]
    contaminated_from: int | None

    def contaminated(self, size: int) -> bool:
        """Whether the subset of this size contaminates the sample."""
        return self.contaminated_from is not None and self.contaminated_from <= size


def ngrams(code: str) -> set[tuple[str, ...]]:
    """Return all runs of ``N`` tokens without comments and whitespace; a shorter text is one n-gram."""
    tokens = _TOKEN.findall(_COMMENT.sub("", code))
    if len(tokens) <= N:
        return {tuple(tokens)} if tokens else set()
    return set(zip(*(tokens[start:] for start in range(N)), strict=False))


def measure_overlap(test: Iterable[Sample], train: Iterable[Sample], sizes: Sequence[int]) -> list[Overlap]:
    """Measure the overlap of each test sample's function with the functions of nested training subsets.

    Only functions count, since the training loss is on them alone; the context in training prompts does not.

    Args:
        test: the test samples.
        train: the training samples in the order of the subsets.
        sizes: subset sizes; none may be larger than ``train``.
    """
    tested = [(sample.id, _hashes(sample.function)) for sample in test]
    grams = np.sort(np.concatenate([[_NEVER], *(found for _, found in tested)]))
    first_seen = np.full(len(grams), _NEVER)  # the number of the training sample, by n-gram
    for number, sample in enumerate(train, start=1):
        found = _hashes(sample.function)
        at = np.searchsorted(grams, found)
        at = at[grams[at] == found]
        first_seen[at] = np.minimum(first_seen[at], number)
    return [
        _overlap(sample_id, first_seen[np.searchsorted(grams, found)], sizes) for sample_id, found in tested
    ]


def _hashes(code: str) -> np.ndarray:
    """The n-grams by their hashes: as tuples those of a large dataset take thirty times the memory."""
    return np.fromiter(map(hash, ngrams(code)), np.int64)


def _overlap(sample_id: str, first_seen: np.ndarray, sizes: Sequence[int]) -> Overlap:
    seen = sorted(first_seen[first_seen != _NEVER].tolist())
    grams = len(first_seen)
    shares = {size: bisect_left(seen, size + 1) / max(1, grams) for size in sizes}
    passed = next((at for count, at in enumerate(seen, start=1) if count >= THRESHOLD * grams), None)
    return Overlap(sample_id, shares, passed)


def context_overlap(sample: Sample, shown: str) -> float:
    """Return the share (0 to 1) of the reference's n-grams that are in a text of the prompt."""
    grams = ngrams(sample.function)
    return len(grams & ngrams(shown)) / max(1, len(grams))
