"""Datasets by name; those of the test suites are among them."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.data.arxivdl import load_arxivdl
from pipeline.data.dataset import Dataset
from pipeline.data.packages.corpus import load_corpus
from pipeline.data.packages.split import split_corpus
from pipeline.schema import LabError, Progress, PromptVariant
from pipeline.scoring.execution.suites.suite import DATASETS, load_suite
from pipeline.settings import Settings


def load_dataset(
    settings: Settings, name: str, variant: PromptVariant = "regular", progress: Progress | None = None
) -> Dataset:
    """Load a dataset.

    Raises:
        LabError: the name is unknown, the Hub cannot be reached, or the corpus cannot be built.
    """
    if name in DATASETS:
        return load_suite(settings, DATASETS[name]).dataset
    loaders: dict[str, Callable[[], Dataset]] = {
        "packages": lambda: split_corpus(load_corpus(settings, progress)),
        "arxivdl": lambda: load_arxivdl(variant, progress=progress),
    }
    if name not in loaders:
        raise LabError(f"There is no dataset {name!r}. There are: {', '.join([*loaders, *DATASETS])}.")
    return loaders[name]()
