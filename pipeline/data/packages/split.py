"""The training and the test split of the embedded dataset."""

from __future__ import annotations

import hashlib

from pipeline.data.dataset import TEST_SHARE, Dataset, LazySamples
from pipeline.data.packages.corpus import Corpus
from pipeline.schema import DEFAULT_SEED


def split_corpus(corpus: Corpus) -> Dataset:
    """Split the embedded dataset; the split is the same for both prompt variants.

    Split and order are computed with SHA-256 instead of a library's random generator, so that they do not
    change with library versions or when other samples are added or removed. All samples of a top-level
    definition (a class, its methods, nested functions) are on one side, as they contain each other's code.
    """
    train: list[int] = []
    test: list[int] = []
    for index, sample_id in enumerate(corpus.ids):
        file, _, name = sample_id.partition("::")
        share = _draw(f"split/{file}::{name.partition('.')[0]}")
        (test if share < TEST_SHARE else train).append(index)
    return Dataset("packages", corpus.fingerprint, in_order(corpus, train), in_order(corpus, test))


def in_order(corpus: Corpus, indices: list[int]) -> LazySamples:
    """Some samples of a corpus in the order that the protocol's seed decides."""
    order = sorted(indices, key=lambda index: _draw(f"order/{corpus.ids[index]}"))
    return LazySamples(
        [corpus.ids[index] for index in order],
        lambda at: corpus.sample(order[at]),
        lambda at: f"{corpus.instruction(order[at])}\n{corpus.ids[order[at]]}",
    )


def _draw(key: str) -> float:
    """Return a number from 0 to 1 that depends on the key and the protocol's seed only."""
    return int.from_bytes(hashlib.sha256(f"{DEFAULT_SEED}/{key}".encode()).digest()[:8]) / 2**64
