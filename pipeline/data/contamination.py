"""How much of a test sample's reference a model has seen: in its training samples, and in its own prompt.

The measure is PaLM's (Chowdhery et al. 2022, section 8): the share of the reference's token 8-grams that
occur anywhere in the training data, and a sample counts as contaminated from a share of 70% on. GPT-3's
13-grams (Brown et al. 2020, appendix C) suit documents; many functions here have only a few dozen tokens.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.schema import Sample

N = 8
"""Tokens in an n-gram."""
THRESHOLD = 0.7
"""Share of a reference's n-grams from which it counts as contaminated."""

_TOKEN = re.compile(r"\w+|[^\w\s]")
_COMMENT = re.compile(r"(^|\s)#.*")


@dataclass(frozen=True, slots=True)
class Overlap:
    """What nested training subsets have in common with one test sample.

    Attributes:
        sample_id: of the test sample.
        shares: by subset size, the share from 0 to 1 of its n-grams that occur in that subset.
        contaminated_from: training samples, in their order, that it takes to pass the threshold; None where
            all of them do not.
    """

    sample_id: str
    shares: Mapping[int, float]
    contaminated_from: int | None

    def contaminated(self, size: int) -> bool:
        """Whether a model trained on the first ``size`` samples has seen too much of it."""
        return self.contaminated_from is not None and self.contaminated_from <= size


def ngrams(code: str) -> set[tuple[str, ...]]:
    """Every run of ``N`` tokens, comments and layout left out; a shorter text is one n-gram of its own."""
    tokens = _TOKEN.findall(_COMMENT.sub("", code))
    if len(tokens) <= N:
        return {tuple(tokens)} if tokens else set()
    return set(zip(*(tokens[start:] for start in range(N)), strict=False))


def training_overlap(test: Iterable[Sample], train: Iterable[Sample], sizes: Sequence[int]) -> list[Overlap]:
    """Compare each test sample's function with the functions of nested training subsets, in one pass.

    Functions only, as a training loss is on nothing else. What a training prompt's context shows is not
    counted here.

    Args:
        test: the test samples.
        train: the training samples in the order in which subsets are taken.
        sizes: subset sizes; none may exceed what ``train`` holds.
    """
    wanted = [(sample.id, ngrams(sample.function)) for sample in test]
    every = set().union(*(grams for _, grams in wanted))
    first_seen: dict[tuple[str, ...], int] = {}
    for number, sample in enumerate(train, start=1):
        for gram in ngrams(sample.function) & every:
            first_seen.setdefault(gram, number)
    return [_overlap(sample_id, grams, first_seen, sizes) for sample_id, grams in wanted]


def _overlap(
    sample_id: str,
    grams: set[tuple[str, ...]],
    first_seen: Mapping[tuple[str, ...], int],
    sizes: Sequence[int],
) -> Overlap:
    seen = sorted(first_seen[gram] for gram in grams if gram in first_seen)
    shares = {size: bisect_left(seen, size + 1) / max(1, len(grams)) for size in sizes}
    passed = next((at for count, at in enumerate(seen, start=1) if count >= THRESHOLD * len(grams)), None)
    return Overlap(sample_id, shares, passed)


def context_overlap(sample: Sample, shown: str) -> float:
    """Share from 0 to 1 of the reference's n-grams that stand in the text that the model was shown."""
    grams = ngrams(sample.function)
    return len(grams & ngrams(shown)) / max(1, len(grams))
