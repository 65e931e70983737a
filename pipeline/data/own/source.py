"""Reading a source whole, as texts: a file, or a dataset of the hub."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipeline.data.own.file_formats import ENDINGS, READERS
from pipeline.data.own.read_hub import read_hub
from pipeline.data.own.table import Collector, Table, check_size
from pipeline.data.own.text_lines import not_decoded
from pipeline.files import given_path
from pipeline.network import HUB_ID
from pipeline.schema import LabError, quoted
from pipeline.sendable import sendable_text


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
    rows = Collector(sendable_text(path.name))
    try:
        check_size(rows.source, path.stat().st_size)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            try:
                reader(rows, file)
            except UnicodeDecodeError:
                raise not_decoded(rows.source, file) from None
    except OSError as error:
        raise LabError(f"The file {rows.source} cannot be read: {error}.") from error
    return rows.table(sha256)
