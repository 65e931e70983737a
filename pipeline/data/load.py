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
    """The dataset ``arxivdl`` or ``packages``, or that of a test suite (``execution.suite.DATASETS``).

    Raises:
        LabError: unknown name, the Hub is out of reach, or the corpus cannot be built; said in words.
    """
    if name == "packages":
        return split_corpus(load_corpus(settings, progress))
    if name == "arxivdl":
        return load_arxivdl(variant, progress=progress)
    if name in DATASETS:
        return load_suite(settings, DATASETS[name]).dataset
    raise LabError(f"There is no dataset {name!r}. There are: packages, arxivdl, {', '.join(DATASETS)}.")
