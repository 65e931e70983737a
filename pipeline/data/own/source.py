"""Reading a source whole, as texts: a file, or a dataset of the hub."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.data.own.file_formats import ENDINGS, READERS
from pipeline.data.own.table import MAX_ROWS, Table, as_table, check_columns, check_size, columns_of
from pipeline.files import given_path
from pipeline.network import HUB_ID, HUB_URL, with_settings
from pipeline.schema import LabError, quoted


def read_source(source: str, split: str = "train") -> Table:
    """Read a file, or a dataset of the Hugging Face Hub.

    Args:
        source: the path of a file, or a hub id such as ``owner/name``.
        split: of the hub dataset.

    Raises:
        LabError: there is no such file or dataset, it is too large, or it cannot be read.
    """
    path = given_path("source", source)
    if path.is_file():
        return read_file(path)
    if HUB_ID.fullmatch(source) and not path.exists():
        return read_hub(source, split)
    what = "a folder" if path.is_dir() else "not there"
    raise LabError(
        f"The file {quoted(source)} is {what}. Give a file ({', '.join(ENDINGS)}), or a dataset's id on "
        "the Hugging Face Hub, such as owner/name."
    )


def read_file(path: Path) -> Table:
    """Read a file; raises ``LabError`` if it is too large or cannot be read."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise LabError(f"{path.name} cannot be read: its name must end in one of {', '.join(ENDINGS)}.")
    try:
        check_size(path.name, path.stat().st_size)
        data = path.read_bytes()
    except OSError as error:
        raise LabError(f"The file {path.name} cannot be read: {error}.") from error
    columns, rows, unread = reader(path.name, data)
    return as_table(path.name, hashlib.sha256(data).hexdigest(), columns, rows, unread)


def read_hub(hub_id: str, split: str = "train") -> Table:
    """Read a dataset of the hub; raises ``LabError`` if that is no id, or it is too large or not there."""
    import datasets

    if not HUB_ID.fullmatch(hub_id):
        raise LabError(f"A dataset's id on the Hugging Face Hub looks like owner/name, not {hub_id[:80]!r}.")
    rows: list[Mapping[str, Any]] = []
    size = 0
    try:
        # Streaming: nothing of a dataset that is too large is downloaded beyond the limit.
        for row in islice(datasets.load_dataset(hub_id, split=split, streaming=True), MAX_ROWS + 1):
            if not rows:
                check_columns(hub_id, list(row))
            size += sum(len(value) for value in row.values() if isinstance(value, str))
            check_size(hub_id, size)
            rows.append(row)
    except LabError:
        raise
    except Exception as error:  # errors of the hub, the network and the parsers have no common base
        why = with_settings(str(error).rstrip("."), HUB_URL)
        raise LabError(f"The dataset {hub_id} cannot be read from the Hugging Face Hub: {why}.") from error
    return as_table(hub_id, "", columns_of(hub_id, rows), rows, [])
