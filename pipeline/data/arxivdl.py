"""ArXivDLInstruct, the hub dataset of the reference set-up."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pipeline.data.dataset import TEST_SHARE, Dataset, LazySamples
from pipeline.schema import DEFAULT_SEED, LabError, Progress, PromptVariant, Sample

ARXIVDL = "AlgorithmicResearchGroup/ArXivDLInstruct"
LONGEST_FUNCTION, LONGEST_FILE = 1000, 5000
"""Characters; the second limit holds for the augmented prompt only."""


def load_arxivdl(variant: PromptVariant, source: str = ARXIVDL, progress: Progress | None = None) -> Dataset:
    """ArXivDLInstruct with the filter, split and order that the published checkpoints were evaluated with.

    The calls are those of ``datasets`` itself, so the first 200 test samples are the published ones. How the
    published checkpoints' training samples were drawn is not known; here they are shuffled with that seed.

    Args:
        variant: under ``augmented`` long files are left out, so the two variants have different splits.
        source: the dataset's id on the Hub, or a folder with the same columns.
        progress: told that the reading begins.

    Raises:
        LabError: the Hub is out of reach, or the columns are others.
    """
    import datasets

    if progress:
        progress(0.0, f"reading {source}")
    try:
        rows = datasets.load_dataset(source, split="train")
    except Exception as error:  # those of the hub, the network, the disk and the parsers share no base class
        raise LabError(
            f"The dataset {source} cannot be read: {error} It comes from the Hugging Face Hub; "
            "the embedded dataset, packages, needs no network."
        ) from error
    missing = {"prompt", "function", "full_code", "file_length"} - set(rows.column_names)
    if missing:
        raise LabError(f"The dataset {source} lacks the columns {', '.join(sorted(missing))}.")
    rows = rows.add_column("row", list(range(len(rows))))
    rows = rows.filter(lambda function: len(function) <= LONGEST_FUNCTION, input_columns="function")
    if variant == "augmented":
        rows = rows.filter(lambda length: length <= LONGEST_FILE, input_columns="file_length")
    split = rows.train_test_split(test_size=TEST_SHARE, seed=DEFAULT_SEED)
    train, test = (_from_rows(split[side].shuffle(seed=DEFAULT_SEED)) for side in ("train", "test"))
    # Hashing all of its 2 GB would take longer than it is worth: the sizes and the first rows tell.
    heads = [(each.id, each.prompt, each.function) for side in (train, test) for each in side[:200]]
    digest = hashlib.sha256(json.dumps([len(train), len(test), heads]).encode())
    return Dataset("arxivdl", digest.hexdigest()[:12], train, test)


def _from_rows(rows: Any) -> LazySamples:
    """Samples from rows of ``datasets``; an id is the row's place in the published dataset."""
    names = [name for name in ("prompt", "function_name", "repo", "file") if name in rows.column_names]
    light = rows.select_columns(names)
    return LazySamples(
        [f"arxivdl/{row}" for row in rows["row"]],
        lambda at: _sample(rows[at]),
        lambda at: "\n".join(str(value) for value in light[at].values()),
    )


def _sample(row: dict[str, Any]) -> Sample:
    return Sample(
        id=f"arxivdl/{row['row']}",
        prompt=row["prompt"],
        function=row["function"],
        function_name=row.get("function_name") or "",
        full_code=row["full_code"],
        file_length=row["file_length"],
        repo=row.get("repo") or "",
        file=row.get("file") or "",
    )
