"""The datasets of one's own in the data folder: ``datasets/own/NAME`` with the samples and a record."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from pipeline.data.dataset import Dataset, LazySamples
from pipeline.data.own.prepare import Choices, Prepared
from pipeline.files import folder_beside, replace_folder
from pipeline.json_files import check_format, parse_object, validate
from pipeline.schema import FieldError, LabError, PromptVariant, Sample
from pipeline.sendable import sendable_text
from pipeline.settings import Settings

RECORD, SAMPLES = "dataset.json", "samples.parquet"
_FORMAT = 1
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}", re.ASCII)
_TAKEN = ("packages", "arxivdl", "humaneval", "metrics", "own")
"""Names of other datasets, and words that start their names."""
_COLUMNS = ("id", "prompt", "function", "function_name", "full_code", "repo")


@dataclass(frozen=True)
class OwnDataset:
    """The record of a dataset.

    Attributes:
        source: the name of the file, or the id of the hub dataset.
        sha256: of the file; empty for a hub dataset.
        choices: how the source became the dataset.
        rows: number of rows in the source.
        train: number of training samples, which come first among the stored ones.
        test: number of test samples.
        left_out: number of rows that could not be used, by the reason.
        contaminated: number of test samples whose code is in the training samples.
        notes: sentences that a reader of results should know.
        created: UTC, ISO 8601.
    """

    name: str
    title: str
    source: str
    sha256: str
    choices: Choices
    rows: int
    train: int
    test: int
    left_out: Mapping[str, int]
    contaminated: int
    notes: tuple[str, ...]
    fingerprint: str
    created: str
    format: int = _FORMAT


_RECORD = TypeAdapter(OwnDataset)


def own_dir(settings: Settings) -> Path:
    """The folder of the datasets."""
    return settings.data_dir / "datasets" / "own"


def check_name(name: str) -> None:
    """Raise ``FieldError`` if a dataset cannot have this name."""
    if not _NAME.fullmatch(name):
        raise FieldError(
            "name", "must be 1 to 40 lower-case letters, digits and hyphens, and start with a letter."
        )
    if name.partition("-")[0] in _TAKEN:
        raise FieldError("name", f"must not start with {name.partition('-')[0]}: other datasets do.")


def list_own(settings: Settings) -> list[OwnDataset]:
    """The datasets by name; those that cannot be read are left out."""
    found = []
    root = own_dir(settings)
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if _NAME.fullmatch(folder.name) and folder.is_dir():
            try:
                found.append(_read_record(folder))
            except LabError:
                continue
    return found


def find_own(settings: Settings, name: str) -> OwnDataset | None:
    """One dataset; None if there is none of that name.

    Raises:
        LabError: its record cannot be read.
    """
    folder = own_dir(settings) / name
    return _read_record(folder) if _NAME.fullmatch(name) and folder.is_dir() else None


def keep(settings: Settings, prepared: Prepared, title: str = "", replace: bool = False) -> OwnDataset:
    """Write a dataset into the data folder.

    Args:
        settings: names the data folder.
        prepared: the dataset.
        title: what the page calls it; its name if empty.
        replace: whether to replace a dataset of the same name.

    Raises:
        LabError: the name cannot be used, or is taken, or the disk is full.
    """
    name = prepared.name
    check_name(name)
    folder = own_dir(settings) / name
    if folder.exists() and not replace:
        raise FieldError("name", f"is taken: there is a dataset {name}. Choose another name, or replace it.")
    record = OwnDataset(
        name,
        sendable_text(title) or name,
        prepared.table.source,
        prepared.table.sha256,
        prepared.choices,
        len(prepared.table.rows),
        len(prepared.train),
        len(prepared.test),
        {each.reason: len(each.rows) for each in prepared.left_out},
        prepared.contaminated,
        prepared.notes,
        prepared.fingerprint,
        datetime.now(UTC).isoformat(timespec="seconds"),
    )
    samples = [*prepared.train, *prepared.test]
    table = pa.table({column: [getattr(each, column) for each in samples] for column in _COLUMNS})
    try:
        with folder_beside(folder) as part:
            pq.write_table(table, part / SAMPLES, compression="zstd", write_page_checksum=True)
            (part / RECORD).write_bytes(_RECORD.dump_json(record, indent=1))
            replace_folder(part, folder)
    except OSError as error:
        raise LabError(f"The dataset could not be written to {folder.parent}: {error}.") from error
    return record


def check_variant(record: OwnDataset, variant: PromptVariant) -> None:
    """Raise ``LabError`` if a dataset has nothing for a prompt variant."""
    if variant == "augmented" and not record.choices.columns.context:
        raise LabError(
            f"The dataset {record.name} has no files around its code, which the augmented prompt shows. "
            "Choose the regular prompt, or import it again with a column for the context."
        )


def load_own(settings: Settings, record: OwnDataset, variant: PromptVariant) -> Dataset:
    """Read a dataset.

    Raises:
        LabError: it is damaged, or the variant needs files and it has none.
    """
    check_variant(record, variant)
    folder = own_dir(settings) / record.name
    try:
        table = pq.read_table(folder / SAMPLES, page_checksum_verification=True)
        rows = list(zip(*(table[column].to_pylist() for column in _COLUMNS), strict=True))
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise LabError(f"The dataset in {folder} is damaged: {error}. Import it again.") from error
    if len(rows) != record.train + record.test:
        raise LabError(f"The dataset in {folder} is damaged: samples are missing. Import it again.")
    train, test = rows[: record.train], rows[record.train :]
    return Dataset(record.name, record.fingerprint, _lazy(train), _lazy(test), record.notes)


def delete_own(settings: Settings, name: str) -> None:
    """Delete a dataset; its checkpoints and runs stay. Raises ``LabError`` if there is none."""
    folder = own_dir(settings) / name
    if not (_NAME.fullmatch(name) and folder.is_dir()):
        raise LabError(f"There is no dataset {name} of your own.")
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise LabError(f"The dataset in {folder} could not be deleted: {error}.") from error


def _lazy(rows: list[tuple[str, ...]]) -> LazySamples:
    return LazySamples(
        [row[0] for row in rows], lambda at: _sample(*rows[at]), lambda at: "\n".join(_searched(rows[at]))
    )


def _searched(row: tuple[str, ...]) -> tuple[str, ...]:
    _, prompt, _, function_name, _, repo = row
    return prompt, function_name, repo


def _sample(
    sample_id: str, prompt: str, function: str, function_name: str, full_code: str, repo: str
) -> Sample:
    return Sample(sample_id, prompt, function, function_name, full_code, len(full_code), repo, "")


def _read_record(folder: Path) -> OwnDataset:
    file = folder / RECORD
    try:
        data = file.read_bytes()
        check_format(str(file), parse_object(data).get("format", _FORMAT), _FORMAT)
        record = validate(_RECORD, data)
    except (OSError, ValueError) as error:
        raise LabError(f"The dataset in {folder} is damaged ({RECORD}: {error}). Import it again.") from error
    if record.name != folder.name:
        raise LabError(f"The folder {folder} holds the dataset {record.name}. Rename it to that.")
    return record
