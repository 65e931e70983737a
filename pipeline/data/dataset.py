"""The interface of all datasets: train and test samples in seeded order, and nested training subsets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

from pipeline.schema import LabError, Sample, quoted

TEST_SHARE = 0.2
BUILT_IN = ("packages", "arxivdl")
"""Names of the datasets to train on that come with the project; users have others."""


@dataclass(frozen=True)
class LazySamples(Sequence[Sample]):
    """Samples that are made on access, since the code of all their files would not fit into memory.

    Attributes:
        ids: of all samples, in order.
        make: returns the sample at an index.
        text: returns the searchable text of the sample at an index.
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
        """Return one sample, or for a slice another lazy sequence."""
        places = range(len(self))[index]
        if isinstance(places, int):
            return self.make(places)
        return LazySamples(
            self.ids[index], lambda at: self.make(places[at]), lambda at: self.text(places[at])
        )

    @cached_property
    def haystack(self) -> list[str]:
        """The searchable text of each sample in lower case."""
        return [self.text(index).lower() for index in range(len(self))]


@dataclass(frozen=True)
class Dataset:
    """A dataset for one prompt variant; ``train`` and ``test`` are in seeded order.

    Attributes:
        notes: sentences that a reader of its results should know, such as how many rows were left out.
    """

    name: str
    fingerprint: str
    train: LazySamples
    test: LazySamples
    notes: tuple[str, ...] = ()

    def subset(self, n: int) -> Sequence[Sample]:
        """Return the first ``n`` training samples, so that each subset is a prefix of all larger ones.

        Raises:
            LabError: the dataset has fewer.
        """
        return _first(self.train, n, "training")

    def evaluation(self, n: int = 200) -> Sequence[Sample]:
        """Return the first ``n`` test samples; raise ``LabError`` if there are fewer."""
        return _first(self.test, n, "test")

    def get(self, sample_id: str) -> Sample:
        """Return a sample of either split by id; raise ``LabError`` if there is none."""
        place = self._places.get(sample_id)
        if place is None:
            raise LabError(f"The dataset {self.name} has no sample {quoted(sample_id)}.")
        samples, index = place
        return samples.make(index)

    def test_place(self, sample_id: str) -> int:
        """Index of a test sample; raises ``LabError`` for an unknown id."""
        samples, index = self._places.get(sample_id, (None, 0))
        if samples is not self.test:
            raise LabError(f"The dataset {self.name} has no test sample {quoted(sample_id)}.")
        return index

    def search(self, text: str = "", limit: int = 20, offset: int = 0) -> list[Sample]:
        """Return test samples with all words of ``text`` in instruction, name, repository or file."""
        return [self.test[index] for index in self.matches(text)[offset : offset + limit]]

    def matches(self, text: str = "") -> Sequence[int]:
        """Return the indices of the test samples that ``search`` finds, in order."""
        words = set(text.lower().split())  # each is looked for once, however often it is given
        indices = range(len(self.test))
        if not words:
            return indices
        return [index for index in indices if all(word in self.test.haystack[index] for word in words)]

    @cached_property
    def _places(self) -> dict[str, tuple[LazySamples, int]]:
        splits = (self.train, self.test)
        return {each: (samples, index) for samples in splits for index, each in enumerate(samples.ids)}


def _first(samples: LazySamples, n: int, what: str) -> Sequence[Sample]:
    if not 0 < n <= len(samples):
        raise LabError(f"There are not {n:,} {what} samples; this dataset has {len(samples):,}.")
    return samples[:n]
