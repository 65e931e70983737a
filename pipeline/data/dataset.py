"""The one interface of every dataset: train and test samples in one seeded order, and nested subsets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

from pipeline.schema import LabError, Sample

TEST_SHARE = 0.2


@dataclass(frozen=True)
class LazySamples(Sequence[Sample]):
    """Samples made on access, as a file's code in each of them would not fit into memory.

    Attributes:
        ids: of every sample, in order.
        make: the sample at an index.
        text: what a search looks through, of the sample at an index.
    """

    ids: Sequence[str]
    make: Callable[[int], Sample]
    text: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> LazySamples: ...
    def __getitem__(self, index: int | slice) -> Sample | LazySamples:
        """One sample; for a slice a sequence that is as lazy."""
        places = range(len(self))[index]
        if isinstance(places, int):
            return self.make(places)
        return LazySamples(
            self.ids[index], lambda at: self.make(places[at]), lambda at: self.text(places[at])
        )

    @cached_property
    def haystack(self) -> list[str]:
        """Every sample's searchable text in lower case."""
        return [self.text(index).lower() for index in range(len(self))]


@dataclass(frozen=True)
class Dataset:
    """A dataset as one prompt variant sees it; ``train`` and ``test`` are in their seeded order.

    Attributes:
        notes: what a reader of its results must know, each a sentence: rows that were left out, copies of
            training samples among the test samples.
    """

    name: str
    fingerprint: str
    train: LazySamples
    test: LazySamples
    notes: tuple[str, ...] = ()

    def subset(self, n: int) -> Sequence[Sample]:
        """The first ``n`` training samples: each smaller subset is a prefix of each larger one.

        Raises:
            LabError: there are not that many.
        """
        return _first(self.train, n, "training")

    def evaluation(self, n: int = 200) -> Sequence[Sample]:
        """The first ``n`` test samples; raises ``LabError`` where there are fewer."""
        return _first(self.test, n, "test")

    def get(self, sample_id: str) -> Sample:
        """One sample of either split; raises ``LabError`` for an unknown id."""
        found = self._places.get(sample_id)
        if found is None:
            raise LabError(f"The dataset {self.name} has no sample {sample_id!r}.")
        samples, index = found
        return samples.make(index)

    def test_place(self, sample_id: str) -> int:
        """Index of a test sample; raises ``LabError`` for an unknown id."""
        samples, index = self._places.get(sample_id, (None, 0))
        if samples is not self.test:
            raise LabError(f"The dataset {self.name} has no test sample {sample_id!r}.")
        return index

    def search(self, text: str = "", limit: int = 20, offset: int = 0) -> list[Sample]:
        """Test samples whose instruction, function name, repository or file holds every word of ``text``."""
        return [self.test[index] for index in self.matches(text)[offset : offset + limit]]

    def matches(self, text: str = "") -> Sequence[int]:
        """Indices of the test samples that a search finds, in order."""
        words = text.lower().split()
        every = range(len(self.test))
        if not words:
            return every
        return [index for index in every if all(word in self.test.haystack[index] for word in words)]

    @cached_property
    def _places(self) -> dict[str, tuple[LazySamples, int]]:
        splits = (self.train, self.test)
        return {each: (samples, index) for samples in splits for index, each in enumerate(samples.ids)}


def _first(samples: LazySamples, n: int, what: str) -> Sequence[Sample]:
    if not 0 < n <= len(samples):
        raise LabError(f"{n:,} {what} samples were asked for; this dataset has {len(samples):,}.")
    return samples[:n]
