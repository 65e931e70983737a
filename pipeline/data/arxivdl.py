"""ArXivDLInstruct, the hub dataset of the reference set-up."""

from __future__ import annotations

import hashlib
import json
import math
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipeline.data.dataset import TEST_SHARE, Dataset, LazySamples
from pipeline.data.duplicates import copy_key, count_duplicates
from pipeline.network import HUB_URL, with_settings
from pipeline.schema import DEFAULT_SEED, LabError, Progress, PromptVariant, Sample, counted

ARXIVDL = "AlgorithmicResearchGroup/ArXivDLInstruct"
_TEXTS = ("prompt", "function", "full_code")
_NEEDED = {
    **dict.fromkeys(_TEXTS, ("text", ("string", "large_string"))),
    "file_length": ("numbers", ("int", "uint", "float", "null")),
}
"""The type of each needed column: in words, and as the first letters of the types of ``datasets``."""
LONGEST_FUNCTION, LONGEST_FILE = 1000, 5000
"""Characters; the second limit holds for the augmented prompt only."""


def load_arxivdl(
    variant: PromptVariant,
    source: str = ARXIVDL,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Dataset:
    """Load ArXivDLInstruct as the published checkpoints were evaluated: the same filter, split and order.

    Filter, split and shuffle are calls of ``datasets``, so the first 200 test samples are the published ones.
    It is not known how the published checkpoints' training samples were drawn; here they are shuffled with
    the same seed.

    Rows without a needed text are left out before the split. Rows with an empty text are left out after it,
    so that the other rows stay where they are. The dataset's notes count both, and the test samples that are
    copies of training samples.

    Args:
        variant: ``augmented`` leaves out long files, so the two variants have different splits.
        source: the dataset's id on the Hub, or a folder with the same columns.
        progress: is called when reading starts.
        cache: where its table is kept, None for the cache of ``datasets``.

    Raises:
        LabError: the Hub cannot be reached, a column is missing or has another type, or the rows are too few.
    """
    if progress:
        progress(0.0, f"reading {source}")
    rows = _read(source, cache)
    _check_columns(rows, source)
    others = [name for name in rows.column_names if name != "row"]
    whole = rows.select_columns(others).add_column("row", np.arange(len(rows)))
    if any(rows.data.column(name).null_count for name in _TEXTS):
        whole = whole.filter(lambda *texts: None not in texts, input_columns=list(_TEXTS))
    sides = [_Side(each) for each in _split(_filter(whole, variant), source, variant)]
    train, test = (side.samples() for side in sides)
    if not train or not test:
        raise LabError(f"The dataset {source} has too few rows with a prompt and a function to split them.")
    # The sizes and the first rows identify the dataset; hashing all of its 2 GB would take too long.
    heads = [(each.id, each.prompt, each.function) for side in (train, test) for each in side[:200]]
    digest = hashlib.sha256(json.dumps([len(train), len(test), heads]).encode())
    notes = [
        _left_out(len(rows) - len(whole), "without a prompt, a function or their file", "before"),
        _left_out(sum(side.empty for side in sides), "with an empty prompt or function", "after"),
        count_duplicates(*(side.copy_keys for side in sides)).note,
    ]
    return Dataset("arxivdl", digest.hexdigest()[:12], train, test, tuple(filter(None, notes)))


def _read(source: str, cache: Path | None) -> Any:
    import datasets

    try:
        return datasets.load_dataset(source, split="train", cache_dir=cache and str(cache))
    except Exception as error:  # errors of the hub, the network, the disk and the parsers have no common base
        if Path(source).exists():
            why = str(error) or "it has no rows, or another form than the name of its file says"
            raise LabError(f"The dataset in {source} cannot be read: {why}.") from error
        why = with_settings(str(error).rstrip("."), HUB_URL)
        raise LabError(
            f"The dataset {source} cannot be read from the Hugging Face Hub. The embedded dataset, packages, "
            f"needs no network.\nCause: {why}"
        ) from error


def _check_columns(rows: Any, source: str) -> None:
    """Raise ``LabError`` if a needed column is missing or of another type."""
    missing = _NEEDED.keys() - set(rows.column_names)
    if missing:
        raise LabError(f"The dataset {source} lacks the columns {', '.join(sorted(missing))}.")
    for name, (wanted, types) in _NEEDED.items():
        kind = str(getattr(rows.features[name], "dtype", "lists"))
        if not kind.startswith(types):
            raise LabError(f"The column {name} of the dataset {source} must hold {wanted}, not {kind}.")


def _filter(rows: Any, variant: PromptVariant) -> Any:
    """Keep the rows with a short function and, for the augmented prompt, a short file."""
    rows = rows.filter(lambda function: len(function) <= LONGEST_FUNCTION, input_columns="function")
    if variant == "regular":
        return rows
    lengths = rows.data.column("file_length")
    is_float = rows.features["file_length"].dtype.startswith("float")
    if is_float or lengths.null_count or (pc.min(lengths).as_py() or 0) < 1:
        columns = ["file_length", "full_code"]
        return rows.filter(lambda *row: _length(*row) <= LONGEST_FILE, input_columns=columns)
    return rows.filter(lambda length: length <= LONGEST_FILE, input_columns="file_length")


def _length(file_length: float | None, full_code: str) -> int:
    """Return the number of characters in the row's file, counted if the row has none that is possible."""
    if file_length is None or not math.isfinite(file_length) or file_length < 1:
        return len(full_code)
    return int(file_length)


def _split(rows: Any, source: str, variant: PromptVariant) -> list[Any]:
    """Return the training and the test rows in their seeded order."""
    if len(rows) < 2:
        limit = f", in a file of at most {LONGEST_FILE:,}" if variant == "augmented" else ""
        raise LabError(
            f"The dataset {source} has {counted(len(rows), 'usable row')}; a split needs at least 2 with a "
            f"function of at most {LONGEST_FUNCTION:,} characters{limit}."
        )
    split = rows.train_test_split(test_size=TEST_SHARE, seed=DEFAULT_SEED)
    return [split[side].shuffle(seed=DEFAULT_SEED) for side in ("train", "test")]


def _left_out(number: int, why: str, when: str) -> str:
    return f"Left out {when} the split: {counted(number, 'row')} {why}." if number else ""


class _Side:
    """One side of the split, read once: which rows can be used, and their copy keys."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self._places: list[int] = []
        self.ids: list[str] = []
        self.copy_keys: list[tuple[int, int]] = []
        names = ["row", "prompt", "function"]
        batches = rows.select_columns(names).with_format("arrow").iter(10_000)
        values = (zip(*(batch[name].to_pylist() for name in names), strict=True) for batch in batches)
        for place, (number, prompt, function) in enumerate(chain.from_iterable(values)):
            if prompt.strip() and function.strip():
                self._places.append(place)
                self.ids.append(f"arxivdl/{number}")  # the row's number in the published dataset
                self.copy_keys.append(copy_key(prompt, function))
        self.empty = len(rows) - len(self.ids)

    def samples(self) -> LazySamples:
        """Return the usable rows as samples."""
        rows, places = self._rows, self._places
        names = [name for name in ("prompt", "function_name", "repo", "file") if name in rows.column_names]
        searched = rows.select_columns(names)
        return LazySamples(
            self.ids,
            lambda at: _sample(rows[places[at]]),
            lambda at: "\n".join(map(_text, searched[places[at]].values())),
        )


def _sample(row: dict[str, Any]) -> Sample:
    return Sample(
        id=f"arxivdl/{row['row']}",
        prompt=row["prompt"],
        function=row["function"],
        function_name=_text(row.get("function_name")),
        full_code=row["full_code"],
        file_length=_length(row["file_length"], row["full_code"]),
        repo=_text(row.get("repo")),
        file=_text(row.get("file")),
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value)
