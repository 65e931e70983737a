"""The training and the test split of the embedded dataset."""

from __future__ import annotations

import hashlib

from pipeline.data.dataset import TEST_SHARE, Dataset, LazySamples
from pipeline.data.packages.corpus import Corpus
from pipeline.schema import DEFAULT_SEED


def split_corpus(corpus: Corpus) -> Dataset:
    """The embedded dataset, the same under both prompt variants.

    Split and order come from SHA-256 rather than from a library's random generator: they do not change with
    library versions, and a sample keeps its place when others come or go. What shares a top-level definition
    (a class, its methods, what is nested in them) stays on one side, since one's text holds the other's.
    """
    train: list[int] = []
    test: list[int] = []
    for index, sample_id in enumerate(corpus.ids):
        file, _, name = sample_id.partition("::")
        share = _draw(f"split/{file}::{name.partition('.')[0]}")
        (test if share < TEST_SHARE else train).append(index)
    return Dataset("packages", corpus.fingerprint, _in_order(corpus, train), _in_order(corpus, test))


def _in_order(corpus: Corpus, indices: list[int]) -> LazySamples:
    order = sorted(indices, key=lambda index: _draw(f"order/{corpus.ids[index]}"))
    return LazySamples(
        [corpus.ids[index] for index in order],
        lambda at: corpus.sample(order[at]),
        lambda at: f"{corpus.instruction(order[at])}\n{corpus.ids[order[at]]}",
    )


def _draw(key: str) -> float:
    """A number from 0 to 1 that only the key and the protocol's seed decide."""
    return int.from_bytes(hashlib.sha256(f"{DEFAULT_SEED}/{key}".encode()).digest()[:8]) / 2**64
