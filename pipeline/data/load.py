"""Load a dataset by name."""

from __future__ import annotations

from pipeline.data.arxivdl import load_arxivdl
from pipeline.data.dataset import Dataset
from pipeline.data.packages.corpus import load_corpus
from pipeline.data.packages.split import split_corpus
from pipeline.schema import LabError, Progress, PromptVariant
from pipeline.scoring.execution.suite import DATASETS, load_suite
from pipeline.settings import Settings


def load_dataset(
    settings: Settings, name: str, variant: PromptVariant = "regular", progress: Progress | None = None
) -> Dataset:
    """Load ``arxivdl``, ``packages``, or the dataset of a test suite (``execution.suite.DATASETS``).

    Raises:
        LabError: the name is unknown, the Hub cannot be reached, or the corpus cannot be built.
    """
    if name == "packages":
        return split_corpus(load_corpus(settings, progress))
    if name == "arxivdl":
        return load_arxivdl(variant, progress=progress)
    if name in DATASETS:
        return load_suite(settings, DATASETS[name]).dataset
    raise LabError(f"There is no dataset {name!r}. There are: packages, arxivdl, {', '.join(DATASETS)}.")
